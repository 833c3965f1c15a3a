//! The headers of requests and responses.

use application::Caller;
use application::messages::IdempotencyKey;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::ports::Principal;
use problem::{Problem, ProblemKind};
use serde_json::Value;

use crate::json;

/// The caller: the principal, with the correlation ids of the request's headers.
pub(crate) fn caller(principal: Principal, headers: &HeaderMap) -> Caller {
    let text = |name: &str, limit: usize| {
        let value = headers.get(name)?.to_str().ok()?;
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        (plain && !value.is_empty() && value.len() <= limit).then(|| value.to_owned())
    };
    Caller {
        principal,
        on_behalf: None,
        correlation: text("x-correlation-id", 64),
        traceparent: text("traceparent", 55),
    }
}

/// The `Idempotency-Key` header. Returns `None` if it is absent.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    parse_idempotency_key(value.to_str().unwrap_or_default()).map(Some)
}

pub(crate) fn parse_idempotency_key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::parse(text).ok_or_else(|| {
        let detail = "Idempotency-Key must be 1 to 255 visible ASCII characters, such as invoice-1234/send.";
        Problem::new(ProblemKind::Malformed, detail)
    })
}

/// The version in `If-Match: "3"`. Returns `None` if the header is absent or `*`. `whose` names the tag in the error, such as
/// `a template's`.
pub(crate) fn if_match(headers: &HeaderMap, whose: &str) -> Result<Option<u32>, Problem> {
    let Some(given) = headers.get(header::IF_MATCH) else { return Ok(None) };
    match given.to_str().unwrap_or_default().trim().trim_matches('"') {
        "*" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Problem::new(ProblemKind::Malformed, format!("If-Match must be {whose} ETag, such as \"3\"."))
        }),
    }
}

/// A JSON response. The field `version` of its body is the entity tag.
pub(crate) fn json_with_etag(status: StatusCode, body: &Value, version: &str) -> Response {
    let mut response = json(status, body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", body[version])) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
