//! What was rendered last. A process that accepts and delivers messages renders one that is sent at once only once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use domain::message::{MessageContent, RenderedMessage};
use events::CommunicationRequest;

/// Maximum number of messages that are kept. Usually fewer wait for delivery, because each is taken by it.
const MAX_KEPT: usize = 128;

struct Entry {
    request: CommunicationRequest,
    content: MessageContent,
    rendered: RenderedMessage,
}

#[derive(Default)]
pub(super) struct RecentlyRendered(Mutex<VecDeque<Entry>>);

impl RecentlyRendered {
    pub fn put(&self, request: &CommunicationRequest, content: &MessageContent, rendered: RenderedMessage) {
        let entry = Entry { request: request.clone(), content: content.clone(), rendered };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MAX_KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Takes what this message was rendered to. The same request and content are always rendered to the same message.
    pub fn take(&self, request: &CommunicationRequest, content: &MessageContent) -> Option<RenderedMessage> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |entry: &Entry| {
            entry.request.request_hash == request.request_hash && entry.request == *request && entry.content == *content
        };
        let found = entries.iter().position(is_same)?;
        entries.remove(found).map(|entry| entry.rendered)
    }
}
