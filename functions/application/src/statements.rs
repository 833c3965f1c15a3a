//! What people said or signed when they opted in or out. It is personal data: the vault holds the text, and events hold
//! its id.

use domain::ports::{DocumentKey, StoreError};
use domain::preferences::{PreferenceChange, Preferences};
use events::{PreferenceEvent, RecordedEvent, TenantId};
use serde::{Deserialize, Serialize};

use crate::directory::TenantPorts;
use crate::document;

/// Size of a person's texts beyond which the oldest are dropped, in bytes. A document can have 400 KB.
const MAX_BYTES: usize = 200_000;

/// The texts that came with a change of preferences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatementTexts {
    pub opted_out_reason: Option<String>,
    pub opt_in_evidence: Option<String>,
    pub do_not_contact_reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredText {
    id: String,
    text: String,
}

/// The texts of one person, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StoredTexts(Vec<StoredText>);

/// Where a person's texts are stored.
pub fn texts_key(tenant: &TenantId, person: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "statements", name: person.to_owned() }
}

/// A person's texts that were not erased.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load(tenant_ports: &TenantPorts, tenant: &TenantId, person: &str) -> Result<StoredTexts, StoreError> {
    let key = texts_key(tenant, person);
    let stored = tenant_ports.documents.get_document(&key, tenant_ports.host.now()).await?;
    stored.map_or_else(|| Ok(StoredTexts::default()), |body| document::decode(&body))
}

/// Stores the texts, and returns the change with their ids.
///
/// # Errors
///
/// [`StoreError`]
pub async fn store(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
    change: PreferenceChange,
    texts: StatementTexts,
) -> Result<PreferenceChange, StoreError> {
    let StatementTexts { opted_out_reason, opt_in_evidence, do_not_contact_reason } = texts;
    let mut added = Vec::new();
    let mut add = |text: Option<String>| {
        let id = format!("txt_{:032x}", tenant_ports.host.random());
        text.map(|text| {
            added.push((id.clone(), text));
            id
        })
    };
    let change = PreferenceChange {
        opted_out_text_id: add(opted_out_reason),
        opt_in_text_id: add(opt_in_evidence),
        do_not_contact_text_id: add(do_not_contact_reason),
        ..change
    };
    if added.is_empty() {
        return Ok(change);
    }
    let append = |StoredTexts(all): &mut StoredTexts| {
        all.extend(added.iter().map(|(id, text)| StoredText { id: id.clone(), text: text.clone() }));
        let mut excess = all.iter().map(|stored| stored.text.len()).sum::<usize>().saturating_sub(MAX_BYTES);
        all.retain(|stored| {
            let is_dropped = 0 < excess;
            excess = excess.saturating_sub(stored.text.len());
            !is_dropped
        });
    };
    document::update(&*tenant_ports.documents, &*tenant_ports.host, &texts_key(tenant, person), append).await?;
    Ok(change)
}

impl StoredTexts {
    fn find(&self, id: &str) -> Option<String> {
        self.0.iter().find(|stored| stored.id == id).map(|stored| stored.text.clone())
    }

    /// Puts the texts into a person's preferences.
    pub fn fill_in(&self, preferences: &mut Preferences) {
        let Preferences { opted_out, opted_in, do_not_contact, .. } = preferences;
        for statement in [opted_out, opted_in, do_not_contact].into_iter().flatten() {
            self.restore(&mut statement.reason, &mut statement.text_id);
        }
    }

    /// Puts the texts into a person's history. It then looks as if the events held them.
    pub fn fill_in_history(&self, records: &mut [RecordedEvent<PreferenceEvent>]) {
        for record in records {
            match &mut record.event {
                PreferenceEvent::OptedOut { reason, text_id }
                | PreferenceEvent::DoNotContactSet { reason, text_id } => {
                    self.restore(reason, text_id);
                }
                PreferenceEvent::OptedIn { evidence, text_id } => self.restore(evidence, text_id),
                PreferenceEvent::PreferencesChanged { .. } | PreferenceEvent::DoNotContactLifted {} => (),
            }
        }
    }

    fn restore(&self, text: &mut Option<String>, text_id: &mut Option<String>) {
        if let Some(id) = text_id.take() {
            *text = self.find(&id);
        }
    }
}
