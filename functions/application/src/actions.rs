//! The record of actions that the audit log cannot read from a few streams: on the suppression list, on data subjects
//! and on business events. It has no personal data: addresses are hashes.

use domain::ports::{DocumentKey, StoreError};
use events::{Channel, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::Caller;
use crate::document;
use crate::time::show_time;

const COLLECTION: &str = "acts";
/// Number of actions that are read together.
const PAGE: usize = 100;

/// A data subject, as the record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum SubjectRef {
    Address { contact_hash: String },
    Recipient { subject_type: String, subject_id: String },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum Action {
    SuppressionAdded { channel: Channel, contact_hash: String, reason: String },
    SuppressionRemoved { channel: Channel, contact_hash: String },
    SuppressionsImported { bytes: usize },
    SuppressionsExported {},
    SubjectExported(SubjectRef),
    SubjectErased(SubjectRef),
    BusinessEventReplayed { event: String },
    BusinessEventDiscarded { event: String },
    DebtorChanged { customer: String, act: String },
    InvoiceChanged { invoice: String, act: String },
}

/// An action, who did it and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAction {
    pub subject: String,
    #[serde(flatten)]
    pub action: Action,
    /// RFC 3339.
    pub at: String,
    pub actor: String,
}

impl Action {
    pub fn subject(&self) -> &'static str {
        match self {
            Action::SuppressionAdded { .. }
            | Action::SuppressionRemoved { .. }
            | Action::SuppressionsImported { .. }
            | Action::SuppressionsExported {} => "suppressions",
            Action::SubjectExported(_) | Action::SubjectErased(_) => "subjects",
            Action::BusinessEventReplayed { .. } | Action::BusinessEventDiscarded { .. } => "business_events",
            Action::DebtorChanged { .. } => "debtors",
            Action::InvoiceChanged { .. } => "invoices",
        }
    }

    /// The hash of the address that the action is about.
    pub fn contact_hash(&self) -> Option<&str> {
        match self {
            Action::SuppressionAdded { contact_hash, .. }
            | Action::SuppressionRemoved { contact_hash, .. }
            | Action::SubjectExported(SubjectRef::Address { contact_hash })
            | Action::SubjectErased(SubjectRef::Address { contact_hash }) => Some(contact_hash),
            Action::SuppressionsImported { .. }
            | Action::SuppressionsExported {}
            | Action::SubjectExported(SubjectRef::Recipient { .. })
            | Action::SubjectErased(SubjectRef::Recipient { .. })
            | Action::BusinessEventReplayed { .. }
            | Action::BusinessEventDiscarded { .. }
            | Action::DebtorChanged { .. }
            | Action::InvoiceChanged { .. } => None,
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
    let subject = action.subject().to_owned();
    let recorded = RecordedAction { subject, action: action.clone(), at: show_time(now), actor };
    let body = document::encode(&recorded)?;
    let name = format!("{:013}#{:08x}", now.0, app.host.random() as u32);
    let key = DocumentKey { tenant: caller.principal.tenant.clone(), collection: COLLECTION, name };
    app.tenant_ports.documents.put_document(&key, &body, Some(now + app.retention.of(None))).await
}

/// The newest recorded actions that `is_selected` chooses, newest first, up to `limit`.
///
/// # Errors
///
/// [`StoreError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    limit: usize,
    is_selected: impl Fn(&RecordedAction) -> bool,
) -> Result<Vec<(Timestamp, RecordedAction)>, StoreError> {
    let (documents, tenant) = (&*app.tenant_ports.documents, &caller.principal.tenant);
    let (mut found, mut before) = (Vec::new(), to.map(|to| format!("{:013}", to.0)));
    loop {
        let page = documents.list_documents(tenant, COLLECTION, before.as_deref(), PAGE, app.host.now()).await?;
        let is_last = page.len() < PAGE;
        before = page.last().map(|(name, _)| name.clone());
        for (name, body) in page {
            let at = Timestamp(name.split('#').next().and_then(|at| at.parse().ok()).unwrap_or(0));
            if limit <= found.len() || from.is_some_and(|from| at < from) {
                return Ok(found);
            }
            let recorded: RecordedAction = document::decode(&body)?;
            if is_selected(&recorded) {
                found.push((at, recorded));
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_recorded_action_has_its_type_and_data() {
        let body = |action: &Action| {
            let (at, actor) = ("2026-01-01T00:00:00.000Z".to_owned(), "key:ops".to_owned());
            let recorded = RecordedAction { subject: action.subject().to_owned(), action: action.clone(), at, actor };
            let body = serde_json::to_value(&recorded).expect("JSON");
            assert_eq!(serde_json::from_value::<RecordedAction>(body.clone()).expect("an action"), recorded);
            body
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
