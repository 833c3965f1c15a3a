//! Errors as people and programs can read them: `application/problem+json`, RFC 9457.

use std::convert::Infallible;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::communication::Rejection;
use domain::ports::StoreError;
use domain::provider::InvalidSetting;
use domain::{api_key, provider_configs, templates};
use serde::Serialize;

use crate::ExecuteError;
use crate::api_keys::ApiKeyError;
use crate::caller::Forbidden;
use crate::preferences::PreferenceError;
use crate::provider_configs::ProviderConfigError;
use crate::templates::TemplateError;

/// Every problem that can be answered; each has its page under `/docs/problems/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Malformed,
    Unauthenticated,
    Forbidden,
    SignatureInvalid,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PreconditionFailed,
    TooLarge,
    TooManyRequests,
    Invalid,
    IdempotencyKeyReused,
    RecipientSuppressed,
    Unavailable,
    Internal,
}

impl Kind {
    pub const ALL: [Kind; 15] = [
        Kind::Malformed,
        Kind::Unauthenticated,
        Kind::Forbidden,
        Kind::SignatureInvalid,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Conflict,
        Kind::PreconditionFailed,
        Kind::TooLarge,
        Kind::TooManyRequests,
        Kind::Invalid,
        Kind::IdempotencyKeyReused,
        Kind::RecipientSuppressed,
        Kind::Unavailable,
        Kind::Internal,
    ];

    /// (slug, status, title)
    pub fn describe(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Kind::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Kind::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "No valid API key"),
            Kind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The API key does not permit this"),
            Kind::SignatureInvalid => ("signature-invalid", StatusCode::FORBIDDEN, "The signature is missing or wrong"),
            Kind::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Kind::MethodNotAllowed => ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not with this method"),
            Kind::Conflict => ("conflict", StatusCode::CONFLICT, "It does not fit what is there"),
            Kind::PreconditionFailed => {
                ("precondition-failed", StatusCode::PRECONDITION_FAILED, "It has changed since you read it")
            }
            Kind::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Kind::TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "This key asks too often"),
            Kind::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "Some fields are not valid"),
            Kind::IdempotencyKeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
            ),
            Kind::RecipientSuppressed => {
                ("recipient-suppressed", StatusCode::UNPROCESSABLE_ENTITY, "This address must not be written to")
            }
            Kind::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not possible at the moment"),
            Kind::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
        }
    }
}

/// One field's trouble. `pointer` is a JSON Pointer into the body, or the name of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub pointer: String,
    pub code: &'static str,
    pub detail: String,
}

/// An answer that is not the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// When to ask again, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after_s = (kind == Kind::Unavailable).then_some(2);
        Problem { kind, detail: detail.into(), errors: Vec::new(), retry_after_s }
    }

    /// Fields that are not valid.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| error.detail.as_str()).collect::<Vec<_>>().join(" ");
        Problem { errors, ..Problem::new(Kind::Invalid, detail) }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        Problem::new(Kind::Forbidden, sentence(&forbidden.to_string()))
    }
}

/// An error's text as a sentence.
fn sentence(text: &str) -> String {
    let mut detail = text.to_owned();
    detail.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    detail + "."
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request could not be served");
        match error {
            StoreError::Unavailable(_) => {
                Problem::new(Kind::Unavailable, "Nothing was lost. Send the same request again in a moment.")
            }
            StoreError::Unreadable(_) => Problem::new(Kind::Internal, "Stored data could not be read."),
        }
    }
}

impl<R: Into<Problem>> From<ExecuteError<R>> for Problem {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => rejection.into(),
            ExecuteError::Store(error) => error.into(),
            ExecuteError::OutcomeUnknown(why) => {
                tracing::error!(%why, "unknown whether stored");
                let detail = "It is not known whether this was stored. Send it again with the same Idempotency-Key.";
                Problem::new(Kind::Unavailable, detail)
            }
            ExecuteError::Contended => {
                Problem::new(Kind::Unavailable, "Others changed it at the same time. Try again.")
            }
            ExecuteError::StreamFull => Problem::new(Kind::Conflict, "Its history is full."),
        }
    }
}

/// A rejection of a command on one of the tenant's resources.
fn not_possible(rejection: &dyn std::fmt::Display) -> Problem {
    Problem::new(Kind::Conflict, format!("Not possible: {rejection}."))
}

impl From<templates::Rejection> for Problem {
    fn from(rejection: templates::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<provider_configs::Rejection> for Problem {
    fn from(rejection: provider_configs::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<api_key::Rejection> for Problem {
    fn from(rejection: api_key::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Forbidden(forbidden) => forbidden.into(),
            TemplateError::NotFound => {
                Problem::new(Kind::NotFound, "There is no such template; GET /api/communication-templates lists them.")
            }
            TemplateError::NoVersion => Problem::new(Kind::NotFound, "There is no such version of it."),
            TemplateError::BuiltIn => Problem::new(
                Kind::Conflict,
                "A system template is part of Tidings: make one of your own with the same code, and it comes first.",
            ),
            TemplateError::Execute(error) => error.into(),
            TemplateError::Store(error) => error.into(),
        }
    }
}

impl From<ProviderConfigError> for Problem {
    fn from(error: ProviderConfigError) -> Self {
        match error {
            ProviderConfigError::Forbidden(forbidden) => forbidden.into(),
            ProviderConfigError::NotFound => {
                Problem::new(Kind::NotFound, "There is no such channel; GET /api/channels lists them.")
            }
            ProviderConfigError::Setting(InvalidSetting { setting, detail }) => {
                let pointer = match setting {
                    "provider" | "channel" => format!("/{setting}"),
                    _ => format!("/settings/{setting}"),
                };
                Problem::invalid(vec![FieldError { pointer, code: "not_usable", detail }])
            }
            ProviderConfigError::CredentialsMissing => {
                Problem::new(Kind::Conflict, "Its credentials are gone; set them again.")
            }
            ProviderConfigError::Execute(error) => error.into(),
            ProviderConfigError::Store(error) => error.into(),
        }
    }
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::Forbidden(forbidden) => forbidden.into(),
            ApiKeyError::NotFound => Problem::new(Kind::NotFound, "There is no such key."),
            ApiKeyError::Execute(error) => error.into(),
            ApiKeyError::Store(error) => error.into(),
        }
    }
}

impl From<PreferenceError> for Problem {
    fn from(error: PreferenceError) -> Self {
        match error {
            PreferenceError::Forbidden(forbidden) => forbidden.into(),
            PreferenceError::Execute(error) => error.into(),
            PreferenceError::Store(error) => error.into(),
        }
    }
}

impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection {
            Rejection::NotRequested => Kind::NotFound,
            Rejection::IdempotencyKeyReused => Kind::IdempotencyKeyReused,
            Rejection::AttemptInFlight(_)
            | Rejection::NotDue(_)
            | Rejection::Finished
            | Rejection::AlreadyAccepted
            | Rejection::AlreadyAttempted
            | Rejection::NotInDoubt
            | Rejection::NotDeadLettered
            | Rejection::UnknownAttempt => Kind::Conflict,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl Problem {
    /// As it is answered.
    pub fn body(&self) -> serde_json::Value {
        let (slug, status, title) = self.kind.describe();
        let mut body = serde_json::json!({
            "type": format!("/docs/problems/{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "code": slug.replace('-', "_"),
        });
        if !self.errors.is_empty() {
            body["errors"] = serde_json::json!(self.errors);
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (_, status, _) = self.kind.describe();
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, wait_s.into());
        }
        response
    }
}
