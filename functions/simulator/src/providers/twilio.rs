//! Twilio: `POST /2010-04-01/Accounts/{sid}/Messages.json` and signed status callbacks; SMS, WhatsApp and Messenger.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get as on_get, post};
use domain::sms;
use events::Channel;
use serde_json::json;

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::inbox::InboxEntry;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, basic, form, get, is_phone_number};
use crate::responses::json_response;
use crate::signing::{base64, hmac_sha1};
use crate::simulator::Simulator;

struct Twilio;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/2010-04-01/Accounts/{sid}/Messages.json", post(send).get(list))
        // The last segment is the id of a message with a suffix: `{id}.json`.
        .route("/2010-04-01/Accounts/{sid}/Messages/{id}", on_get(show_message))
        .route("/2010-04-01/Accounts/{sid}/Balance.json", on_get(balance))
        // The path segment is the sid with a suffix: `{sid}.json`.
        .route("/2010-04-01/Accounts/{sid}", on_get(show))
}

fn problem(status: StatusCode, code: u32, message: &str) -> Response {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json_response(
        status,
        &json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() }),
    )
}

/// Splits an address of a request into its channel and the plain address.
fn split_address(given: &str) -> (Channel, &str) {
    match given.split_once(':') {
        Some(("whatsapp", rest)) => (Channel::Whatsapp, rest),
        Some(("messenger", rest)) => (Channel::Messenger, rest),
        _ => (Channel::Sms, given),
    }
}

/// Returns the account with these credentials, if they belong to the sid in the path.
fn account(
    simulator: &Simulator,
    sid: &str,
    headers: &HeaderMap,
    matches: impl Fn(&RegisteredConfig) -> bool,
) -> Result<Arc<RegisteredConfig>, Response> {
    let (user, token) = basic(headers);
    let has = |account: &RegisteredConfig| {
        account.has("accountSid", sid) && account.has("authToken", &token) && matches(account)
    };
    let account = if user == sid { simulator.account("twilio", has) } else { None };
    account.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, 20_003, "Authenticate"))
}

async fn balance(
    State(simulator): State<Arc<Simulator>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    account(&simulator, &sid, &headers, |_| true)?;
    Ok(json_response(StatusCode::OK, &json!({ "account_sid": sid, "balance": "104.25", "currency": "USD" })))
}

async fn show(
    State(simulator): State<Arc<Simulator>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let sid = sid.trim_end_matches(".json");
    account(&simulator, sid, &headers, |_| true)?;
    Ok(json_response(StatusCode::OK, &json!({ "sid": sid, "status": "active" })))
}

/// Handles `GET …/Messages.json?To=&From=&DateSent=`: lists accepted messages, newest first.
async fn list(
    State(simulator): State<Arc<Simulator>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Response> {
    let account = account(&simulator, &sid, &headers, |_| true)?;
    let matches = |name: &str, actual: &str| query.get(name).is_none_or(|wanted| split_address(wanted).1 == actual);
    let size = query.get("PageSize").and_then(|size| size.parse().ok()).unwrap_or(50);
    let entries = simulator.inbox.list(query.get("To").map(|to| split_address(to).1));
    let mut found = entries.into_iter().filter(|e| {
        e.provider == "twilio" && matches("From", &e.from) && matches("DateSent", e.at.get(..10).unwrap_or(""))
    });
    let messages: Vec<_> = found.by_ref().take(size).map(|entry| message_json(&account, &entry)).collect();
    let next = found.next().map(|_| format!("/2010-04-01/Accounts/{sid}/Messages.json?Page=1"));
    let page = json!({ "messages": messages, "page_size": size, "next_page_uri": next });
    Ok(json_response(StatusCode::OK, &page))
}

async fn show_message(
    State(simulator): State<Arc<Simulator>>,
    Path((sid, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let account = account(&simulator, &sid, &headers, |_| true)?;
    let id = id.trim_end_matches(".json");
    let found = simulator.inbox.find("twilio", id);
    let entry = found.ok_or_else(|| problem(StatusCode::NOT_FOUND, 20_404, "The resource was not found"))?;
    Ok(json_response(StatusCode::OK, &message_json(&account, &entry)))
}

fn message_json(account: &RegisteredConfig, entry: &InboxEntry) -> serde_json::Value {
    let at = entry.at.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    json!({
        "sid": entry.provider_message_id,
        "account_sid": account.get("accountSid"),
        "status": "delivered",
        "direction": "outbound-api",
        "to": entry.to,
        "from": entry.from,
        "body": entry.body,
        "date_created": jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_string(&at).unwrap_or_default(),
    })
}

async fn send(
    State(simulator): State<Arc<Simulator>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    raw: Bytes,
) -> Result<Response, Response> {
    let fields = form(&raw);
    let field = |name: &str| get(&fields, name);
    let (to, callback) = (field("To"), field("StatusCallback"));
    let (channel, plain) = split_address(&to);
    // Several configurations can share credentials. The callback address distinguishes them.
    let has_callback =
        |account: &RegisteredConfig| account.channel == channel && callback.starts_with(&account.callback_url);
    let account =
        account(&simulator, &sid, &headers, has_callback).or_else(|_| account(&simulator, &sid, &headers, |_| true))?;
    let text = field("Body");
    let refuse = |code: u32, message: &str| Err(problem(StatusCode::BAD_REQUEST, code, message));
    let is_valid_recipient = match channel {
        Channel::Messenger => plain.bytes().all(|b| b.is_ascii_digit()),
        _ => plain.starts_with('+') && is_phone_number(&plain[1..]),
    };
    if to.is_empty() {
        return refuse(21_604, "A 'To' phone number is required.");
    }
    if field("From").is_empty() && field("MessagingServiceSid").is_empty() {
        return refuse(21_603, "A 'From' phone number is required.");
    }
    if text.is_empty() && field("ContentSid").is_empty() && field("MediaUrl").is_empty() {
        return refuse(21_602, "Message body is required.");
    }
    if !is_valid_recipient {
        return refuse(21_211, "Invalid 'To' Phone Number");
    }
    if text.chars().count() > sms::MAX_CHARACTERS {
        return refuse(21_617, "The concatenated message body exceeds the 1600 character limit");
    }
    let callback_query = form(callback.split_once('?').map_or("", |(_, query)| query).as_bytes());
    let message = Message {
        from: split_address(&field("From")).1.to_owned(),
        attachments: fields.get("MediaUrl").map(|url| vec![json!({ "url": url })]).unwrap_or_default(),
        tenant: callback_query.get("tenant").cloned(),
        attempt: callback_query.get("attempt").cloned(),
        callback: Some(callback).filter(|url| !url.is_empty()),
        ..Message::new(account, plain, if text.is_empty() { template_text(&fields) } else { text })
    };
    Ok(simulator.receive(&Twilio, message).await)
}

/// Returns the text of a message with a template: the template's id and variables.
fn template_text(fields: &Fields) -> String {
    format!("{} {}", get(fields, "ContentSid"), get(fields, "ContentVariables")).trim().to_owned()
}

/// Adds the channel's prefix to an address, as in requests and callbacks.
fn prefixed_address(channel: Channel, plain: &str) -> String {
    match channel {
        Channel::Whatsapp | Channel::Messenger => format!("{}:{plain}", channel.as_str()),
        _ => plain.to_owned(),
    }
}

/// A callback with Twilio's signature over its address and its sorted fields.
fn signed(message: &Message, url: &str, mut fields: Vec<(&str, &str)>) -> Callback {
    fields.sort_unstable();
    let signed: String = fields.iter().flat_map(|(name, value)| [*name, *value]).collect();
    let key = message.account.get("authToken").as_bytes();
    let signature = base64(&hmac_sha1(key, format!("{url}{signed}").as_bytes()));
    Callback::form(url, &fields).with_header("x-twilio-signature", signature)
}

impl ProviderSimulation for Twilio {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("SM{}", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        let body = json!({
            "sid": message.id,
            "account_sid": message.account.get("accountSid"),
            "status": "queued",
            "to": prefixed_address(message.account.channel, &message.to),
            "from": message.from,
            "body": message.text,
            "num_segments": sms::segments(&message.text).count.to_string(),
        });
        json_response(StatusCode::CREATED, &body)
    }

    fn refusal(&self, status: StatusCode) -> Response {
        let code = if status == StatusCode::TOO_MANY_REQUESTS { 20_429 } else { u32::from(status.as_u16()) };
        problem(status, code, "simulated")
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::BAD_REQUEST, 21_610, "Attempt to send to unsubscribed recipient"))
    }

    fn report(&self, _: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let (status, error) = match step {
            Step::Sent => ("sent", None),
            Step::Delivered => ("delivered", None),
            Step::Bounced => ("undelivered", Some("30005")),
            Step::SoftBounced => ("undelivered", Some("30003")),
            Step::Opened if message.account.channel == Channel::Sms => return None,
            // Other channels than SMS report that a message was read.
            Step::Opened => ("read", None),
            Step::Accepted | Step::Clicked | Step::Complained | Step::OptedOut => return None,
        };
        let url = message.callback.as_deref()?;
        let to = prefixed_address(message.account.channel, &message.to);
        let from = prefixed_address(message.account.channel, &message.from);
        let mut fields = vec![
            ("AccountSid", message.account.get("accountSid")),
            ("From", &from),
            ("MessageSid", &message.id),
            ("MessageStatus", status),
            ("SmsSid", &message.id),
            ("SmsStatus", status),
            ("To", &to),
        ];
        fields.extend(error.map(|code| ("ErrorCode", code)));
        Some(signed(message, url, fields))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let from = prefixed_address(message.account.channel, &message.to);
        let to = prefixed_address(message.account.channel, &message.from);
        let id = format!("SM{}", context.unique_id());
        let fields = vec![
            ("AccountSid", message.account.get("accountSid")),
            ("Body", text),
            ("From", &from),
            ("MessageSid", &id),
            ("SmsSid", &id),
            ("To", &to),
        ];
        Some(signed(message, &message.account.callback_url, fields))
    }
}
