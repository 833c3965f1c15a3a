//! `POST /2010-04-01/Accounts/{sid}/Messages.json` and signed status callbacks.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ports::Host;
use domain::sms;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha1::Sha1;

use super::{Entry, Fate, Known, Simulator, TWILIO, hang, recipients, refusal, reset};
use recipients::Behaviour;

pub fn router(simulator: Arc<Simulator>) -> Router {
    Router::new().route("/2010-04-01/Accounts/{sid}/Messages.json", post(send).get(list)).with_state(simulator)
}

fn problem(status: StatusCode, code: u32, message: &str) -> Response {
    refusal(status, None, body(status, code, message))
}

fn body(status: StatusCode, code: u32, message: &str) -> serde_json::Value {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() })
}

/// Whose credentials these are, if they belong to the account in the address.
fn account(sid: &str, headers: &HeaderMap) -> Option<&'static Known> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    let account = TWILIO.iter().find(|account| account.id == sid)?;
    let expected = format!("Basic {}", STANDARD.encode(format!("{sid}:{}", account.secret)));
    (authorization == expected).then_some(account)
}

/// `GET …/Messages.json?To=&From=&DateSent=`: what was taken, newest first.
async fn list(
    State(simulator): State<Arc<Simulator>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(account) = account(&sid, &headers) else {
        return problem(StatusCode::UNAUTHORIZED, 20_003, "Authenticate");
    };
    let asked = |name: &str, has: &str| query.get(name).is_none_or(|asked| asked == has);
    let size = query.get("PageSize").and_then(|size| size.parse().ok()).unwrap_or(50);
    let entries = simulator.inbox.list(query.get("To").map(String::as_str));
    let mut found = entries.into_iter().filter(|e| {
        e.config == account.config && asked("From", &e.from) && asked("DateSent", e.at.get(..10).unwrap_or(""))
    });
    let messages: Vec<_> = found.by_ref().take(size).map(|entry| message(account, &entry)).collect();
    let next = found.next().map(|_| format!("/2010-04-01/Accounts/{sid}/Messages.json?Page=1"));
    refusal(StatusCode::OK, None, json!({ "messages": messages, "page_size": size, "next_page_uri": next }))
}

fn message(account: &Known, entry: &Entry) -> serde_json::Value {
    let at = entry.at.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    json!({
        "sid": entry.provider_message_id,
        "account_sid": account.id,
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
) -> Response {
    let Some(account) = account(&sid, &headers) else {
        return problem(StatusCode::UNAUTHORIZED, 20_003, "Authenticate");
    };
    let fields: HashMap<String, String> = form_urlencoded::parse(&raw).into_owned().collect();
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let (to, text, callback) = (field("To"), field("Body"), field("StatusCallback"));
    let is_number = to.len() > 7 && to.starts_with('+') && to[1..].bytes().all(|b| b.is_ascii_digit());
    match () {
        () if to.is_empty() => return problem(StatusCode::BAD_REQUEST, 21_604, "A 'To' phone number is required."),
        () if field("From").is_empty() => {
            return problem(StatusCode::BAD_REQUEST, 21_603, "A 'From' phone number is required.");
        }
        () if text.is_empty() => return problem(StatusCode::BAD_REQUEST, 21_602, "Message body is required."),
        () if !is_number => return problem(StatusCode::BAD_REQUEST, 21_211, "Invalid 'To' Phone Number"),
        () if text.chars().count() > sms::MAX_CHARACTERS => {
            return problem(
                StatusCode::BAD_REQUEST,
                21_617,
                "The concatenated message body exceeds the 1600 character limit",
            );
        }
        () if simulator.has_stopped(&to) => {
            return problem(StatusCode::BAD_REQUEST, 21_610, "Attempt to send to unsubscribed recipient");
        }
        () => (),
    }
    let query = callback.split_once('?').map_or("", |(_, query)| query);
    let ours: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let attempt = ours.get("attempt").cloned();
    let communication =
        attempt.as_deref().and_then(|a| a.parse::<events::AttemptId>().ok()).map(|a| a.communication.to_string());
    let behaviour = recipients::phone(&to);
    let fate = simulator.fate(account.config, behaviour, communication.as_deref().unwrap_or_default());
    if let Fate::Refuse(status, retry_after) = fate {
        let code = if status == StatusCode::TOO_MANY_REQUESTS { 20_429 } else { u32::from(status.as_u16()) };
        return refusal(status, retry_after, body(status, code, "simulated"));
    }
    if let Fate::Reset = fate {
        return reset();
    }
    if let Fate::Hang { accepted: false, .. } = fate {
        return hang().await;
    }
    let message_sid = format!("SM{:032x}", simulator.clock.random());
    simulator.inbox.add(Entry {
        provider: "twilio",
        config: account.config,
        channel: "sms",
        to: to.clone(),
        from: field("From"),
        subject: None,
        body: text.clone(),
        html: None,
        attachments: Vec::new(),
        tenant: ours.get("tenant").cloned(),
        communication_id: communication,
        attempt_id: attempt,
        provider_message_id: message_sid.clone(),
        at: api::fields::show_time(simulator.clock.now()),
    });
    let answer = json!({
        "sid": message_sid,
        "account_sid": sid,
        "status": "queued",
        "to": to,
        "from": field("From"),
        "body": text,
        "num_segments": sms::segments(&text).count.to_string(),
    });
    if !matches!(fate, Fate::Hang { silent: true, .. }) {
        tokio::spawn(live(simulator.clone(), behaviour, account, to, field("From"), callback, message_sid));
    }
    match fate {
        Fate::Hang { .. } => hang().await,
        _ => refusal(StatusCode::CREATED, None, answer),
    }
}

/// What becomes of a message, reported as it happens.
async fn live(
    simulator: Arc<Simulator>,
    behaviour: Behaviour,
    account: &'static Known,
    to: String,
    from: String,
    callback: String,
    sid: String,
) {
    let say = async |after: Duration, status: &str, error: Option<&str>| {
        tokio::time::sleep(after).await;
        let mut fields = vec![
            ("AccountSid", account.id),
            ("From", &from),
            ("MessageSid", &sid),
            ("MessageStatus", status),
            ("SmsSid", &sid),
            ("SmsStatus", status),
            ("To", &to),
        ];
        fields.extend(error.map(|code| ("ErrorCode", code)));
        simulator.post_status(account, &callback, &fields).await;
    };
    let soon = Duration::from_millis(20);
    say(Duration::ZERO, "sent", None).await;
    match behaviour {
        Behaviour::BounceHard => say(soon, "undelivered", Some("30005")).await,
        Behaviour::Slow => say(simulator.clock.on_the_wall(30_000), "delivered", None).await,
        _ => say(soon, "delivered", None).await,
    }
    match behaviour {
        // What SMS has of opening: nothing. Read is what richer channels report.
        Behaviour::Opened | Behaviour::Clicked => say(soon, "read", None).await,
        Behaviour::Complaint | Behaviour::Stop => simulator.stop(to.clone()),
        _ => (),
    }
}

impl Simulator {
    fn has_stopped(&self, number: &str) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).contains(number)
    }

    fn stop(&self, number: String) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    async fn post_status(&self, account: &Known, url: &str, fields: &[(&str, &str)]) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut sorted = fields.to_vec();
        sorted.sort();
        let mut mac = Hmac::<Sha1>::new_from_slice(account.secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(url.as_bytes());
        sorted.iter().for_each(|(name, value)| mac.update([*name, *value].concat().as_bytes()));
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        for wait_ms in [100, 500, 2_000] {
            let sent = self
                .client
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .header("x-twilio-signature", &signature)
                .body(body.clone())
                .send()
                .await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}
