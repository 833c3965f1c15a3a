//! Events of other systems that nobody could handle.

use events::{BusinessEventEvent, Mode};
use serde_json::json;

use super::{Announcement, Publication};
use crate::business_event::BusinessEventState;

impl Publication for BusinessEventState {
    const SUBJECT: &'static str = "business_event";

    fn mode(&self) -> Option<Mode> {
        self.event.as_ref().map(|event| event.received.mode)
    }

    fn announce(&self, event: &BusinessEventEvent) -> Option<Announcement> {
        let received = &self.event.as_ref()?.received;
        let BusinessEventEvent::BusinessEventParked { reason, .. } = event else { return None };
        let data = json!({ "source": received.source, "eventId": received.event_id, "reason": reason });
        Some(Announcement::new("business_event.parked", data))
    }
}
