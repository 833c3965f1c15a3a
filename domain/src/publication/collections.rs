//! Reminders switched on and off, and backfills.

use events::{BackfillEvent, CollectionsEvent, Mode};
use serde_json::json;

use super::{Announcement, Publication};
use crate::collect::{BackfillState, CollectionsState};

impl Publication for CollectionsState {
    const SUBJECT: &'static str = "collections";

    fn mode(&self) -> Option<Mode> {
        None
    }

    fn announce(&self, event: &CollectionsEvent) -> Option<Announcement> {
        let (what, data) = match event {
            CollectionsEvent::CollectionsEnabled { from } => ("enabled", json!({ "from": from })),
            CollectionsEvent::CollectionsDisabled {} => ("disabled", json!({})),
            CollectionsEvent::CollectionSettingsChanged { .. } | CollectionsEvent::BackfillClaimed { .. } => {
                return None;
            }
        };
        Some(Announcement::new(format!("collections.{what}"), data))
    }
}

impl Publication for BackfillState {
    const SUBJECT: &'static str = "backfill";

    fn mode(&self) -> Option<Mode> {
        self.backfill.as_ref().map(|backfill| backfill.plan.mode)
    }

    fn announce(&self, event: &BackfillEvent) -> Option<Announcement> {
        let backfill = self.backfill.as_ref()?;
        let (what, data) = match event {
            BackfillEvent::BackfillConfirmed { plan, .. } => (
                "confirmed",
                json!({
                    "dueFrom": plan.due_from, "dueBefore": plan.due_before, "steps": plan.steps, "perDay": plan.per_day,
                    "invoices": plan.invoices, "messages": plan.messages,
                }),
            ),
            BackfillEvent::BackfillEnded { reason, .. } => {
                ("ended", json!({ "reason": reason, "handled": backfill.handled, "begun": backfill.begun }))
            }
            BackfillEvent::BackfillPagePlanned { .. } | BackfillEvent::BackfillPageDone { .. } => return None,
        };
        Some(Announcement::new(format!("collections.backfill_{what}"), data))
    }
}
