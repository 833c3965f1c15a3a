//! What was agreed with a customer about reminders.

use application::Caller;
use application::collections::{self as use_cases, DebtorError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::collect::{DebtorCommand, DebtorState, SentNotice};
use domain::invoice::Hold;
use events::{CollectionSettings, Recipient, RecipientType};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use super::body::{read_debtor, read_last_day};
use super::present_ladder;
use crate::fields::{BodyReader, missing};
use crate::headers::{if_match, json_with_etag};
use crate::{Api, Shared, read_body};

/// Maximum number of characters of a customer's id.
const MAX_ID: usize = 255;

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "A customer is named by an id such as 7 or customer:7.")
}

fn problem(error: DebtorError) -> Problem {
    match error {
        DebtorError::Forbidden(forbidden) => forbidden.into(),
        DebtorError::NotFound => not_found(),
        DebtorError::Execute(error) => error.into(),
        DebtorError::Store(error) => error.into(),
    }
}

/// `7` or `customer:7`. Returns `None` for what can be no id.
pub(crate) fn parse_customer(text: &str) -> Option<Recipient> {
    let named = text.split_once(':').and_then(|(kind, id)| Some((kind.parse::<RecipientType>().ok()?, id)));
    let (kind, id) = named.unwrap_or((RecipientType::Customer, text));
    let is_id = !id.is_empty() && id.chars().count() <= MAX_ID && !id.chars().any(char::is_control);
    is_id.then(|| Recipient { kind, id: Some(id.to_owned()) })
}

pub(crate) fn present_hold(hold: Option<&Hold>) -> Value {
    match hold {
        None => Value::Null,
        Some(Hold::Paused { until }) => json!({ "kind": "paused", "until": until }),
        Some(Hold::Promised { on }) => json!({ "kind": "promised", "until": on }),
    }
}

fn present(customer: &Recipient, debtor: &DebtorState, mode: events::Mode) -> Value {
    let notices = debtor.notices.iter().rev().filter(|sent| sent.mode == mode);
    let present_notice = |sent: &SentNotice| json!({ "day": sent.day, "notice": sent.notice });
    json!({
        "customerType": customer.kind,
        "customerId": customer.id,
        "excluded": debtor.is_excluded,
        "timeZone": debtor.time_zone,
        "ladder": debtor.ladder.as_deref().map(present_ladder),
        "hold": present_hold(debtor.hold.as_ref()),
        "notices": notices.map(present_notice).collect::<Vec<_>>(),
        "revision": debtor.revision,
    })
}

fn respond(caller: &Caller, customer: &Recipient, debtor: &DebtorState) -> Response {
    json_with_etag(StatusCode::OK, &present(customer, debtor, caller.principal.mode), "revision")
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(customer): Path<String>,
) -> Result<Response, Problem> {
    let customer = parse_customer(&customer).ok_or_else(not_found)?;
    let debtor = use_cases::debtor(&api.app, &caller, &customer).await.map_err(problem)?;
    Ok(respond(&caller, &customer, &debtor))
}

/// A missing field does not change. Null restores what holds for the tenant.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(customer): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let customer = parse_customer(&customer).ok_or_else(not_found)?;
    let expected = if_match(&headers, "a customer's")?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    if fields.is_empty() {
        fields.add_error("", "empty", "At least one field is required.");
    }
    let current = use_cases::debtor(&api.app, &caller, &customer).await.map_err(problem)?;
    let command = read_debtor(&mut fields, &current, expected.unwrap_or(current.revision));
    fields.finish()?;
    execute(&api, &caller, &customer, command).await
}

async fn execute(
    api: &Api,
    caller: &Caller,
    customer: &Recipient,
    command: DebtorCommand,
) -> Result<Response, Problem> {
    let debtor = use_cases::change_debtor(&api.app, caller, customer, command).await.map_err(problem)?;
    Ok(respond(caller, customer, &debtor))
}

/// Reads a body that may be absent, and carries out what it asks for.
async fn act(
    api: &Api,
    caller: &Caller,
    customer: &str,
    body: Body,
    read: impl FnOnce(&mut BodyReader, &CollectionSettings) -> Option<DebtorCommand>,
) -> Result<Response, Problem> {
    let customer = parse_customer(customer).ok_or_else(not_found)?;
    let settings = use_cases::get(&api.app, caller).await.map_err(super::problem)?.settings();
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let command = read(&mut fields, &settings);
    fields.finish()?;
    execute(api, caller, &customer, command.ok_or_else(missing)?).await
}

pub(crate) async fn pause(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(customer): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let (by, now) = (caller.actor().name(), api.app.host.now());
    let read = |fields: &mut BodyReader, settings: &CollectionSettings| {
        let until = read_last_day(fields, "until", settings, now);
        Some(DebtorCommand::Pause { until, by })
    };
    act(&api, &caller, &customer, body, read).await
}

pub(crate) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(customer): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let by = caller.actor().name();
    act(&api, &caller, &customer, body, |_, _| Some(DebtorCommand::Resume { by })).await
}

pub(crate) async fn promise(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(customer): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let (by, now) = (caller.actor().name(), api.app.host.now());
    let read = |fields: &mut BodyReader, settings: &CollectionSettings| {
        let on = fields.required("on", |fields| read_last_day(fields, "on", settings, now))?;
        Some(DebtorCommand::Promise { on, by })
    };
    act(&api, &caller, &customer, body, read).await
}
