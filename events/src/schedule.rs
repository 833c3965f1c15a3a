use serde::{Deserialize, Serialize};

use crate::{Channel, MessageType, Mode, Recipient, Target, Timestamp, event_family};

/// When a schedule occurs, as its author wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleTiming {
    /// A cron expression of five fields. Either this or `rrule` is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An RRULE of RFC 5545.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrule: Option<String>,
    /// `HH:MM`, with `rrule` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// IANA name.
    pub time_zone: String,
    /// `YYYY-MM-DD`, the first day.
    pub start: String,
    /// `YYYY-MM-DD`, the last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Days without occurrences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// Additional days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additions: Vec<String>,
    /// Whether a day that a month does not have moves to the month's last day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clamp_to_month_end: bool,
}

/// The message that a schedule sends at each occurrence. Its content and address are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledMessage {
    /// Names the document in the vault.
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MessageType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
    /// Keyed hash of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_hash: Option<String>,
    /// The steps of its fallback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Target>,
}

/// What happens to occurrences that were not handled in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    pub policy: CatchUpPolicy,
    /// Occurrences that are older than this, in milliseconds, are not caught up.
    pub window_ms: i64,
    /// Maximum number of occurrences that are caught up together.
    pub most: u8,
}

/// The author of a schedule. Its messages are sent with the author's scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleAuthor {
    pub actor: String,
    pub mode: Mode,
    /// The only channels that the author may send by. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    /// The hashes of the only addresses that the author may send to. Absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Vec<String>>,
}

crate::values::string_enum!(
    /// Which missed occurrences are caught up.
    CatchUpPolicy {
        /// The newest.
        Last = "last",
        /// None of them.
        Skip = "skip",
        /// All, up to a limit.
        All = "all",
    }
);

crate::values::string_enum!(
    /// Why an occurrence sent no message.
    MissedReason {
        /// It was older than the catch-up window.
        TooOld = "too_old",
        /// A newer occurrence was caught up in its place.
        Superseded = "superseded",
        /// More occurrences were missed than are caught up together.
        TooMany = "too_many",
        /// The policy is to catch up no occurrences.
        Late = "late",
        /// The message was refused, such as for a template that no longer exists.
        Refused = "refused",
    }
);

crate::values::string_enum!(
    /// Why a schedule ended.
    ScheduleEndReason {
        /// It has no further occurrence.
        Finished = "finished",
        /// A caller deleted it.
        Deleted = "deleted",
        /// The recipient's data was erased.
        Erased = "erased",
    }
);

/// A tenant's decisions about one recurring schedule. Each schedule has its own stream. An occurrence that sends its
/// message adds no event, because the communication that it creates is the record of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ScheduleEvent {
    /// v1. A schedule was created. It occurs from now on.
    ScheduleCreated {
        schedule: String,
        name: String,
        timing: ScheduleTiming,
        message: ScheduledMessage,
        catch_up: CatchUp,
        author: ScheduleAuthor,
    },
    /// v1. The schedule was changed. Absent fields did not change. `revision` counts the changes.
    ScheduleChanged {
        schedule: String,
        revision: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timing: Option<ScheduleTiming>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<ScheduledMessage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catch_up: Option<CatchUp>,
        author: ScheduleAuthor,
        /// Occurrences up to this time were handled before the change.
        from: Timestamp,
    },
    /// v1. The schedule does not occur until it is resumed or, if given, until a time.
    SchedulePaused {
        schedule: String,
        /// Occurrences up to this time were handled before the pause.
        from: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// v1. The schedule occurs again. Occurrences during the pause are not caught up.
    ScheduleResumed { schedule: String },
    /// v1. Occurrences from `from` to `through`, by their nominal times, sent no message.
    OccurrencesMissed {
        schedule: String,
        from: String,
        through: String,
        /// The instant of the last one.
        through_at: Timestamp,
        count: u32,
        reason: MissedReason,
        /// The code of the refusal, such as `no_template`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// v1. The schedule no longer occurs.
    ScheduleEnded { schedule: String, reason: ScheduleEndReason },
}

event_family!(ScheduleEvent {
    ScheduleCreated: 1,
    ScheduleChanged: 1,
    SchedulePaused: 1,
    ScheduleResumed: 1,
    OccurrencesMissed: 1,
    ScheduleEnded: 1,
});
