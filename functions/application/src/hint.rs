//! Batches of queue messages.

/// One message of a batch, whatever queue it came from.
#[derive(Debug, Clone)]
pub struct QueueMessage {
    pub id: String,
    pub body: String,
}
