//! Mappings of sources, and automations, over HTTP.

use std::collections::BTreeMap;

use application::Caller;
use application::business_events::{self, FoundMapping, SettingsError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::business_event::{Interpretation, parse};
use domain::public_url;
use events::{AutomationSettings, Channel, EventMapping, FieldMapping, FieldReader, MappedType, MessageType};
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Map, Value, json};

use super::faults::field_errors;
use crate::fields::BodyReader;
use crate::headers::{if_match, json_with_etag};
use crate::query::QueryParams;
use crate::{Shared, json, read_body};

/// Maximum length of the name of a source, in characters.
const MAX_SOURCE: usize = 255;

fn problem(error: SettingsError) -> Problem {
    match error {
        SettingsError::Forbidden(forbidden) => forbidden.into(),
        SettingsError::NotFound => Problem::new(ProblemKind::NotFound, "There is no such mapping or automation."),
        SettingsError::Invalid(faults) => {
            let error = |(field, detail): (String, &str)| {
                let pointer = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
                FieldError { pointer, code: "not_usable", detail: format!("{field} {detail}.") }
            };
            Problem::invalid(faults.into_iter().map(error).collect())
        }
        SettingsError::UnknownTemplate(code) => {
            let detail = format!("No template {code} exists. GET /api/communication-templates lists them.");
            Problem::invalid(vec![FieldError { pointer: "/template".to_owned(), code: "unknown_template", detail }])
        }
        SettingsError::Execute(error) => error.into(),
        SettingsError::Store(error) => error.into(),
    }
}

fn present_mapping(source: &str, FoundMapping { mapping, version }: &FoundMapping) -> Value {
    json!({ "source": source, "version": version.unwrap_or(0), "builtIn": version.is_none(), "mapping": mapping })
}

/// Reads a mapping. In short, a type is a text and a field is its pointer.
fn read_mapping(fields: &mut BodyReader) -> EventMapping {
    let mut mapping = EventMapping {
        type_prefix: fields.reference("typePrefix", 100),
        id_at: fields.reference("idAt", 255),
        namespace: fields.reference("namespace", 100),
        time_zone: fields.reference("timeZone", 64),
        ..EventMapping::default()
    };
    let mut errors = Vec::new();
    if let Some(Value::Object(all)) = fields.object("fields") {
        mapping.fields = read_fields(all, "/fields", &mut errors);
    }
    if let Some(Value::Object(types)) = fields.object("types") {
        for (theirs, ours) in types {
            let pointer = format!("/types/{}", theirs.replace('~', "~0").replace('/', "~1"));
            let mapped = match ours {
                Value::String(kind) => Some(MappedType { kind, fields: BTreeMap::new() }),
                Value::Object(mut of) => {
                    of.remove("type").and_then(|kind| kind.as_str().map(str::to_owned)).map(|kind| {
                        let fields = match of.remove("fields") {
                            Some(Value::Object(all)) => read_fields(all, &format!("{pointer}/fields"), &mut errors),
                            _ => BTreeMap::new(),
                        };
                        MappedType { kind, fields }
                    })
                }
                _ => None,
            };
            match mapped {
                Some(mapped) => drop(mapping.types.insert(theirs, mapped)),
                None => errors.push(error(&pointer, "must be a type, or an object with type and fields.")),
            }
        }
    }
    errors.into_iter().for_each(|error| fields.push(error));
    mapping
}

fn error(pointer: &str, detail: &str) -> FieldError {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    FieldError { pointer: pointer.to_owned(), code: "not_usable", detail: format!("{name} {detail}") }
}

fn read_fields(all: Map<String, Value>, pointer: &str, errors: &mut Vec<FieldError>) -> BTreeMap<String, FieldMapping> {
    let mut fields = BTreeMap::new();
    for (name, value) in all {
        let read = match value {
            Value::String(at) => Some(FieldMapping { at, reader: None }),
            Value::Object(of) => {
                let reader = match of.get("as") {
                    None | Some(Value::Null) => Some(None),
                    Some(name) => name.as_str().and_then(|name| name.parse::<FieldReader>().ok()).map(Some),
                };
                let at = of.get("at").and_then(Value::as_str).map(str::to_owned);
                at.zip(reader).map(|(at, reader)| FieldMapping { at, reader })
            }
            _ => None,
        };
        match read {
            Some(read) => drop(fields.insert(name, read)),
            None => {
                let names = FieldReader::names().join(", ");
                let detail = format!("must be a JSON Pointer, or an object with at and as (one of: {names}).");
                errors.push(error(&format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), &detail));
            }
        }
    }
    fields
}

fn check_source(source: &str) -> Result<(), Problem> {
    let is_sound = source.chars().count() <= MAX_SOURCE && !source.chars().any(char::is_control);
    if is_sound { Ok(()) } else { Err(Problem::new(ProblemKind::NotFound, "No source has this name.")) }
}

pub(crate) async fn get_mapping(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let found = business_events::find_mapping(&api.app, &caller, &source).await.map_err(problem)?;
    Ok(json_with_etag(StatusCode::OK, &present_mapping(&source, &found), "version"))
}

pub(crate) async fn put_mapping(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_source(&source)?;
    let expected = if_match(&headers, "a mapping's")?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let mapping = read_mapping(&mut fields);
    fields.finish()?;
    let set = business_events::set_mapping(&api.app, &caller, &source, expected, mapping).await.map_err(problem)?;
    Ok(json_with_etag(StatusCode::OK, &present_mapping(&source, &set), "version"))
}

/// Reads an event by a mapping, and says what each field became. Nothing is stored.
pub(crate) async fn try_mapping(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    check_source(&source)?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let event = fields.required("event", |fields| fields.object("event"));
    let mapping = match fields.object("mapping") {
        None => None,
        Some(given) => {
            let mut reader = BodyReader::of(given)?;
            let mapping = read_mapping(&mut reader);
            for fault in reader.into_errors() {
                fields.push(FieldError { pointer: format!("/mapping{}", fault.pointer), ..fault });
            }
            Some(mapping)
        }
    };
    let envelope = match event.map(parse).transpose() {
        Ok(envelope) => envelope,
        Err(faults) => {
            for fault in field_errors(&faults) {
                fields.push(FieldError { pointer: format!("/event{}", fault.pointer), ..fault });
            }
            None
        }
    };
    fields.finish()?;
    let Some(envelope) = envelope else { return Err(crate::fields::missing()) };
    let event = (envelope.kind.as_str(), envelope.version, &envelope.data);
    let read = business_events::try_mapping(&api.app, &caller, &source, mapping, event).await.map_err(problem)?;
    let (meaning, faults) = match &read.meaning {
        Interpretation::Known(_) => ("known", Vec::new()),
        Interpretation::Unknown => ("unknown", Vec::new()),
        Interpretation::NewerVersion => ("newer_version", Vec::new()),
        Interpretation::Invalid(faults) => ("invalid", field_errors(faults)),
    };
    Ok(json(StatusCode::OK, &json!({ "type": read.kind, "meaning": meaning, "data": read.mapped, "errors": faults })))
}

fn present_automation(kind: MessageType, settings: &AutomationSettings) -> Value {
    let AutomationSettings { enabled, channels, template, payment_url, render_invoices, document_required } = settings;
    let mut shown = json!({ "type": kind, "enabled": enabled, "channels": channels, "template": template });
    if kind == MessageType::Invoice {
        shown["renderInvoices"] = json!(render_invoices);
        shown["documentRequired"] = json!(document_required);
    }
    if kind == MessageType::PaymentLink {
        shown["paymentUrl"] = json!(payment_url);
    }
    shown
}

pub(crate) async fn list_automations(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let all = business_events::list_automations(&api.app, &caller).await.map_err(problem)?;
    let shown: Vec<Value> = all.iter().map(|(kind, settings)| present_automation(*kind, settings)).collect();
    Ok(json(StatusCode::OK, &json!({ "automations": shown })))
}

pub(crate) async fn patch_automation(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(kind): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let kind: MessageType = kind.parse().map_err(|()| problem(SettingsError::NotFound))?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let defaults = AutomationSettings::default();
    let enabled = read_flag(&mut fields, "enabled", defaults.enabled);
    let no_channels = fields.is_null("channels");
    let channels = fields.has("channels").then(|| read_channels(&mut fields));
    let no_template = fields.is_null("template");
    let template = fields.reference("template", 100);
    // Only invoices have documents. For other types the fields are unknown.
    let is_invoice = kind == MessageType::Invoice;
    let mut read = |name, default| if is_invoice { read_flag(&mut fields, name, default) } else { None };
    let renders = read("renderInvoices", defaults.render_invoices);
    let is_required = read("documentRequired", defaults.document_required);
    let no_payment_url = fields.is_null("paymentUrl");
    let payment_url = read_payment_url(&mut fields, kind);
    fields.finish()?;
    let change = |before: AutomationSettings| AutomationSettings {
        enabled: enabled.unwrap_or(before.enabled),
        channels: channels.or(before.channels.filter(|_| !no_channels)),
        template: template.or(before.template.filter(|_| !no_template)),
        render_invoices: renders.unwrap_or(before.render_invoices),
        document_required: is_required.unwrap_or(before.document_required),
        payment_url: payment_url.or(before.payment_url.filter(|_| !no_payment_url)),
    };
    let changed = business_events::change_automation(&api.app, &caller, kind, change).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present_automation(kind, &changed)))
}

/// A flag, which `null` sets to its default. `None` means that it does not change.
fn read_flag(fields: &mut BodyReader, name: &str, default: bool) -> Option<bool> {
    if fields.is_null(name) { Some(default) } else { fields.flag(name) }
}

/// Where customers pay. Only payment links lead there.
fn read_payment_url(fields: &mut BodyReader, kind: MessageType) -> Option<String> {
    let given = fields.text("paymentUrl", 500)?;
    if kind != MessageType::PaymentLink {
        let detail = "paymentUrl belongs to payment_link: the links of all messages lead there.";
        fields.add_error("paymentUrl", "not_of_this_type", detail);
        return None;
    }
    match public_url::check_page(&given) {
        Ok(url) => Some(url),
        Err(fault) => {
            fields.add_error(
                "paymentUrl",
                "not_public",
                format!("paymentUrl must be a public https address: {fault}."),
            );
            None
        }
    }
}

fn read_channels(fields: &mut BodyReader) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    for (index, item) in fields.list("channels", Channel::ALL.len()).into_iter().enumerate() {
        match item.as_str().and_then(|name| name.parse().ok()) {
            Some(channel) if !channels.contains(&channel) => channels.push(channel),
            _ => {
                let names = Channel::names().join(", ");
                let detail = format!("channels must name each channel once: {names}.");
                fields.add_error(&format!("channels/{index}"), "not_one_of", detail);
            }
        }
    }
    channels
}
