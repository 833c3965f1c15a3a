//! The suppression list. Before each message a keyed hash is looked up; readable entries are stored beside the hashes.

use domain::consent::KEYWORD_REASON;
use domain::ports::{AddressKey, DocumentKey, DocumentStore, EventStore, StoreError};
use events::{Channel, CommunicationId, ReportedStatus, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document;

/// The readable entry of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionEntry {
    pub channel: Channel,
    /// `None` if it was erased, or was never known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    pub reason: String,
    pub at: Timestamp,
    /// The actor who added it, such as `key:ops` or `webhook:twilio`.
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<CommunicationId>,
}

/// What stands for a reason that somebody wrote.
pub const WRITTEN_REASON: &str = "manual";
/// Reasons that are codes, besides the statuses that providers report.
const CODES: [&str; 5] = [KEYWORD_REASON, "provider_opt_out", "blocked", "soft_bounces", "unsubscribed"];

/// The reason without what a person wrote, for everything that stays after the person's data is erased.
pub fn reason_code(reason: &str) -> &str {
    let is_code = CODES.contains(&reason) || reason.parse::<ReportedStatus>().is_ok();
    if is_code { reason } else { WRITTEN_REASON }
}

/// The two stores of the list.
#[derive(Clone, Copy)]
pub struct SuppressionRegister<'a> {
    pub store: &'a dyn EventStore,
    pub documents: &'a dyn DocumentStore,
}

fn entry_key(contact: &AddressKey) -> DocumentKey {
    let name = format!("{}#{}", contact.channel.as_str(), contact.contact_hash);
    DocumentKey { tenant: contact.tenant.clone(), collection: "suppressed", name }
}

impl SuppressionRegister<'_> {
    /// The hash is stored first: after a crash in between, the address is suppressed but not listed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn add(&self, contact: &AddressKey, entry: &SuppressionEntry) -> Result<(), StoreError> {
        self.store.suppress(contact, reason_code(&entry.reason), entry.at).await?;
        self.documents.put_document(&entry_key(contact), &document::encode(entry)?, None).await
    }

    /// The entry of one address, if it is listed. An address can be suppressed without an entry for a moment: see
    /// [`SuppressionRegister::add`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn find(&self, contact: &AddressKey, now: Timestamp) -> Result<Option<SuppressionEntry>, StoreError> {
        if self.store.suppression(contact).await?.is_none() {
            return Ok(None);
        }
        let kept = self.documents.get_document(&entry_key(contact), now).await?;
        kept.as_deref().map(document::decode).transpose()
    }

    /// Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn remove(&self, contact: &AddressKey) -> Result<(), StoreError> {
        if let Some(reason) = self.store.suppression(contact).await? {
            self.store.unsuppress(contact, &reason).await?;
        }
        self.documents.delete_document(&entry_key(contact)).await
    }

    /// Deletes the address and what was written as the reason from its entry. It stays suppressed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn erase_address(&self, contact: &AddressKey, now: Timestamp) -> Result<(), StoreError> {
        let Some(kept) = self.documents.get_document(&entry_key(contact), now).await? else { return Ok(()) };
        let Ok(entry) = serde_json::from_str::<SuppressionEntry>(&kept) else { return Ok(()) };
        let entry = SuppressionEntry { contact: None, reason: reason_code(&entry.reason).to_owned(), ..entry };
        self.documents.put_document(&entry_key(contact), &document::encode(&entry)?, None).await
    }

    /// Names and entries in the descending order of channels and hashes, beginning below `before`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn page(
        &self,
        tenant: &TenantId,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, SuppressionEntry)>, StoreError> {
        let page = self.documents.list_documents(tenant, "suppressed", before, limit, now).await?;
        let read = |(name, body): (String, String)| {
            let entry = document::decode(&body)?;
            Ok((name, entry))
        };
        page.into_iter().map(read).collect()
    }
}
