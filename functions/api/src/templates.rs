//! Templates over HTTP: the tenant's own, and the built-in ones.

use std::collections::BTreeMap;

use application::templates::{
    self, CheckedContent, ContentFault, NewTemplate, TemplateChange, TemplateContent, TemplateError, VisibleTemplate,
};
use application::{Caller, ExecuteError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::message::RenderedMessage;
use domain::render::{CompiledTemplate, RenderError, RenderInput, TemplatePart, render};
use domain::templates::{DEFAULT_LOCALE, Rejection, SystemTemplate, Template, TemplateVersion, all};
use events::{Channel, MessageType, TemplateRef};
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::headers::{if_match, json_with_etag};
use crate::message_body::read_type;
use crate::query::QueryParams;
use crate::{Api, Shared, json, read_body};

/// Maximum length of a body, in characters.
const MAX_BODY: usize = 100_000;
const MAX_SUBJECT: usize = 500;
/// Maximum number of variables that a template may declare.
const MAX_VARIABLES: usize = 200;

fn show_version(version: &TemplateVersion) -> Value {
    json!({
        "version": version.version,
        "availableVariables": version.variables,
        "createdAt": show_time(version.at),
        "createdBy": version.by,
    })
}

fn present_tenant_template(own: &Template) -> Value {
    json!({
        "id": own.id,
        "code": own.code,
        "channel": own.channel,
        "locale": own.locale,
        "type": own.kind,
        "name": own.name,
        "description": own.description,
        "version": own.latest.version,
        "availableVariables": own.latest.variables,
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
    compiled.map_err(|(_, error)| Problem::new(ProblemKind::Internal, error.to_string()))
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

fn with_content(mut shown: Value, text: &TemplateContent) -> Value {
    shown["subjectTemplate"] = json!(text.subject);
    shown["bodyTemplate"] = json!(text.body);
    shown
}

fn system_content(builtin: &SystemTemplate) -> TemplateContent {
    TemplateContent { subject: builtin.subject.map(str::to_owned), body: builtin.body.to_owned() }
}

/// An error in a part of the content, at its field.
fn field_error(part: TemplatePart, error: &RenderError) -> FieldError {
    let field = match part {
        TemplatePart::Subject => "subjectTemplate",
        TemplatePart::Body => "bodyTemplate",
    };
    FieldError { pointer: format!("/{field}"), code: error.kind(), detail: format!("{field}: {error}.") }
}

/// Checks content, and adds its errors.
fn check(
    fields: &mut BodyReader,
    channel: Channel,
    content: TemplateContent,
    declared: Option<Vec<String>>,
) -> Option<CheckedContent> {
    let faults = match CheckedContent::new(channel, content, declared) {
        Ok(checked) => return Some(checked),
        Err(faults) => faults,
    };
    for fault in faults {
        match fault {
            ContentFault::SubjectMissing => {
                fields.add_error("subjectTemplate", "required", "An email template needs a subjectTemplate.");
            }
            ContentFault::SubjectNotAllowed => {
                fields.add_error("subjectTemplate", "no_subject", "Only an email template can have a subject.");
            }
            ContentFault::Part(part, error) => fields.push(field_error(part, &error)),
            ContentFault::Undeclared(names) => {
                let names = names.join(", ");
                let detail = format!("The template uses variables that availableVariables does not name: {names}.");
                fields.add_error("availableVariables", "unknown_variable", detail);
            }
        }
    }
    None
}

fn read_variables(fields: &mut BodyReader) -> Option<Vec<String>> {
    if fields.is_null("availableVariables") || !fields.has("availableVariables") {
        return None;
    }
    let given = fields.list("availableVariables", MAX_VARIABLES);
    let names: Option<Vec<String>> = given.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let is_name = |name: &String| !name.is_empty() && name.len() <= 100 && !name.contains(char::is_whitespace);
    let names = names.filter(|names| names.iter().all(is_name));
    if names.is_none() {
        fields.add_error("availableVariables", "not_names", "availableVariables must be a list of names.");
    }
    names
}

fn read_locale(fields: &mut BodyReader) -> Option<String> {
    let locale = fields.text("locale", 35)?;
    let is_tag =
        locale.split('-').all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !is_tag && locale != DEFAULT_LOCALE {
        fields.add_error("locale", "not_a_locale", "locale must be a language tag such as es or es-MX, or default.");
        return None;
    }
    Some(locale)
}

fn read_code(fields: &mut BodyReader) -> Option<String> {
    let code = fields.text("code", 100)?;
    let is_code = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if !is_code || code.starts_with("tpl_") {
        fields.add_error("code", "not_a_code", "code may contain a-z, 0-9, _ and -, such as invoice or renewal_offer.");
        return None;
    }
    Some(code)
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
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
    // A missing body is an error already, so it is checked as an empty one.
    let content = channel.and_then(|channel| {
        let content = TemplateContent { subject, body: body.unwrap_or_default() };
        check(&mut fields, channel, content, declared)
    });
    fields.finish()?;
    let (Some(name), Some(code), Some(kind), Some(content)) = (name, code, kind, content) else {
        return Err(missing());
    };
    let text = content.content().clone();
    let new = NewTemplate { code, locale, kind, name, description, content, is_active };
    let own = templates::create(&api.app, &caller, new).await?;
    Ok(json_with_etag(StatusCode::CREATED, &with_content(present_tenant_template(&own), &text), "version"))
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let kind = query.choice("type", &MessageType::names());
    let active: Option<bool> = query.choice("isActive", &["true", "false"]);
    let (locale, code) = (query.text("locale"), query.text("code"));
    query.finish()?;
    let own = templates::list(&api.app, &caller).await?;
    let mut shown: Vec<Value> = own.iter().map(present_tenant_template).collect();
    shown.extend(all().iter().map(show_system).collect::<Result<Vec<_>, _>>()?);
    let is = |asked: &Option<String>, has: &Value| asked.as_deref().is_none_or(|asked| has == asked);
    let usage = templates::usage(&api.app, &caller).await?;
    shown.iter_mut().for_each(|one| add_usage(one, &usage));
    shown.retain(|one| {
        (is(&channel, &one["channel"]) || one["channel"].is_null())
            && is(&kind, &one["type"])
            && is(&locale, &one["locale"])
            && is(&code, &one["code"])
            && active.is_none_or(|active| one["isActive"] == active)
    });
    Ok(json(StatusCode::OK, &json!({ "templates": shown })))
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let version = query.number("version", 1..=u32::MAX);
    query.finish()?;
    let mut shown = match templates::find(&api.app, &caller, &id).await? {
        VisibleTemplate::BuiltIn(builtin) if version.is_none_or(|version| version == builtin.version) => {
            with_content(show_system(builtin)?, &system_content(builtin))
        }
        VisibleTemplate::BuiltIn(_) => return Err(TemplateError::NoVersion.into()),
        VisibleTemplate::Own(own) => {
            let (version, text) = templates::version(&api.app, &caller, &own, version).await?;
            let mut shown = with_content(present_tenant_template(&own), &text);
            shown["version"] = json!(version.version);
            shown["availableVariables"] = json!(version.variables);
            shown
        }
    };
    add_usage(&mut shown, &templates::usage(&api.app, &caller).await?);
    Ok(json_with_etag(StatusCode::OK, &shown, "version"))
}

fn add_usage(shown: &mut Value, usage: &BTreeMap<String, i64>) {
    let used = shown["id"].as_str().and_then(|id| usage.get(id)).copied();
    shown["usageCount"] = json!(used.unwrap_or(0));
}

/// Newest first.
pub(crate) async fn versions(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let shown: Vec<Value> = match templates::find(&api.app, &caller, &id).await? {
        VisibleTemplate::BuiltIn(builtin) => vec![json!({ "version": builtin.version })],
        VisibleTemplate::Own(_) => {
            templates::versions(&api.app, &caller, &id).await?.iter().rev().map(show_version).collect()
        }
    };
    Ok(json(StatusCode::OK, &json!({ "id": id, "versions": shown })))
}

/// A missing field does not change. New content is a new version; messages keep the version that they were accepted
/// with.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let own = templates::find_own(&api.app, &caller, &id).await?;
    let expected = if_match(&headers, "a template's")?;
    let (latest, old) = templates::version(&api.app, &caller, &own, None).await?;
    let name = fields.reference("name", 255);
    let kind = read_type(&mut fields);
    let description = fields.text("description", 1_000);
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    let body = fields.text("bodyTemplate", MAX_BODY);
    let declared = read_variables(&mut fields);
    let is_active = fields.flag("isActive");
    let is_other = subject.is_some() || body.is_some() || declared.is_some();
    let text = TemplateContent { subject: subject.or(old.subject), body: body.unwrap_or(old.body) };
    let content = if is_other { check(&mut fields, own.channel, text.clone(), declared) } else { None };
    fields.finish()?;
    // Missing parts are taken from the version just read, so that must still be the latest.
    let base = expected.or(content.as_ref().map(|_| latest.version));
    let change = TemplateChange { expected: base, kind, name, description, content, is_active };
    let changed = templates::change(&api.app, &caller, &id, change).await;
    let own = changed.map_err(|error| match error {
        TemplateError::Execute(ExecuteError::Rejected(Rejection::Changed(latest))) if expected.is_some() => {
            Problem::new(ProblemKind::PreconditionFailed, format!("The newest version is {latest}."))
        }
        error => error.into(),
    })?;
    Ok(json_with_etag(StatusCode::OK, &with_content(present_tenant_template(&own), &text), "version"))
}

async fn set_active(api: &Api, caller: &Caller, id: &str, is_active: bool) -> Result<Response, Problem> {
    templates::find_own(&api.app, caller, id).await?;
    let change = TemplateChange { is_active: Some(is_active), ..TemplateChange::default() };
    let own = templates::change(&api.app, caller, id, change).await?;
    Ok(json_with_etag(StatusCode::OK, &present_tenant_template(&own), "version"))
}

pub(crate) async fn activate(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    set_active(&api, &caller, &id, true).await
}

pub(crate) async fn deactivate(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    set_active(&api, &caller, &id, false).await
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    templates::find_own(&api.app, &caller, &id).await?;
    templates::delete(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unsaved_template<'a>(
    channel: Channel,
    pinned: &'a TemplateRef,
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
    let detail = format!("The message cannot be rendered: {error}.");
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), code: error.kind(), detail }])
}

/// Renders a template exactly as it would be sent.
pub(crate) async fn preview(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let variables = fields.object("variables").unwrap_or_else(|| json!({}));
    let locale = read_locale(&mut fields);
    let version = fields.number("version", 1..=u64::from(u32::MAX)).and_then(|version| u32::try_from(version).ok());
    let channel: Option<Channel> = fields.choice("channel", &Channel::names());
    fields.finish()?;
    let (of, compiled, pinned, written_in) = match templates::find(&api.app, &caller, &id).await? {
        VisibleTemplate::BuiltIn(builtin) => {
            let pinned = TemplateRef { id: id.clone(), version: builtin.version, text: None };
            (builtin.channel, compiled(builtin)?, pinned, builtin.locale.to_owned())
        }
        VisibleTemplate::Own(own) => {
            let (version, TemplateContent { subject, body }) =
                templates::version(&api.app, &caller, &own, version).await?;
            let compiled = CompiledTemplate::new(own.channel, subject.as_deref(), &body);
            let compiled = compiled.map_err(|(part, error)| Problem::invalid(vec![field_error(part, &error)]))?;
            let pinned = TemplateRef { id: id.clone(), version: version.version, text: Some(version.text) };
            (Some(own.channel), compiled, pinned, own.locale)
        }
    };
    let channel = of.or(channel).unwrap_or(Channel::Email);
    let locale = locale.or(Some(written_in).filter(|written_in| written_in != DEFAULT_LOCALE));
    let message = render(&unsaved_template(channel, &pinned, &compiled, &variables, locale.as_deref()));
    Ok(json(StatusCode::OK, &show_message(&message.map_err(|error| render_problem(&error))?)))
}

/// Checks content and returns the variables that it uses. With `variables`, it is rendered too.
pub(crate) async fn validate(body: Body) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
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
        let pinned = TemplateRef { id: String::new(), version: 0, text: None };
        match render(&unsaved_template(channel, &pinned, &compiled, variables, locale.as_deref())) {
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
