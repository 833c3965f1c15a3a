//! The audit log over HTTP.

use application::Caller;
use application::audit_log::{self, AuditEntry, AuditFilter, AuditLog, AuditedEvent, subjects};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use problem::Problem;
use serde_json::{Value, json};

use crate::present::decision;
use crate::query::QueryParams;
use crate::{Shared, json};

fn present(entry: &AuditEntry) -> Value {
    let (subject, id, position, event) = match entry {
        AuditEntry::Action(action) => return json!(action),
        AuditEntry::Event { subject, id, position, event } => (subject, id, *position, event),
    };
    let mut shown = match &**event {
        AuditedEvent::Key(record) => decision(position, record),
        AuditedEvent::Channel(record) => decision(position, record),
        AuditedEvent::Routing(record) => decision(position, record),
        AuditedEvent::Template(record) => decision(position, record),
        AuditedEvent::Schedule(record) => decision(position, record),
        AuditedEvent::EventMapping(record) => decision(position, record),
        AuditedEvent::Automation(record) => decision(position, record),
        AuditedEvent::Defaults(record) => decision(position, record),
        AuditedEvent::Limits(record) => decision(position, record),
        AuditedEvent::Collections(record) => decision(position, record),
        AuditedEvent::Backfill(record) => decision(position, record),
    };
    shown["subject"] = json!(subject.as_str());
    shown["id"] = json!(id);
    // The hashes of keys and addresses are of no use to a reader.
    if let Some(data) = shown["data"].as_object_mut() {
        ["hash", "team"].iter().for_each(|name| drop(data.remove(*name)));
        data.get_mut("author").and_then(Value::as_object_mut).and_then(|author| author.remove("team"));
    }
    shown
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = AuditFilter {
        subject: query.choice("subject", &subjects()),
        from: query.time("from", false),
        to: query.time("to", true),
        contact: query.text("contact"),
        actor: query.text("actor"),
    };
    query.finish()?;
    let AuditLog { entries, is_complete } = audit_log::list(&api.app, &caller, &filter).await?;
    let entries: Vec<Value> = entries.iter().map(present).collect();
    Ok(json(StatusCode::OK, &json!({ "acts": entries, "isComplete": is_complete })))
}
