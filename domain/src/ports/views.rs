//! Read models. They can be rebuilt from the streams at any time.

use std::collections::BTreeMap;

use async_trait::async_trait;
use events::{Mode, TenantId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::stats::{Counters, counter_delta};

/// The most rows of one [`ViewStore::apply`].
pub const MAX_ROWS_PER_TRANSACTION: usize = 20;

/// The rows of one projection that belong to one tenant and mode, and their counters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewScope {
    /// See [`ViewRow::VIEW`].
    pub view: &'static str,
    pub tenant: TenantId,
    pub mode: Mode,
}

impl ViewScope {
    /// The name under which every store keeps the rows.
    pub fn path(&self) -> String {
        format!("{}#{}#{}", self.tenant, self.mode.as_str(), self.view)
    }
}

/// An index by which the rows of a view can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowIndex {
    Recipient,
    Entity,
    DeadLetters,
    ProviderMessage,
    /// Ordered by [`ViewRow::due`], and then by the key.
    Due,
}

/// One row of a view.
pub trait ViewRow: Serialize + DeserializeOwned {
    /// The name of the view, which is part of the key of every row.
    const VIEW: &'static str;

    /// The sort key. It begins with [`time_prefix`] of the creation and never changes.
    fn key(&self) -> String;

    /// The stream's version up to which it was projected.
    fn position(&self) -> u64;

    /// The row is counted on this day.
    fn created_at(&self) -> Timestamp;

    fn updated_at(&self) -> Timestamp;

    /// The value of each index that contains the row.
    fn indexes(&self) -> BTreeMap<RowIndex, String>;

    /// The place of the row in [`RowIndex::Due`], such as a day. It can change.
    fn due(&self) -> Option<String> {
        None
    }

    /// The contribution of the row to the counters of its day and to the totals.
    fn counters(&self) -> Counters;
}

/// A time as the beginning of a row's key.
pub fn time_prefix(at: Timestamp) -> String {
    format!("{:013}", at.0)
}

/// A row as a store keeps it.
#[derive(Debug, Clone)]
pub struct ProjectedRow {
    pub scope: ViewScope,
    /// The sort key. Lists are in descending order.
    pub key: String,
    /// The stream's version up to which it was projected.
    pub position: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The value of each index that contains the row.
    pub indexes: BTreeMap<RowIndex, String>,
    /// The sort key in [`RowIndex::Due`]. `None` if that index does not contain the row.
    pub due_key: Option<String>,
    /// The contribution of the row to the counters.
    pub counters: Counters,
    /// The row as JSON.
    pub body: String,
    /// The position and the counters of a stored row of the same view.
    parse: fn(&str) -> Result<(u64, Counters), StoreError>,
}

impl ProjectedRow {
    /// # Errors
    ///
    /// [`StoreError::Unreadable`]: the row does not serialise.
    pub fn new<R: ViewRow>(tenant: TenantId, mode: Mode, row: &R) -> Result<ProjectedRow, StoreError> {
        let mut indexes = row.indexes();
        let due_key = row.due().map(|due| format!("{due}#{}", row.key()));
        let due_key = due_key.filter(|_| indexes.contains_key(&RowIndex::Due));
        if due_key.is_none() {
            indexes.remove(&RowIndex::Due);
        }
        Ok(ProjectedRow {
            scope: ViewScope { view: R::VIEW, tenant, mode },
            key: row.key(),
            position: row.position(),
            created_at: row.created_at(),
            updated_at: row.updated_at(),
            indexes,
            due_key,
            counters: row.counters(),
            body: serde_json::to_string(row).map_err(|error| StoreError::Unreadable(error.to_string()))?,
            parse: |body| parse_row::<R>(body).map(|row| (row.position(), row.counters())),
        })
    }

    /// The position of a stored row of the same view.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`]
    pub fn position_of(&self, stored: &str) -> Result<u64, StoreError> {
        (self.parse)(stored).map(|(position, _)| position)
    }

    /// The change of the counters when this row replaces the stored one. Returns `None` if this row is not newer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`]: the stored row cannot be read.
    pub fn counter_change(&self, stored: Option<&str>) -> Result<Option<Counters>, StoreError> {
        match stored.map(self.parse).transpose()? {
            Some((position, _)) if self.position <= position => Ok(None),
            old => Ok(Some(counter_delta(&self.counters, old.as_ref().map(|(_, counters)| counters)))),
        }
    }
}

/// Reads a stored row.
///
/// # Errors
///
/// [`StoreError::Unreadable`]
pub fn parse_row<R: ViewRow>(body: &str) -> Result<R, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The rows to list: those of an index or all, with sort keys from `from` (included) to `before` (not included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    pub index: Option<(RowIndex, String)>,
    pub from: String,
    pub before: String,
}

/// A stored row: its sort key in the list, and its body as JSON.
pub type StoredRow = (String, String);

/// Stores rows and counters.
#[async_trait]
pub trait ViewStore: Send + Sync {
    /// Writes rows newer than those stored, and the difference in the counters, in one transaction per call. A row that
    /// is not newer changes nothing. At most [`ViewStore::max_rows`] rows, all of one scope.
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError>;

    /// Maximum number of rows in one call of [`ViewStore::apply`].
    fn max_rows(&self) -> usize {
        MAX_ROWS_PER_TRANSACTION
    }

    /// Returns rows in the descending order of their sort keys. Fewer than `limit` rows mean that there are no others.
    async fn list(&self, scope: &ViewScope, range: &RowRange, limit: usize) -> Result<Vec<StoredRow>, StoreError>;

    /// Reads the bodies of rows by key, in the order of `keys`.
    async fn get_rows(&self, scope: &ViewScope, keys: &[String]) -> Result<Vec<Option<String>>, StoreError>;

    /// Returns the counters of each day from `from` to `to`, both included, such as `2026-11-21`.
    async fn daily_counters(
        &self,
        scope: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError>;

    /// Returns the counters over all time, and when they were last written.
    async fn total_counters(&self, scope: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError>;
}
