//! Use cases of messages: accepting them, changing them and reading them.
//!
//! Every caller (HTTP, test sends, campaigns, automations) describes a message as a [`NewMessage`]. [`compose`] checks
//! it and finds every fault at once. [`send`] loads what it needs, composes, checks consent, stores and sends a hint.
//! Permissions and scopes are checked here, so that no caller can forget them.

mod address;
mod attempts;
mod batch;
mod bulk;
mod change;
mod compose;
mod content;
mod cost;
mod dead_letters;
mod dry_run;
mod estimate;
mod gather;
mod known;
mod new_message;
mod provider_report;
mod read;
mod redrive;
mod render;
mod resend;
mod routing;
mod send;
mod statistics;
mod upcoming;

pub use address::{ALLOWED_COUNTRIES, DEFAULT_REGION};
pub use attempts::{Attempt, attempts};
pub use batch::{check_batch, send_batch};
pub use bulk::cancel_many;
pub use change::{Change, cancel, change, resolve, retry};
pub use compose::{Composed, compose};
pub use content::{NOT_A_FILE_NAME, NOT_A_LOCATION};
pub use dead_letters::{Cause, CauseCount, Causes, causes};
pub use dry_run::{DryCheck, DryRun, Outcome, dry_run};
pub use estimate::estimated_send_time;
pub use gather::TenantConfig;
pub use known::{Known, KnownRecipient};
pub use new_message::{AttachmentRef, ChannelChoice, Fault, Field, IdempotencyKey, NewContent, NewMessage, NewStep};
pub use provider_report::{AskProviderError, ProviderAnswer, ask_provider};
pub use read::{Listed, Message, content_of, fallback_content_keys, get, history, list};
pub use redrive::{Redrive, Redriven, Selection, redrive};
pub use resend::{Resend, resend};
pub use send::{Accepted, check, id_of, send, send_test};
pub use statistics::{QueueStatus, Statistics, queue_status, statistics};
pub use upcoming::{Slot, Upcoming, upcoming};

use domain::communication::Rejection;
use domain::ports::StoreError;
use events::SuppressReason;

use crate::ExecuteError;
use crate::caller::Forbidden;
use crate::process::ProcessError;
use crate::rendering::Busy;
use crate::spend::SpendCapReached;

/// Why a use case of messages had no effect.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The role or the scope of the caller does not permit it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The tenant has no such message in the caller's mode.
    #[error("there is no such message")]
    NotFound,
    /// The request is at fault. Another try fails in the same way.
    #[error("{} faults", .0.len())]
    Invalid(Vec<Fault>),
    /// The recipient must not be sent this.
    #[error("the recipient is suppressed: {}", .0.as_str())]
    Suppressed(SuppressReason),
    /// The message would pass the spend cap of the day.
    #[error(transparent)]
    SpendCapReached(#[from] SpendCapReached),
    /// The content that the use case needs was erased.
    #[error("the content has been erased")]
    Erased,
    /// An email needs a subject, and the message to be sent again has none.
    #[error("an email needs a subject, and this message has none")]
    NoSubject,
    /// Nothing was stored. A retry may succeed.
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// Nothing was stored. A retry may succeed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MessageError {
    /// The code of a refusal that another try would not change, for a process that sends a message.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: another try may succeed.
    pub fn refusal(self) -> Result<&'static str, ProcessError> {
        Ok(match self {
            MessageError::Invalid(faults) => faults.first().map_or("invalid", |fault| fault.code),
            MessageError::Suppressed(reason) => reason.as_str(),
            MessageError::SpendCapReached(_) => "spend_cap_reached",
            MessageError::Forbidden(_) => "forbidden",
            MessageError::Store(StoreError::Unreadable(_)) => "unreadable",
            error @ (MessageError::NotFound | MessageError::Erased | MessageError::NoSubject) => {
                tracing::warn!(%error, "a message of a process was refused");
                "invalid"
            }
            MessageError::Busy(busy) => return Err(StoreError::Unavailable(busy.to_string()).into()),
            MessageError::Execute(error) => return Err(error.into()),
            MessageError::Store(error) => return Err(error.into()),
        })
    }
}

impl From<Rejection> for MessageError {
    fn from(rejection: Rejection) -> Self {
        ExecuteError::Rejected(rejection).into()
    }
}
