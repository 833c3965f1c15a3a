//! What the API refuses.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The code of a form whose token is of another session.
const FORM_EXPIRED: &str = "form_expired";

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

    /// The form belongs to a session that has ended.
    pub fn form_expired() -> Refusal {
        let detail = "This form is of an earlier session, so nothing was changed. What you typed is still on the page before: go back, \
                      copy it, and reload that page.";
        let mut refusal = Refusal::new(StatusCode::FORBIDDEN, detail);
        refusal.problem["code"] = json!(FORM_EXPIRED);
        refusal
    }

    /// Whether the form belongs to a session that has ended.
    pub fn is_form_expired(&self) -> bool {
        self.problem["code"] == FORM_EXPIRED
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

    /// Whether the form was sent before with other content.
    pub fn is_form_used(&self) -> bool {
        self.problem["code"] == "idempotency_key_reused"
    }

    pub fn detail(&self) -> &str {
        if self.is_form_used() {
            return "This form was sent before, with other content. Check it and send it again.";
        }
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
