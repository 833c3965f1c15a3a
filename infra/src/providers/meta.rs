//! Code that WhatsApp and Messenger share: Meta's Graph API, its errors and its signatures.

use domain::communication::AttemptOutcome;
use domain::provider::{CallbackRequest, InvalidSetting};
use events::{RefusalClass, Timestamp};
use serde::Deserialize;

use super::attempt_ids::form_field;
use super::http::{HttpExchange, classify_status};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, invalid_setting};
use super::signatures::{VerificationKeys, VerifyResult, constant_time_eq, decode_hex, hmac_sha256};

/// The version of the Graph API that requests are written for.
const VERSION: &str = "v26.0";

/// The version of the Graph API to call: that of the settings, such as `v27.0`, or our own.
///
/// # Errors
///
/// [`InvalidSetting`]: not a version.
pub(super) fn api_version(connection: &ConnectionSettings) -> Result<String, InvalidSetting> {
    let version = connection.get_or("apiVersion", VERSION);
    let number = version.strip_prefix('v').and_then(|number| number.split_once('.'));
    let is_number = |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    match number {
        Some((major, minor)) if is_number(major, 3) && is_number(minor, 1) => Ok(version),
        _ => Err(invalid_setting("apiVersion", "apiVersion is a version of the Graph API such as v26.0.")),
    }
}

#[derive(Deserialize)]
struct ErrorResponse {
    error: GraphError,
}

#[derive(Deserialize)]
struct GraphError {
    code: i64,
    error_subcode: Option<i64>,
}

/// Returns the error's code and subcode. Unlike its text and the HTTP status, they are stable.
pub(super) fn error(exchange: &HttpExchange) -> Option<(i64, Option<i64>)> {
    exchange.json::<ErrorResponse>().map(|response| (response.error.code, response.error.error_subcode))
}

/// Returns the outcome of a response that is not a success, with Graph's error code, or 0 if there is none. `class`
/// maps the codes of one product.
pub(super) fn refusal(
    exchange: &HttpExchange,
    class: fn(i64, Option<i64>) -> Option<RefusalClass>,
) -> Option<(AttemptOutcome, i64)> {
    if let Some((code, subcode)) = error(exchange) {
        let name = subcode.map_or(code.to_string(), |subcode| format!("{code}.{subcode}"));
        let outcome = match class(code, subcode) {
            Some(class) => refusal_outcome(class, name, exchange.retry_after_ms()),
            None => classify_status(exchange, Some(&name))
                .unwrap_or_else(|| refusal_outcome(RefusalClass::Permanent, name, None)),
        };
        return Some((outcome, code));
    }
    classify_status(exchange, None).map(|outcome| (outcome, 0))
}

/// Checks the header, which holds `sha256=` and the hexadecimal HMAC-SHA256 of the raw body. The older SHA-1 header is
/// not accepted.
pub(super) fn verify_post(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let header = request.header("x-hub-signature-256").ok_or("no signature header")?;
    let signature = header.strip_prefix("sha256=").and_then(decode_hex).ok_or("the signature is not hexadecimal")?;
    if keys.secret.is_empty() {
        return Err("no app secret is configured");
    }
    constant_time_eq(&hmac_sha256(keys.secret.as_bytes(), &[&request.body]), &signature)
}

/// Checks the GET request by which Graph verifies that we own a callback address.
pub(super) fn verify_get(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let get = |name: &str| form_field(request.query().as_bytes(), name);
    if get("hub.mode").as_deref() != Some("subscribe") {
        return Err("hub.mode is not subscribe");
    }
    let token = get("hub.verify_token").ok_or("no hub.verify_token")?;
    if keys.secret.is_empty() {
        return Err("no verify token is configured");
    }
    constant_time_eq(token.as_bytes(), keys.secret.as_bytes()).map_err(|_| "the verify token is wrong")
}

/// Returns the text that the response to that GET request must repeat.
pub(super) fn challenge(request: &CallbackRequest) -> Option<String> {
    form_field(request.query().as_bytes(), "hub.challenge").filter(|text| text.len() <= 200)
}
