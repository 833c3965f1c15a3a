//! Cancelling several messages at once.

use domain::access::{Permission, Reach};
use domain::aggregate::Aggregate;
use domain::communication::Command;
use events::{CancelReason, CommunicationId};
use futures_util::future::join_all;

use super::MessageError;
use super::change::cancel;
use super::read::load;
use crate::app::App;
use crate::caller::Caller;

/// Number of streams that are changed concurrently.
const MAX_CONCURRENT_CHANGES: usize = 16;

/// Cancels messages, or only says what would be done. Each has its own result: whether something may still arrive.
///
/// # Errors
///
/// [`MessageError::Forbidden`]: nothing was cancelled.
pub async fn cancel_many(
    app: &App,
    caller: &Caller,
    ids: &[CommunicationId],
    is_dry_run: bool,
) -> Result<Vec<(CommunicationId, Result<bool, MessageError>)>, MessageError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    let mut results = Vec::new();
    for some in ids.chunks(MAX_CONCURRENT_CHANGES) {
        let cancelled = some.iter().map(|id| cancel_one(app, caller, *id, is_dry_run));
        results.extend(some.iter().copied().zip(join_all(cancelled).await));
    }
    Ok(results)
}

async fn cancel_one(app: &App, caller: &Caller, id: CommunicationId, is_dry_run: bool) -> Result<bool, MessageError> {
    if !is_dry_run {
        let (_, updated) = cancel(app, caller, id).await?;
        return Ok(updated.state.requested()?.maybe_sent);
    }
    let (_, loaded) = load(app, caller, Permission::Send, id).await?;
    loaded.state.decide(Command::Cancel { by: caller.actor().name(), reason: CancelReason::Requested })?;
    Ok(loaded.state.requested()?.maybe_sent)
}
