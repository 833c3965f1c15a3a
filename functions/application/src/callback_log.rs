//! The log of callbacks to tenants' channels: each request as it was received, with its outcome, for 30 days.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::ports::{DocumentKey, DocumentStore, StoreError};
use events::{CommunicationId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::document;

const RETENTION_MS: i64 = 30 * 24 * 3_600_000;
/// Number of entries of one page.
const PAGE: usize = 50;

/// The outcome of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackStatus {
    Processed,
    /// Some reports are about messages that are not known yet, and are retried.
    Waiting,
    /// The retries found no message, or a report names a message of another tenant.
    Unmatched,
    /// The signature is missing or wrong.
    Refused,
    Unreadable,
}

impl CallbackStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            CallbackStatus::Processed => "processed",
            CallbackStatus::Waiting => "waiting",
            CallbackStatus::Unmatched => "unmatched",
            CallbackStatus::Refused => "refused",
            CallbackStatus::Unreadable => "unreadable",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackEntry {
    pub received_at: Timestamp,
    pub provider: String,
    pub channel_id: String,
    pub method: String,
    /// The path, without the secret of the channel.
    pub path: String,
    /// The headers, without credentials.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// `utf-8` or `base64`.
    pub body_encoding: String,
    pub truncated: bool,
    pub verified: bool,
    pub status: CallbackStatus,
    pub detail: Option<String>,
    /// The ids of the messages that its reports are about, as far as they are known.
    #[serde(default)]
    pub communications: Vec<CommunicationId>,
}

/// Entries, newest first, by their names.
#[derive(Debug, Clone)]
pub struct CallbackPage {
    pub entries: Vec<(String, CallbackEntry)>,
    /// Where the next page begins. `None` means that this is the last page.
    pub next: Option<String>,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CallbackLogError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such callback")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "callback", name: name.to_owned() }
}

/// The name of an entry. `random` distinguishes callbacks of the same millisecond.
pub fn entry_name(received_at: Timestamp, random: u32) -> String {
    format!("{:013}#{random:08x}", received_at.0)
}

/// Whether a text has the form of an entry's name.
fn is_entry_name(name: &str) -> bool {
    name.split_once('#').is_some_and(|(at, random)| {
        at.len() == 13
            && at.bytes().all(|b| b.is_ascii_digit())
            && random.len() == 8
            && random.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// # Errors
///
/// [`StoreError`]
pub async fn save(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    name: &str,
    entry: &CallbackEntry,
) -> Result<(), StoreError> {
    let body = document::encode(entry)?;
    documents.put_document(&key(tenant, name), &body, Some(entry.received_at + RETENTION_MS)).await
}

/// Changes the status of an entry. Does nothing if the entry has expired.
///
/// # Errors
///
/// [`StoreError`]
pub async fn set_status(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    name: &str,
    status: CallbackStatus,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(stored) = documents.get_document(&key(tenant, name), now).await? else { return Ok(()) };
    let Ok(entry) = serde_json::from_str::<CallbackEntry>(&stored) else { return Ok(()) };
    save(documents, tenant, name, &CallbackEntry { status, ..entry }).await
}

/// One entry, by its name.
///
/// # Errors
///
/// [`CallbackLogError::NotFound`]: there is none, or it has expired.
pub async fn get(app: &App, caller: &Caller, name: &str) -> Result<CallbackEntry, CallbackLogError> {
    caller.authorise(Permission::Channels, Reach::Everything)?;
    if !is_entry_name(name) {
        return Err(CallbackLogError::NotFound);
    }
    let key = key(&caller.principal.tenant, name);
    let stored = app.tenant_ports.documents.get_document(&key, app.host.now()).await?;
    stored.and_then(|body| serde_json::from_str(&body).ok()).ok_or(CallbackLogError::NotFound)
}

/// One page of the log, before the entry that `before` names. The filters select entries within the page.
///
/// # Errors
///
/// [`CallbackLogError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    before: Option<&str>,
    provider: Option<&str>,
    status: Option<&str>,
) -> Result<CallbackPage, CallbackLogError> {
    caller.authorise(Permission::Channels, Reach::Everything)?;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let page = app.tenant_ports.documents.list_documents(tenant, "callback", before, PAGE, now).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
    let entries = page.into_iter().filter_map(|(name, body)| {
        let entry: CallbackEntry = serde_json::from_str(&body).ok()?;
        let is_selected = provider.is_none_or(|provider| provider == entry.provider)
            && status.is_none_or(|status| status == entry.status.as_str());
        is_selected.then_some((name, entry))
    });
    Ok(CallbackPage { entries: entries.collect(), next })
}
