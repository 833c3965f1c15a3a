//! The OpenAPI document and the page that shows it. Both are made from the routes, the permissions, the problems and
//! the values that the code itself uses.

mod collection;
mod event_schemas;
mod invoice_schemas;
mod notation;
mod operation;
mod operations;
mod queue_schemas;
mod schemas;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::access::Reach;
use problem::{Problem, ProblemKind};
use serde_json::{Map, Value, json};

use crate::routes::{ROUTES, Route};
use operation::Operation;
use operations::OPERATIONS;

/// The description of a route's operation.
fn operation(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.id == route.operation)
}

/// Whether an operation has no parameters in the query string.
pub(crate) fn has_no_query(route: &Route) -> bool {
    operation(route).is_none_or(|operation| operation.query.is_empty())
}

/// Whether the route is another name of an operation that an earlier route has.
fn is_alias(route: &Route) -> bool {
    let first = ROUTES.iter().find(|other| other.operation == route.operation);
    first.is_some_and(|first| (first.method, first.path) != (route.method, route.path))
}

/// The first part of a path that says what it is about.
fn tag(path: &str) -> &str {
    let path = path.strip_prefix("/api/").unwrap_or(path).trim_start_matches("v1/communication/");
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    name.strip_prefix("communication-").unwrap_or(name)
}

/// Parameters in the short notation.
fn parameters(notation: &str, place: &str) -> Vec<Value> {
    let read = notation::object(notation);
    let required = read["required"].as_array().cloned().unwrap_or_default();
    let one = |(name, schema): (&String, &Value)| json!({ "name": name, "in": place, "required": required.contains(&json!(name)), "schema": schema });
    read["properties"].as_object().into_iter().flatten().map(one).collect()
}

fn content(kind: &str, schema: &str, example: Option<Value>) -> Value {
    let mut media = match schema {
        "" => json!({}),
        schema => json!({ "schema": notation::schema(schema) }),
    };
    if let Some(example) = example {
        media["example"] = example;
    }
    json!({ kind: media })
}

/// The content of a body or a response: a media type, or the schema of JSON.
fn body(named: &str, example: Option<Value>) -> Value {
    if named.contains('/') { content(named, "string", example) } else { content("application/json", named, example) }
}

/// Recorded example responses, which `tests/support/openapi_contract.rs` writes.
fn examples() -> &'static Map<String, Value> {
    static EXAMPLES: OnceLock<Map<String, Value>> = OnceLock::new();
    EXAMPLES.get_or_init(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default())
}

fn present(route: &Route, operation: &Operation) -> Value {
    let path = route.path;
    let mut all = Vec::new();
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        all.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    }
    all.extend(parameters(operation.query, "query"));
    all.extend(parameters(operation.headers, "header"));
    let is_public = route.access.is_none();
    let mut kinds = Vec::new();
    if !is_public {
        kinds.extend([
            ProblemKind::Unauthenticated,
            ProblemKind::Forbidden,
            ProblemKind::TooManyRequests,
            ProblemKind::Unavailable,
        ]);
    }
    if path.contains('{') {
        kinds.push(ProblemKind::NotFound);
    }
    if !operation.query.is_empty() || !operation.headers.is_empty() || !operation.body.is_empty() || !is_public {
        kinds.push(ProblemKind::Malformed);
    }
    if !operation.body.is_empty() {
        kinds.extend([ProblemKind::TooLarge, ProblemKind::Invalid]);
    }
    kinds.extend(operation.problems);
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for kind in kinds {
        let (slug, status, title) = kind.slug_status_title();
        let about = format!("`{slug}`: {title}.");
        let example = || Problem::new(kind, format!("{title}.")).body();
        let at = responses.entry(status.as_str().to_owned()).or_insert_with(
            || json!({ "description": "", "content": content("application/problem+json", "Problem", Some(example())) }),
        );
        let so_far = at["description"].as_str().unwrap_or_default().to_owned();
        if !so_far.contains(&about) {
            at["description"] = json!([so_far, about].join(" ").trim());
        }
    }
    for status in [operation.status, operation.also].into_iter().filter(|status| *status > 0) {
        let mut answer = json!({ "description": operation.summary });
        let is_other = status == operation.also && !operation.also_answer.is_empty();
        if is_other {
            answer["content"] = body(operation.also_answer, None);
        } else if !operation.answer.is_empty() {
            answer["content"] = body(operation.answer, examples().get(operation.id).cloned());
        }
        responses.insert(status.to_string(), answer);
    }
    let mut shown = json!({
        "operationId": if is_alias(route) { format!("{}V1", operation.id) } else { operation.id.to_owned() },
        "summary": operation.summary,
        "tags": [tag(path)],
        "parameters": all,
        "responses": responses,
    });
    match route.access {
        Some((permission, reach)) => {
            let restricted = match reach {
                Reach::Scoped => "",
                Reach::Tenant => " Not open to keys for a team.",
                Reach::Everything => " Not open to restricted keys.",
            };
            shown["description"] = json!(format!("Requires the permission `{}`.{restricted}", permission.as_str()));
        }
        None => shown["security"] = json!([]),
    }
    if !operation.body.is_empty() {
        let example = match operation.body.contains('/') {
            true => json!(operation.example),
            false => serde_json::from_str(operation.example).unwrap_or_default(),
        };
        shown["requestBody"] = json!({
            "required": !operation.body_is_optional,
            "content": body(operation.body, Some(example)),
        });
    }
    shown
}

/// The OpenAPI 3.1 document.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut paths: Map<String, Value> = Map::new();
        for route in ROUTES {
            if let Some(operation) = operation(route) {
                let methods = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
                methods[route.method.to_lowercase()] = present(route, operation);
            }
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Tidings",
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": env!("CARGO_PKG_LICENSE") },
                "summary": "Business messages by email, SMS, WhatsApp, Messenger and Telegram, with a full history of each message.",
            },
            "servers": [{ "url": "/" }],
            "security": [{ "apiKey": [] }],
            "paths": paths,
            "components": {
                "schemas": schemas::all(),
                "securitySchemes": { "apiKey": { "type": "http", "scheme": "bearer", "description": "An API key (td_…), or a token of the deployment's identity provider (JWT)" } },
            },
        })
    })
}

pub(crate) async fn openapi() -> Response {
    crate::json(StatusCode::OK, document())
}

pub(crate) async fn postman() -> Response {
    crate::json(StatusCode::OK, &collection::collection(document()))
}

/// The documentation page, which is created once.
pub(crate) async fn page() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::OK, headers, PAGE.get_or_init(write_page).as_str()).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A type in the short notation, such as `string` or `[Channel]`, with links to the schemas it names.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    if let Some(items) = schema.get("items") {
        return format!("[{}]", kind(items));
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("<code>{word}</code>"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object()) {
        return format!("names to {}", kind(of));
    }
    let named = |kind: &Value| match kind {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    let mut text = named(&schema["type"]);
    if let Some(format) = schema["format"].as_str() {
        text = text.replace("string", format);
    }
    if let Some(most) = schema["maxLength"].as_u64() {
        let _ = write!(text, ", at most {most}");
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        let _ = write!(text, ", {least} to {most}");
    }
    text
}

fn write_page() -> String {
    let document = document();
    let mut tags: BTreeMap<&str, String> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |name: &str| escape(operation[name].as_str().unwrap_or_default());
            let into = tags.entry(operation["tags"][0].as_str().unwrap_or_default()).or_default();
            let _ = write!(
                into,
                "<details id=\"{}\"><summary><code><b>{}</b> {path}</code> {}</summary>\n<p>{}</p>\n",
                text("operationId"),
                method.to_uppercase(),
                text("summary"),
                text("description"),
            );
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            if !parameters.is_empty() {
                into.push_str("<table><tr><th>Parameter<th>In<th>Type</tr>\n");
                for one in parameters {
                    let (name, place) =
                        (one["name"].as_str().unwrap_or_default(), one["in"].as_str().unwrap_or_default());
                    let _ = writeln!(into, "<tr><td><code>{name}</code><td>{place}<td>{}</tr>", kind(&one["schema"]));
                }
                into.push_str("</table>\n");
            }
            for (media, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let example = match &body["example"] {
                    Value::String(text) => text.clone(),
                    other => serde_json::to_string_pretty(other).unwrap_or_default(),
                };
                let _ = write!(
                    into,
                    "<p>Body: {} (<code>{media}</code>)</p>\n<pre>{}</pre>\n",
                    kind(&body["schema"]),
                    escape(&example),
                );
            }
            into.push_str("<table><tr><th>Status<th>Response<th>Meaning</tr>\n");
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                let of = answer["content"].as_object().and_then(|content| content.values().next());
                let of = of.map_or_else(String::new, |media| kind(&media["schema"]));
                let about = escape(answer["description"].as_str().unwrap_or_default());
                let _ = writeln!(into, "<tr><td>{status}<td>{of}<td>{about}</tr>");
            }
            into.push_str("</table>\n");
            if let Some(example) = examples().get(operation["operationId"].as_str().unwrap_or_default()) {
                let example = serde_json::to_string_pretty(example).unwrap_or_default();
                let _ = writeln!(into, "<pre>{}</pre>", escape(&example));
            }
            into.push_str("</details>\n");
        }
    }
    let operations: String =
        tags.iter().map(|(tag, text)| format!("<h2 id=\"tag-{tag}\">{tag}</h2>\n{text}")).collect();
    let links: String = tags.keys().map(|tag| format!("<a href=\"#tag-{tag}\">{tag}</a> ")).collect();
    let mut schemas = String::new();
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = writeln!(schemas, "<h3 id=\"{name}\">{name}</h3>");
        let Some(properties) = schema["properties"].as_object() else {
            let _ = writeln!(schemas, "<p>{}</p>", kind(schema));
            continue;
        };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        schemas.push_str("<table>\n");
        for (field, of) in properties {
            let always = if required.contains(&json!(field)) { "" } else { "optional" };
            let _ = writeln!(schemas, "<tr><td><code>{field}</code><td>{}<td>{always}</tr>", kind(of));
        }
        schemas.push_str("</table>\n");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Tidings API</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
         padding:0 1rem}}pre{{overflow:auto;padding:.5rem;border:1px solid}}table{{border-collapse:collapse}}\
         td,th{{text-align:left;padding:.1rem 1rem .1rem 0;vertical-align:top}}summary{{cursor:pointer;padding:.2rem 0}}\
         </style>\n</head>\n<body>\n<main>\n<h1>Tidings API</h1>\n\
         <p>Authentication: <code>Authorization: Bearer td_…</code>. The same as <a href=\"/api/openapi.json\">OpenAPI \
         3.1</a> and as a <a href=\"/api/collection.json\">collection</a> for Postman or Bruno. Errors are problems (RFC 9457).</p>\n<nav>{links}<a href=\"#schemas\">schemas</a></nav>\n{operations}\
         <h2 id=\"schemas\">schemas</h2>\n{schemas}</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_once_and_nothing_else_is() {
        for route in ROUTES {
            assert!(operation(route).is_some(), "{} {} is not described", route.method, route.path);
        }
        for Operation { id, .. } in OPERATIONS {
            assert!(ROUTES.iter().any(|route| route.operation == *id), "{id} has no route");
        }
        let mut ids: Vec<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATIONS.len());
    }

    #[test]
    fn every_answer_has_an_example() {
        let has_none =
            |one: &&Operation| !(one.answer.is_empty() || one.answer.contains('/') || examples().contains_key(one.id));
        let without: Vec<&str> = OPERATIONS.iter().filter(has_none).map(|one| one.id).collect();
        assert!(without.is_empty(), "no example of what these answer: {without:?}");
        for id in examples().keys() {
            assert!(OPERATIONS.iter().any(|operation| operation.id == id), "an example of no operation: {id}");
        }
    }

    #[test]
    fn what_is_named_is_there() {
        let document = document();
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()) {
            assert!(document["components"]["schemas"].get(name).is_some(), "no schema {name}");
        }
        for Operation { body, example, id, .. } in OPERATIONS.iter().filter(|one| !one.body.is_empty()) {
            let is_json = serde_json::from_str::<Value>(example).is_ok_and(|example| example.is_object());
            assert!(is_json || body.contains('/'), "{id}: {example}");
        }
    }
}
