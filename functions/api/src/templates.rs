//! Templates: the tenant's own as a journal of decisions, the built-in ones beside them. One engine for sending, preview
//! and validation.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::journal::{self, JournalError};
use application::library::{Text, template_content_key, text};
use application::problem::{FieldError, Kind, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::message::RenderedMessage;
use domain::ports::{Principal, ViewScope};
use domain::render::{CompiledTemplate, RenderError, RenderInput, TemplatePart, render};
use domain::templates::{self, Command, DEFAULT_LOCALE, Rejection, SystemTemplate, Template, Templates, Version};
use events::{Channel, MessageType};
use serde_json::{Value, json};

use crate::fields::{Fields, invalid, missing, show_time};
use crate::message_body::read_type;
use crate::read::Query;
use crate::{Api, Shared, json, read_body};

/// Characters of a body, at most.
const MAX_BODY: usize = 100_000;
const MAX_SUBJECT: usize = 500;
/// Names that a template may declare, at most.
const MAX_VARIABLES: usize = 200;

fn no_template() -> Problem {
    Problem::new(Kind::NotFound, "There is no such template; GET /api/communication-templates lists them.")
}

fn system() -> Problem {
    let why = "A system template is part of Tidings: make one of your own with the same code, and it comes first.";
    Problem::new(Kind::Conflict, why)
}

/// One that the caller may see.
enum VisibleTemplate {
    Own(Box<Template>),
    System(&'static SystemTemplate),
}

impl Api {
    async fn templates(&self, caller: &Principal) -> Result<Templates, Problem> {
        Ok(journal::templates(&*self.own.journals, &caller.tenant).await?)
    }

    async fn change_templates(
        &self,
        caller: &Principal,
        command: Command,
    ) -> Result<Templates, JournalError<Rejection>> {
        let ports = (&*self.own.journals, &*self.host);
        let actor = caller.actor_id();
        let templates = journal::change_templates(ports, &caller.tenant, &actor, command).await?;
        self.library.know(&caller.tenant, Arc::new(templates.clone()), self.host.now());
        Ok(templates)
    }

    async fn template(&self, caller: &Principal, id: &str) -> Result<VisibleTemplate, Problem> {
        if let Some(builtin) = templates::find(id) {
            return Ok(VisibleTemplate::System(builtin));
        }
        let own = self.templates(caller).await?.all.remove(id);
        own.map(|own| VisibleTemplate::Own(Box::new(own))).ok_or_else(no_template)
    }

    async fn tenant_template(&self, caller: &Principal, id: &str) -> Result<Template, Problem> {
        match self.template(caller, id).await? {
            VisibleTemplate::Own(own) => Ok(*own),
            VisibleTemplate::System(_) => Err(system()),
        }
    }

    async fn text(&self, caller: &Principal, template: &Template, version: u32) -> Result<Text, Problem> {
        let none = || Problem::new(Kind::NotFound, "There is no such version of it.");
        let of_it = template.versions.iter().find(|known| known.version == version).ok_or_else(none)?;
        text(&self.own, &caller.tenant, &template.id, &of_it.text).await?.ok_or_else(none)
    }

    /// How often each was used, by its id.
    async fn usage(&self, caller: &Principal) -> Result<BTreeMap<String, i64>, Problem> {
        let view = ViewScope { tenant: caller.tenant.clone(), mode: caller.mode };
        let (totals, _) = self.views.total_counters(&view).await?;
        let of = |(name, count): (String, i64)| Some((name.strip_prefix("template.")?.to_owned(), count));
        Ok(totals.into_iter().filter_map(of).collect())
    }

    /// Words first, then the decision that names them: a crash between leaves words that nobody names. Their hash.
    async fn store_content(&self, caller: &Principal, template: &str, text: &Text) -> Result<String, Problem> {
        let (hash, body) = (text.hash(), serde_json::to_string(text).unwrap_or_default());
        self.own.documents.put_document(&template_content_key(&caller.tenant, template, &hash), &body, None).await?;
        Ok(hash)
    }
}

fn show_version(version: &Version) -> Value {
    json!({
        "version": version.version,
        "availableVariables": version.variables,
        "createdAt": show_time(version.at),
        "createdBy": version.by,
    })
}

fn present_tenant_template(own: &Template) -> Value {
    let newest = own.newest();
    json!({
        "id": own.id,
        "code": own.code,
        "channel": own.channel,
        "locale": own.locale,
        "type": own.kind,
        "name": own.name,
        "description": own.description,
        "version": newest.map(|newest| newest.version),
        "availableVariables": newest.map(|newest| &newest.variables),
        "isActive": own.is_active,
        "isSystem": false,
        "createdAt": show_time(own.created_at),
        "createdBy": own.created_by,
        "updatedAt": show_time(own.updated_at),
        "updatedBy": own.updated_by,
    })
}

fn compiled(builtin: &SystemTemplate) -> Result<CompiledTemplate, Problem> {
    let channel = builtin.channel.unwrap_or(Channel::Email);
    let compiled = CompiledTemplate::new(channel, builtin.subject, builtin.body);
    compiled.map_err(|(_, error)| Problem::new(Kind::Internal, error.to_string()))
}

fn show_system(builtin: &SystemTemplate) -> Result<Value, Problem> {
    Ok(json!({
        "id": builtin.id,
        "code": builtin.code,
        "channel": builtin.channel,
        "locale": builtin.locale,
        "type": builtin.kind,
        "name": builtin.name,
        "description": Value::Null,
        "version": builtin.version,
        "availableVariables": compiled(builtin)?.variables().0,
        "isActive": true,
        "isSystem": true,
    }))
}

fn with_content(mut shown: Value, text: &Text) -> Value {
    shown["subjectTemplate"] = json!(text.subject);
    shown["bodyTemplate"] = json!(text.body);
    shown
}

fn text_of(builtin: &SystemTemplate) -> Text {
    Text { subject: builtin.subject.map(str::to_owned), body: builtin.body.to_owned() }
}

/// The answer, with the version as its entity tag.
fn with_etag(status: StatusCode, body: &Value) -> Response {
    let mut response = json(status, body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", body["version"])) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What is wrong with words, by their field.
fn field_error(part: TemplatePart, error: &RenderError) -> FieldError {
    let field = match part {
        TemplatePart::Subject => "subjectTemplate",
        TemplatePart::Body => "bodyTemplate",
    };
    FieldError { pointer: format!("/{field}"), code: error.kind(), detail: format!("{field}: {error}.") }
}

/// Words that compile, and the variables they speak of. Where the caller says which there are, others are refused.
fn check(fields: &mut Fields, channel: Channel, text: &Text, declared: Option<Vec<String>>) -> Option<Vec<String>> {
    let compiled = match CompiledTemplate::new(channel, text.subject.as_deref(), &text.body) {
        Ok(compiled) => compiled,
        Err((part, error)) => {
            fields.add_error(field_error(part, &error));
            return None;
        }
    };
    let (used, _) = compiled.variables();
    let Some(declared) = declared else { return Some(used) };
    let unknown: Vec<&String> = used.iter().filter(|name| !declared.contains(name)).collect();
    if !unknown.is_empty() {
        let names = unknown.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let detail = format!("The template speaks of variables that availableVariables does not name: {names}.");
        fields.wrong("availableVariables", "unknown_variable", detail);
    }
    Some(declared)
}

fn read_variables(fields: &mut Fields) -> Option<Vec<String>> {
    if !fields.has("availableVariables") {
        return None;
    }
    let given = fields.list("availableVariables", MAX_VARIABLES);
    let names: Option<Vec<String>> = given.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let is_name = |name: &String| !name.is_empty() && name.len() <= 100 && !name.contains(char::is_whitespace);
    let names = names.filter(|names| names.iter().all(is_name));
    if names.is_none() {
        fields.wrong("availableVariables", "not_names", "availableVariables is a list of names.");
    }
    names
}

fn read_locale(fields: &mut Fields) -> Option<String> {
    let locale = fields.text("locale", 35)?;
    let is_tag =
        locale.split('-').all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !is_tag && locale != DEFAULT_LOCALE {
        fields.wrong("locale", "not_a_locale", "locale is a language tag such as es or es-MX, or default.");
        return None;
    }
    Some(locale)
}

fn read_code(fields: &mut Fields) -> Option<String> {
    let code = fields.text("code", 100)?;
    let is_code = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if !is_code || code.starts_with("tpl_") {
        fields.wrong("code", "not_a_code", "code is made of a-z, 0-9, _ and -, such as invoice or renewal_offer.");
        return None;
    }
    Some(code)
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let name = fields.required("name", |f| f.reference("name", 255));
    let code = fields.required("code", read_code);
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let kind: Option<MessageType> = fields.required("type", read_type);
    let locale = read_locale(&mut fields).unwrap_or_else(|| DEFAULT_LOCALE.to_owned());
    let description = fields.text("description", 1_000);
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    let body = fields.required("bodyTemplate", |f| f.text("bodyTemplate", MAX_BODY));
    let declared = read_variables(&mut fields);
    let is_active = fields.flag("isActive").unwrap_or(true);
    match channel {
        Some(Channel::Email) if subject.is_none() => {
            fields.wrong("subjectTemplate", "required", "An email's template needs a subjectTemplate.");
        }
        Some(other) if other != Channel::Email && subject.is_some() => {
            fields.wrong("subjectTemplate", "no_subject", "Only an email has a subject.");
        }
        _ => (),
    }
    let text = body.map(|body| Text { subject, body });
    let variables = match (channel, &text) {
        (Some(channel), Some(text)) => check(&mut fields, channel, text, declared),
        _ => None,
    };
    fields.finish()?;
    let (Some(name), Some(code), Some(channel), Some(kind), Some(text), Some(variables)) =
        (name, code, channel, kind, text, variables)
    else {
        return Err(missing());
    };
    let id = templates::template_id(&code, channel, &locale);
    let hash = api.store_content(&caller, &id, &text).await?;
    let command = Command::Create { code, channel, locale, kind, name, description, text: hash, variables, is_active };
    let own = api.change_templates(&caller, command).await?.all.remove(&id).ok_or_else(no_template)?;
    Ok(with_etag(StatusCode::CREATED, &with_content(present_tenant_template(&own), &text)))
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let kind = query.choice("type", &MessageType::names());
    let active = query.choice("isActive", &["true", "false"]).map(|active| active == "true");
    let (locale, code) = (query.text("locale"), query.text("code"));
    query.finish()?;
    let mut shown: Vec<Value> = api.templates(&caller).await?.all.values().map(present_tenant_template).collect();
    shown.extend(templates::all().iter().map(show_system).collect::<Result<Vec<_>, _>>()?);
    let is = |asked: &Option<String>, has: &Value| asked.as_deref().is_none_or(|asked| has == asked);
    let usage = api.usage(&caller).await?;
    shown.iter_mut().for_each(|one| count(one, &usage));
    shown.retain(|one| {
        (is(&channel, &one["channel"]) || one["channel"].is_null())
            && is(&kind, &one["type"])
            && is(&locale, &one["locale"])
            && is(&code, &one["code"])
            && active.is_none_or(|active| one["isActive"] == active)
    });
    Ok(json(StatusCode::OK, &json!({ "templates": shown })))
}

pub(crate) async fn one(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let version = query.number("version", 1..=u32::MAX);
    query.finish()?;
    let mut shown = match api.template(&caller, &id).await? {
        VisibleTemplate::System(builtin) if version.is_none_or(|version| version == builtin.version) => {
            with_content(show_system(builtin)?, &text_of(builtin))
        }
        VisibleTemplate::System(_) => return Err(Problem::new(Kind::NotFound, "There is no such version of it.")),
        VisibleTemplate::Own(own) => {
            let version = version.or(own.newest().map(|newest| newest.version)).unwrap_or(1);
            let mut shown = with_content(present_tenant_template(&own), &api.text(&caller, &own, version).await?);
            let of_it = own.versions.iter().find(|known| known.version == version).ok_or_else(no_template)?;
            shown["version"] = json!(version);
            shown["availableVariables"] = json!(of_it.variables);
            shown
        }
    };
    count(&mut shown, &api.usage(&caller).await?);
    Ok(with_etag(StatusCode::OK, &shown))
}

fn count(shown: &mut Value, usage: &BTreeMap<String, i64>) {
    let used = shown["id"].as_str().and_then(|id| usage.get(id)).copied();
    shown["usageCount"] = json!(used.unwrap_or(0));
}

/// Newest first.
pub(crate) async fn versions(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let shown: Vec<Value> = match api.template(&caller, &id).await? {
        VisibleTemplate::System(builtin) => vec![json!({ "version": builtin.version })],
        VisibleTemplate::Own(own) => own.versions.iter().rev().map(show_version).collect(),
    };
    Ok(json(StatusCode::OK, &json!({ "id": id, "versions": shown })))
}

/// `If-Match: "3"`, or none.
fn expected(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let Some(given) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = given.to_str().unwrap_or_default().trim().trim_matches('"');
    match text {
        "*" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Problem::new(Kind::Malformed, "If-Match is the ETag of a template, such as \"3\".")),
    }
}

/// What is not given stays. New words are a new version; messages keep the one that they were accepted with.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let own = api.tenant_template(&caller, &id).await?;
    let expected = expected(&headers)?;
    let newest = own.newest().map_or(1, |newest| newest.version);
    let old = api.text(&caller, &own, newest).await?;
    let name = fields.reference("name", 255);
    let kind = read_type(&mut fields);
    let description = fields.text("description", 1_000);
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    if subject.is_some() && own.channel != Channel::Email {
        fields.wrong("subjectTemplate", "no_subject", "Only an email has a subject.");
    }
    let body = fields.text("bodyTemplate", MAX_BODY);
    let declared = read_variables(&mut fields);
    let is_active = fields.flag("isActive");
    let is_other = subject.is_some() || body.is_some() || declared.is_some();
    let text = Text { subject: subject.or(old.subject), body: body.unwrap_or(old.body) };
    let variables = check(&mut fields, own.channel, &text, declared);
    fields.finish()?;
    let words = match variables.filter(|_| is_other) {
        Some(variables) => Some((api.store_content(&caller, &id, &text).await?, variables)),
        None => None,
    };
    // What was not given was taken from the version just read: it must still be the newest.
    let guard = expected.or(words.as_ref().map(|_| newest));
    let command = Command::Change { template: id.clone(), expected: guard, kind, name, description, text: words };
    api.change_templates(&caller, command).await.map_err(|error| match error {
        JournalError::Rejected(Rejection::Changed(newest)) if expected.is_some() => {
            Problem::new(Kind::PreconditionFailed, format!("Version {newest} is the newest."))
        }
        error => error.into(),
    })?;
    if let Some(is_active) = is_active {
        let template = id.clone();
        let command = if is_active { Command::Activate { template } } else { Command::Deactivate { template } };
        api.change_templates(&caller, command).await?;
    }
    let own = api.tenant_template(&caller, &id).await?;
    Ok(with_etag(StatusCode::OK, &with_content(present_tenant_template(&own), &text)))
}

async fn switch(api: &Api, caller: &Principal, id: &str, command: Command) -> Result<Response, Problem> {
    api.tenant_template(caller, id).await?;
    let own = api.change_templates(caller, command).await?.all.remove(id).ok_or_else(no_template)?;
    Ok(with_etag(StatusCode::OK, &present_tenant_template(&own)))
}

pub(crate) async fn activate(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &id, Command::Activate { template: id.clone() }).await
}

pub(crate) async fn deactivate(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    switch(&api, &caller, &id, Command::Deactivate { template: id.clone() }).await
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api.tenant_template(&caller, &id).await?;
    api.change_templates(&caller, Command::Delete { template: id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn draft<'a>(
    channel: Channel,
    pinned: &'a events::TemplateRef,
    text: &'a CompiledTemplate,
    variables: &'a Value,
    locale: Option<&'a str>,
) -> RenderInput<'a> {
    RenderInput {
        channel,
        template: Some(pinned),
        text: Some(text),
        subject: None,
        content: None,
        variables: Some(variables),
        attachments: &[],
        locale,
    }
}

fn show_message(message: &RenderedMessage) -> Value {
    json!({
        "subject": message.subject,
        "body": message.html.as_ref().unwrap_or(&message.text),
        "text": message.text,
        "html": message.html,
        "segments": message.segments.map(|s| json!({ "encoding": s.encoding.as_str(), "count": s.count })),
    })
}

fn render_problem(error: &RenderError) -> Problem {
    let pointer = match error {
        RenderError::MissingVariables(_) | RenderError::Template(_) => "/variables",
        _ => "/bodyTemplate",
    };
    let detail = format!("Cannot be rendered: {error}.");
    invalid(vec![FieldError { pointer: pointer.to_owned(), code: error.kind(), detail }])
}

/// Exactly what would be sent.
pub(crate) async fn preview(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse_optional(&read_body(body).await?)?;
    let variables = fields.object("variables").unwrap_or_else(|| json!({}));
    let locale = read_locale(&mut fields);
    let version = fields.number("version", 1..=u64::from(u32::MAX)).and_then(|version| u32::try_from(version).ok());
    let channel: Option<Channel> = fields.choice("channel", &Channel::names());
    fields.finish()?;
    let (of, compiled, pinned, written_in) = match api.template(&caller, &id).await? {
        VisibleTemplate::System(builtin) => {
            let pinned = events::TemplateRef { id: id.clone(), version: builtin.version };
            (builtin.channel, compiled(builtin)?, pinned, builtin.locale.to_owned())
        }
        VisibleTemplate::Own(own) => {
            let version = version.or(own.newest().map(|newest| newest.version)).unwrap_or(1);
            let Text { subject, body } = api.text(&caller, &own, version).await?;
            let compiled = CompiledTemplate::new(own.channel, subject.as_deref(), &body);
            let compiled = compiled.map_err(|(part, error)| invalid(vec![field_error(part, &error)]))?;
            (Some(own.channel), compiled, events::TemplateRef { id: id.clone(), version }, own.locale)
        }
    };
    let channel = of.or(channel).unwrap_or(Channel::Email);
    let locale = locale.or(Some(written_in).filter(|written_in| written_in != DEFAULT_LOCALE));
    let message = render(&draft(channel, &pinned, &compiled, &variables, locale.as_deref()));
    Ok(json(StatusCode::OK, &show_message(&message.map_err(|error| render_problem(&error))?)))
}

/// Whether words would be taken, and what they need; with `variables`, what they say too.
pub(crate) async fn validate(body: Body) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    let body = fields.required("bodyTemplate", |f| f.text("bodyTemplate", MAX_BODY));
    let variables = fields.object("variables");
    let locale = read_locale(&mut fields);
    fields.finish()?;
    let (Some(channel), Some(body)) = (channel, body) else {
        return Err(missing());
    };
    let compiled = match CompiledTemplate::new(channel, subject.as_deref(), &body) {
        Ok(compiled) => compiled,
        Err((part, error)) => {
            let FieldError { pointer, code, detail } = field_error(part, &error);
            let error = json!({ "pointer": pointer, "code": code, "detail": detail });
            return Ok(json(StatusCode::OK, &json!({ "valid": false, "errors": [error] })));
        }
    };
    let (all, required) = compiled.variables();
    let mut answer = json!({
        "valid": true, "errors": [], "availableVariables": all, "requiredVariables": required,
    });
    if let Some(variables) = &variables {
        let pinned = events::TemplateRef { id: String::new(), version: 0 };
        match render(&draft(channel, &pinned, &compiled, variables, locale.as_deref())) {
            Ok(message) => answer["rendered"] = show_message(&message),
            Err(error) => {
                let pointer = "/variables";
                answer["valid"] = json!(false);
                answer["errors"] = json!([{ "pointer": pointer, "code": error.kind(), "detail": format!("{error}.") }]);
            }
        }
    }
    Ok(json(StatusCode::OK, &answer))
}
