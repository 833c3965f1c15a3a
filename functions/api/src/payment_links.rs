//! Payment links over HTTP: they are sent to customers, shown, revoked, and resolved for payment pages.

use application::Caller;
use application::payment_links::{self, LinkOrder, PaymentLinkError, ReadLink};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::business_event::duration_ms;
use domain::money::decimal;
use domain::payment_link::VALID_RANGE_MS;
use domain::status::status;
use events::Channel;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::json;

use crate::fields::{BodyReader, missing, show_time};
use crate::headers::idempotency_key;
use crate::invoices::{self, present_link};
use crate::message_problem::problem as message_problem;
use crate::query::QueryParams;
use crate::{Shared, json, read_body};

/// Maximum length of a token that is looked at, in characters.
const MAX_TOKEN: usize = 100;

fn problem(error: PaymentLinkError) -> Problem {
    match error {
        PaymentLinkError::Forbidden(forbidden) => forbidden.into(),
        PaymentLinkError::NotFound => Problem::new(ProblemKind::NotFound, "There is no such payment link."),
        PaymentLinkError::Invoice(error) => invoices::problem(error),
        PaymentLinkError::Refused(reason) => {
            Problem::new(ProblemKind::Conflict, format!("No link to pay this invoice can be sent: {reason}."))
        }
        PaymentLinkError::Unreachable(code) => {
            let detail = format!("The customer cannot be sent a link by this channel, or by any: {code}.");
            Problem::invalid(vec![FieldError { pointer: "/channel".to_owned(), code, detail }])
        }
        PaymentLinkError::NoPage => Problem::new(
            ProblemKind::Conflict,
            "There is no page to pay at: neither paymentUrl of the tenant nor PAYMENT_URL or PUBLIC_URL is set.",
        ),
        PaymentLinkError::Message(error) => message_problem(error),
        PaymentLinkError::Execute(error) => error.into(),
        PaymentLinkError::Store(error) => error.into(),
    }
}

fn read_order(fields: &mut BodyReader, headers: &HeaderMap) -> Result<LinkOrder, Problem> {
    let channel = fields.choice::<Channel>("channel", &Channel::names());
    let given = fields.text("expiresIn", 40);
    let (least, most) = VALID_RANGE_MS;
    let valid_ms = given.as_deref().and_then(duration_ms).filter(|ms| (least..=most).contains(ms));
    if given.is_some() && valid_ms.is_none() {
        let detail = "expiresIn must be a duration such as P7D or 48h, from one hour to 366 days.";
        fields.add_error("expiresIn", "not_a_duration", detail);
    }
    Ok(LinkOrder { channel, valid_ms, idempotency_key: idempotency_key(headers)? })
}

/// Sends a link to the customer of an invoice.
pub(crate) async fn send(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = invoices::read_name(id, query)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let order = read_order(&mut fields, &headers)?;
    fields.finish()?;
    let sent = payment_links::request(&api.app, &caller, &name, &order).await.map_err(problem)?;
    let communication = sent.message.loaded.state.requested()?;
    let shown = sent.link.as_ref().map(|ReadLink { id, link, status, .. }| present_link(id, link, *status));
    let body = json!({
        "paymentLink": shown,
        "communicationId": sent.message.key.id,
        "channel": communication.request.channel,
        "status": status(communication).as_str(),
    });
    let mut response = json(StatusCode::CREATED, &body);
    let location = sent.link.and_then(|link| HeaderValue::from_str(&format!("/api/payment-links/{}", link.id)).ok());
    location.into_iter().for_each(|location| drop(response.headers_mut().insert("location", location)));
    if sent.message.is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let found = payment_links::find(&api.app, &caller, &id).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present_link(&found.id, &found.link, found.status)))
}

pub(crate) async fn revoke(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    payment_links::revoke(&api.app, &caller, &id).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What can be paid by the link of a token, for the back end of a payment page.
pub(crate) async fn resolve(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let token = fields.required("token", |fields| fields.text("token", MAX_TOKEN));
    fields.finish()?;
    let token = token.ok_or_else(missing)?;
    let found = payment_links::resolve(&api.app, &caller, &token).await.map_err(problem)?;
    let reference = found.invoice.reference.as_ref();
    let owed = found.owed();
    let body = json!({
        "id": found.id,
        "state": found.status,
        "invoiceId": found.link.invoice,
        "namespace": reference.map(|reference| &reference.namespace),
        "sourceId": reference.map(|reference| &reference.id),
        "number": found.invoice.facts.terms().number,
        "owed": owed.as_ref().map(|(minor, currency)| decimal(*minor, currency)),
        "owedMinor": owed.as_ref().map(|(minor, _)| minor),
        "currency": owed.as_ref().map(|(_, currency)| currency),
        "expiresAt": show_time(found.link.expires_at),
    });
    Ok(json(StatusCode::OK, &body))
}
