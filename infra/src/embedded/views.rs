//! The read models in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::ports::{ProjectedRow, RowIndex, RowRange, StoreError, StoredRow, ViewScope, ViewStore};
use domain::stats::{Counters, add_counters, utc_day};
use events::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Database, execute, in_transaction, unavailable};

/// Maximum number of rows in one job, so that other writes need not wait long for it.
const MAX_ROWS_PER_COMMIT: usize = 250;
/// The day under which the counters over all time are stored.
const ALL_TIME: &str = "all";

/// The column of an index.
fn column(index: RowIndex) -> &'static str {
    match index {
        RowIndex::Recipient => "recipient",
        RowIndex::Entity => "entity",
        RowIndex::DeadLetters => "dead_letter",
        RowIndex::ProviderMessage => "provider_message",
        RowIndex::Due => "due",
    }
}

#[async_trait]
impl ViewStore for Database {
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError> {
        let rows = rows.to_vec();
        self.write(move |connection| {
            in_transaction(connection, || {
                let mut changes = Changes::new();
                for row in &rows {
                    apply_row(connection, row, &mut changes)?;
                }
                apply_counters(connection, &changes, now)
            })
        })
        .await
    }

    fn max_rows(&self) -> usize {
        MAX_ROWS_PER_COMMIT
    }

    async fn list(&self, scope: &ViewScope, range: &RowRange, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let order = if matches!(range.index, Some((RowIndex::Due, _))) { "due_key" } else { "sk" };
        let (condition, value) = match &range.index {
            Some((index, value)) => (format!("{} = ?5", column(*index)), Some(value)),
            None => ("?5 IS NULL".to_owned(), None),
        };
        let sql = format!(
            "SELECT {order}, body FROM view_rows \
             WHERE view = ?1 AND {order} < ?2 AND {order} >= ?3 AND {condition} ORDER BY {order} DESC LIMIT ?4"
        );
        self.read(|connection| {
            let mut query = connection.prepare_cached(&sql)?;
            let rows = query
                .query_map(params![scope.path(), range.before, range.from, limit as i64, value], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            rows.collect()
        })
    }

    async fn get_rows(&self, scope: &ViewScope, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT body FROM view_rows WHERE view = ?1 AND sk = ?2")?;
            let body_of = |key: &String| query.query_row([&scope.path(), key], |row| row.get(0)).optional();
            keys.iter().map(body_of).collect()
        })
    }

    async fn daily_counters(
        &self,
        scope: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        self.read(|connection| {
            let sql =
                "SELECT day, name, amount FROM counters WHERE view = ?1 AND day BETWEEN ?2 AND ?3 AND amount <> 0";
            let mut query = connection.prepare_cached(sql)?;
            let mut rows = query.query(params![scope.path(), from, to])?;
            let mut days: BTreeMap<String, Counters> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                days.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
            }
            Ok(days)
        })
    }

    async fn total_counters(&self, scope: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let all = self.daily_counters(scope, ALL_TIME, ALL_TIME).await?.remove(ALL_TIME).unwrap_or_default();
        let at = self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT at FROM view_times WHERE view = ?1")?;
            query.query_row([scope.path()], |row| row.get(0).map(Timestamp)).optional()
        })?;
        Ok((all, at))
    }
}

/// The changes of a batch of rows to the counters, by view and day, so that each counter is written once.
type Changes = BTreeMap<(String, String), Counters>;

fn apply_counters(connection: &Connection, changes: &Changes, now: Timestamp) -> Result<(), StoreError> {
    for ((view, day), change) in changes {
        if day == ALL_TIME {
            execute(connection, "INSERT OR REPLACE INTO view_times VALUES (?1, ?2)", params![view, now.0])?;
        }
        for (name, amount) in change {
            let sql = "INSERT INTO counters VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET amount = amount + ?4";
            execute(connection, sql, params![view, day, name, amount])?;
        }
    }
    Ok(())
}

fn apply_row(connection: &Connection, row: &ProjectedRow, changes: &mut Changes) -> Result<(), StoreError> {
    let view = row.scope.path();
    let stored: Option<String> = connection
        .prepare_cached("SELECT body FROM view_rows WHERE view = ?1 AND sk = ?2")
        .and_then(|mut query| query.query_row([&view, &row.key], |found| found.get(0)).optional())
        .map_err(unavailable)?;
    let Some(change) = row.counter_change(stored.as_deref())? else { return Ok(()) };
    let index = |index| row.indexes.get(&index);
    execute(
        connection,
        "INSERT INTO view_rows \
         (view, sk, position, body, recipient, entity, dead_letter, provider_message, due, due_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT DO UPDATE SET position = ?3, body = ?4, recipient = ?5, entity = ?6, dead_letter = ?7, \
         provider_message = ?8, due = ?9, due_key = ?10",
        params![
            view,
            row.key,
            row.position as i64,
            row.body,
            index(RowIndex::Recipient),
            index(RowIndex::Entity),
            index(RowIndex::DeadLetters),
            index(RowIndex::ProviderMessage),
            index(RowIndex::Due),
            row.due_key
        ],
    )?;
    for day in [utc_day(row.created_at), ALL_TIME.to_owned()] {
        add_counters(changes.entry((view.clone(), day)).or_default(), &change);
    }
    Ok(())
}
