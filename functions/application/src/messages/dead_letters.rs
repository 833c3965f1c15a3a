//! Dead letters grouped by their cause.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::communication_view::{CommunicationRow, ListFilter, counted_reason};
use events::{Channel, Timestamp};

use super::MessageError;
use crate::app::App;
use crate::caller::Caller;
use crate::views;

/// Number of rows of one page.
const PAGE: usize = 500;
/// The most pages that one request examines.
const MAX_PAGES: usize = 20;
/// The most groups of one answer.
const MAX_GROUPS: usize = 100;

/// What dead letters of one group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub channel: Channel,
    /// Why it became a dead letter.
    pub reason: String,
    /// Why its last attempt failed, such as `unavailable:503`. The same as `reason` if there was no attempt.
    pub cause: String,
    pub provider: Option<String>,
}

/// The dead letters of one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CauseCount {
    pub count: usize,
    /// When the first and the last of them were accepted.
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

/// Dead letters by cause, the most frequent first.
#[derive(Debug, Clone)]
pub struct Causes {
    pub groups: Vec<(Cause, CauseCount)>,
    pub total: usize,
    /// Whether all dead letters were counted.
    pub is_complete: bool,
}

/// Counts the caller's dead letters by cause: the newest 10,000.
///
/// # Errors
///
/// [`MessageError`]
pub async fn causes(app: &App, caller: &Caller, filter: &ListFilter) -> Result<Causes, MessageError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let matches = |row: &CommunicationRow| filter.matches(row) && caller.includes(&row.targets);
    let (mut groups, mut after, mut total) = (BTreeMap::<Cause, CauseCount>::new(), None, 0);
    for _ in 0..MAX_PAGES {
        let scope = caller.scope();
        let page = views::list(&*app.views, &scope, filter.ranges(), after.as_deref(), PAGE, matches).await?;
        for row in page.rows {
            total += 1;
            let at = row.created_at;
            let group = groups.entry(cause(row)).or_insert(CauseCount { count: 0, oldest: at, newest: at });
            group.count += 1;
            group.oldest = group.oldest.min(at);
            group.newest = group.newest.max(at);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut groups: Vec<(Cause, CauseCount)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    let is_complete = after.is_none() && groups.len() <= MAX_GROUPS;
    groups.truncate(MAX_GROUPS);
    Ok(Causes { groups, total, is_complete })
}

fn cause(row: CommunicationRow) -> Cause {
    let reason = row.dead_letter_outcome.unwrap_or_default();
    let cause = row.reason.as_deref().map_or_else(|| reason.clone(), counted_reason);
    Cause { channel: row.channel, reason, cause, provider: row.provider }
}
