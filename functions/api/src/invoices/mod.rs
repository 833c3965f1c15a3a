//! Invoices over HTTP: lists, explanations, and what people decide about reminders.

mod link;
mod present;
pub(crate) mod send;

use application::invoices::{self, ExplainedInvoice, InvoiceDecision, InvoiceError, InvoiceName};
use application::{Caller, ExecuteError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::aggregate::AggregateKey;
use domain::invoice::{InvoiceFilter, InvoiceStage, Rejection, is_stream_name};
use events::CollectionSettings;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

pub(crate) use link::present_link;
pub(crate) use present::exported;

use crate::collections::{parse_customer, problem as collections_problem, read_last_day};
use crate::fields::{BodyReader, missing};
use crate::present::decision;
use crate::query::QueryParams;
use crate::read::{Paging, page_of};
use crate::{Api, Shared, json, read_body};

/// Maximum number of events in one answer: the newest.
const MAX_EVENTS: usize = 200;
/// The largest amount, in minor units.
const MAX_AMOUNT: u64 = 1_000_000_000_000_000;

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "No invoice has this id. GET /api/invoices lists them.")
}

pub(crate) fn problem(error: InvoiceError) -> Problem {
    match error {
        InvoiceError::Forbidden(forbidden) => forbidden.into(),
        InvoiceError::NotFound(parked) if !parked.is_empty() => {
            let detail = format!("No invoice has this id. Parked events mention it: {}.", parked.join(", "));
            Problem { member: Some(("parkedEvents", json!(parked))), ..Problem::new(ProblemKind::NotFound, detail) }
        }
        InvoiceError::NotFound(_) | InvoiceError::Execute(ExecuteError::Rejected(Rejection::Unknown)) => not_found(),
        InvoiceError::Ambiguous(namespaces) => {
            let detail = format!(
                "Several systems have an invoice of this id. Name one as namespace: {}.",
                namespaces.join(", ")
            );
            let error = FieldError { pointer: "namespace".to_owned(), code: "ambiguous", detail };
            Problem { kind: ProblemKind::Malformed, ..Problem::invalid(vec![error]) }
        }
        InvoiceError::CollectionsOff => Problem::new(
            ProblemKind::Conflict,
            "Collections are off. Switch them on with POST /api/collections/enable.",
        ),
        InvoiceError::Execute(error) => error.into(),
        InvoiceError::Store(error) => error.into(),
    }
}

/// The invoice that a path names, by its id here or in the system of the parameter `namespace`.
pub(crate) fn read_name(id: String, query: RawQuery) -> Result<InvoiceName, Problem> {
    let mut query = QueryParams::parse(query)?;
    let namespace = query.text("namespace");
    query.finish()?;
    Ok(InvoiceName { id, namespace })
}

fn respond(explained: &ExplainedInvoice) -> Result<Response, Problem> {
    let shown = present::invoice(explained).ok_or_else(not_found)?;
    Ok(json(StatusCode::OK, &shown))
}

fn read_flag(query: &mut QueryParams, name: &str) -> Option<bool> {
    query.choice(name, &["true", "false"])
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let named = query.text("customer");
    let customer = named.as_deref().and_then(parse_customer);
    if named.is_some() && customer.is_none() {
        query.add_error("customer", "not_a_customer", "customer must be an id such as 7 or customer:7.".to_owned());
    }
    let filter = InvoiceFilter {
        stage: query.choice("status", &InvoiceStage::names()),
        is_overdue: read_flag(&mut query, "overdue"),
        customer,
        number: query.text("number"),
        due_from: query.day("dueFrom"),
        due_to: query.day("dueTo"),
        disagrees: read_flag(&mut query, "disagrees"),
    };
    let Paging { size, after } = Paging::read(&mut query, &filter, is_stream_name);
    query.finish()?;
    let (page, today) = invoices::list(&api.app, &caller, &filter, after.as_deref(), size).await.map_err(problem)?;
    let results: Vec<Value> = page.rows.iter().map(|row| present::row(row, &today)).collect();
    Ok(json(StatusCode::OK, &page_of(results, page.next.as_deref(), &filter)))
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let name = read_name(id, query)?;
    respond(&invoices::find(&api.app, &caller, &name).await.map_err(problem)?)
}

/// The newest events before a position, in order.
pub(crate) async fn events(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let namespace = query.text("namespace");
    let before = query.number("before", 1..=u32::MAX).map_or(usize::MAX, |before| before as usize - 1);
    query.finish()?;
    let name = InvoiceName { id, namespace };
    let (found, records) = invoices::history(&api.app, &caller, &name).await.map_err(problem)?;
    let end = records.len().min(before);
    let start = end.saturating_sub(MAX_EVENTS);
    let numbered = records.iter().enumerate().take(end).skip(start);
    let events: Vec<Value> = numbered.map(|(index, record)| decision(index + 1, record)).collect();
    let id = found.key.stream_id().id;
    Ok(json(StatusCode::OK, &json!({ "id": id, "events": events, "hasMore": start > 0 })))
}

/// Why reminders of an invoice are sent, or are not.
pub(crate) async fn explain(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let name = read_name(id, query)?;
    let explained = invoices::find(&api.app, &caller, &name).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present::explanation(&explained)))
}

/// Reads a body that may be absent, and carries out what it decides.
async fn decide(
    api: &Api,
    caller: &Caller,
    name: InvoiceName,
    body: Body,
    read: impl FnOnce(&mut BodyReader, &CollectionSettings) -> Option<InvoiceDecision>,
) -> Result<Response, Problem> {
    let collections = application::collections::get(&api.app, caller).await.map_err(collections_problem)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let decision = read(&mut fields, &collections.settings());
    fields.finish()?;
    let decision = decision.ok_or_else(missing)?;
    respond(&invoices::decide(&api.app, caller, &name, decision).await.map_err(problem)?)
}

pub(crate) async fn pause(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let (name, now) = (read_name(id, query)?, api.app.host.now());
    let read = |fields: &mut BodyReader, settings: &CollectionSettings| {
        let until = read_last_day(fields, "until", settings, now);
        Some(InvoiceDecision::Pause { until })
    };
    decide(&api, &caller, name, body, read).await
}

pub(crate) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    decide(&api, &caller, read_name(id, query)?, body, |_, _| Some(InvoiceDecision::Resume)).await
}

pub(crate) async fn promise(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let (name, now) = (read_name(id, query)?, api.app.host.now());
    let read = |fields: &mut BodyReader, settings: &CollectionSettings| {
        let on = fields.required("on", |fields| read_last_day(fields, "on", settings, now));
        let amount = fields.number("amountMinor", 1..=MAX_AMOUNT).map(|amount| amount as i64);
        Some(InvoiceDecision::Promise { on: on?, amount })
    };
    decide(&api, &caller, name, body, read).await
}

pub(crate) async fn dispute(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let read = |fields: &mut BodyReader, _: &CollectionSettings| {
        Some(InvoiceDecision::Dispute { is_resolved: fields.flag("resolved").unwrap_or(false) })
    };
    decide(&api, &caller, read_name(id, query)?, body, read).await
}

pub(crate) async fn restart(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    decide(&api, &caller, read_name(id, query)?, body, |_, _| Some(InvoiceDecision::Restart)).await
}
