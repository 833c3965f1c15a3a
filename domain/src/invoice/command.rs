//! The commands to an invoice, and why they are rejected.

use events::{
    ActOutcome, Channel, CollectionCause, CollectionEndReason, CommunicationId, InvoiceEvent, InvoiceRef,
    InvoiceSending, StepPostponeReason, StepSkipReason,
};

use super::sending::MAX_WAITING;
use super::{MAX_PAYMENTS, MAX_ROUNDS, NewestLink};

/// A command to an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Records facts. What is known already is left out.
    Record {
        reference: InvoiceRef,
        facts: Vec<InvoiceEvent>,
        /// The earliest due day that collections take up by themselves. `None` if collections are off.
        collect_from: Option<String>,
    },
    Pause {
        until: Option<String>,
        by: String,
    },
    Resume {
        by: String,
    },
    Promise {
        on: String,
        amount: Option<i64>,
        by: String,
    },
    /// The ladder begins again, also for an invoice whose reminders have not begun.
    Restart {
        /// The earliest due day that collections take up by themselves.
        from: String,
        by: String,
    },
    BeginCollection {
        from: String,
        cause: CollectionCause,
    },
    EndCollection(CollectionEndReason),
    RecordSending {
        communication: CommunicationId,
        how: InvoiceSending,
    },
    RequestSending {
        request: String,
        channel: Option<Channel>,
        by: String,
    },
    EndSending {
        request: String,
        acts: Vec<ActOutcome>,
    },
    AddLink(NewestLink),
    Trigger {
        step: String,
        day: String,
        notice: String,
    },
    Issue {
        round: u32,
        step: String,
        notice: String,
        communications: Vec<CommunicationId>,
    },
    Skip {
        round: u32,
        step: String,
        reason: StepSkipReason,
    },
    Postpone {
        round: u32,
        step: String,
        until: String,
        reason: StepPostponeReason,
    },
    Attribute {
        payment: String,
        communication: CommunicationId,
        step: String,
        after_ms: i64,
        cost_micros: Option<i64>,
    },
    Erase {
        by: String,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such invoice")]
    Unknown,
    #[error("an invoice cannot have more than {MAX_PAYMENTS} payments")]
    TooManyPayments,
    #[error("the ladder of an invoice cannot begin more than {MAX_ROUNDS} times")]
    TooManyRounds,
    #[error("nothing is owed that can be collected")]
    NotCollectible,
    #[error("this step was done")]
    StepDone,
    #[error("a step of the ladder is under way; try again in a minute")]
    StepUnderWay,
    #[error("the customer's data was erased")]
    Erased,
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("{MAX_WAITING} requests to send this invoice are waiting")]
    TooManySendings,
}
