//! Templates over HTTP: the tenant's own, and the built-in ones.

use std::collections::BTreeMap;

use application::templates::{
    self, CheckedContent, ContentFault, NewTemplate, PreviewRequest, TemplateChange, TemplateContent, TemplateError,
    TemplateFault, TemplateFilter, UnsavedTemplate, Validation, VisibleTemplate,
};
use application::{Caller, ExecuteError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::render::{TemplatePart, Warning};
use domain::templates::{DEFAULT_LOCALE, Rejection, SystemTemplate, TemplateVersion};
use events::{Channel, MessageType};
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::headers::{if_match, json_with_etag};
use crate::message_body::read_type;
use crate::query::QueryParams;
use crate::read::read_type_filter;
use crate::template_view::{MAX_BODY, MAX_SUBJECT, present_tenant_template, show_error, show_message, with_content};
use crate::{Api, Shared, json, read_body};

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

fn show_system(builtin: &SystemTemplate) -> Result<Value, Problem> {
    Ok(json!({
        "id": builtin.id,
        "businessId": Value::Null,
        "code": builtin.code,
        "channel": builtin.channel,
        "locale": builtin.locale,
        "type": builtin.kind,
        "name": builtin.name,
        "description": Value::Null,
        "version": builtin.version,
        "availableVariables": templates::builtin_variables(builtin)?,
        "isActive": true,
        "isSystem": true,
        "draft": Value::Null,
    }))
}

fn system_content(builtin: &SystemTemplate) -> TemplateContent {
    TemplateContent { subject: builtin.subject.map(str::to_owned), body: builtin.body.to_owned() }
}

/// Checks content, and adds its errors.
async fn check(
    fields: &mut BodyReader,
    channel: Channel,
    content: TemplateContent,
    declared: Option<Vec<String>>,
) -> Result<Option<CheckedContent>, Problem> {
    let checked = CheckedContent::new(channel, content, declared).await?;
    let add = |fault: ContentFault| fields.push(TemplateFault::Content(fault).into());
    Ok(checked.map_err(|faults| faults.into_iter().for_each(add)).ok())
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
    if !templates::is_locale(&locale) {
        fields.push(TemplateFault::Locale.into());
        return None;
    }
    Some(locale)
}

fn read_code(fields: &mut BodyReader) -> Option<String> {
    let code = fields.text("code", 100)?;
    if !templates::is_code(&code) {
        fields.push(TemplateFault::Code.into());
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
    let text = TemplateContent { subject, body: body.unwrap_or_default() };
    let content = match channel {
        Some(channel) => check(&mut fields, channel, text, declared).await?,
        None => None,
    };
    fields.finish()?;
    let (Some(name), Some(code), Some(kind), Some(content)) = (name, code, kind, content) else {
        return Err(missing());
    };
    let text = content.content().clone();
    let new = NewTemplate { code, locale, kind, name, description, content, is_active };
    let own = templates::create(&api.app, &caller, new).await?;
    Ok(json_with_etag(StatusCode::CREATED, &with_content(present_tenant_template(&caller, &own), &text), "version"))
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let kind = read_type_filter(&mut query);
    let is_active = query.choice("isActive", &["true", "false"]);
    let (locale, code) = (query.text("locale"), query.text("code"));
    query.finish()?;
    let filter = TemplateFilter { channel, kind, locale, code, is_active };
    let found = templates::list(&api.app, &caller, &filter).await?;
    let present = |one: &VisibleTemplate| match one {
        VisibleTemplate::Own(own) => Ok(present_tenant_template(&caller, own)),
        VisibleTemplate::BuiltIn(builtin) => show_system(builtin),
    };
    let mut shown: Vec<Value> = found.iter().map(present).collect::<Result<_, Problem>>()?;
    let usage = templates::usage(&api.app, &caller).await?;
    shown.iter_mut().for_each(|one| add_usage(one, &usage));
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
            let mut shown = with_content(present_tenant_template(&caller, &own), &text);
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
    let mut change = TemplateChange {
        expected: None,
        name: fields.reference("name", 255),
        kind: read_type(&mut fields),
        description: fields.text("description", 1_000),
        subject: fields.text("subjectTemplate", MAX_SUBJECT),
        body: fields.text("bodyTemplate", MAX_BODY),
        variables: read_variables(&mut fields),
        is_active: fields.flag("isActive"),
    };
    let expected = if_match(&headers, "a template's");
    if fields.has_errors() || expected.is_err() {
        let faults = templates::check_change(&api.app, &caller, &id, &change).await?;
        faults.into_iter().for_each(|fault| fields.push(fault.into()));
    }
    change.expected = expected?;
    fields.finish()?;
    let is_conditional = change.expected.is_some();
    let changed = templates::change(&api.app, &caller, &id, change).await;
    let (own, text) = changed.map_err(|error| match error {
        TemplateError::Execute(ExecuteError::Rejected(Rejection::Changed(latest))) if is_conditional => {
            Problem::new(ProblemKind::PreconditionFailed, format!("The newest version is {latest}."))
        }
        error => error.into(),
    })?;
    Ok(json_with_etag(StatusCode::OK, &with_content(present_tenant_template(&caller, &own), &text), "version"))
}

async fn set_active(api: &Api, caller: &Caller, id: &str, is_active: bool) -> Result<Response, Problem> {
    let own = templates::set_active(&api.app, caller, id, is_active).await?;
    Ok(json_with_etag(StatusCode::OK, &present_tenant_template(caller, &own), "version"))
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
    templates::delete(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
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
    let request = PreviewRequest { version, channel, locale, variables };
    let message = templates::preview(&api.app, &caller, &id, request).await?;
    Ok(json(StatusCode::OK, &show_message(&message)))
}

fn show_warning(warning: &Warning) -> Value {
    let pointer = match warning.part {
        TemplatePart::Subject => "/subjectTemplate",
        TemplatePart::Body => "/bodyTemplate",
    };
    json!({ "pointer": pointer, "code": warning.code, "line": warning.line, "detail": warning.detail })
}

/// Checks content and returns the variables that it uses. With `variables`, it is rendered too.
pub(crate) async fn validate(Extension(caller): Extension<Caller>, body: Body) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    let body = fields.required("bodyTemplate", |f| f.text("bodyTemplate", MAX_BODY));
    let variables = fields.object("variables");
    let locale = read_locale(&mut fields);
    let known = read_variables(&mut fields).unwrap_or_default();
    fields.finish()?;
    let (Some(channel), Some(body)) = (channel, body) else {
        return Err(missing());
    };
    let unsaved = UnsavedTemplate { channel, content: TemplateContent { subject, body }, locale, variables, known };
    let answer = match templates::validate(&caller, unsaved).await? {
        Validation::NotCompiled(part, fault) => {
            let fault = TemplateFault::Content(ContentFault::Part(part, fault));
            json!({ "valid": false, "errors": [show_error(fault.into())] })
        }
        Validation::Compiled { variables, required, rendered, warnings } => {
            let mut answer = json!({
                "valid": true, "errors": [], "availableVariables": variables, "requiredVariables": required,
                "warnings": warnings.iter().map(show_warning).collect::<Vec<_>>(),
            });
            match rendered {
                Some(Ok(message)) => answer["rendered"] = show_message(&message),
                Some(Err(fault)) => {
                    answer["valid"] = json!(false);
                    let pointer = "/variables".to_owned();
                    let error = FieldError { pointer, code: fault.kind(), detail: format!("{fault}.") };
                    answer["errors"] = json!([show_error(error)]);
                }
                None => (),
            }
            answer
        }
    };
    Ok(json(StatusCode::OK, &answer))
}
