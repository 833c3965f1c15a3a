//! Occurrences of schedules that sent nothing.

use events::{Mode, ScheduleEvent};
use serde_json::json;

use super::{Announcement, Publication};
use crate::schedule::ScheduleState;

impl Publication for ScheduleState {
    const SUBJECT: &'static str = "schedule";

    fn mode(&self) -> Option<Mode> {
        self.schedule.as_ref().map(|schedule| schedule.author.mode)
    }

    fn announce(&self, event: &ScheduleEvent) -> Option<Announcement> {
        let ScheduleEvent::OccurrencesMissed { from, through, count, reason, code, .. } = event else { return None };
        let data = json!({ "from": from, "through": through, "count": count, "reason": reason, "code": code });
        Some(Announcement::new("schedule.missed", data))
    }
}
