//! The view of payment links: one row each, for the counters of links that were created, opened and used.

use std::collections::BTreeMap;

use events::{Mode, PaymentLinkEvent, RecordedEvent, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use super::PaymentLinkState;
use crate::aggregate::fold;
use crate::ports::{RowIndex, ViewRow, time_prefix};
use crate::projection::Projection;
use crate::stats::Counters;

/// The row of one payment link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentLinkRow {
    pub id: String,
    /// The stream's version up to which it was projected.
    pub position: u64,
    /// The stream of the invoice.
    pub invoice: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Timestamp,
    pub is_opened: bool,
    pub is_used: bool,
    pub is_revoked: bool,
}

impl Projection for PaymentLinkState {
    type Row = PaymentLinkRow;

    fn project(id: &StreamId, records: &[RecordedEvent<PaymentLinkEvent>]) -> Option<(Mode, PaymentLinkRow)> {
        let link = fold(PaymentLinkState::default(), records).link?;
        let row = PaymentLinkRow {
            id: id.id.clone(),
            position: records.len() as u64,
            is_opened: link.openings() > 0,
            is_used: !link.payments.is_empty(),
            is_revoked: link.revoked.is_some(),
            invoice: link.invoice,
            created_at: link.created_at,
            updated_at: records.last()?.meta.at,
            expires_at: link.expires_at,
        };
        Some((link.mode, row))
    }
}

impl ViewRow for PaymentLinkRow {
    const VIEW: &'static str = "payment_link";

    fn key(&self) -> String {
        format!("{}#{}", time_prefix(self.created_at), self.id)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        BTreeMap::from([(RowIndex::Entity, format!("invoice#{}", self.invoice))])
    }

    fn counters(&self) -> Counters {
        let flags =
            [("created", true), ("opened", self.is_opened), ("used", self.is_used), ("revoked", self.is_revoked)];
        flags.into_iter().filter(|(_, is_so)| *is_so).map(|(name, _)| (name.to_owned(), 1)).collect()
    }
}
