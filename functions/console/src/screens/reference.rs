//! The reference of the HTTP API, from its OpenAPI document: what can be called, with what, and what comes back?

use std::collections::BTreeMap;
use std::sync::OnceLock;

use askama::Template;
use axum::extract::RawQuery;
use axum::response::Response;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::words;

/// How many operations a search shows.
const MAX_FOUND: usize = 60;

#[derive(Template)]
#[template(path = "reference.html")]
struct IndexPage {
    shell: Shell,
    heading: String,
    lede: String,
    query: String,
    tags: Vec<Tag>,
    operations: Vec<Summary>,
}

impl Page for IndexPage {}

/// A group of operations.
struct Tag {
    id: String,
    name: String,
    count: usize,
}

/// An operation in a list.
struct Summary {
    method: String,
    path: String,
    summary: String,
    link: String,
    tag: String,
}

#[derive(Template)]
#[template(path = "reference-operation.html")]
struct OperationPage {
    shell: Shell,
    tag: String,
    tag_name: String,
    id: String,
    summary: String,
    method: String,
    path: String,
    description: String,
    parameters: Vec<Field>,
    body: Option<Body>,
    answers: Vec<Body>,
    problems: Vec<Problem>,
    curl: String,
}

impl Page for OperationPage {}

/// What a request or an answer contains.
struct Body {
    status: String,
    schema: Option<String>,
    media: String,
    fields: Vec<Field>,
    example: String,
}

/// A field or a parameter.
struct Field {
    name: String,
    place: String,
    kind: String,
    /// The schema of its own, if it has one.
    schema: Option<String>,
    is_required: bool,
}

struct Problem {
    status: String,
    slug: String,
    title: String,
}

#[derive(Template)]
#[template(path = "reference-schema.html")]
struct SchemaPage {
    shell: Shell,
    name: String,
    fields: Vec<Field>,
    words: Vec<String>,
}

impl Page for SchemaPage {}

#[derive(Template)]
#[template(path = "reference-problems.html")]
struct ProblemsPage {
    shell: Shell,
    heading: String,
    problems: Vec<ProblemText>,
}

impl Page for ProblemsPage {}

/// What a problem means and what to do.
struct ProblemText {
    slug: String,
    title: String,
    text: String,
}

/// The document of the API, which does not change while the process runs. It is parsed once.
async fn document(visit: &Visit) -> Result<&'static Value, Refusal> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    match DOCUMENT.get() {
        Some(document) => Ok(document),
        None => {
            let read = visit.api.get("/api/openapi.json").await?;
            Ok(DOCUMENT.get_or_init(|| read))
        }
    }
}

/// Every operation, in the order of the document. Other names of the same operation are left out.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, of)| (method.as_str(), path.as_str(), of))
    });
    all.filter(|(_, path, of)| {
        let is_alias = path.starts_with("/api/v1/") && of["operationId"].as_str().is_some_and(|id| id.ends_with("V1"));
        !is_alias
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn tag_of(operation: &Value) -> &str {
    operation["tags"][0].as_str().unwrap_or("other")
}

fn summary((method, path, operation): (&str, &str, &Value)) -> Summary {
    Summary {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(operation, "summary").to_owned(),
        link: format!("/reference/{}/{}", segment(tag_of(operation)), segment(text(operation, "operationId"))),
        tag: words::sentence_case(tag_of(operation)),
    }
}

/// All groups, or the operations that a search finds.
pub async fn index(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let document = document(&visit).await?;
    let query = Fields::of_query(query.as_deref()).get("q").to_owned();
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    operations(document).for_each(|(.., of)| *tags.entry(tag_of(of)).or_default() += 1);
    let total: usize = tags.values().sum();
    let wanted = query.to_lowercase();
    let is_found = |(_, path, of): &(&str, &str, &Value)| {
        let all = [path, text(of, "summary"), text(of, "operationId")];
        !wanted.is_empty() && all.iter().any(|text| text.to_lowercase().contains(&wanted))
    };
    let found: Vec<Summary> = operations(document).filter(is_found).take(MAX_FOUND).map(summary).collect();
    let heading = match (query.is_empty(), found.len()) {
        (true, _) => format!("API reference: {total} operations"),
        (false, 0) => "No operation matches".to_owned(),
        (false, 1) => "1 operation matches".to_owned(),
        (false, count) => format!("{count} operations match"),
    };
    let lede = "Everything that the console does, your systems can do with an API key.".to_owned();
    let tag = |(id, count): (&str, usize)| Tag { id: segment(id), name: words::sentence_case(id), count };
    let page = IndexPage {
        shell: visit.shell(&heading, "reference"),
        heading,
        lede,
        tags: if query.is_empty() { tags.into_iter().map(tag).collect() } else { Vec::new() },
        query,
        operations: found,
    };
    Ok(page.respond())
}

/// The operations of one group.
pub async fn tag(visit: Visit, Path(tag): Path<String>) -> Result<Response, Refusal> {
    let document = document(&visit).await?;
    let operations: Vec<Summary> = operations(document).filter(|(.., of)| tag_of(of) == tag).map(summary).collect();
    if operations.is_empty() {
        return Err(Refusal::not_found("The API has no such group of operations."));
    }
    let heading = words::sentence_case(&tag);
    let lede = match operations.len() {
        1 => "1 operation of the API.".to_owned(),
        count => format!("{count} operations of the API."),
    };
    let shell = visit.shell(&format!("API reference: {heading}"), "reference");
    Ok(IndexPage { shell, heading, lede, query: String::new(), tags: Vec::new(), operations }.respond())
}

/// One operation.
pub async fn operation(visit: Visit, Path((tag, id)): Path<(String, String)>) -> Result<Response, Refusal> {
    let document = document(&visit).await?;
    let of_id = |(.., of): &(&str, &str, &Value)| text(of, "operationId") == id && tag_of(of) == tag;
    let (method, path, of) =
        operations(document).find(of_id).ok_or_else(|| Refusal::not_found("The API has no such operation."))?;
    let parameters = of["parameters"].as_array().into_iter().flatten().map(|one| Field {
        name: text(one, "name").to_owned(),
        place: text(one, "in").to_owned(),
        is_required: one["required"] == true,
        ..field(document, &one["schema"])
    });
    let body = of.get("requestBody").map(|body| body_of(document, "", &body["content"]));
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for (status, answer) in of["responses"].as_object().into_iter().flatten() {
        if is_problem(answer) {
            problems.extend(problems_of(status, text(answer, "description")));
        } else {
            answers.push(body_of(document, status, &answer["content"]));
        }
    }
    let page = OperationPage {
        shell: visit.shell(&format!("{} {path}", method.to_uppercase()), "reference"),
        tag_name: words::sentence_case(&tag),
        tag: segment(&tag),
        id,
        summary: text(of, "summary").to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        description: text(of, "description").replace('`', ""),
        parameters: parameters.collect(),
        curl: curl(method, path, of, body.as_ref()),
        body,
        answers,
        problems,
    };
    Ok(page.respond())
}

/// One schema of the document.
pub async fn schema(visit: Visit, Path(name): Path<String>) -> Result<Response, Refusal> {
    let document = document(&visit).await?;
    let schema = document["components"]["schemas"].get(&name);
    let schema = schema.ok_or_else(|| Refusal::not_found("The API has no such schema."))?;
    let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let shell = visit.shell(&format!("API reference: {name}"), "reference");
    Ok(SchemaPage { shell, fields: fields_of(document, schema), words, name }.respond())
}

/// Every problem that an operation can answer with.
pub async fn problems(visit: Visit) -> Result<Response, Refusal> {
    let document = document(&visit).await?;
    let mut known: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (.., of) in operations(document) {
        for (status, answer) in
            of["responses"].as_object().into_iter().flatten().filter(|(_, answer)| is_problem(answer))
        {
            for problem in problems_of(status, text(answer, "description")) {
                known.entry(problem.slug).or_insert((problem.status, problem.title));
            }
        }
    }
    let mut problems = Vec::new();
    for (slug, (status, title)) in known {
        let text = visit.api.get(format!("/docs/problems/{slug}")).await?;
        let text = text.as_str().unwrap_or_default();
        // The heading and the title are shown by the page.
        let text = text.lines().skip(1).collect::<Vec<_>>().join(" ");
        let text = text.split_once("). ").map_or(text.as_str(), |(_, rest)| rest).replace('`', "");
        problems.push(ProblemText { title: format!("{title} ({status})"), text: text.trim().to_owned(), slug });
    }
    let heading = format!("API reference: {} problems", problems.len());
    Ok(ProblemsPage { shell: visit.shell(&heading, "reference"), heading, problems }.respond())
}

fn is_problem(answer: &Value) -> bool {
    answer["content"].get("application/problem+json").is_some()
}

/// ``"`malformed`: Malformed request. `other`: …"``, as the document describes an error's answer.
fn problems_of(status: &str, description: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut parts = description.split('`').skip(1);
    while let (Some(slug), Some(title)) = (parts.next(), parts.next()) {
        let title = title.trim_start_matches(':').trim().trim_end_matches('.').to_owned();
        problems.push(Problem { status: status.to_owned(), slug: slug.to_owned(), title });
    }
    problems
}

/// The schema itself, without a reference to it or null beside it.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> (&'a Value, Option<&'a str>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/")) {
        return (&document["components"]["schemas"][name], Some(name));
    }
    match schema["anyOf"].get(0) {
        Some(first) => resolve(document, first),
        None => (schema, None),
    }
}

fn fields_of(document: &Value, schema: &Value) -> Vec<Field> {
    let (schema, _) = resolve(document, schema);
    let is_required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<Field> = properties
        .map(|(name, of)| Field { name: name.clone(), is_required: is_required(name), ..field(document, of) })
        .collect();
    fields.sort_by_key(|field| !field.is_required);
    fields
}

/// What a value can be, in a few words.
fn field(document: &Value, schema: &Value) -> Field {
    let (resolved, name) = resolve(document, schema);
    let mut kind = kind_of(document, schema);
    let mut own = name.filter(|_| is_worth_a_page(resolved));
    for (word, inner) in [("list of", &resolved["items"]), ("map to", &resolved["additionalProperties"])] {
        if inner.is_object() {
            let (item, name) = resolve(document, inner);
            kind = format!(
                "{word} {}",
                name.filter(|_| is_worth_a_page(item)).map_or_else(|| kind_of(document, item), str::to_owned)
            );
            own = own.or(name.filter(|_| is_worth_a_page(item)));
        }
    }
    let is_null = schema["anyOf"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "null"))
        || schema["type"].as_array().is_some_and(|all| all.iter().any(|one| one == "null"));
    if is_null {
        kind.push_str(" or null");
    }
    Field { name: String::new(), place: String::new(), kind, schema: own.map(str::to_owned), is_required: false }
}

/// Whether a schema has more to it than fits beside a field.
fn is_worth_a_page(schema: &Value) -> bool {
    schema["properties"].is_object() || schema["enum"].as_array().is_some_and(|all| 6 < all.len())
}

fn kind_of(document: &Value, schema: &Value) -> String {
    let (schema, name) = resolve(document, schema);
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return if words.len() <= 6 { words.join(" | ") } else { name.unwrap_or("one of several words").to_owned() };
    }
    if schema["properties"].is_object() {
        return name.unwrap_or("object").to_owned();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("any value");
    let limit = match (&schema["maxLength"], &schema["minimum"], &schema["maximum"]) {
        (Value::Number(most), ..) => format!(", at most {most} characters"),
        (_, Value::Number(least), Value::Number(most)) => format!(", {least} to {most}"),
        _ => String::new(),
    };
    match text(schema, "format") {
        "date-time" => "time (RFC 3339)".to_owned(),
        "date" => "day (2026-12-01)".to_owned(),
        _ => format!("{kind}{limit}"),
    }
}

fn body_of(document: &Value, status: &str, content: &Value) -> Body {
    let Some((media, of)) = content.as_object().and_then(|content| content.iter().next()) else {
        return Body {
            status: status.to_owned(),
            schema: None,
            media: "no content".to_owned(),
            fields: Vec::new(),
            example: String::new(),
        };
    };
    let example = match &of["example"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        example => serde_json::to_string_pretty(example).unwrap_or_default(),
    };
    let (_, name) = resolve(document, &of["schema"]);
    Body {
        status: status.to_owned(),
        schema: name.map(str::to_owned),
        media: media.clone(),
        fields: fields_of(document, &of["schema"]),
        example,
    }
}

/// The command that calls an operation.
fn curl(method: &str, path: &str, operation: &Value, body: Option<&Body>) -> String {
    let mut command = match method {
        "get" => format!("curl -s \"localhost:7070{path}\""),
        method => format!("curl -s -X {} \"localhost:7070{path}\"", method.to_uppercase()),
    };
    let is_public = operation["security"].as_array().is_some_and(Vec::is_empty);
    if !is_public {
        command.push_str(" \\\n    -H \"authorization: Bearer $KEY\"");
    }
    if let Some(body) = body {
        let example = body.example.replace('\'', r"'\''");
        command.push_str(&format!(" \\\n    -H 'content-type: {}' -d '{example}'", body.media));
    }
    command
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_say_what_they_can_be() {
        let document = json!({ "components": { "schemas": {
            "Place": { "type": "object", "properties": { "city": { "type": "string" } } },
            "Mode": { "type": "string", "enum": ["live", "test"] },
        } } });
        let kind = |schema: Value| field(&document, &schema).kind;
        assert_eq!(
            kind(json!({ "type": ["string", "null"], "maxLength": 50 })),
            "string, at most 50 characters or null"
        );
        assert_eq!(
            kind(json!({ "type": "array", "items": { "$ref": "#/components/schemas/Place" } })),
            "list of Place"
        );
        let place = json!({ "anyOf": [{ "$ref": "#/components/schemas/Mode" }, { "type": "null" }] });
        assert_eq!(kind(place), "live | test or null");
        let linked = field(&document, &json!({ "$ref": "#/components/schemas/Place" }));
        assert_eq!((linked.kind.as_str(), linked.schema.as_deref()), ("Place", Some("Place")));
    }

    #[test]
    fn problems_are_read_from_the_description_of_an_answer() {
        let found = problems_of("422", "`invalid`: Invalid fields. `event-id-reused`: Event id reused.");
        let shown: Vec<_> = found.iter().map(|problem| (problem.slug.as_str(), problem.title.as_str())).collect();
        assert_eq!(shown, [("invalid", "Invalid fields"), ("event-id-reused", "Event id reused")]);
    }

    #[test]
    fn a_command_quotes_its_body() {
        let body = Body {
            status: String::new(),
            schema: None,
            media: "application/json".to_owned(),
            fields: Vec::new(),
            example: r#"{"name":"Ada's"}"#.to_owned(),
        };
        let command = curl("post", "/api/keys", &json!({}), Some(&body));
        assert!(command.contains(r#"-X POST "localhost:7070/api/keys""#), "{command}");
        assert!(command.ends_with(r#"-d '{"name":"Ada'\''s"}'"#), "{command}");
    }
}
