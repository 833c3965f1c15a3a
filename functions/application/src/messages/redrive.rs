//! Retrying dead letters in bulk, at a limited rate.

use domain::access::{Permission, Reach};
use domain::communication::{Command, Rejection};
use domain::communication_view::{CommunicationRow, ListFilter};
use events::{CommunicationId, Timestamp};
use futures_util::future::join_all;

use super::MessageError;
use super::read::load;
use crate::ExecuteError;
use crate::app::App;
use crate::caller::Caller;
use crate::views;

/// The most pages of dead letters that one request examines.
const MAX_PAGES: usize = 20;
/// Number of streams that are changed concurrently.
const MAX_CONCURRENT_RETRIES: usize = 16;

/// The dead letters to retry, and the rate.
#[derive(Debug, Clone)]
pub struct Redrive {
    pub filter: ListFilter,
    pub limit: usize,
    pub per_second: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redriven {
    pub matched: usize,
    /// Number of retried messages. The other matches were retried or sent since the view was written.
    pub redriven: usize,
    pub has_more: bool,
    /// When the last of them is due.
    pub last_at: Option<Timestamp>,
}

/// Retries the dead letters that match, the oldest first. Each is an event of its own stream.
///
/// # Errors
///
/// [`MessageError`]: some may have been retried already; a second try passes over them.
pub async fn redrive(app: &App, caller: &Caller, redrive: &Redrive) -> Result<Redriven, MessageError> {
    caller.authorise(Permission::Operate, Reach::Scoped)?;
    let (ids, has_more) = matching(app, caller, redrive).await?;
    let now = app.host.now();
    let due = |index: usize| now + (index as u64 * 1_000 / redrive.per_second) as i64;
    let mut redriven = 0;
    let all: Vec<(usize, CommunicationId)> = ids.into_iter().enumerate().collect();
    for some in all.chunks(MAX_CONCURRENT_RETRIES) {
        let retries = some.iter().map(|(index, id)| retry_at(app, caller, *id, now, due(*index)));
        for retried in join_all(retries).await {
            redriven += usize::from(retried?);
        }
    }
    let last_at = all.last().map(|(index, _)| due(*index));
    Ok(Redriven { matched: all.len(), redriven, has_more, last_at })
}

/// The dead letters that match, oldest first.
async fn matching(
    app: &App,
    caller: &Caller,
    Redrive { filter, limit, .. }: &Redrive,
) -> Result<(Vec<CommunicationId>, bool), MessageError> {
    let (mut ids, mut after) = (Vec::new(), None);
    let matches = |row: &CommunicationRow| filter.matches(row) && caller.includes(&row.targets);
    let mut pages = 0;
    let has_more = loop {
        pages += 1;
        let page =
            views::list(&*app.views, &caller.scope(), filter.ranges(), after.as_deref(), limit - ids.len(), matches)
                .await?;
        ids.extend(page.rows.into_iter().map(|row| row.id));
        after = page.next;
        if after.is_none() || ids.len() == *limit || pages == MAX_PAGES {
            break after.is_some();
        }
    };
    ids.reverse();
    Ok((ids, has_more))
}

/// Retries one message at `at`. Returns false if it is not a dead letter any more.
async fn retry_at(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    now: Timestamp,
    at: Timestamp,
) -> Result<bool, MessageError> {
    let (key, loaded) = load(app, caller, Permission::Operate, id).await?;
    let command = Command::Retry { by: caller.actor().name(), now, at: Some(at).filter(|at| now < *at) };
    match app.executor(&caller.context()).execute_loaded(&key, loaded, command).await {
        Ok(updated) => {
            app.hint(&key, &updated).await;
            Ok(true)
        }
        Err(ExecuteError::Rejected(
            Rejection::NotDeadLettered | Rejection::AlreadyAccepted | Rejection::NotRequested,
        )) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
