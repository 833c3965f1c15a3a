//! Reminders switched on and off.

use events::{CollectionsEvent, Mode};
use serde_json::json;

use super::{Announcement, Publication};
use crate::collect::CollectionsState;

impl Publication for CollectionsState {
    const SUBJECT: &'static str = "collections";

    fn mode(&self) -> Option<Mode> {
        None
    }

    fn announce(&self, event: &CollectionsEvent) -> Option<Announcement> {
        let (what, data) = match event {
            CollectionsEvent::CollectionsEnabled { from } => ("enabled", json!({ "from": from })),
            CollectionsEvent::CollectionsDisabled {} => ("disabled", json!({})),
            CollectionsEvent::CollectionSettingsChanged { .. } => return None,
        };
        Some(Announcement::new(format!("collections.{what}"), data))
    }
}
