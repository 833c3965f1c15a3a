//! Pausing and resuming a channel of a tenant.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::policy;
use domain::ports::{Hint, QueueId, StoreError, TIMER_SHARDS};
use domain::tenant_limits::{Command, Pause};
use events::{Channel, StreamKind, TenantId};
use futures_util::stream::{self, StreamExt};

use crate::app::App;
use crate::caller::Caller;
use crate::hint::delay_s;
use crate::limits::{LimitsError, stream as limits_stream};

/// Number of timers of one shard that are read to find the messages that wait.
const PAGE: usize = 250;
/// The most messages that a resumed channel sends hints for. The others are looked at within ten minutes.
const MAX_HINTS: usize = 1_000;

/// The paused channels of the caller's tenant, of those that the caller may use.
///
/// # Errors
///
/// [`LimitsError`]
pub async fn list(app: &App, caller: &Caller) -> Result<BTreeMap<Channel, Pause>, LimitsError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let loaded = app.executor(&caller.context()).load(&limits_stream(&caller.principal.tenant)).await?;
    let mut pauses = loaded.state.pauses;
    pauses.retain(|channel, _| caller.may_use(*channel));
    Ok(pauses)
}

/// Why a channel is paused, as a worker would see it.
///
/// # Errors
///
/// [`StoreError`]
pub(crate) async fn of_channel(app: &App, tenant: &TenantId, channel: Channel) -> Result<Option<Pause>, StoreError> {
    app.directory.pause_of(&app.tenant_ports, tenant, channel).await
}

/// Pauses a channel: no attempt begins until it is resumed. This process feels it at once, the others within 15 seconds.
///
/// # Errors
///
/// [`LimitsError::Execute`]: the channel is not paused.
pub async fn pause(
    app: &App,
    caller: &Caller,
    channel: Channel,
    reason: String,
) -> Result<BTreeMap<Channel, Pause>, LimitsError> {
    execute(app, caller, Command::Pause { channel, reason }).await
}

/// Resumes a channel, and sends hints for what has waited.
///
/// # Errors
///
/// [`LimitsError::Execute`]: the channel is still paused.
pub async fn resume(app: &App, caller: &Caller, channel: Channel) -> Result<BTreeMap<Channel, Pause>, LimitsError> {
    let pauses = execute(app, caller, Command::Resume { channel }).await?;
    let tenant = &caller.principal.tenant;
    if let Err(error) = hint_waiting(app, tenant, channel).await {
        tracing::warn!(%tenant, channel = channel.as_str(), %error, "no hints were sent for a resumed channel");
    }
    Ok(pauses)
}

async fn execute(app: &App, caller: &Caller, command: Command) -> Result<BTreeMap<Channel, Pause>, LimitsError> {
    caller.authorise(Permission::Keys, Reach::Everything)?;
    let tenant = &caller.principal.tenant;
    let executed = app.executor(&caller.context()).execute(&limits_stream(tenant), command).await;
    app.directory.invalidate(tenant);
    Ok(executed?.state.pauses)
}

/// Sends hints for the messages whose timers lie within the longest wait of a paused channel. Each has a timer, so one that
/// is not found is only later.
async fn hint_waiting(app: &App, tenant: &TenantId, channel: Channel) -> Result<(), StoreError> {
    let now = app.host.now();
    let until = now + policy::PAUSE_HOLD_RANGE_MS.1 + policy::REPAIR_DELAY_MS;
    let shards = stream::iter(0..TIMER_SHARDS).map(|shard| app.store.due_timers(shard, until, None, PAGE));
    let pages: Vec<_> = shards.buffered(usize::from(TIMER_SHARDS)).collect().await;
    // By then, every process has read that the channel is resumed.
    let delay = delay_s(now, now + policy::PAUSE_RECHECK_MS);
    let mut hints: Vec<(Hint, u32)> = Vec::new();
    for page in pages {
        let waiting = page?.timers.into_iter().map(|due| due.hint).filter(|hint| {
            let is_of_channel = matches!(hint.queue, QueueId::Delivery { channel: of, .. } if of == channel);
            is_of_channel && hint.stream.tenant == *tenant && hint.stream.kind == StreamKind::COMMUNICATION
        });
        hints.extend(waiting.map(|hint| (hint, delay)));
    }
    hints.truncate(MAX_HINTS);
    if hints.is_empty() { Ok(()) } else { app.queue.send(&hints).await }
}
