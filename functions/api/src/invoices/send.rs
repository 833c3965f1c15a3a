//! Invoices and reminders that people send.

use application::Caller;
use application::business_events::{self, SendInvoiceError};
use application::collections::{self, ReminderError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use domain::collect::ReminderRefusal;
use events::Channel;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

use super::{problem, read_name, respond};
use crate::business_events::act;
use crate::fields::{BodyReader, missing};
use crate::headers::idempotency_key;
use crate::{Shared, json, read_body};

/// Maximum length of the id of a step, in characters.
const MAX_STEP: usize = 20;

fn refused(pointer: &str, code: &'static str, detail: String) -> Problem {
    let error = FieldError { pointer: pointer.to_owned(), code, detail };
    Problem { kind: ProblemKind::Conflict, ..Problem::invalid(vec![error]) }
}

/// The reasons for which nothing is sent, with a sentence for people.
const REASONS: [(&str, &str); 15] = [
    ("not_issued", "The invoice is not issued yet."),
    ("voided", "The invoice is void."),
    ("erased", "The customer's data was erased."),
    ("draft", "The invoice is a draft."),
    ("incomplete", "The invoice has no number, no total or no currency."),
    ("no_customer", "Nothing is known of the customer."),
    ("no_email", "The customer has no email address."),
    ("no_phone", "The customer has no phone number."),
    ("no_contact", "The customer has no address on this channel."),
    ("opted_out", "The customer wants no messages."),
    ("channel_disabled", "The customer wants no messages by this channel."),
    ("type_disabled", "The customer wants no invoices."),
    ("do_not_contact", "The customer must not be contacted."),
    ("suppression_list", "The address is on the suppression list."),
    ("no_document", "It has no document, and documentRequired is set."),
];

fn send_problem(error: SendInvoiceError) -> Problem {
    match error {
        SendInvoiceError::Invoice(error) => problem(error),
        SendInvoiceError::Refused(reason) => match REASONS.iter().find(|(code, _)| *code == reason) {
            Some((code, detail)) => refused("", code, (*detail).to_owned()),
            None => refused("", "refused", format!("No message was accepted: {reason}.")),
        },
        SendInvoiceError::KeyReused => domain::communication::Rejection::IdempotencyKeyReused.into(),
        SendInvoiceError::Process(error) => {
            tracing::error!(%error, "an invoice was not sent");
            Problem::new(ProblemKind::Unavailable, "The invoice could not be sent. Try again with the same key.")
        }
    }
}

/// Sends an invoice to its customer.
pub(crate) async fn send(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = read_name(id, query)?;
    let key = idempotency_key(&headers)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let channel = fields.choice::<Channel>("channel", &Channel::names());
    fields.finish()?;
    let sent = business_events::send_invoice(&api.app, &caller, &name, channel, key).await.map_err(send_problem)?;
    let acts: Vec<Value> = sent.acts.iter().map(act).collect();
    let (code, status) = if sent.is_requested { (StatusCode::ACCEPTED, "requested") } else { (StatusCode::OK, "sent") };
    let mut response = json(code, &json!({ "id": sent.id, "status": status, "acts": acts }));
    if sent.is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn reminder_problem(error: ReminderError) -> Problem {
    match error {
        ReminderError::Invoice(error) => problem(error),
        ReminderError::Refused(refusal) => {
            let problem = refused("/step", refusal.as_str(), refusal.text());
            let is_unknown = matches!(refusal, ReminderRefusal::UnknownStep(_));
            if is_unknown { Problem { kind: ProblemKind::Invalid, ..problem } } else { problem }
        }
    }
}

/// Has the customer reminded by a step of the ladder.
pub(crate) async fn remind(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let name = read_name(id, query)?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let step = fields.required("step", |fields| fields.reference("step", MAX_STEP));
    fields.finish()?;
    let step = step.ok_or_else(missing)?;
    respond(&collections::remind(&api.app, &caller, &name, &step).await.map_err(reminder_problem)?)
}
