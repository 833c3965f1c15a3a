use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use crate::lock::lock;
use crate::message::Message;

/// Maximum number of messages that are kept. Older ones are dropped.
pub(crate) const MAX_ENTRIES: usize = 1_000;

/// Maximum number of callbacks and of replies that are kept of one message.
const MAX_TRACE: usize = 20;

/// A callback that the provider sent about a message.
#[derive(Debug, Clone, Serialize)]
pub struct SentCallback {
    pub url: String,
    pub body: String,
    pub at: String,
}

/// A text that the recipient wrote back.
#[derive(Debug, Clone, Serialize)]
pub struct Reply {
    pub text: String,
    pub at: String,
}

/// A message that a provider accepted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxEntry {
    /// Counts the messages of the process from 1.
    pub id: u64,
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
    /// The newest callbacks about it, the oldest of them first.
    #[serde(skip)]
    pub callbacks: Vec<SentCallback>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
}

impl InboxEntry {
    pub fn new(message: &Message, at: String) -> InboxEntry {
        InboxEntry {
            id: 0,
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
            callbacks: Vec::new(),
            replies: Vec::new(),
        }
    }
}

/// The messages that all providers accepted, newest first.
#[derive(Default)]
pub struct Inbox {
    entries: Mutex<VecDeque<InboxEntry>>,
    arrived: Notify,
    count: AtomicU64,
}

impl Inbox {
    fn entries(&self) -> MutexGuard<'_, VecDeque<InboxEntry>> {
        lock(&self.entries)
    }

    /// Adds a message and returns its id.
    pub fn add(&self, entry: InboxEntry) -> u64 {
        let id = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut entries = self.entries();
        entries.push_front(InboxEntry { id, ..entry });
        entries.truncate(MAX_ENTRIES);
        drop(entries);
        self.arrived.notify_waiters();
        id
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut InboxEntry)) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.id == id) {
            change(entry);
        }
    }

    /// Remembers a callback about a message.
    pub(crate) fn add_callback(&self, id: u64, callback: SentCallback) {
        self.change(id, |entry| {
            entry.callbacks.push(callback);
            let excess = entry.callbacks.len().saturating_sub(MAX_TRACE);
            entry.callbacks.drain(..excess);
        });
    }

    pub(crate) fn add_reply(&self, id: u64, reply: Reply) {
        self.change(id, |entry| {
            entry.replies.push(reply);
            let excess = entry.replies.len().saturating_sub(MAX_TRACE);
            entry.replies.drain(..excess);
        });
    }

    pub fn get(&self, id: u64) -> Option<InboxEntry> {
        self.entries().iter().find(|entry| entry.id == id).cloned()
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
