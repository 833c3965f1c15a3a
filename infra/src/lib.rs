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

/// The queue that a stored name means. A queue that this build does not know is passed over, with a metric.
#[cfg(any(feature = "aws", feature = "embedded"))]
fn known_queue(name: &str) -> Option<domain::ports::QueueId> {
    let queue = domain::ports::QueueId::parse(name);
    if queue.is_none() {
        tracing::warn!(queue = name, metric = "UnknownQueue", "a timer for a queue of a newer version is passed over");
    }
    queue
}

/// The stream that a stored key names. A key that names none is passed over, with a metric.
#[cfg(any(feature = "aws", feature = "embedded"))]
fn known_stream(key: &str) -> Option<events::StreamId> {
    let id = events::StreamId::parse_storage_key(key);
    if id.is_none() {
        tracing::warn!(key, metric = "UnknownStream", "a stored key that names no stream is passed over");
    }
    id
}
