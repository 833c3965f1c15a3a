//! The record of actions that have no stream: on the suppression list and on data subjects. It names nobody: addresses
//! are hashes.

use domain::ports::{DocumentKey, StoreError};
use events::Channel;
use serde::Serialize;

use crate::app::App;
use crate::caller::Caller;
use crate::time::show_time;

/// The collection of documents that the record is kept in.
pub const COLLECTION: &str = "acts";

/// A data subject, as the record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum SubjectRef {
    Address { contact_hash: String },
    Recipient { subject_type: String, subject_id: String },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum Action {
    SuppressionAdded { channel: Channel, contact_hash: String, reason: String },
    SuppressionRemoved { channel: Channel, contact_hash: String },
    SuppressionsImported { bytes: usize },
    SuppressionsExported {},
    SubjectExported(SubjectRef),
    SubjectErased(SubjectRef),
}

#[derive(Serialize)]
struct RecordedAction<'a> {
    subject: &'static str,
    #[serde(flatten)]
    action: &'a Action,
    at: String,
    actor: String,
}

impl Action {
    fn subject(&self) -> &'static str {
        match self {
            Action::SuppressionAdded { .. }
            | Action::SuppressionRemoved { .. }
            | Action::SuppressionsImported { .. }
            | Action::SuppressionsExported {} => "suppressions",
            Action::SubjectExported(_) | Action::SubjectErased(_) => "subjects",
        }
    }
}

/// Records an action before it is done, so that a crash cannot leave it unrecorded.
///
/// # Errors
///
/// [`StoreError`]
pub async fn record(app: &App, caller: &Caller, action: &Action) -> Result<(), StoreError> {
    let now = app.host.now();
    let actor = caller.principal.actor_id();
    let recorded = RecordedAction { subject: action.subject(), action, at: show_time(now), actor };
    let body = serde_json::to_string(&recorded).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let name = format!("{:013}#{:08x}", now.0, app.host.random() as u32);
    let key = DocumentKey { tenant: caller.principal.tenant.clone(), collection: COLLECTION, name };
    app.tenant_ports.documents.put_document(&key, &body, Some(now + app.retention.of(None))).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_recorded_action_has_its_type_and_data() {
        let body = |action: &Action| {
            let (at, actor) = ("2026-01-01T00:00:00.000Z".to_owned(), "key:ops".to_owned());
            serde_json::to_value(RecordedAction { subject: action.subject(), action, at, actor }).expect("JSON")
        };
        let exported = body(&Action::SuppressionsExported {});
        assert_eq!(
            exported,
            json!({
                "subject": "suppressions", "type": "SuppressionsExported", "at": "2026-01-01T00:00:00.000Z",
                "actor": "key:ops", "data": {},
            })
        );
        let added = Action::SuppressionAdded {
            channel: Channel::Sms,
            contact_hash: "h".to_owned(),
            reason: "manual".to_owned(),
        };
        assert_eq!(body(&added)["data"], json!({ "channel": "sms", "contactHash": "h", "reason": "manual" }));
        let erased = Action::SubjectErased(SubjectRef::Address { contact_hash: "h".to_owned() });
        assert_eq!(body(&erased)["data"], json!({ "contactHash": "h" }));
    }
}
