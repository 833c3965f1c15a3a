//! The history of a stream, as the API lists its events.

use serde_json::Value;

use crate::time::{Clock, Time};
use crate::words;

/// One event of a stream.
pub struct Entry {
    pub name: String,
    pub by: String,
    pub at: Option<Time>,
}

/// The entries of an answer with `events`.
pub fn entries(answer: &Value, clock: &Clock) -> Vec<Entry> {
    let entry = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        Entry { name: words::event_name(text("type")), by: words::actor(text("actor")), at: clock.precise(text("at")) }
    };
    answer["events"].as_array().into_iter().flatten().map(entry).collect()
}
