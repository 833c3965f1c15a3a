//! Retrying dead letters in bulk, at a limited rate.

use domain::access::{Permission, Reach};
use domain::aggregate::Aggregate;
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

/// Which dead letters to retry.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Those that match, at most so many.
    Filter {
        filter: Box<ListFilter>,
        limit: usize,
    },
    Ids(Vec<CommunicationId>),
}

/// The dead letters to retry, and the rate.
#[derive(Debug, Clone)]
pub struct Redrive {
    pub selection: Selection,
    pub per_second: u64,
    /// Only says what would be done.
    pub is_dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redriven {
    pub matched: usize,
    /// Number of retried messages. The others are no dead letters, or not any more.
    pub redriven: usize,
    /// Number of retried messages that may already have been delivered.
    pub maybe_sent: usize,
    pub has_more: bool,
    /// When the last of them is due.
    pub last_at: Option<Timestamp>,
}

/// Retries dead letters, the oldest first. Each is an event of its own stream.
///
/// # Errors
///
/// [`MessageError`]: some may have been retried already; a second try passes over them.
pub async fn redrive(app: &App, caller: &Caller, redrive: &Redrive) -> Result<Redriven, MessageError> {
    caller.authorise(Permission::Operate, Reach::Scoped)?;
    let (ids, has_more) = match &redrive.selection {
        Selection::Filter { filter, limit } => matching(app, caller, filter, *limit).await?,
        Selection::Ids(ids) => (ids.clone(), false),
    };
    let now = app.host.now();
    let due = |index: usize| now + (index as u64 * 1_000 / redrive.per_second) as i64;
    let (mut redriven, mut maybe_sent) = (0, 0);
    let all: Vec<(usize, CommunicationId)> = ids.into_iter().enumerate().collect();
    for some in all.chunks(MAX_CONCURRENT_RETRIES) {
        let retries = some.iter().map(|(index, id)| {
            let at = due(*index);
            async move {
                let command = Command::Retry { by: caller.actor().name(), now, at: Some(at).filter(|at| now < *at) };
                match redrive.is_dry_run {
                    true => would_retry(app, caller, *id, command).await,
                    false => retry(app, caller, *id, command).await,
                }
            }
        });
        for retried in join_all(retries).await {
            let retried = retried?;
            redriven += usize::from(retried.is_some());
            maybe_sent += usize::from(retried == Some(true));
        }
    }
    let last_at = all.last().map(|(index, _)| due(*index));
    Ok(Redriven { matched: all.len(), redriven, maybe_sent, has_more, last_at })
}

/// The dead letters that match, oldest first.
async fn matching(
    app: &App,
    caller: &Caller,
    filter: &ListFilter,
    limit: usize,
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
        if after.is_none() || ids.len() == limit || pages == MAX_PAGES {
            break after.is_some();
        }
    };
    ids.reverse();
    Ok((ids, has_more))
}

/// Retries one message. `None` means that it is not a dead letter any more; otherwise whether it may have been
/// delivered already.
async fn retry(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    command: Command,
) -> Result<Option<bool>, MessageError> {
    let (key, loaded) = load(app, caller, Permission::Operate, id).await?;
    let maybe_sent = loaded.state.requested()?.maybe_sent;
    match app.executor(&caller.context()).execute_loaded(&key, loaded, command).await {
        Ok(updated) => {
            app.hint(&key, &updated).await;
            Ok(Some(maybe_sent))
        }
        Err(ExecuteError::Rejected(
            Rejection::NotDeadLettered | Rejection::AlreadyAccepted | Rejection::NotRequested,
        )) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`retry`], but nothing is changed.
async fn would_retry(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    command: Command,
) -> Result<Option<bool>, MessageError> {
    let (_, loaded) = load(app, caller, Permission::Operate, id).await?;
    let maybe_sent = loaded.state.requested()?.maybe_sent;
    Ok(loaded.state.decide(command).is_ok_and(|events| !events.is_empty()).then_some(maybe_sent))
}
