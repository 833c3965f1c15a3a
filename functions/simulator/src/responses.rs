//! Responses to requests, including errors and missing responses.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::faults::FaultKind;
use crate::provider::ProviderSimulation;

/// How long a provider hangs. It is longer than any caller waits.
const HANG: Duration = Duration::from_secs(120);

/// How a simulated provider responds to one request.
pub enum SimulatedResponse {
    Accept,
    /// An error, with the seconds of its Retry-After header.
    Refuse(StatusCode, Option<u32>),
    /// No response. If `accepted`, the message is accepted all the same. If `silent`, the provider never reports on it.
    Hang {
        accepted: bool,
        silent: bool,
    },
    /// The connection is closed without a response.
    Reset,
}

impl From<FaultKind> for SimulatedResponse {
    fn from(fault: FaultKind) -> SimulatedResponse {
        match fault {
            FaultKind::Timeout => SimulatedResponse::Hang { accepted: false, silent: false },
            FaultKind::AcceptThenTimeout => SimulatedResponse::Hang { accepted: true, silent: false },
            FaultKind::AcceptThenSilence => SimulatedResponse::Hang { accepted: true, silent: true },
            FaultKind::Reset => SimulatedResponse::Reset,
            FaultKind::Status400 => SimulatedResponse::Refuse(StatusCode::BAD_REQUEST, None),
            FaultKind::Status401 => SimulatedResponse::Refuse(StatusCode::UNAUTHORIZED, None),
            FaultKind::Status402 => SimulatedResponse::Refuse(StatusCode::PAYMENT_REQUIRED, None),
            FaultKind::Status429 => SimulatedResponse::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2)),
            FaultKind::Status500 => SimulatedResponse::Refuse(StatusCode::INTERNAL_SERVER_ERROR, None),
            FaultKind::Status503 => SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
        }
    }
}

/// Marks a response that is never sent: the server closes the connection instead.
#[derive(Clone)]
pub struct Reset;

pub async fn hang() -> Response {
    tokio::time::sleep(HANG).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

pub fn reset() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Reset);
    response
}

/// Builds an error response. A server error comes from a load balancer, so it does not have the provider's format.
pub fn refusal(provider: &dyn ProviderSimulation, status: StatusCode, retry_after: Option<u32>) -> Response {
    let mut response =
        if status.is_server_error() { (status, "upstream error").into_response() } else { provider.refusal(status) };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

/// Builds a JSON response.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
