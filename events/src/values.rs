//! The enums of events. Their values are stored and shown by name.

use serde::{Deserialize, Serialize};

/// Declares an enum whose values are stored as text, with `ALL`, `as_str` and `FromStr`.
#[macro_export]
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The names of all values.
            pub fn names() -> Vec<&'static str> {
                $name::ALL.iter().map(|value| value.as_str()).collect()
            }

            /// The name as stored and as the API shows it.
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
pub(crate) use string_enum;

string_enum!(
    /// The medium of a message.
    Channel {
        Email = "email",
        Sms = "sms",
        Whatsapp = "whatsapp",
        Messenger = "messenger",
        Telegram = "telegram",
    }
);
string_enum!(
    /// The purpose of a message. It decides the default expiry and the default policy for doubts.
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
    /// Urgent and high messages share one queue of a channel, normal and low ones the other.
    Priority { Low = "low", Normal = "normal", High = "high", Urgent = "urgent" }
);
string_enum!(
    /// The origin of a request.
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
    /// Live messages reach providers. Test messages only reach the simulator.
    Mode { Live = "live", Test = "test" }
);
string_enum!(
    /// What happens to an attempt in doubt when no evidence arrives.
    InDoubtPolicy {
        /// Send again, because a duplicate does less harm than a missing message.
        Resend = "resend",
        /// Stop, because a missing message does less harm than a duplicate.
        Hold = "hold",
    }
);

string_enum!(
    /// What to do with a message of which a file is missing when it is sent.
    MissingFilePolicy {
        Fail = "fail",
        /// Wait for the file until the message expires.
        Hold = "hold",
    }
);
string_enum!(
    /// The role of an API key or user: a set of permissions.
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
    CollectionPaused = "collection_paused",
    /// A fallback step would pass the spend cap of the day.
    SpendCapReached = "spend_cap_reached",
});
string_enum!(DeferReason { QuietHours = "quiet_hours", MissingFile = "missing_file" });
string_enum!(
    /// Why a provider refused a message. It decides what happens next.
    RefusalClass {
        /// The provider failed and says so. The attempt counts and is retried.
        Transient = "transient",
        /// We are too fast (429). The attempt does not count, and is retried when the provider says.
        Throttled = "throttled",
        /// The provider could not be reached, or answered 503.
        Unavailable = "unavailable",
        /// The provider will never accept this message.
        Permanent = "permanent",
        /// The provider rejects our credentials or sender. The message is held, the attempt does not count, and an
        /// alert is raised.
        Auth = "auth",
        /// The account at the provider is empty. The message is held, the attempt does not count, and an alert is
        /// raised.
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
    /// A status that a provider reports about a message.
    ReportedStatus {
        /// The provider has the message (`processed`, `queued`). This proves acceptance and nothing more.
        Accepted = "accepted",
        Sent = "sent",
        /// The receiving side postponed the message. This never changes the status.
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
        /// A status that this version does not know. It is recorded, with its name as the code, but never applied.
        Unknown = "unknown",
    }
);
string_enum!(
    /// How long personal data is kept in the vault.
    RetentionClass { Short = "short", Standard = "standard", Long = "long" }
);
string_enum!(CancelReason {
    Requested = "requested",
    Settled = "settled",
    Erased = "erased",
    /// The fallback to the next channel was triggered.
    FellBack = "fell_back",
});
string_enum!(
    /// What must be reported in time to prevent the fallback.
    FallbackCondition { Delivered = "delivered", Read = "read" }
);
string_enum!(
    /// Why the fallback was triggered.
    FallbackTrigger {
        /// The message was not sent.
        NotSent = "not_sent",
        /// The message was sent, and the provider reported that it was not delivered.
        NotDelivered = "not_delivered",
        /// Delivery was not reported in time.
        NotDeliveredInTime = "not_delivered_in_time",
        NotReadInTime = "not_read_in_time",
    }
);
string_enum!(
    /// Why a fallback that was due does not take place.
    FallbackAbandonReason {
        /// The message expired first.
        Expired = "expired",
        /// Its hint crashed the handler repeatedly.
        Poison = "poison",
    }
);
string_enum!(FailReason {
    /// The provider will never accept the message.
    Permanent = "permanent",
    /// The message cannot be rendered with its variables.
    Unrenderable = "unrenderable",
    MissingFile = "missing_file",
    /// Cancelled after an attempt whose result is unknown.
    Cancelled = "cancelled",
    /// An attempt remained in doubt, and the policy is `hold`.
    InDoubt = "in_doubt",
    /// No provider serves this channel and mode.
    NoProvider = "no_provider",
});
string_enum!(DeadLetterReason {
    RetriesExhausted = "retries_exhausted",
    Expired = "expired",
    Poison = "poison",
});
