use serde::{Deserialize, Serialize};

use crate::{ActOutcome, Channel, CommunicationId, Mode, Recipient, Timestamp, event_family};

/// Names an invoice as the system that issued it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InvoiceRef {
    pub mode: Mode,
    /// The system, such as `flowpos`. The ids of two systems may coincide.
    pub namespace: String,
    pub id: String,
}

/// Where a fact comes from. Of two facts about the same thing, the one with the greater order applies, whichever
/// arrived first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactSource {
    /// The business event that told it, or the request.
    pub event: String,
    pub occurred_at: Timestamp,
    /// The source's revision of the invoice, which decides between facts of the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

crate::values::string_enum!(
    /// What a document of account is about.
    InvoiceKind {
        /// A sale at the counter. It is collected only if it has a due date.
        Sale = "sale",
        /// An invoice on account.
        Invoice = "invoice",
    }
);

crate::values::string_enum!(
    /// The state of an invoice in the system that issued it.
    InvoiceStatus {
        Draft = "draft",
        Submitted = "submitted",
        Approved = "approved",
        Issued = "issued",
        Open = "open",
        Sent = "sent",
        PartiallyPaid = "partially_paid",
        Overdue = "overdue",
        Paid = "paid",
    }
);

/// The file of an invoice, an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceDocument {
    pub attachment: String,
    pub sha256: String,
}

/// What an invoice says. Amounts are in minor units of the currency, such as cents; days are `YYYY-MM-DD`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTerms {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<InvoiceKind>,
    /// Whom it is for, by a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Recipient>,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<InvoiceStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<InvoiceDocument>,
    /// The name of the business that issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_name: Option<String>,
    /// The customer's time zone, by its IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

crate::values::string_enum!(
    /// Why the reminders of an invoice began.
    CollectionCause {
        /// Collections were on when it was issued.
        OnTime = "on_time",
        /// It was open, and not yet due, when collections were switched on.
        Adoption = "adoption",
        /// It was overdue when collections were switched on, and a person confirmed it. Its current step is due.
        Backfill = "backfill",
        /// As `backfill`, but what is due already is left out.
        BackfillLater = "backfill_later",
        /// A person let the ladder begin again.
        Restart = "restart",
    }
);

crate::values::string_enum!(
    /// Why the reminders of an open invoice ended.
    CollectionEndReason {
        /// Every step of the ladder was issued or skipped.
        LadderOver = "ladder_over",
        /// Collections were switched off.
        SwitchedOff = "switched_off",
        /// The invoice is not one that is collected, such as a sale without a due date.
        NotCollectible = "not_collectible",
    }
);

crate::values::string_enum!(
    /// Why a reminder was not sent.
    StepSkipReason {
        /// A later step was due at the same time.
        Superseded = "superseded",
        /// It was due before the invoice was known here.
        KnownTooLate = "known_too_late",
        /// It could not be sent within the days that it may be late.
        TooLate = "too_late",
        /// When its message was to be written, nothing was owed any more.
        Settled = "settled",
        /// When its message was to be written, the invoice was void, disputed, paused or promised.
        NotCollectible = "not_collectible",
        /// The customer has no address on any of the step's channels.
        NoContact = "no_contact",
        /// The customer wants no such message.
        OptedOut = "opted_out",
        /// The message was refused, such as for a template with a fault.
        Refused = "refused",
    }
);

crate::values::string_enum!(
    /// Why a reminder waits for another day.
    StepPostponeReason {
        /// The customer has had as many notices today as a day allows.
        MaxPerDay = "max_per_day",
        /// The customer's last notice is too recent.
        MinDaysBetween = "min_days_between",
        /// The notice of that day was sent without it.
        NoticeClosed = "notice_closed",
    }
);

crate::values::string_enum!(
    /// How an invoice was sent.
    InvoiceSending { Automatic = "automatic", Manual = "manual" }
);

/// The facts about one invoice, and what was decided about its reminders. Facts can arrive in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum InvoiceEvent {
    /// v1. The invoice was named for the first time. It may not be issued yet.
    InvoiceFirstSeen {
        #[serde(flatten)]
        invoice: InvoiceRef,
    },
    /// v1. The invoice was issued.
    InvoiceIssued { terms: InvoiceTerms, source: FactSource },
    /// v1. What the invoice says changed. Absent terms did not change.
    InvoiceChanged { terms: InvoiceTerms, source: FactSource },
    /// v1. The system that issued it states what is still owed.
    BalanceStated { balance: i64, source: FactSource },
    /// v1. A payment, or a part of one, for this invoice.
    PaymentRecorded {
        payment: String,
        amount: i64,
        currency: String,
        received_at: Timestamp,
        /// The payment link it came by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        source: FactSource,
    },
    /// v1. A payment was refunded, in whole or in part.
    PaymentReversed { refund: String, payment: String, amount: i64, source: FactSource },
    /// v1. A payment failed. If it was recorded, it counts nothing from then on, unless it is recorded again later.
    PaymentFailed { payment: String, source: FactSource },
    /// v1. The invoice is void.
    InvoiceVoided { source: FactSource },
    /// v1. It is no longer expected to be paid.
    InvoiceWrittenOff { source: FactSource },
    /// v1. It is neither void nor written off.
    InvoiceReinstated { source: FactSource },
    /// v1. The customer disputes it. There are no reminders until the dispute is resolved.
    InvoiceDisputed { source: FactSource },
    /// v1. The dispute is resolved.
    DisputeResolved { source: FactSource },
    /// v1. No reminders through this day, or until they are resumed.
    CollectionPaused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        by: String,
    },
    /// v1. A pause, or the wait for a promised payment, has ended.
    CollectionResumed { by: String },
    /// v1. The customer has promised to pay. No reminders through that day.
    PaymentPromised {
        on: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<i64>,
        by: String,
    },
    /// v1. The invoice's reminders begin. `from` is the earliest due day that collections take up by themselves.
    CollectionBegun { from: String, cause: CollectionCause },
    /// v1. The reminders ended, although something may be owed.
    CollectionEnded { reason: CollectionEndReason },
    /// v1. The ladder begins again.
    CollectionRestarted { round: u32, by: String },
    /// v1. The invoice was sent to the customer.
    InvoiceSent { communication: CommunicationId, how: InvoiceSending },
    /// v1. A person asked for it to be sent, and a document must be printed first.
    InvoiceSendingRequested {
        /// The id of the request, derived from its idempotency key.
        request: String,
        /// `None` means those of the customer and the automation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<Channel>,
        by: String,
    },
    /// v1. What became of the request.
    InvoiceSendingEnded { request: String, acts: Vec<ActOutcome> },
    /// v1. A link to pay it was created, the newest one. `number` counts its links, from 1.
    PaymentLinkAdded { link: String, number: u32 },
    /// v1. A step of the ladder is due on this day, and joins a notice.
    ReminderStepTriggered { round: u32, step: String, day: String, notice: String },
    /// v1. The notice told the customer about the invoice, with these communications.
    ReminderStepIssued { round: u32, step: String, notice: String, communications: Vec<CommunicationId> },
    /// v1. The step sends nothing.
    ReminderStepSkipped { round: u32, step: String, reason: StepSkipReason },
    /// v1. The step waits until this day.
    ReminderStepPostponed { round: u32, step: String, until: String, reason: StepPostponeReason },
    /// v1. A payment followed a notice within the days that are counted.
    PaymentAttributed {
        payment: String,
        communication: CommunicationId,
        step: String,
        after_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_micros: Option<i64>,
    },
    /// v1. The customer's data was erased. The amounts remain; there are no more reminders.
    InvoiceErased { by: String },
}

event_family!(InvoiceEvent {
    InvoiceFirstSeen: 1,
    InvoiceIssued: 1,
    InvoiceChanged: 1,
    BalanceStated: 1,
    PaymentRecorded: 1,
    PaymentReversed: 1,
    PaymentFailed: 1,
    InvoiceVoided: 1,
    InvoiceWrittenOff: 1,
    InvoiceReinstated: 1,
    InvoiceDisputed: 1,
    DisputeResolved: 1,
    CollectionPaused: 1,
    CollectionResumed: 1,
    PaymentPromised: 1,
    CollectionBegun: 1,
    CollectionEnded: 1,
    CollectionRestarted: 1,
    InvoiceSent: 1,
    InvoiceSendingRequested: 1,
    InvoiceSendingEnded: 1,
    PaymentLinkAdded: 1,
    ReminderStepTriggered: 1,
    ReminderStepIssued: 1,
    ReminderStepSkipped: 1,
    ReminderStepPostponed: 1,
    PaymentAttributed: 1,
    InvoiceErased: 1,
});
