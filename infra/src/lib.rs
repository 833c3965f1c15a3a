//! Adapters: implementations of the domain's ports, with one file for each external system. Only the crates `lambda`
//! and `local` use this crate.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "embedded")]
pub mod embedded;
mod host;
#[cfg(feature = "providers")]
pub mod providers;
#[cfg(any(feature = "aws", feature = "embedded"))]
mod seal;

pub use host::SystemClockAndRng;

/// Returns the queue with a stored name. If this build does not know the queue, logs a metric and returns `None`.
#[cfg(any(feature = "aws", feature = "embedded"))]
fn known_queue(name: &str) -> Option<domain::ports::QueueId> {
    let queue = domain::ports::QueueId::parse(name);
    if queue.is_none() {
        tracing::warn!(queue = name, metric = "UnknownQueue", "skipped a timer for an unknown queue");
    }
    queue
}

/// Returns the stream that a stored key names. If the key names no stream, logs a metric and returns `None`.
#[cfg(any(feature = "aws", feature = "embedded"))]
fn known_stream(key: &str) -> Option<events::StreamId> {
    let id = events::StreamId::parse_storage_key(key);
    if id.is_none() {
        tracing::warn!(key, metric = "UnknownStream", "skipped a stored key that names no stream");
    }
    id
}
