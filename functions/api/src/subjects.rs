//! Data subjects over HTTP: exporting and erasing everything about one person.

use application::business_events::EraseError;
use application::subjects::{self, DataSubject, Erased, ErasurePreview, SubjectError, SubjectPage};
use application::{App, Caller};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use events::{Recipient, RecipientType};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::BodyReader;
use crate::invoices::exported;
use crate::preferences::present as present_preferences;
use crate::query::QueryParams;
use crate::schedules::{present_with_message, problem as schedule_problem};
use crate::{Shared, json, present, read_body};

fn parse_subject(app: &App, caller: &Caller, kind: &str, id: &str) -> Result<DataSubject, Problem> {
    let subject = match kind.parse::<RecipientType>() {
        Ok(kind) => DataSubject::recipient(Recipient { kind, id: Some(id.to_owned()).filter(|id| !id.is_empty()) }),
        Err(()) if kind == "address" => DataSubject::address(app, caller, id),
        Err(()) => None,
    };
    subject.ok_or_else(|| {
        let kinds = RecipientType::names().join(", ");
        Problem::new(ProblemKind::NotFound, format!("A data subject must be a {kinds} or an address."))
    })
}

fn problem(error: SubjectError) -> Problem {
    match error {
        SubjectError::Forbidden(forbidden) => forbidden.into(),
        SubjectError::Schedule(error) => schedule_problem(error),
        SubjectError::Erase(EraseError::Forbidden(forbidden)) => forbidden.into(),
        SubjectError::Erase(EraseError::Store(error)) => error.into(),
        SubjectError::Execute(error) => error.into(),
        SubjectError::Store(error) => error.into(),
    }
}

pub(crate) async fn export(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let before = query.text("cursor");
    query.finish()?;
    let subject = parse_subject(&api.app, &caller, &kind, &id)?;
    let page = subjects::export(&api.app, &caller, &subject, before.as_deref()).await.map_err(problem)?;
    let SubjectPage { messages, inbound, preferences, preference_history, schedules, person, business_events, .. } =
        &page;
    let communications =
        messages.iter().map(|(key, row, request, content)| present::stored(key, row, request, Some(content)));
    let preferences =
        preferences.as_ref().map(|(preferences, addresses)| present_preferences((&kind, &id), preferences, addresses));
    let steps = preference_history.iter().enumerate().map(|(place, record)| present::decision(place + 1, record));
    let now = api.app.host.now();
    let schedules = schedules.iter().map(|(schedule, stored)| present_with_message(schedule, stored.as_ref(), now));
    let body = json!({
        "subject": { "type": kind, "id": id },
        "communications": communications.collect::<Vec<Value>>(),
        "inbound": inbound,
        "preferences": preferences,
        "preferenceEvents": steps.collect::<Vec<Value>>(),
        "schedules": schedules.collect::<Vec<Value>>(),
        "person": person,
        "businessEvents": business_events.iter().map(|(id, stored)| json!({ "id": id, "type": stored.kind, "data": stored.data })).collect::<Vec<_>>(),
        "invoices": page.invoices.invoices.iter().filter_map(|(id, loaded)| exported(id, loaded)).collect::<Vec<Value>>(),
        "hasMoreInvoices": page.invoices.has_more,
        "nextCursor": page.next,
    });
    Ok(json(StatusCode::OK, &body))
}

/// What an erasure would do now. Nothing is changed.
pub(crate) async fn preview_erasure(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let subject = parse_subject(&api.app, &caller, &kind, &id)?;
    let preview = subjects::preview_erasure(&api.app, &caller, &subject).await.map_err(problem)?;
    let ErasurePreview { messages, has_more, inbound, schedules, business_events, invoices, suppressed } = preview;
    let body = json!({
        "subject": { "type": kind, "id": id }, "communications": messages, "hasMore": has_more, "inbound": inbound,
        "schedules": schedules, "businessEvents": business_events, "invoices": invoices, "suppressed": suppressed,
    });
    Ok(json(StatusCode::OK, &body))
}

pub(crate) async fn erase(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let subject = parse_subject(&api.app, &caller, &kind, &id)?;
    let Erased { count, unrecorded, has_more } = subjects::erase(&api.app, &caller, &subject).await.map_err(problem)?;
    let subject = json!({ "type": kind, "id": id });
    Ok(json(
        StatusCode::OK,
        &json!({ "subject": subject, "erased": count, "unrecorded": unrecorded, "hasMore": has_more }),
    ))
}
