use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::lock::lock;
use crate::message::Message;

/// Maximum number of messages that are kept. Older ones are dropped.
const MAX_ENTRIES: usize = 1_000;

/// A message that a provider accepted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxEntry {
    pub provider: String,
    /// The id of the provider configuration.
    pub config: String,
    pub channel: &'static str,
    pub to: String,
    pub from: String,
    pub subject: Option<String>,
    pub body: String,
    pub html: Option<String>,
    pub attachments: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe_url: Option<String>,
    pub tenant: Option<String>,
    pub communication_id: Option<String>,
    pub attempt_id: Option<String>,
    pub provider_message_id: String,
    pub at: String,
}

impl InboxEntry {
    pub fn new(message: &Message, at: String) -> InboxEntry {
        InboxEntry {
            provider: message.account.provider.clone(),
            config: message.account.config.clone(),
            channel: message.account.channel.as_str(),
            to: message.to.clone(),
            from: message.from.clone(),
            subject: message.subject.clone(),
            body: message.text.clone(),
            html: message.html.clone(),
            attachments: message.attachments.clone(),
            unsubscribe_url: message.unsubscribe.clone(),
            tenant: message.tenant.clone(),
            communication_id: message.communication(),
            attempt_id: message.attempt.clone(),
            provider_message_id: message.id.clone(),
            at,
        }
    }
}

/// The messages that all providers accepted, newest first.
#[derive(Default)]
pub struct Inbox {
    entries: Mutex<VecDeque<InboxEntry>>,
    arrived: Notify,
}

impl Inbox {
    fn entries(&self) -> MutexGuard<'_, VecDeque<InboxEntry>> {
        lock(&self.entries)
    }

    pub fn add(&self, entry: InboxEntry) {
        let mut entries = self.entries();
        entries.push_front(entry);
        entries.truncate(MAX_ENTRIES);
        drop(entries);
        self.arrived.notify_waiters();
    }

    pub fn clear(&self) {
        self.entries().clear();
    }

    /// Returns the messages to one recipient, or to all if `to` is `None`.
    pub fn list(&self, to: Option<&str>) -> Vec<InboxEntry> {
        self.entries().iter().filter(|entry| to.is_none_or(|to| entry.to == to)).cloned().collect()
    }

    pub fn find(&self, provider: &str, id: &str) -> Option<InboxEntry> {
        let entries = self.entries();
        entries.iter().find(|entry| entry.provider == provider && entry.provider_message_id == id).cloned()
    }

    /// Returns the same as [`Inbox::list`], but waits up to `max_wait` for the first message.
    pub async fn wait(&self, to: Option<&str>, max_wait: Duration) -> Vec<InboxEntry> {
        let found = async {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                // The waiter is registered before the list is read, so that no arrival is missed.
                arrived.as_mut().enable();
                let entries = self.list(to);
                if !entries.is_empty() {
                    return entries;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(max_wait, found).await.unwrap_or_default()
    }
}
