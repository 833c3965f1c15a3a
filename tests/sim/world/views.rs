//! Views and their counters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::ports::{ProjectedRow, RowIndex, RowRange, StoreError, StoredRow, ViewScope, ViewStore};
use domain::stats::{Counters, add_counters, utc_day};
use events::Timestamp;

use super::World;
use super::state::WorldState;
use crate::bugs::Bug;

impl WorldState {
    fn count(&mut self, row: &ProjectedRow, change: &Counters) {
        for day in [utc_day(row.created_at), "all".to_owned()] {
            add_counters(self.counters.entry((row.scope.clone(), day)).or_default(), change);
        }
    }
}

#[async_trait]
impl ViewStore for World {
    /// Applies all rows or none, like a transaction.
    async fn apply(&self, rows: &[ProjectedRow], _: Timestamp) -> Result<(), StoreError> {
        let mut uncounted: Vec<(ProjectedRow, Counters)> = Vec::new();
        self.write_io("views", |state| {
            for row in rows {
                let key = (row.scope.clone(), row.key.clone());
                let stored = state.rows.get(&key).map(|stored| stored.body.as_str());
                let Some(change) = row.counter_change(stored).expect("a stored row") else { continue };
                state.rows.insert(key, row.clone());
                match state.bug {
                    Some(Bug::CountersApart) => uncounted.push((row.clone(), change)),
                    _ => state.count(row, &change),
                }
            }
        })
        .await?;
        if !uncounted.is_empty() {
            self.write_io("counters", |state| {
                uncounted.iter().for_each(|(row, change)| state.count(row, change));
            })
            .await?;
        }
        Ok(())
    }

    async fn list(&self, scope: &ViewScope, range: &RowRange, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        self.read_io("list").await?;
        let state = self.state();
        let is_indexed = |row: &ProjectedRow| {
            range.index.as_ref().is_none_or(|(index, value)| row.indexes.get(index) == Some(value))
        };
        let is_in_range = |key: &String| range.from <= *key && *key < range.before;
        let is_by_due = matches!(range.index, Some((RowIndex::Due, _)));
        let sort_key = |row: &ProjectedRow| if is_by_due { row.due_key.clone() } else { Some(row.key.clone()) };
        let rows = state.rows.iter().filter(|((of, _), row)| of == scope && is_indexed(row));
        let rows = rows.filter_map(|(_, row)| Some((sort_key(row)?, row.body.clone())));
        let mut rows: Vec<_> = rows.filter(|(key, _)| is_in_range(key)).collect();
        rows.sort_by(|(one, _), (other, _)| other.cmp(one));
        rows.truncate(limit);
        Ok(rows)
    }

    async fn get_rows(&self, scope: &ViewScope, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        let state = self.state();
        let body = |key: &String| state.rows.get(&(scope.clone(), key.clone())).map(|row| row.body.clone());
        Ok(keys.iter().map(body).collect())
    }

    async fn daily_counters(
        &self,
        scope: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        let state = self.state();
        let mine =
            state.counters.iter().filter(|((of, day), _)| of == scope && from <= day.as_str() && day.as_str() <= to);
        Ok(mine.map(|((_, day), counters)| (day.clone(), counters.clone())).collect())
    }

    async fn total_counters(&self, scope: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let state = self.state();
        Ok((state.counters.get(&(scope.clone(), "all".to_owned())).cloned().unwrap_or_default(), None))
    }
}
