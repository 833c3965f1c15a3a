//! When an accepted message is expected to be sent.

use domain::ports::StoreError;
use domain::quiet_hours;
use events::{CommunicationRequest, TenantId, Timestamp};

use super::cost::first_config;
use super::send::Accepted;
use crate::app::App;
use crate::throttle_store::{tenant_throttle_key, throttle_key};

/// When a message is expected to be sent: its due time, after its quiet hours, and after the messages that wait for the
/// same rate limits before it. Without a readable limit it is the due time.
pub async fn estimated_send_time(app: &App, accepted: &Accepted) -> Timestamp {
    let Ok(communication) = accepted.loaded.state.requested() else { return accepted.row.created_at };
    let due = communication.due_at.unwrap_or(accepted.row.created_at);
    let due = quiet_hours::release_time(&communication.request, due).unwrap_or(due);
    if app.host.now() < due {
        return due;
    }
    match after_backlog(app, &accepted.key.tenant, &communication.request).await {
        Ok(at) => due.max(at),
        Err(error) => {
            tracing::warn!(%error, "the send time was estimated without the rate limits");
            due
        }
    }
}

pub(super) async fn after_backlog(
    app: &App,
    tenant: &TenantId,
    request: &CommunicationRequest,
) -> Result<Timestamp, StoreError> {
    let now = app.host.now();
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let Some(config) = first_config(app, request, &configs) else { return Ok(now) };
    let shared = configs.limits.rate_within(app.tenant_rate).map(|rate| (tenant_throttle_key(tenant), rate));
    let mut send_time = now;
    for (name, rate) in [(throttle_key(&config.id), config.rate)].into_iter().chain(shared) {
        let throttle = app.directory.recent_throttle(&*app.limits, name, rate, now).await?;
        send_time = send_time.max(throttle.send_time(request.priority, 1, now));
    }
    Ok(send_time)
}
