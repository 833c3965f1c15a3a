//! What happened, for other systems: public events, made from the events of a stream. They have no personal data.

mod business_event;
mod collections;
mod communication;
mod invoice;
mod payment_link;
mod schedule;

use events::{Mode, RecordedEvent, StreamId, TenantId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::aggregate::Aggregate;

/// Maximum size of an event's data, in bytes of JSON. Larger data is left out.
pub const MAX_DATA: usize = 1_024;

/// A kind of stream whose events are of interest to other systems.
pub trait Publication: Aggregate {
    /// The type of what its events are about: `communication`.
    const SUBJECT: &'static str;

    /// The mode of the stream. `None` means that all modes share it, as the tenant's settings.
    fn mode(&self) -> Option<Mode>;

    /// What an event means to other systems, given the state after it. `None` if it is of no interest to them.
    fn announce(&self, event: &Self::Event) -> Option<Announcement>;
}

/// The type of a public event, such as `communication.delivered`, and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub kind: String,
    pub data: Value,
}

impl Announcement {
    pub(crate) fn new(kind: impl Into<String>, data: Value) -> Announcement {
        Announcement { kind: kind.into(), data }
    }
}

/// A public event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicEvent {
    /// The same whenever the event is published again.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub tenant: TenantId,
    pub mode: Option<Mode>,
    /// RFC 3339, UTC.
    pub timestamp: String,
    pub subject: Subject,
    /// The position in its stream. Of two events about one subject, the one with the greater position is later.
    pub sequence: u64,
    pub data: Value,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: String,
}

/// The public events of a stream, after a position.
pub fn publish<A: Publication>(
    id: &StreamId,
    records: &[RecordedEvent<A::Event>],
    after: u64,
    show_time: fn(Timestamp) -> String,
) -> Vec<PublicEvent> {
    let mut state = A::default();
    let mut published = Vec::new();
    for (sequence, record) in (1_u64..).zip(records) {
        state = state.evolve(record);
        if sequence <= after {
            continue;
        }
        let Some(Announcement { kind, data }) = state.announce(&record.event) else { continue };
        let data = if data.to_string().len() <= MAX_DATA { data } else { json!({}) };
        published.push(PublicEvent {
            id: format!("evt_{}_{sequence}", id.id),
            kind,
            tenant: id.tenant.clone(),
            mode: state.mode(),
            timestamp: show_time(record.meta.at),
            subject: Subject { kind: A::SUBJECT, id: id.id.clone() },
            sequence,
            data,
        });
    }
    published
}
