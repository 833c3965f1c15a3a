//! Read models. They can be rebuilt from the streams at any time.

use std::collections::BTreeMap;

use async_trait::async_trait;
use events::{CommunicationId, Mode, TenantId, Timestamp};

use super::StoreError;
use crate::communication_view::CommunicationRow;
use crate::stats::Counters;

/// The scope of a tenant's rows of one mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewScope {
    pub tenant: TenantId,
    pub mode: Mode,
}

/// A row, and the scope that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectedRow {
    pub view: ViewScope,
    pub row: CommunicationRow,
}

/// The key of one row. Rows are stored in the order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    pub created_at: Timestamp,
    pub id: CommunicationId,
}

impl RowKey {
    pub fn of(row: &CommunicationRow) -> RowKey {
        RowKey { created_at: row.created_at, id: row.id }
    }

    /// The sort key under which every store keeps the row.
    pub fn path(&self) -> String {
        format!("{:013}#{}", self.created_at.0, self.id)
    }
}

/// The key of the index by entity. Returns `None` unless both parts are known.
pub fn entity_index_key(kind: &Option<String>, id: &Option<String>) -> Option<String> {
    kind.as_ref().zip(id.as_ref()).map(|(kind, id)| format!("{kind}#{id}"))
}

/// Which rows to list. `None` means any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListFilter {
    pub channel: Option<String>,
    pub status: Option<String>,
    pub kind: Option<String>,
    pub recipient_id: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub provider: Option<String>,
    /// Only dead letters, which can be retried.
    pub dead_letters_only: bool,
    /// The reason why it became a dead letter.
    pub dead_letter_reason: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl ListFilter {
    pub fn matches(&self, row: &CommunicationRow) -> bool {
        let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        let maybe = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        same(&self.channel, &row.channel)
            && same(&self.status, &row.status)
            && same(&self.kind, &row.kind)
            && maybe(&self.recipient_id, &row.recipient_id)
            && maybe(&self.entity_type, &row.entity_type)
            && maybe(&self.entity_id, &row.entity_id)
            && maybe(&self.provider, &row.provider)
            && (!self.dead_letters_only || row.dead_letter_outcome.is_some())
            && maybe(&self.dead_letter_reason, &row.dead_letter_outcome)
            && self.from.is_none_or(|from| from <= row.created_at)
            && self.to.is_none_or(|to| row.created_at < to)
    }
}

/// One page, newest first. A page may be short and still have a `next`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowPage {
    pub rows: Vec<CommunicationRow>,
    pub next: Option<String>,
}

/// Stores rows and counters.
#[async_trait]
pub trait ViewStore: Send + Sync {
    /// Writes rows newer than those stored, and the difference in the counters, in one transaction per call. A row that
    /// is not newer changes nothing. At most 20 rows, all of one view.
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError>;

    /// Returns rows that match, newest first. `after` is a [`RowPage::next`].
    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError>;

    /// Reads rows by key, in the order of `keys`.
    async fn get_rows(&self, view: &ViewScope, keys: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError>;

    /// Returns the counters of each day from `from` to `to`, both included, such as `2026-11-21`.
    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError>;

    /// Returns the counters over all time, and when they were last written.
    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError>;
}
