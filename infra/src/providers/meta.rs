//! What WhatsApp and Messenger have in common: Graph, its errors, its signatures.

use domain::communication::AttemptOutcome;
use domain::provider::CallbackRequest;
use events::{RefusalClass, Timestamp};
use serde::Deserialize;

use super::signatures::{Keys, Verdict, decode_hex, hmac_sha256, same};
use super::{HttpExchange, classify_status, field, refused};

/// The version of Graph that requests are written for.
pub(super) const VERSION: &str = "v23.0";

#[derive(Deserialize)]
struct Problem {
    error: Fault,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    error_subcode: Option<i64>,
}

/// The code decides, never the text nor the HTTP status.
pub(super) fn error(exchange: &HttpExchange) -> Option<(i64, Option<i64>)> {
    exchange.json::<Problem>().map(|problem| (problem.error.code, problem.error.error_subcode))
}

/// None: it was taken.
pub(super) fn refusal(
    exchange: &HttpExchange,
    class: fn(i64, Option<i64>) -> Option<RefusalClass>,
) -> Option<(AttemptOutcome, i64)> {
    if let Some((code, subcode)) = error(exchange) {
        let name = subcode.map_or(code.to_string(), |subcode| format!("{code}.{subcode}"));
        let answer = match class(code, subcode) {
            Some(class) => refused(class, name, exchange.retry_after_ms()),
            None => classify_status(exchange, &name).unwrap_or_else(|| refused(RefusalClass::Permanent, name, None)),
        };
        return Some((answer, code));
    }
    classify_status(exchange, exchange.code()).map(|answer| (answer, 0))
}

/// `sha256=` and hexadecimal HMAC-SHA256 over the raw body. The older SHA-1 header is not looked at.
pub(super) fn verify_post(request: &CallbackRequest, keys: &Keys, _: Option<Timestamp>) -> Verdict {
    let given = request.header("x-hub-signature-256").ok_or("no signature header")?;
    let given = given.strip_prefix("sha256=").and_then(decode_hex).ok_or("the signature is not hexadecimal")?;
    if keys.secret.is_empty() {
        return Err("there is no app secret to check it with");
    }
    same(&hmac_sha256(keys.secret.as_bytes(), &[&request.body]), &given)
}

/// How Graph finds out whether an address is ours.
pub(super) fn verify_get(request: &CallbackRequest, keys: &Keys, _: Option<Timestamp>) -> Verdict {
    let get = |name: &str| field(request.query().as_bytes(), name);
    if get("hub.mode").as_deref() != Some("subscribe") {
        return Err("hub.mode is not subscribe");
    }
    let token = get("hub.verify_token").ok_or("no hub.verify_token")?;
    if keys.secret.is_empty() {
        return Err("there is no verify token to compare with");
    }
    same(token.as_bytes(), keys.secret.as_bytes()).map_err(|_| "the verify token is wrong")
}

/// What the GET wants to read.
pub(super) fn challenge(request: &CallbackRequest) -> Option<String> {
    field(request.query().as_bytes(), "hub.challenge").filter(|text| text.len() <= 200)
}

pub(super) fn media_kind(mime: &str) -> &'static str {
    match mime.split('/').next() {
        Some("image") => "image",
        Some("video") => "video",
        Some("audio") => "audio",
        _ => "file",
    }
}
