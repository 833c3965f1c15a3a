//! Decides which occurrences without a message are sent now, and which are recorded as missed.

use events::{CatchUp, CatchUpPolicy, MissedReason, Timestamp};

use super::{Missed, Occurrence};

/// An occurrence that is handled within this time is on time, in milliseconds. Occurrences of a schedule are at least
/// this far apart.
pub const ON_TIME_MS: i64 = 15 * 60_000;
/// The longest catch-up window of a schedule, in milliseconds. Older occurrences are never caught up.
pub const MAX_WINDOW_MS: i64 = 7 * 24 * 3_600_000;

/// The plan for occurrences without a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatchUpPlan {
    /// Occurrences to be recorded as missed before anything is sent, oldest first.
    pub missed: Vec<Missed>,
    /// Occurrences to be sent, oldest first.
    pub sent: Vec<Occurrence>,
}

/// Decides on occurrences that are due and have no message, oldest first.
pub fn plan(due: Vec<Occurrence>, catch_up: CatchUp, now: Timestamp) -> CatchUpPlan {
    let mut plan = CatchUpPlan::default();
    let (late, on_time): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|occurrence| ON_TIME_MS <= now.millis_since(occurrence.at));
    let (old, mut late): (Vec<_>, Vec<_>) =
        late.into_iter().partition(|occurrence| catch_up.window_ms < now.millis_since(occurrence.at));
    plan.add_missed(old, MissedReason::TooOld);
    let (limit, reason) = match catch_up.policy {
        CatchUpPolicy::Skip => (0, MissedReason::Late),
        CatchUpPolicy::All => (usize::from(catch_up.most), MissedReason::TooMany),
        CatchUpPolicy::Last => (usize::from(on_time.is_empty()), MissedReason::Superseded),
    };
    let caught_up = late.split_off(late.len().saturating_sub(limit));
    plan.add_missed(late, reason);
    plan.sent = caught_up.into_iter().chain(on_time).collect();
    plan
}

impl CatchUpPlan {
    fn add_missed(&mut self, occurrences: Vec<Occurrence>, reason: MissedReason) {
        if let (Some(first), Some(last)) = (occurrences.first(), occurrences.last()) {
            self.missed.push(Missed {
                from: first.nominal.to_string(),
                through: last.nominal.to_string(),
                through_at: last.at,
                count: occurrences.len() as u32,
                reason,
                code: None,
            });
        }
    }
}
