//! What the API refuses.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A problem of the API.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: StatusCode,
    pub problem: Value,
}

impl Refusal {
    pub fn new(status: StatusCode, detail: &str) -> Refusal {
        Refusal { status, problem: json!({ "title": detail, "detail": detail }) }
    }

    pub fn detail(&self) -> &str {
        self.problem["detail"].as_str().unwrap_or("The answer cannot be read.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
