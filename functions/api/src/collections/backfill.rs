//! Switching collections on for invoices that are overdue already: the preview, the backfill, and the status.

use application::Caller;
use application::collections::checks::{Check, MAX_NAMED, NamedInvoices};
use application::collections::{
    self as use_cases, BackfillError, CollectionsStatus, FoundBackfill, NewBackfill, OldInvoice, Preview, PreviewError,
    PreviewGroup, preview_days,
};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::collect::{BUCKETS, parse_day};
use events::{BackfillSteps, CollectionSettings, Timestamp};
use jiff::civil::Date;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::{Shared, json, read_body};

const DEFAULT_PER_DAY: i64 = 200;
const PER_DAY: std::ops::RangeInclusive<i64> = 1..=10_000;
const MAX_MESSAGES: u64 = 1_000_000;
/// Maximum number of characters of a preview's id.
const MAX_ID: usize = 100;

fn too_many() -> Problem {
    Problem::invalid(vec![FieldError {
        pointer: "/dueFrom".to_owned(),
        code: "too_many",
        detail: "More than 100000 invoices are due since dueFrom. Choose a later day.".to_owned(),
    }])
}

fn preview_problem(error: PreviewError) -> Problem {
    match error {
        PreviewError::Forbidden(forbidden) => forbidden.into(),
        PreviewError::TooMany => too_many(),
        PreviewError::Store(error) => error.into(),
    }
}

fn problem(error: BackfillError) -> Problem {
    match error {
        BackfillError::Forbidden(forbidden) => forbidden.into(),
        BackfillError::NotFound => Problem::new(ProblemKind::NotFound, "No backfill has this id."),
        BackfillError::CollectionsOff => Problem::new(
            ProblemKind::Conflict,
            "Collections are off. Switch them on with POST /api/collections/enable.",
        ),
        BackfillError::PreviewExpired => Problem::new(
            ProblemKind::PreviewExpired,
            "The preview is older than an hour, or the settings have changed since. Make a new one with POST \
             /api/collections/preview.",
        ),
        BackfillError::CountDiffers(detail) => {
            Problem::new(ProblemKind::CountDiffers, format!("The numbers differ: {detail}. Make a new preview."))
        }
        BackfillError::UnderWay(id) => Problem::new(
            ProblemKind::Conflict,
            format!("The backfill {id} is under way. Stop it, or wait until it has ended."),
        ),
        BackfillError::TooMany => too_many(),
        BackfillError::Execute(error) => error.into(),
        BackfillError::Store(error) => error.into(),
    }
}

/// The first due day of a preview: from 400 days ago to yesterday, by the tenant's zone.
fn read_due_from(fields: &mut BodyReader, settings: &CollectionSettings, now: Timestamp) -> Option<Date> {
    let text = fields.text("dueFrom", 20)?;
    let (first, today) = preview_days(settings, now);
    match parse_day(&text) {
        None => fields.add_error("dueFrom", "not_a_day", "dueFrom must be a day such as 2026-12-24."),
        Some(day) if day < first || today <= day => {
            fields.add_error(
                "dueFrom",
                "not_in_range",
                format!("dueFrom must be a day from {first} and before {today}."),
            );
        }
        Some(day) => return Some(day),
    }
    None
}

fn present_group(group: &PreviewGroup) -> Value {
    let costs = group.cost_micros.iter();
    let costs = costs.map(|(currency, micros)| json!({ "costMicros": micros, "currency": currency }));
    json!({
        "invoices": group.invoices,
        "customers": group.customers,
        "owedMinor": group.owed,
        "messages": group.message_count(),
        "messagesByChannel": group.messages,
        "followUpsByChannel": group.follow_ups,
        "estimatedCosts": costs.collect::<Vec<_>>(),
        "unpricedMessages": group.unpriced,
        "skipped": group.skipped,
    })
}

fn present_old(OldInvoice { row, days_overdue }: &OldInvoice) -> Value {
    json!({
        "id": row.id,
        "number": row.number,
        "customerType": row.customer.as_ref().map(|customer| customer.kind),
        "customerId": row.customer.as_ref().and_then(|customer| customer.id.as_ref()),
        "dueOn": row.due_on,
        "daysOverdue": days_overdue,
        "currency": row.currency,
        "owedMinor": row.owed,
    })
}

fn present_preview(preview: &Preview) -> Value {
    let bucket = |((from, to), group): (&(i64, Option<i64>), &PreviewGroup)| {
        let mut shown = present_group(group);
        shown["fromDays"] = json!(from);
        shown["toDays"] = json!(to);
        shown
    };
    let mut shown = present_group(&preview.total);
    shown["previewId"] = json!(preview.id);
    shown["expiresAt"] = json!(show_time(preview.expires_at));
    shown["dueFrom"] = json!(preview.due_from);
    shown["dueBefore"] = json!(preview.due_before);
    shown["enabled"] = json!(preview.is_enabled);
    shown["buckets"] = BUCKETS.iter().zip(&preview.buckets).map(bucket).collect();
    shown["oldest"] = preview.oldest.iter().map(present_old).collect();
    shown
}

fn present_backfill(FoundBackfill { id, backfill }: &FoundBackfill) -> Value {
    let (ended_at, ended_by) = match &backfill.ended {
        Some((_, by, at)) => (Some(show_time(*at)), Some(by)),
        None => (None, None),
    };
    json!({
        "id": id,
        "status": backfill.ended.as_ref().map_or("running", |(reason, ..)| reason.as_str()),
        "dueFrom": backfill.plan.due_from,
        "dueBefore": backfill.plan.due_before,
        "steps": backfill.plan.steps,
        "perDay": backfill.plan.per_day,
        "invoices": backfill.plan.invoices,
        "messages": backfill.plan.messages,
        "handled": backfill.handled,
        "begun": backfill.begun,
        "days": backfill.days,
        "confirmedAt": show_time(backfill.confirmed_at),
        "confirmedBy": backfill.by,
        "endedAt": ended_at,
        "endedBy": ended_by,
    })
}

fn present_named(named: &NamedInvoices) -> Value {
    json!({ "count": named.count, "invoiceIds": named.ids.iter().take(MAX_NAMED).collect::<Vec<_>>() })
}

fn present_check(check: &Check) -> Value {
    let Some(at) = check.at else { return Value::Null };
    let findings = &check.findings;
    json!({
        "at": show_time(at),
        "looked": findings.looked,
        "repaired": findings.repaired,
        "lost": findings.lost,
        "disagreements": present_named(&findings.disagreements),
        "unconfirmed": present_named(&findings.unconfirmed),
        "parkedEvents": findings.parked,
        "oldestParkedAt": findings.oldest_parked_at.map(show_time),
    })
}

fn present_status(CollectionsStatus { state, check, backfills }: &CollectionsStatus) -> Value {
    json!({
        "enabled": state.enabled_from.is_some(),
        "from": state.enabled_from,
        "check": present_check(check),
        "backfills": backfills.iter().map(present_backfill).collect::<Vec<_>>(),
    })
}

pub(crate) async fn preview(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let settings = use_cases::get(&api.app, &caller).await.map_err(super::problem)?.settings();
    let now = api.app.host.now();
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let due_from = fields.required("dueFrom", |fields| read_due_from(fields, &settings, now));
    fields.finish()?;
    let due_from = due_from.ok_or_else(missing)?;
    let preview = use_cases::preview(&api.app, &caller, due_from).await.map_err(preview_problem)?;
    Ok(json(StatusCode::OK, &present_preview(&preview)))
}

pub(crate) async fn confirm(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let preview = fields.required("previewId", |fields| fields.text("previewId", MAX_ID));
    let steps = fields.required("steps", |fields| fields.choice("steps", &BackfillSteps::names()));
    let per_day = fields.integer("perDay", PER_DAY).unwrap_or(DEFAULT_PER_DAY) as u32;
    let confirmed = fields.required("confirmMessages", |fields| fields.number("confirmMessages", 0..=MAX_MESSAGES));
    fields.finish()?;
    let new = NewBackfill {
        preview: preview.ok_or_else(missing)?,
        steps: steps.ok_or_else(missing)?,
        per_day,
        confirmed_messages: confirmed.ok_or_else(missing)?,
    };
    let backfill = use_cases::confirm(&api.app, &caller, new).await.map_err(problem)?;
    Ok(json(StatusCode::ACCEPTED, &present_backfill(&backfill)))
}

pub(crate) async fn stop(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    Ok(json(StatusCode::OK, &present_backfill(&use_cases::stop(&api.app, &caller, &id).await.map_err(problem)?)))
}

pub(crate) async fn status(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let status = use_cases::status(&api.app, &caller).await.map_err(super::problem)?;
    Ok(json(StatusCode::OK, &present_status(&status)))
}
