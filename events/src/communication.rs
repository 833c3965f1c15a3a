use serde::{Deserialize, Serialize};

use crate::{CommunicationId, Timestamp};

/// Declares an enum whose values are written in snake case, with `ALL`, `as_str` and `FromStr`.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Every value, in the order of the field's documents.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The names of all of them.
            pub fn names() -> Vec<&'static str> {
                $name::ALL.iter().map(|value| value.as_str()).collect()
            }

            /// The name as stored and as shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok($name::$variant),)* _ => Err(()) }
            }
        }
    };
}

string_enum!(
    /// The way a message takes to a person.
    Channel {
        Email = "email",
        Sms = "sms",
        Whatsapp = "whatsapp",
        Messenger = "messenger",
        Telegram = "telegram",
    }
);
string_enum!(
    /// What a message is about. Decides its defaults: expiry and what to do in doubt.
    MessageType {
        Invoice = "invoice",
        InvoiceReminder = "invoice_reminder",
        PaymentConfirmation = "payment_confirmation",
        PaymentLink = "payment_link",
        PaymentReminder = "payment_reminder",
        CollectionNotice = "collection_notice",
        LowStockAlert = "low_stock_alert",
        UserInvitation = "user_invitation",
        GeneralNotification = "general_notification",
    }
);
string_enum!(
    /// Urgent and high share a queue of their own; normal and low share the other.
    Priority { Low = "low", Normal = "normal", High = "high", Urgent = "urgent" }
);
string_enum!(
    /// What asked for the communication.
    Source {
        Api = "api",
        Event = "event",
        Schedule = "schedule",
        Rule = "rule",
        Campaign = "campaign",
        Resend = "resend",
        Fallback = "fallback",
    }
);
string_enum!(RecipientType {
    Customer = "customer",
    Supplier = "supplier",
    User = "user",
    Contact = "contact",
});
string_enum!(
    /// Live reaches providers; test reaches the simulator alone.
    Mode { Live = "live", Test = "test" }
);
string_enum!(
    /// What follows when nobody can say whether an attempt was accepted.
    InDoubtPolicy {
        /// Send again: a duplicate is better than silence.
        Resend = "resend",
        /// Stop: silence is better than a duplicate.
        Hold = "hold",
    }
);
string_enum!(
    /// What a key stands for.
    Role {
        Admin = "admin",
        Operator = "operator",
        Sender = "sender",
        Editor = "editor",
        Viewer = "viewer",
    }
);
string_enum!(SuppressReason {
    OptedOut = "opted_out",
    ChannelDisabled = "channel_disabled",
    TypeDisabled = "type_disabled",
    SuppressionList = "suppression_list",
    DoNotContact = "do_not_contact",
    Erased = "erased",
    Settled = "settled",
});
string_enum!(DeferReason { QuietHours = "quiet_hours" });
string_enum!(
    /// Why a provider said no, and so what follows.
    RefusalClass {
        /// The provider failed and says so; the ladder goes on.
        Transient = "transient",
        /// Too fast (429): not counted, retried when the provider says.
        Throttled = "throttled",
        /// The provider could not be reached, or said 503.
        Unavailable = "unavailable",
        /// This message will never be taken.
        Permanent = "permanent",
        /// Our credentials or sender are refused: held, not counted, somebody is alerted.
        Auth = "auth",
        /// The account is empty: held, not counted, somebody is alerted.
        Balance = "balance",
    }
);
string_enum!(InDoubtCause {
    Timeout = "timeout",
    ConnectionLost = "connection_lost",
    ServerError = "server_error",
    LeaseExpired = "lease_expired",
});
string_enum!(Resolution { Accepted = "accepted", NotAccepted = "not_accepted", Unknown = "unknown" });
string_enum!(ResolvedBy {
    Callback = "callback",
    Query = "query",
    Policy = "policy",
    Operator = "operator",
});
string_enum!(
    /// What a provider reported. Grow-only: the first time each fact was seen is kept.
    ReportedStatus {
        /// The provider has it (`processed`, `queued`): proof of acceptance, nothing more.
        Accepted = "accepted",
        Sent = "sent",
        /// Put off by the receiving side; never changes the status.
        Deferred = "deferred",
        Delivered = "delivered",
        Undelivered = "undelivered",
        Bounced = "bounced",
        Dropped = "dropped",
        Opened = "opened",
        Clicked = "clicked",
        Read = "read",
        Complained = "complained",
        Unsubscribed = "unsubscribed",
        /// A status this version does not know: kept (its name is the code), never applied.
        Unknown = "unknown",
    }
);
string_enum!(
    /// How long personal data is kept.
    RetentionClass { Short = "short", Standard = "standard", Long = "long" }
);
string_enum!(CancelReason {
    Requested = "requested",
    Settled = "settled",
    Erased = "erased",
    /// The next channel has its turn.
    FellBack = "fell_back",
});
string_enum!(
    /// What must have been reported in time, or else the next channel has its turn.
    FallbackCondition { Delivered = "delivered", Read = "read" }
);
string_enum!(
    /// Why the next channel has its turn.
    FallbackTrigger {
        /// It ended, and was not sent.
        NotSent = "not_sent",
        /// It was sent, and came back.
        NotDelivered = "not_delivered",
        /// Nothing was reported in time.
        NotDeliveredInTime = "not_delivered_in_time",
        NotReadInTime = "not_read_in_time",
    }
);
string_enum!(
    /// Why the next channel's turn came to nothing.
    FallbackAbandonReason {
        /// It is too old to be worth sending.
        Expired = "expired",
        /// It crashed its consumer.
        Poison = "poison",
    }
);
string_enum!(FailReason {
    /// The provider will never take it.
    Permanent = "permanent",
    /// It could not be rendered with the variables given.
    Unrenderable = "unrenderable",
    /// Asked to cancel after an attempt whose end is unknown.
    Cancelled = "cancelled",
    /// In doubt, and the policy is `hold`.
    InDoubt = "in_doubt",
    /// No provider serves this channel and mode.
    NoProvider = "no_provider",
});
string_enum!(DeadLetterReason {
    RetriesExhausted = "retries_exhausted",
    Expired = "expired",
    Poison = "poison",
});

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    #[serde(rename = "type")]
    pub kind: RecipientType,
    /// The caller's own id of the recipient: a reference, not a name or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The exact template a communication was accepted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    pub id: String,
    pub version: u32,
}

/// What in the caller's business a communication is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRef {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One attachment. Its name and address are in the vault under `key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub key: String,
    /// Set once the bytes are ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// When a recipient is not to be disturbed, by the clock on their wall. `21:00` to `08:00` is a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// `HH:MM`, the first quiet minute.
    pub start: String,
    /// `HH:MM`, the first minute that is not.
    pub end: String,
    /// IANA name, such as `America/Mexico_City`.
    pub time_zone: String,
}

/// The channels that have their turn when this one does not bring it to the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Waits count from then, or from a later due time.
    pub from: Timestamp,
    /// In order, at least one. The first is the next; the others are its own fallback.
    pub steps: Vec<FallbackStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackStep {
    pub channel: Channel,
    pub contact_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// How long the one before it has; none: until it has failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<i64>,
    pub unless: FallbackCondition,
}

/// Everything that was accepted, but for personal data: that is in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunicationRequest {
    pub channel: Channel,
    #[serde(rename = "type")]
    pub kind: MessageType,
    pub priority: Priority,
    pub source: Source,
    pub recipient: Recipient,
    /// Keyed hash of the normalised address: what an opt-out is matched by.
    pub contact_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    /// After this nothing is attempted any more.
    pub expires_at: Timestamp,
    /// Held back and released, never skipped. Urgent messages do not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    pub in_doubt: InDoubtPolicy,
    /// Counted attempts, at most.
    pub max_attempts: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend_of: Option<CommunicationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// The communication that this one takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_of: Option<CommunicationId>,
    /// None: standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionClass>,
    /// By this provider configuration and no other: a test send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Hash of the request's body: the same idempotency key with another body is refused by it. It also names the
    /// content in the vault.
    pub request_hash: String,
    pub requested_by: String,
    pub mode: Mode,
}

/// What happened to one communication. Past tense; only ever added to. `docs/events.md` is the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum CommunicationEvent {
    /// v1. A communication was accepted.
    CommunicationRequested(Box<CommunicationRequest>),
    /// v1. Before the first attempt: another time.
    CommunicationRescheduled { scheduled_at: Timestamp, expires_at: Timestamp },
    /// v1. Before the first attempt: other words. `content` names them in the vault.
    CommunicationContentChanged { content: String },
    /// v1. Not sent, by rule. Terminal.
    CommunicationSuppressed { reason: SuppressReason },
    /// v1. Waits for a time that a user should see.
    CommunicationDeferred { until: Timestamp, reason: DeferReason },
    /// v1. The worker alone may call the provider until `lease_until`.
    DeliveryAttemptStarted {
        attempt: u16,
        /// The provider configuration used.
        config: String,
        provider: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
        lease_until: Timestamp,
    },
    /// v1. The provider took the message. Not yet proof that a person has it.
    DeliveryAttemptAccepted {
        attempt: u16,
        provider_message_id: String,
        /// SMS segments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segments: Option<u16>,
        /// Millionths of the account's currency.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_micros: Option<i64>,
        latency_ms: u32,
    },
    /// v1. The provider said no, definitely.
    DeliveryAttemptRefused {
        attempt: u16,
        class: RefusalClass,
        /// The provider's own code, or the HTTP status.
        code: String,
        /// Whether it uses up one of `max_attempts`.
        counted: bool,
        /// When the next attempt is due; none when there will be none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
        /// Another provider, which has not refused it yet, is tried next.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failover: bool,
    },
    /// v1. Nobody can say whether the provider took it; evidence is awaited.
    DeliveryAttemptInDoubt { attempt: u16, cause: InDoubtCause, evidence_until: Timestamp },
    /// v1. The doubt ended.
    DeliveryAttemptResolved {
        attempt: u16,
        outcome: Resolution,
        by: ResolvedBy,
        /// Where the provider was asked and has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_message_id: Option<String>,
    },
    /// v1. The provider called back.
    DeliveryReported {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u16>,
        fact: ReportedStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_event_id: Option<String>,
        /// The provider's time of the fact, or ours where it gives none.
        provider_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// v1. Asked to cancel while an attempt was open: no further attempts.
    CancellationRequested { by: String, reason: CancelReason },
    /// v1. Nothing was sent and nothing will be. Terminal.
    CommunicationCancelled { by: String, reason: CancelReason },
    /// v1. Terminal, unless a provider reports that it did arrive.
    CommunicationFailed { reason: FailReason, maybe_sent: bool },
    /// v1. Terminal until somebody asks for a retry.
    CommunicationDeadLettered { reason: DeadLetterReason, maybe_sent: bool },
    /// v1. A dead letter is tried again, with fresh attempts, until `expires_at`.
    RetryRequested {
        by: String,
        expires_at: Timestamp,
        /// Not before; none means at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// v1. The personal data is gone from the vault.
    CommunicationErased { by: String },
    /// v1. Decided: the next channel has its turn.
    FallbackTriggered { channel: Channel, reason: FallbackTrigger },
    /// v1. The next channel's communication is there.
    FallbackRequested { communication: CommunicationId },
    /// v1. There will be none.
    FallbackAbandoned { reason: FallbackAbandonReason },
}

impl CommunicationEvent {
    /// Every type, in the order of the enum.
    pub const TYPES: &[&str] = &[
        "CommunicationRequested",
        "CommunicationRescheduled",
        "CommunicationContentChanged",
        "CommunicationSuppressed",
        "CommunicationDeferred",
        "DeliveryAttemptStarted",
        "DeliveryAttemptAccepted",
        "DeliveryAttemptRefused",
        "DeliveryAttemptInDoubt",
        "DeliveryAttemptResolved",
        "DeliveryReported",
        "CancellationRequested",
        "CommunicationCancelled",
        "CommunicationFailed",
        "CommunicationDeadLettered",
        "RetryRequested",
        "CommunicationErased",
        "FallbackTriggered",
        "FallbackRequested",
        "FallbackAbandoned",
    ];

    /// The name it is stored under.
    pub fn name(&self) -> &'static str {
        match self {
            CommunicationEvent::CommunicationRequested(_) => "CommunicationRequested",
            CommunicationEvent::CommunicationRescheduled { .. } => "CommunicationRescheduled",
            CommunicationEvent::CommunicationContentChanged { .. } => "CommunicationContentChanged",
            CommunicationEvent::CommunicationSuppressed { .. } => "CommunicationSuppressed",
            CommunicationEvent::CommunicationDeferred { .. } => "CommunicationDeferred",
            CommunicationEvent::DeliveryAttemptStarted { .. } => "DeliveryAttemptStarted",
            CommunicationEvent::DeliveryAttemptAccepted { .. } => "DeliveryAttemptAccepted",
            CommunicationEvent::DeliveryAttemptRefused { .. } => "DeliveryAttemptRefused",
            CommunicationEvent::DeliveryAttemptInDoubt { .. } => "DeliveryAttemptInDoubt",
            CommunicationEvent::DeliveryAttemptResolved { .. } => "DeliveryAttemptResolved",
            CommunicationEvent::DeliveryReported { .. } => "DeliveryReported",
            CommunicationEvent::CancellationRequested { .. } => "CancellationRequested",
            CommunicationEvent::CommunicationCancelled { .. } => "CommunicationCancelled",
            CommunicationEvent::CommunicationFailed { .. } => "CommunicationFailed",
            CommunicationEvent::CommunicationDeadLettered { .. } => "CommunicationDeadLettered",
            CommunicationEvent::RetryRequested { .. } => "RetryRequested",
            CommunicationEvent::CommunicationErased { .. } => "CommunicationErased",
            CommunicationEvent::FallbackTriggered { .. } => "FallbackTriggered",
            CommunicationEvent::FallbackRequested { .. } => "FallbackRequested",
            CommunicationEvent::FallbackAbandoned { .. } => "FallbackAbandoned",
        }
    }
}
