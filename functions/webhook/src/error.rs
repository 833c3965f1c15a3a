//! The error of the function.

use std::convert::Infallible;

use application::ExecuteError;
use domain::ports::StoreError;

/// Why a callback, or a retry of one, had no complete effect.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The provider's signature is right, but the body is not one of its callbacks.
    #[error("not a valid callback of {provider}: {reason}")]
    Unreadable { provider: String, reason: &'static str },
    /// Some of the delivery reports are not stored. The whole callback can be repeated, because a report that is stored
    /// already changes nothing.
    #[error("delivery reports are not stored: {0}")]
    ReportsNotStored(ExecuteError),
    /// The incoming message is not stored.
    #[error("an incoming message is not stored: {0}")]
    Inbound(#[from] ExecuteError<Infallible>),
    #[error(transparent)]
    Store(#[from] StoreError),
}
