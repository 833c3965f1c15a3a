use serde::{Deserialize, Serialize};

use crate::{
    Channel, CommunicationId, FallbackCondition, InvoiceRef, Mode, Recipient, StepPostponeReason, StepSkipReason,
    event_family,
};

crate::values::string_enum!(
    /// How a step uses its channels.
    StepMode {
        /// The first, and the next one if the message was not received in time.
        Escalate = "escalate",
        /// All of them.
        All = "all",
    }
);

/// One step of the ladder of reminders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderStep {
    /// A step that was done stays done under its id, whatever the ladder becomes.
    pub id: String,
    /// Days after the due day. A negative number is a reminder before it.
    pub after_days: i16,
    /// In the order of their use. A customer's own preference for this type of message replaces them.
    pub channels: Vec<Channel>,
    pub mode: StepMode,
    /// How long to wait for one channel before the next, in milliseconds.
    pub escalate_after_ms: i64,
    /// What makes the next channel unnecessary.
    pub unless: FallbackCondition,
    /// A template's id or code in place of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

crate::values::string_enum!(
    /// Which invoices share one message.
    NoticeGrouping {
        /// Those of one customer that are due on the same day.
        Customer = "customer",
        /// None.
        None = "none",
    }
);

crate::values::string_enum!(
    Weekday {
        Monday = "mon",
        Tuesday = "tue",
        Wednesday = "wed",
        Thursday = "thu",
        Friday = "fri",
        Saturday = "sat",
        Sunday = "sun",
    }
);

/// When a tenant's customers are reminded of what they owe. Times are `HH:MM`, days are `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionSettings {
    /// The time of reminders in the customer's zone.
    pub time: String,
    /// The last time of a day at which a reminder can leave.
    pub until: String,
    /// IANA name, for customers whose zone is not known.
    pub time_zone: String,
    pub ladder: Vec<LadderStep>,
    pub grouping: NoticeGrouping,
    /// How long before their time invoices gather in a notice, in seconds.
    pub gather_seconds: u16,
    /// The most notices to one customer on one day.
    pub max_per_day: u8,
    pub min_days_between: u8,
    /// The days of the week on which reminders are sent.
    pub days: Vec<Weekday>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<String>,
    /// The most days that a reminder can be late.
    pub late_days: u8,
    pub grace_after_first_seen_days: u8,
    /// Invoices with less to pay, in minor units, are not collected.
    pub minimum_minor: i64,
    /// A payment counts as the effect of a notice for this many days.
    pub attribution_days: u8,
}

/// A tenant's decisions about its collections. There is one stream of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum CollectionsEvent {
    /// v1. The settings were changed. `revision` counts the changes.
    CollectionSettingsChanged { revision: u32, settings: CollectionSettings },
    /// v1. Reminders are sent from now on, for invoices that are due on this day or later.
    CollectionsEnabled { from: String },
    /// v1. No reminders are sent.
    CollectionsDisabled {},
    /// v1. This backfill, and no other of its mode, may be confirmed.
    BackfillClaimed { mode: Mode, backfill: String },
}

event_family!(CollectionsEvent {
    CollectionSettingsChanged: 1,
    CollectionsEnabled: 1,
    CollectionsDisabled: 1,
    BackfillClaimed: 1,
});

/// What one customer has agreed about reminders. Each customer with such an agreement has a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum DebtorEvent {
    /// v1. The customer's own rules. Absent ones are those of the tenant. `revision` counts the changes.
    DebtorChanged {
        revision: u32,
        /// Whether the customer is never reminded.
        excluded: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_zone: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ladder: Option<Vec<LadderStep>>,
    },
    /// v1. No reminders through this day, or until they are resumed.
    DebtorPaused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        by: String,
    },
    /// v1. A pause, or the wait for a promised payment, has ended.
    DebtorResumed { by: String },
    /// v1. The customer has promised to pay. No reminders through that day.
    DebtorPromised { on: String, by: String },
    /// v1. A notice was sent to the customer on this day.
    NoticeIssued { mode: Mode, day: String, notice: String },
}

event_family!(DebtorEvent { DebtorChanged: 1, DebtorPaused: 1, DebtorResumed: 1, DebtorPromised: 1, NoticeIssued: 1 });

/// An invoice with the step that it is reminded by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeInvoice {
    /// The id of its stream.
    pub invoice: String,
    pub round: u32,
    pub step: String,
}

/// A message of a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeMessage {
    pub channel: Channel,
    pub communication: CommunicationId,
}

/// Why an invoice that had joined a notice is not in its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeDrop {
    Skipped(StepSkipReason),
    Postponed { until: String, reason: StepPostponeReason },
}

/// One notice: what is told to one customer on one day about all invoices whose reminders are due then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum NoticeEvent {
    /// v1. The notice gathers invoices until this time.
    NoticeOpened { mode: Mode, customer: Option<Recipient>, day: String, due_at: crate::Timestamp },
    /// v1. An invoice joined.
    NoticeJoined {
        #[serde(flatten)]
        joined: NoticeInvoice,
        reference: InvoiceRef,
    },
    /// v1. Nothing joins any more. These invoices are in its messages, and those are left out.
    NoticeClosed {
        kept: Vec<NoticeInvoice>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<(NoticeInvoice, NoticeDrop)>,
        /// The template's code and the step that decides about channels.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<LadderStep>,
    },
    /// v1. Its messages were accepted, or refused with the reason. Every invoice knows it.
    NoticeDone {
        messages: Vec<NoticeMessage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
}

event_family!(NoticeEvent { NoticeOpened: 1, NoticeJoined: 1, NoticeClosed: 1, NoticeDone: 1 });
