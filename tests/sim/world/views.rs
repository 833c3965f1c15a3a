//! Views and their counters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::communication_view::{CommunicationRow, utc_day};
use domain::ports::{ListFilter, ProjectedRow, RowKey, RowPage, StoreError, ViewScope, ViewStore};
use domain::stats::{Counters, add_counters, contribution, counter_delta};
use events::Timestamp;

use super::World;
use super::state::WorldState;
use crate::bugs::Bug;

impl WorldState {
    fn count(&mut self, projected: &ProjectedRow, change: &Counters) {
        for day in [utc_day(projected.row.created_at), "all".to_owned()] {
            add_counters(self.counters.entry((projected.view.clone(), day)).or_default(), change);
        }
    }
}

#[async_trait]
impl ViewStore for World {
    /// Applies all rows or none, like a transaction.
    async fn apply(&self, rows: &[ProjectedRow], _: Timestamp) -> Result<(), StoreError> {
        let mut uncounted: Vec<(ProjectedRow, Counters)> = Vec::new();
        self.write_io("views", |state| {
            for projected in rows {
                let key = (projected.view.clone(), RowKey::of(&projected.row).path());
                let old = state.rows.get(&key);
                if old.is_some_and(|old| projected.row.position <= old.position) {
                    continue;
                }
                let change = counter_delta(&contribution(&projected.row), old.map(contribution).as_ref());
                state.rows.insert(key, projected.row.clone());
                match state.bug {
                    Some(Bug::CountersApart) => uncounted.push((projected.clone(), change)),
                    _ => state.count(projected, &change),
                }
            }
        })
        .await?;
        if !uncounted.is_empty() {
            self.write_io("counters", |state| {
                uncounted.iter().for_each(|(projected, change)| state.count(projected, change));
            })
            .await?;
        }
        Ok(())
    }

    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError> {
        self.read_io("list").await?;
        let state = self.state();
        let mine = state.rows.iter().rev().filter(|((of, _), row)| of == view && filter.matches(row));
        let mut rest = mine.filter(|((_, key), _)| after.is_none_or(|after| key.as_str() < after));
        let rows: Vec<CommunicationRow> = rest.by_ref().take(size).map(|(_, row)| row.clone()).collect();
        let next = rest.next().and(rows.last()).map(|row| RowKey::of(row).path());
        Ok(RowPage { rows, next })
    }

    async fn get_rows(&self, view: &ViewScope, of: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError> {
        let state = self.state();
        Ok(of.iter().map(|key| state.rows.get(&(view.clone(), key.path())).cloned()).collect())
    }

    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        let state = self.state();
        let mine =
            state.counters.iter().filter(|((of, day), _)| of == view && from <= day.as_str() && day.as_str() <= to);
        Ok(mine.map(|((_, day), counters)| (day.clone(), counters.clone())).collect())
    }

    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let state = self.state();
        Ok((state.counters.get(&(view.clone(), "all".to_owned())).cloned().unwrap_or_default(), None))
    }
}
