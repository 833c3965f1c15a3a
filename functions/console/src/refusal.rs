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

/// A field that is not right, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// As the API names it: `/templateVariables`.
    pub pointer: String,
    pub detail: String,
}

impl Refusal {
    /// The fields that are not right.
    pub fn faults(&self) -> Vec<FieldFault> {
        let errors = self.problem["errors"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        errors.map(|error| FieldFault { pointer: text(&error["pointer"]), detail: text(&error["detail"]) }).collect()
    }

    pub fn new(status: StatusCode, detail: &str) -> Refusal {
        let title = status.canonical_reason().unwrap_or_default();
        let problem = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        Refusal { status, problem }
    }

    /// Nothing has this address, in the API's form.
    pub fn not_found(detail: &str) -> Refusal {
        let status = StatusCode::NOT_FOUND;
        let problem = json!({
            "type": "/docs/problems/not-found", "title": "Not found", "status": status.as_u16(),
            "code": "not_found", "detail": detail,
        });
        Refusal { status, problem }
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
