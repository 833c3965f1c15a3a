use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

/// Messages kept; older ones are dropped.
const KEPT: usize = 1_000;

/// What a provider received.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub provider: String,
    /// Which of our accounts there.
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

/// What all providers received, newest first.
#[derive(Default)]
pub struct Inbox {
    entries: Mutex<VecDeque<Entry>>,
    arrived: Notify,
}

impl Inbox {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, entry: Entry) {
        let mut entries = self.entries();
        entries.push_front(entry);
        entries.truncate(KEPT);
        drop(entries);
        self.arrived.notify_waiters();
    }

    pub fn clear(&self) {
        self.entries().clear();
    }

    /// To one recipient or to all.
    pub fn list(&self, to: Option<&str>) -> Vec<Entry> {
        self.entries().iter().filter(|entry| to.is_none_or(|to| entry.to == to)).cloned().collect()
    }

    /// The same, waiting for a first one.
    pub async fn wait(&self, to: Option<&str>, most: Duration) -> Vec<Entry> {
        let found = async {
            loop {
                let arrived = self.arrived.notified();
                tokio::pin!(arrived);
                // Registered before looking, so that nothing slips between.
                arrived.as_mut().enable();
                let entries = self.list(to);
                if !entries.is_empty() {
                    return entries;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(most, found).await.unwrap_or_default()
    }
}
