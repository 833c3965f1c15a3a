//! Error responses of the HTTP functions as `application/problem+json` (RFC 9457). The use cases return typed errors; this
//! crate maps each of them to a status, a title and a detail.

mod body;
mod faults;
mod rejections;

pub use body::read_body;

use std::convert::Infallible;

use application::ExecuteError;
use application::api_keys::ApiKeyError;
use application::attachments::AttachmentError;
use application::audit_log::AuditLogError;
use application::callback_log::CallbackLogError;
use application::caller::Forbidden;
use application::preferences::PreferenceError;
use application::provider_configs::ProviderConfigError;
use application::rendering::Busy;
use application::suppressions::SuppressionError;
use application::templates::TemplateError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::communication::Rejection;
use domain::ports::StoreError;
use domain::provider::{AccountQueryError, InvalidSetting};
use domain::render::RenderError;
use domain::{business_event, preferences};
use serde::Serialize;

/// The types of problem that a response can have. Each is described under `/docs/problems/`.
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
    EventIdReused,
    RecipientSuppressed,
    SpendCapReached,
    PreviewExpired,
    CountDiffers,
    Unavailable,
    Internal,
}

impl ProblemKind {
    pub const ALL: [ProblemKind; 19] = [
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
        ProblemKind::EventIdReused,
        ProblemKind::RecipientSuppressed,
        ProblemKind::SpendCapReached,
        ProblemKind::PreviewExpired,
        ProblemKind::CountDiffers,
        ProblemKind::Unavailable,
        ProblemKind::Internal,
    ];

    /// Returns the slug, the HTTP status and the title.
    pub fn slug_status_title(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            ProblemKind::Malformed => ("malformed", StatusCode::BAD_REQUEST, "Malformed request"),
            ProblemKind::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "Unauthorized"),
            ProblemKind::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Forbidden"),
            ProblemKind::SignatureInvalid => ("signature-invalid", StatusCode::FORBIDDEN, "Invalid signature"),
            ProblemKind::NotFound => ("not-found", StatusCode::NOT_FOUND, "Not found"),
            ProblemKind::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            ProblemKind::Conflict => ("conflict", StatusCode::CONFLICT, "Conflict with the current state"),
            ProblemKind::PreconditionFailed => {
                ("precondition-failed", StatusCode::PRECONDITION_FAILED, "Precondition failed")
            }
            ProblemKind::TooLarge => ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "Content too large"),
            ProblemKind::TooManyRequests => ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            ProblemKind::Invalid => ("invalid", StatusCode::UNPROCESSABLE_ENTITY, "Invalid fields"),
            ProblemKind::IdempotencyKeyReused => {
                ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "Idempotency key reused")
            }
            ProblemKind::EventIdReused => ("event-id-reused", StatusCode::UNPROCESSABLE_ENTITY, "Event id reused"),
            ProblemKind::RecipientSuppressed => {
                ("recipient-suppressed", StatusCode::UNPROCESSABLE_ENTITY, "The address is on the suppression list")
            }
            ProblemKind::SpendCapReached => {
                ("spend-cap-reached", StatusCode::UNPROCESSABLE_ENTITY, "The spend cap of the day is reached")
            }
            ProblemKind::PreviewExpired => ("preview-expired", StatusCode::CONFLICT, "The preview has expired"),
            ProblemKind::CountDiffers => ("count-differs", StatusCode::CONFLICT, "The numbers differ"),
            ProblemKind::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
            ProblemKind::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        }
    }
}

/// What is wrong with one field. `pointer` is a JSON Pointer into the body, or the name of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub pointer: String,
    pub code: &'static str,
    pub detail: String,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// A further member of the body, and its name.
    pub member: Option<(&'static str, serde_json::Value)>,
    /// How long the client should wait before it retries, in seconds.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let retry_after_s = (kind == ProblemKind::Unavailable).then_some(2);
        Problem { kind, detail: detail.into(), errors: Vec::new(), member: None, retry_after_s }
    }

    /// Creates the problem for invalid fields. The detail joins those of the fields.
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

/// The problem of the faults that a use case found.
fn invalid<F: Into<FieldError>>(faults: Vec<F>) -> Problem {
    Problem::invalid(faults.into_iter().map(F::into).collect())
}

/// Makes a sentence of an error text.
fn sentence(text: &str) -> String {
    let mut detail = text.to_owned();
    detail.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    detail + "."
}

impl From<Busy> for Problem {
    fn from(_: Busy) -> Self {
        let detail = "Too many large texts are being rendered. Send the same request again in a moment.";
        Problem::new(ProblemKind::Unavailable, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed during a request");
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
                tracing::error!(%why, "outcome of an append unknown");
                let detail = "The request may have been stored. Send it again with the same Idempotency-Key.";
                Problem::new(ProblemKind::Unavailable, detail)
            }
            ExecuteError::Contended => {
                Problem::new(ProblemKind::Unavailable, "The resource was changed concurrently. Try again.")
            }
            ExecuteError::StreamFull => {
                Problem::new(ProblemKind::Conflict, "The resource has reached its maximum number of changes.")
            }
        }
    }
}

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Forbidden(forbidden) => forbidden.into(),
            TemplateError::NotFound => Problem::new(
                ProblemKind::NotFound,
                "No template has this id. GET /api/communication-templates lists them.",
            ),
            TemplateError::NoVersion => Problem::new(ProblemKind::NotFound, "The template has no such version."),
            TemplateError::BuiltIn => Problem::new(
                ProblemKind::Conflict,
                "System templates cannot be changed. Create your own template with the same code; it takes precedence.",
            ),
            TemplateError::BuiltInBroken(error) => Problem::new(ProblemKind::Internal, error.to_string()),
            TemplateError::Invalid(faults) => invalid(faults),
            TemplateError::NotRendered(error) => {
                let pointer = match error {
                    RenderError::MissingVariables(_)
                    | RenderError::Template(_)
                    | RenderError::TooComplex(_)
                    | RenderError::TooManySteps
                    | RenderError::Blank
                    | RenderError::Direction => "/variables",
                    RenderError::UnknownTemplate(_)
                    | RenderError::WrongChannel(_)
                    | RenderError::TooLarge
                    | RenderError::Empty => "/bodyTemplate",
                };
                let detail = format!("The message cannot be rendered: {error}.");
                Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), code: error.kind(), detail }])
            }
            TemplateError::Busy(busy) => busy.into(),
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
                Problem::new(ProblemKind::NotFound, "No channel has this id. GET /api/channels lists them.")
            }
            ProviderConfigError::Setting(InvalidSetting { setting, detail }) => {
                let pointer = match setting {
                    "provider" | "channel" => format!("/{setting}"),
                    _ => format!("/settings/{setting}"),
                };
                Problem::invalid(vec![FieldError { pointer, code: "not_usable", detail }])
            }
            ProviderConfigError::Settings(faults) => invalid(faults),
            ProviderConfigError::SmsProvider(faults) => invalid(faults),
            ProviderConfigError::Order(faults) => invalid(faults),
            ProviderConfigError::CredentialsMissing => Problem::new(
                ProblemKind::Conflict,
                "The credentials of this channel are missing. Delete the channel and create it again.",
            ),
            ProviderConfigError::AccountQuery { provider, error } => match error {
                AccountQueryError::Unsupported => {
                    Problem::new(ProblemKind::Conflict, format!("Provider {provider} does not report a balance."))
                }
                AccountQueryError::CredentialsRejected(code) => {
                    Problem::new(ProblemKind::Conflict, format!("The provider rejected the credentials ({code})."))
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
            ApiKeyError::NotFound => Problem::new(ProblemKind::NotFound, "No API key has this id."),
            ApiKeyError::Invalid(faults) => invalid(faults),
            ApiKeyError::Execute(error) => error.into(),
            ApiKeyError::Store(error) => error.into(),
        }
    }
}

impl From<PreferenceError> for Problem {
    fn from(error: PreferenceError) -> Self {
        match error {
            PreferenceError::Forbidden(forbidden) => forbidden.into(),
            PreferenceError::NoPublicUrl => {
                Problem::new(ProblemKind::Conflict, "This deployment has no public address: PUBLIC_URL is not set.")
            }
            PreferenceError::Invalid(_) => Problem::new(ProblemKind::Invalid, "The preferences are not valid."),
            PreferenceError::Execute(error) => error.into(),
            PreferenceError::Store(error) => error.into(),
        }
    }
}

impl From<AttachmentError> for Problem {
    fn from(error: AttachmentError) -> Self {
        match error {
            AttachmentError::Forbidden(forbidden) => forbidden.into(),
            AttachmentError::NotFound => Problem::new(ProblemKind::NotFound, "No attachment has this id."),
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
            CallbackLogError::NotFound => {
                Problem::new(ProblemKind::NotFound, "No callback of the last 30 days has this id.")
            }
            CallbackLogError::Store(error) => error.into(),
        }
    }
}

impl From<SuppressionError> for Problem {
    fn from(error: SuppressionError) -> Self {
        match error {
            SuppressionError::Forbidden(forbidden) => forbidden.into(),
            SuppressionError::Address(error) => Problem::new(ProblemKind::Malformed, format!("contact {error}.")),
            SuppressionError::NotListed => {
                Problem::new(ProblemKind::NotFound, "The address is not on the suppression list.")
            }
            SuppressionError::Store(error) => error.into(),
        }
    }
}

impl From<preferences::Rejection> for Problem {
    fn from(rejection: preferences::Rejection) -> Self {
        let kind = match rejection {
            preferences::Rejection::TooManySaves => ProblemKind::TooManyRequests,
            preferences::Rejection::Changed(_) => ProblemKind::PreconditionFailed,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl From<business_event::Rejection> for Problem {
    fn from(rejection: business_event::Rejection) -> Self {
        let kind = match rejection {
            business_event::Rejection::Unknown => ProblemKind::NotFound,
            business_event::Rejection::IdReused => ProblemKind::EventIdReused,
            business_event::Rejection::NotPossible(_) | business_event::Rejection::Erased => ProblemKind::Conflict,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl From<business_event::Changed> for Problem {
    fn from(changed: business_event::Changed) -> Self {
        Problem::new(ProblemKind::PreconditionFailed, sentence(&changed.to_string()))
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
            | Rejection::TooManyChanges
            | Rejection::NotInDoubt
            | Rejection::NotDeadLettered
            | Rejection::UnknownAttempt => ProblemKind::Conflict,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl Problem {
    /// Returns the JSON body of the response.
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
        if let Some((name, value)) = &self.member {
            body[*name] = value.clone();
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
