//! Requests of people to send an invoice whose document must be printed first.

use events::{ActOutcome, Channel, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Number of requests that have ended, and are remembered.
const MAX_ENDED: usize = 10;
/// Maximum number of requests that wait.
pub const MAX_WAITING: usize = 20;

/// A request to send an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingRequest {
    pub id: String,
    /// `None` means those of the customer and the automation.
    pub channel: Option<Channel>,
    pub by: String,
    /// The actor of the request, in full.
    pub actor: String,
    pub at: Timestamp,
    /// What became of it. `None` while it waits.
    pub acts: Option<Vec<ActOutcome>>,
}

/// The id of a request, by its idempotency key.
pub fn request_id(tenant: &TenantId, invoice: &str, key: &str) -> String {
    events::derived_id("snd", tenant, &["manual invoice", invoice, key])
}

/// The id of the upload that is printed for an event, or for the request of a person.
pub fn printed_upload(tenant: &TenantId, printed_for: &str) -> String {
    events::derived_id("att", tenant, &["invoice document", printed_for])
}

/// The requests of one invoice, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sendings(Vec<SendingRequest>);

impl Sendings {
    pub fn iter(&self) -> impl Iterator<Item = &SendingRequest> {
        self.0.iter()
    }

    pub fn get(&self, id: &str) -> Option<&SendingRequest> {
        self.iter().find(|request| request.id == id)
    }

    /// Those that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &SendingRequest> {
        self.iter().filter(|request| request.acts.is_none())
    }

    pub(super) fn add(&mut self, request: SendingRequest) {
        self.0.push(request);
    }

    pub(super) fn end(&mut self, id: &str, acts: Vec<ActOutcome>) {
        self.0.iter_mut().filter(|request| request.id == id).for_each(|request| request.acts = Some(acts.clone()));
        while MAX_ENDED < self.0.len() - self.waiting().count() {
            let Some(oldest) = self.0.iter().position(|request| request.acts.is_some()) else { return };
            self.0.remove(oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
