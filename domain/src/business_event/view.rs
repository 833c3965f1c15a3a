//! The view of business events: one row each, for lists and counters.

use std::collections::BTreeMap;

use events::{BusinessEventEvent, Mode, RecordedEvent, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BusinessEvent, BusinessEventState, EventStatus};
use crate::aggregate::fold;
use crate::ports::{RowIndex, ViewRow, time_prefix};
use crate::projection::Projection;
use crate::stats::Counters;

/// An act that was not carried out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub act: String,
    pub reason: String,
}

/// The row of one business event. It has no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusinessEventRow {
    pub id: String,
    /// The stream's version up to which it was projected.
    pub position: u64,
    pub source: String,
    pub event_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// As the API shows it.
    pub status: String,
    /// Why it is parked.
    pub reason: Option<String>,
    pub subject: Option<String>,
    pub mentions: Vec<String>,
    /// How many acts were carried out.
    pub done: usize,
    pub skipped: Vec<Skipped>,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The value of the index of parked events, which is the same for all of them.
pub const PARKED: &str = "parked";

impl BusinessEventRow {
    fn new(id: &StreamId, position: u64, event: BusinessEvent) -> BusinessEventRow {
        let BusinessEvent { received, received_at, updated_at, status, acts, .. } = event;
        let reason = match status {
            EventStatus::Parked(reason) => Some(reason.as_str().to_owned()),
            EventStatus::Received | EventStatus::Handled | EventStatus::Unhandled | EventStatus::Discarded => None,
        };
        let skipped =
            acts.iter().filter_map(|act| Some(Skipped { act: act.act.clone(), reason: act.skipped.clone()? }));
        let skipped: Vec<Skipped> = skipped.collect();
        BusinessEventRow {
            id: id.id.clone(),
            position,
            source: received.source,
            event_id: received.event_id,
            kind: received.classification.kind,
            status: status.as_str().to_owned(),
            reason,
            subject: received.classification.subject,
            mentions: received.classification.mentions,
            done: acts.len() - skipped.len(),
            skipped,
            occurred_at: received.occurred_at,
            received_at,
            updated_at,
        }
    }
}

impl Projection for BusinessEventState {
    type Row = BusinessEventRow;

    fn project(id: &StreamId, records: &[RecordedEvent<BusinessEventEvent>]) -> Option<(Mode, BusinessEventRow)> {
        let event = *fold(BusinessEventState::default(), records).event?;
        Some((event.received.mode, BusinessEventRow::new(id, records.len() as u64, event)))
    }
}

impl ViewRow for BusinessEventRow {
    const VIEW: &'static str = "business-event";

    fn key(&self) -> String {
        format!("{}#{}", time_prefix(self.received_at), self.id)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        self.received_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        let parked = Some((RowIndex::DeadLetters, PARKED.to_owned())).filter(|_| self.status == PARKED);
        let subject = self.subject.clone().map(|subject| (RowIndex::Recipient, subject));
        parked.into_iter().chain(subject).collect()
    }

    fn counters(&self) -> Counters {
        let mut counters = Counters::from([
            ("total".to_owned(), 1),
            (format!("status.{}", self.status), 1),
            (format!("type.{}.{}", self.kind, self.status), 1),
        ]);
        if let Some(reason) = &self.reason {
            counters.insert(format!("parked.{reason}"), 1);
        }
        for Skipped { act, reason } in &self.skipped {
            *counters.entry(format!("skipped.{act}.{reason}")).or_default() += 1;
        }
        counters
    }
}
