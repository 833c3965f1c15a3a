//! Sends requests to providers, and derives the outcome of an attempt from responses and failures.

use std::time::{Duration, Instant};

use domain::communication::AttemptOutcome;
use domain::provider::{AccountQueryError, Balance, MAX_ID, SendResult};
use events::{InDoubtCause, RefusalClass};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::client::http_client;
use super::outcome::refusal_outcome;
use super::public_fetch::public_client;
use super::recorder::{note_request, note_response};

/// Maximum number of bytes of a provider's response that are read.
pub(super) const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Clients that all providers of a process share.
#[derive(Clone)]
pub struct HttpClients {
    /// Calls addresses that we chose, which are the providers' own.
    pub client: Client,
    /// Calls addresses that a tenant chose. It reaches only public addresses.
    pub public: Client,
}

impl HttpClients {
    pub fn new() -> HttpClients {
        HttpClients { client: http_client(), public: public_client() }
    }
}

impl Default for HttpClients {
    fn default() -> Self {
        HttpClients::new()
    }
}

/// A provider's response to one request.
pub(super) struct HttpExchange {
    pub status: StatusCode,
    headers: HeaderMap,
    /// The body, cut off after about [`MAX_RESPONSE_BYTES`] or where the connection broke.
    pub body: Vec<u8>,
    started: Instant,
}

impl HttpExchange {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns `Retry-After` in milliseconds. Our providers send it only in seconds, so the date form is not read.
    pub fn retry_after_ms(&self) -> Option<i64> {
        self.header("retry-after")?.trim().parse::<i64>().ok().map(|seconds| seconds.saturating_mul(1_000))
    }

    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn code(&self) -> &str {
        self.status.as_str()
    }

    /// Whether the response is a page for people, such as that of a proxy or a login.
    pub fn is_html(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        kind.starts_with("text/html") || self.body.trim_ascii_start().starts_with(b"<!")
    }

    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Returns the outcome of an accepted message. The answers of all providers hold an id, so one without an id is not
    /// the provider's own.
    pub fn accepted(&self, provider_message_id: impl Into<String>, segments: Option<u16>) -> SendResult {
        let provider_message_id = provider_message_id.into();
        if provider_message_id.is_empty() {
            return self.unreadable_response();
        }
        self.accepted_without_id(provider_message_id, segments)
    }

    /// Returns the outcome of an accepted message whose id may be empty. A text that is too long is no id.
    pub fn accepted_without_id(&self, provider_message_id: String, segments: Option<u16>) -> SendResult {
        AttemptOutcome::Accepted {
            provider_message_id: Some(provider_message_id).filter(|id| id.len() <= MAX_ID).unwrap_or_default(),
            segments,
            cost: None,
            latency_ms: self.started.elapsed().as_millis() as u32,
        }
        .into()
    }

    /// Returns the outcome of a 2xx response whose body is not what the provider documents. The message may have been
    /// accepted or not, so the attempt is in doubt.
    pub fn unreadable_response(&self) -> SendResult {
        AttemptOutcome::InDoubt(InDoubtCause::ServerError).into()
    }
}

/// Sends one request and reads the response. If the provider may have read the request but did not answer, the attempt
/// is in doubt.
pub(super) async fn exchange(request: RequestBuilder, timeout_ms: u64) -> Result<HttpExchange, AttemptOutcome> {
    let started = Instant::now();
    let (client, request) = request.timeout(Duration::from_millis(timeout_ms)).build_split();
    let request = request.map_err(classify_transport_error)?;
    note_request(&request);
    let mut response = client.execute(request).await.map_err(classify_transport_error)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    // The status has arrived, and it counts even if the rest of the body does not arrive.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if MAX_RESPONSE_BYTES < body.len() {
            break;
        }
    }
    note_response(status, &body);
    Ok(HttpExchange { status, headers, body, started })
}

fn classify_transport_error(error: reqwest::Error) -> AttemptOutcome {
    if error.is_connect() || error.is_builder() {
        refusal_outcome(RefusalClass::Unavailable, "connect", None)
    } else if error.is_timeout() {
        AttemptOutcome::InDoubt(InDoubtCause::Timeout)
    } else {
        AttemptOutcome::InDoubt(InDoubtCause::ConnectionLost)
    }
}

/// Returns the outcome that an HTTP status stands for, if the body is not more precise. Returns `None` for success.
/// `own_code` is the provider's own code in the body. Without one, statuses of a proxy or of a moved address do not
/// count as the provider's answer.
pub(super) fn classify_status(exchange: &HttpExchange, own_code: Option<&str>) -> Option<AttemptOutcome> {
    let code = own_code.unwrap_or(exchange.code());
    let retry_after_ms = exchange.retry_after_ms();
    Some(match exchange.status.as_u16() {
        200..=299 => return None,
        300..=399 | 404 | 405 | 407 | 410 | 421 if own_code.is_none() => {
            refusal_outcome(RefusalClass::Unavailable, code, None)
        }
        401 | 403 => refusal_outcome(RefusalClass::Auth, code, None),
        402 => refusal_outcome(RefusalClass::Balance, code, None),
        408 => refusal_outcome(RefusalClass::Transient, code, retry_after_ms),
        429 => refusal_outcome(RefusalClass::Throttled, code, retry_after_ms),
        503 => refusal_outcome(RefusalClass::Unavailable, code, retry_after_ms),
        500..=599 => AttemptOutcome::InDoubt(InDoubtCause::ServerError),
        _ => refusal_outcome(RefusalClass::Permanent, code, None),
    })
}

/// Reads a value that an accepted message does not need, such as its cost. `None` if it is missing or not as documented.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(value)?).ok())
}

/// Reads a number that may be written as text, as [`lenient`] does.
pub(super) fn lenient_number<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u16>, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

/// Sends a request that changes nothing at the provider, such as a query for the balance.
pub(super) async fn query_api(request: RequestBuilder, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
    let exchange =
        exchange(request, timeout_ms).await.map_err(|_| AccountQueryError::NoResponse("no answer".to_owned()))?;
    match exchange.status.as_u16() {
        200..=299 => Ok(exchange),
        401 | 403 => Err(AccountQueryError::CredentialsRejected(exchange.code().to_owned())),
        code => Err(AccountQueryError::NoResponse(code.to_string())),
    }
}

pub(super) fn unexpected_format() -> AccountQueryError {
    AccountQueryError::NoResponse("unexpected format".to_owned())
}

pub(super) fn balance(amount: impl ToString, unit: impl Into<String>) -> Result<Balance, AccountQueryError> {
    Ok(Balance { amount: amount.to_string(), unit: unit.into() })
}
