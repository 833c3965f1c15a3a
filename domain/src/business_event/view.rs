//! The view of business events: one row each, for lists and counters.

use std::collections::BTreeMap;

use events::{BusinessEventEvent, Mode, RecordedEvent, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{BusinessEvent, BusinessEventState, EventStatus};
use crate::aggregate::fold;
use crate::ports::{RowIndex, RowRange, ViewRow, time_prefix};
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

/// Which events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BusinessEventFilter {
    pub status: Option<String>,
    pub reason: Option<String>,
    pub kind: Option<String>,
    pub source: Option<String>,
    /// The id that the source gave it.
    pub event_id: Option<String>,
    /// The data subject, such as `customer:7`.
    pub subject: Option<String>,
    /// A reference to an invoice.
    pub mentions: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl BusinessEventFilter {
    /// The rows that have to be examined.
    pub fn range(&self) -> RowRange {
        let index = match &self.subject {
            Some(subject) => Some((RowIndex::Recipient, subject.clone())),
            None if self.status.as_deref() == Some(PARKED) => Some((RowIndex::DeadLetters, PARKED.to_owned())),
            None => None,
        };
        RowRange {
            index,
            from: self.from.map_or_else(|| "0".to_owned(), time_prefix),
            // Keys consist of digits, `#`, lower-case letters and `_`, so `~` sorts after all of them.
            before: self.to.map_or_else(|| "~".to_owned(), time_prefix),
        }
    }

    pub fn matches(&self, row: &BusinessEventRow) -> bool {
        let is = |wanted: &Option<String>, has: &String| wanted.as_ref().is_none_or(|wanted| wanted == has);
        let is_optional = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        is(&self.status, &row.status)
            && is_optional(&self.reason, &row.reason)
            && is(&self.kind, &row.kind)
            && is(&self.source, &row.source)
            && is(&self.event_id, &row.event_id)
            && is_optional(&self.subject, &row.subject)
            && self.mentions.as_ref().is_none_or(|reference| row.mentions.contains(reference))
    }
}
