//! How many messages become due, and when.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::communication_view::{due_between, due_of};
use domain::ports::StoreError;
use events::Timestamp;
use futures_util::stream::{self, StreamExt};

use super::MessageError;
use crate::app::App;
use crate::caller::Caller;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// The time that is read at once within the next hour, in milliseconds.
const SLICE_MS: i64 = 5 * MINUTE_MS;
/// How many hours are looked ahead.
const HOURS: i64 = 24;
/// The most rows that are read of one slice. A slice that has as many may have more.
const MAX_ROWS: usize = 500;
/// Number of slices that are read side by side.
const SLICES_AT_ONCE: usize = 8;

/// The messages that become due within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub from: Timestamp,
    pub until: Timestamp,
    pub count: usize,
    /// Whether these are all, or there may be more.
    pub is_complete: bool,
}

/// What becomes due in the next 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upcoming {
    /// Scheduled messages and retries whose time has come.
    pub overdue: Option<Slot>,
    /// The minutes of the next hour in which messages become due.
    pub minutes: Vec<Slot>,
    /// Every hour, from the current minute on.
    pub hours: Vec<Slot>,
}

struct Slice {
    slot: Slot,
    by_minute: BTreeMap<i64, usize>,
}

/// Counts the caller's messages by the minute of the next hour, and by the hour of the next day, in which they become due.
/// Messages that are sent at once, and those that wait for a rate limit, are not among them.
///
/// # Errors
///
/// [`MessageError`]
pub async fn upcoming(app: &App, caller: &Caller) -> Result<Upcoming, MessageError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let minute = app.host.now().0 / MINUTE_MS * MINUTE_MS;
    let near = (0..HOUR_MS / SLICE_MS).map(|n| (minute + n * SLICE_MS, minute + (n + 1) * SLICE_MS));
    let far = (1..HOURS).map(|n| (minute + n * HOUR_MS, minute + (n + 1) * HOUR_MS));
    let all = std::iter::once((0, minute)).chain(near).chain(far);
    let read = all.map(|(from, until)| slice(app, caller, Timestamp(from), Timestamp(until)));
    let slices: Vec<Result<Slice, StoreError>> = stream::iter(read).buffered(SLICES_AT_ONCE).collect().await;
    let mut slices = slices.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter();
    let overdue = slices.next().map(|slice| slice.slot).filter(|slot| 0 < slot.count);
    let near: Vec<Slice> = slices.by_ref().take((HOUR_MS / SLICE_MS) as usize).collect();
    let first = Slot {
        from: Timestamp(minute),
        until: Timestamp(minute + HOUR_MS),
        count: near.iter().map(|slice| slice.slot.count).sum(),
        is_complete: near.iter().all(|slice| slice.slot.is_complete),
    };
    let minutes = near.iter().flat_map(|slice| {
        let Slot { is_complete, .. } = slice.slot;
        slice.by_minute.iter().map(move |(minute, count)| Slot {
            from: Timestamp(*minute),
            until: Timestamp(minute + MINUTE_MS),
            count: *count,
            is_complete,
        })
    });
    Ok(Upcoming {
        overdue,
        minutes: minutes.collect(),
        hours: std::iter::once(first).chain(slices.map(|slice| slice.slot)).collect(),
    })
}

async fn slice(app: &App, caller: &Caller, from: Timestamp, until: Timestamp) -> Result<Slice, StoreError> {
    let rows = app.views.list(&caller.scope(), &due_between(from, until), MAX_ROWS).await?;
    let mut by_minute = BTreeMap::new();
    for at in rows.iter().filter_map(|(key, _)| due_of(key)) {
        *by_minute.entry(at.0 / MINUTE_MS * MINUTE_MS).or_default() += 1;
    }
    let slot = Slot { from, until, count: rows.len(), is_complete: rows.len() < MAX_ROWS };
    Ok(Slice { slot, by_minute })
}
