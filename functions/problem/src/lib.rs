//! Errors of the HTTP functions as `application/problem+json` (RFC 9457). The use cases return typed errors; here they get
//! their status, title and detail.

use std::convert::Infallible;

use application::ExecuteError;
use application::api_keys::{ApiKeyError, KeyFault};
use application::attachments::AttachmentError;
use application::audit_log::AuditLogError;
use application::callback_log::CallbackLogError;
use application::caller::Forbidden;
use application::preferences::PreferenceError;
use application::provider_configs::ProviderConfigError;
use application::suppressions::SuppressionError;
use application::templates::TemplateError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::communication::Rejection;
use domain::ports::StoreError;
use domain::provider::{AccountQueryError, InvalidSetting};
use domain::{api_key, provider_configs, templates};
use serde::Serialize;

/// Every problem that can be answered; each has its page under `/docs/problems/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
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

impl ProblemKind {
    pub const ALL: [ProblemKind; 15] = [
        ProblemKind::Malformed,
        ProblemKind::Unauthenticated,
        ProblemKind::Forbidden,
        ProblemKind::SignatureInvalid,
        ProblemKind::NotFound,
        ProblemKind::MethodNotAllowed,
        ProblemKind::Conflict,
        ProblemKind::PreconditionFailed,
        ProblemKind::TooLarge,
        ProblemKind::TooManyRequests,
        ProblemKind::Invalid,
        ProblemKind::IdempotencyKeyReused,
        ProblemKind::RecipientSuppressed,
        ProblemKind::Unavailable,
        ProblemKind::Internal,
    ];

    /// (slug, status, title)
    pub fn slug_status_title(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            ProblemKind::Malformed => ("malformed", StatusCode::BAD_REQUEST, "The request cannot be read"),
            ProblemKind::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "No valid API key"),
            ProblemKind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The API key does not permit this"),
            ProblemKind::SignatureInvalid => {
                ("signature-invalid", StatusCode::FORBIDDEN, "The signature is missing or wrong")
            }
            ProblemKind::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            ProblemKind::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Not with this method")
            }
            ProblemKind::Conflict => ("conflict", StatusCode::CONFLICT, "It does not fit what is there"),
            ProblemKind::PreconditionFailed => {
                ("precondition-failed", StatusCode::PRECONDITION_FAILED, "It has changed since you read it")
            }
            ProblemKind::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            ProblemKind::TooManyRequests => {
                ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "This key asks too often")
            }
            ProblemKind::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "Some fields are not valid"),
            ProblemKind::IdempotencyKeyReused => (
                "idempotency-key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
            ),
            ProblemKind::RecipientSuppressed => {
                ("recipient-suppressed", StatusCode::UNPROCESSABLE_ENTITY, "This address must not be written to")
            }
            ProblemKind::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not possible at the moment"),
            ProblemKind::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
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
    pub kind: ProblemKind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// When to ask again, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let retry_after_s = (kind == ProblemKind::Unavailable).then_some(2);
        Problem { kind, detail: detail.into(), errors: Vec::new(), retry_after_s }
    }

    /// Fields that are not valid.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| error.detail.as_str()).collect::<Vec<_>>().join(" ");
        Problem { errors, ..Problem::new(ProblemKind::Invalid, detail) }
    }
}

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        Problem::new(ProblemKind::Forbidden, sentence(&forbidden.to_string()))
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
                Problem::new(ProblemKind::Unavailable, "Nothing was lost. Send the same request again in a moment.")
            }
            StoreError::Unreadable(_) => Problem::new(ProblemKind::Internal, "Stored data could not be read."),
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
                Problem::new(ProblemKind::Unavailable, detail)
            }
            ExecuteError::Contended => {
                Problem::new(ProblemKind::Unavailable, "Others changed it at the same time. Try again.")
            }
            ExecuteError::StreamFull => Problem::new(ProblemKind::Conflict, "Its history is full."),
        }
    }
}

/// A rejection of a command on one of the tenant's resources.
fn not_possible(rejection: &dyn std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Conflict, format!("Not possible: {rejection}."))
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
            TemplateError::NotFound => Problem::new(
                ProblemKind::NotFound,
                "There is no such template; GET /api/communication-templates lists them.",
            ),
            TemplateError::NoVersion => Problem::new(ProblemKind::NotFound, "There is no such version of it."),
            TemplateError::BuiltIn => Problem::new(
                ProblemKind::Conflict,
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
                Problem::new(ProblemKind::NotFound, "There is no such channel; GET /api/channels lists them.")
            }
            ProviderConfigError::Setting(InvalidSetting { setting, detail }) => {
                let pointer = match setting {
                    "provider" | "channel" => format!("/{setting}"),
                    _ => format!("/settings/{setting}"),
                };
                Problem::invalid(vec![FieldError { pointer, code: "not_usable", detail }])
            }
            ProviderConfigError::CredentialsMissing => {
                Problem::new(ProblemKind::Conflict, "Its credentials are gone; set them again.")
            }
            ProviderConfigError::AccountQuery { provider, error } => match error {
                AccountQueryError::Unsupported => {
                    Problem::new(ProblemKind::Conflict, format!("{provider} has no balance to ask for."))
                }
                AccountQueryError::CredentialsRejected(code) => {
                    Problem::new(ProblemKind::Conflict, format!("The provider refuses the credentials ({code})."))
                }
                AccountQueryError::NoResponse(_) => {
                    Problem::new(ProblemKind::Unavailable, "The provider did not answer. Try again.")
                }
            },
            ProviderConfigError::Execute(error) => error.into(),
            ProviderConfigError::Store(error) => error.into(),
        }
    }
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::Forbidden(forbidden) => forbidden.into(),
            ApiKeyError::NotFound => Problem::new(ProblemKind::NotFound, "There is no such key."),
            ApiKeyError::Invalid(faults) => Problem::invalid(faults.into_iter().map(FieldError::from).collect()),
            ApiKeyError::Execute(error) => error.into(),
            ApiKeyError::Store(error) => error.into(),
        }
    }
}

impl From<KeyFault> for FieldError {
    fn from(fault: KeyFault) -> Self {
        let (pointer, code) = match fault {
            KeyFault::TeamRole => ("/role", "not_a_sender"),
            KeyFault::LiveKeyByTestKey => ("/mode", "not_allowed"),
            KeyFault::Expired => ("/expiresAt", "in_the_past"),
        };
        FieldError { pointer: pointer.to_owned(), code, detail: fault.to_string() }
    }
}

impl From<PreferenceError> for Problem {
    fn from(error: PreferenceError) -> Self {
        match error {
            PreferenceError::Forbidden(forbidden) => forbidden.into(),
            PreferenceError::NoPublicUrl => {
                Problem::new(ProblemKind::Conflict, "This deployment has no public address: PUBLIC_URL is not set.")
            }
            PreferenceError::Execute(error) => error.into(),
            PreferenceError::Store(error) => error.into(),
        }
    }
}

impl From<AttachmentError> for Problem {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::Forbidden(forbidden) => forbidden.into(),
            AttachmentError::NotFound => Problem::new(ProblemKind::NotFound, "There is no such attachment."),
            AttachmentError::Store(error) => error.into(),
        }
    }
}

impl From<AuditLogError> for Problem {
    fn from(error: AuditLogError) -> Self {
        match error {
            AuditLogError::Forbidden(forbidden) => forbidden.into(),
            AuditLogError::Store(error) => error.into(),
        }
    }
}

impl From<CallbackLogError> for Problem {
    fn from(error: CallbackLogError) -> Self {
        match error {
            CallbackLogError::Forbidden(forbidden) => forbidden.into(),
            CallbackLogError::Store(error) => error.into(),
        }
    }
}

impl From<SuppressionError> for Problem {
    fn from(error: SuppressionError) -> Self {
        match error {
            SuppressionError::Forbidden(forbidden) => forbidden.into(),
            SuppressionError::Address(error) => Problem::new(ProblemKind::Malformed, format!("contact {error}.")),
            SuppressionError::NotListed => Problem::new(ProblemKind::NotFound, "This address is not on the list."),
            SuppressionError::Store(error) => error.into(),
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
            Rejection::NotRequested => ProblemKind::NotFound,
            Rejection::IdempotencyKeyReused => ProblemKind::IdempotencyKeyReused,
            Rejection::AttemptInFlight(_)
            | Rejection::NotDue(_)
            | Rejection::Finished
            | Rejection::AlreadyAccepted
            | Rejection::AlreadyAttempted
            | Rejection::NotInDoubt
            | Rejection::NotDeadLettered
            | Rejection::UnknownAttempt => ProblemKind::Conflict,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl Problem {
    /// As it is answered.
    pub fn body(&self) -> serde_json::Value {
        let (slug, status, title) = self.kind.slug_status_title();
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
        let (_, status, _) = self.kind.slug_status_title();
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == ProblemKind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait_s) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, wait_s.into());
        }
        response
    }
}
