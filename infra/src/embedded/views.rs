//! The read models in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::communication_view::CommunicationRow;
use domain::ports::{ListFilter, ProjectedRow, RowKey, RowPage, StoreError, ViewScope, ViewStore, entity_index_key};
use domain::stats::{Counters, add_counters, contribution, counter_delta};
use events::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Database, execute, in_transaction, unavailable, unreadable};

/// Maximum number of rows that are examined for one page.
const MAX_EXAMINED: usize = 2_000;
/// The day under which the counters over all time are stored.
const ALL_TIME: &str = "all";

fn view_name(view: &ViewScope) -> String {
    format!("{}#{}", view.tenant, view.mode.as_str())
}

#[async_trait]
impl ViewStore for Database {
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError> {
        let rows = rows.to_vec();
        self.write(move |connection| {
            in_transaction(connection, || {
                let mut changes = CounterChanges::new();
                for projected in &rows {
                    apply_row(connection, projected, now, &mut changes)?;
                }
                apply_counters(connection, &changes)
            })
        })
        .await
    }

    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError> {
        let bound = filter.to.map(|to| format!("{:013}", to.0));
        let upper = match (after, &bound) {
            (Some(after), Some(bound)) => after.min(bound.as_str()),
            (Some(after), None) => after,
            (None, Some(bound)) => bound,
            (None, None) => "~",
        };
        let lower = filter.from.map_or(String::new(), |from| format!("{:013}", from.0));
        let entity = entity_index_key(&filter.entity_type, &filter.entity_id);
        let (column, value) = match (&filter.recipient_id, entity) {
            _ if filter.dead_letters_only => ("AND given_up IS NOT NULL AND ?4 IS NULL", None),
            (Some(recipient), _) => ("AND recipient = ?4", Some(recipient.clone())),
            (None, Some(entity)) => ("AND entity = ?4", Some(entity)),
            (None, None) => ("AND ?4 IS NULL", None),
        };
        let sql = format!(
            "SELECT sk, body FROM view_rows WHERE view = ?1 AND sk < ?2 AND sk >= ?3 {column} ORDER BY sk DESC LIMIT {MAX_EXAMINED}"
        );
        let (page, next) = self.read(|connection| {
            let mut query = connection.prepare_cached(&sql)?;
            let mut rows = query.query(params![view_name(view), upper, lower, value])?;
            let (mut page, mut examined) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let (sk, body): (String, String) = (row.get(0)?, row.get(1)?);
                examined += 1;
                let parsed = serde_json::from_str::<CommunicationRow>(&body);
                if parsed.as_ref().is_ok_and(|row| !filter.matches(row)) {
                    if examined == MAX_EXAMINED {
                        return Ok((page, Some(sk)));
                    }
                    continue;
                }
                page.push(parsed);
                if page.len() == size || examined == MAX_EXAMINED {
                    return Ok((page, Some(sk)));
                }
            }
            Ok((page, None))
        })?;
        let rows = page.into_iter().collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        Ok(RowPage { rows, next })
    }

    async fn get_rows(&self, view: &ViewScope, keys: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError> {
        let bodies = self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT body FROM view_rows WHERE view = ?1 AND sk = ?2")?;
            let body_of =
                |key: &RowKey| query.query_row([view_name(view), key.path()], |row| row.get::<_, String>(0)).optional();
            keys.iter().map(body_of).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let parse = |body: String| serde_json::from_str(&body).map_err(unreadable);
        bodies.into_iter().map(|body| body.map(parse).transpose()).collect()
    }

    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        self.read(|connection| {
            let sql =
                "SELECT day, name, amount FROM counters WHERE view = ?1 AND day BETWEEN ?2 AND ?3 AND amount <> 0";
            let mut query = connection.prepare_cached(sql)?;
            let mut rows = query.query(params![view_name(view), from, to])?;
            let mut days: BTreeMap<String, Counters> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                days.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
            }
            Ok(days)
        })
    }

    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let all = self.daily_counters(view, ALL_TIME, ALL_TIME).await?.remove(ALL_TIME).unwrap_or_default();
        let at = self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT at FROM view_times WHERE view = ?1")?;
            query.query_row([view_name(view)], |row| row.get(0).map(Timestamp)).optional()
        })?;
        Ok((all, at))
    }
}

/// How a batch of rows changes the counters, by view and day. They are collected so that each counter is written once.
type CounterChanges = BTreeMap<(String, String), Counters>;

fn apply_counters(connection: &Connection, changes: &CounterChanges) -> Result<(), StoreError> {
    for ((view, day), change) in changes {
        for (name, amount) in change {
            let sql = "INSERT INTO counters VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET amount = amount + ?4";
            execute(connection, sql, params![view, day, name, amount])?;
        }
    }
    Ok(())
}

fn apply_row(
    connection: &Connection,
    projected: &ProjectedRow,
    now: Timestamp,
    changes: &mut CounterChanges,
) -> Result<(), StoreError> {
    let ProjectedRow { view, row } = projected;
    let view = view_name(view);
    let sk = RowKey::of(row).path();
    let old: Option<String> = connection
        .prepare_cached("SELECT body FROM view_rows WHERE view = ?1 AND sk = ?2")
        .and_then(|mut s| s.query_row([&view, &sk], |row| row.get(0)).optional())
        .map_err(unavailable)?;
    let old: Option<CommunicationRow> = old.map(|body| serde_json::from_str(&body)).transpose().map_err(unreadable)?;
    if old.as_ref().is_some_and(|old| row.position <= old.position) {
        return Ok(());
    }
    let entity = entity_index_key(&row.entity_type, &row.entity_id);
    let body = serde_json::to_string(row).map_err(unreadable)?;
    execute(
        connection,
        "INSERT OR REPLACE INTO view_rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![view, sk, row.position as i64, row.recipient_id, entity, body, row.dead_letter_outcome],
    )?;
    execute(connection, "INSERT OR REPLACE INTO view_times VALUES (?1, ?2)", params![view, now.0])?;
    let change = counter_delta(&contribution(row), old.as_ref().map(contribution).as_ref());
    for day in [domain::communication_view::utc_day(row.created_at), ALL_TIME.to_owned()] {
        add_counters(changes.entry((view.clone(), day)).or_default(), &change);
    }
    Ok(())
}
