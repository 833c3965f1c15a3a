//! Counts of messages, and the state of the queues.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::ports::{QueueDepth, QueueId};
use domain::stats::{Counters, add_counters, utc_day};
use events::Timestamp;

use super::MessageError;
use crate::app::App;
use crate::caller::Caller;

/// The counters of some days.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// By day in UTC, such as `2026-11-26`.
    pub days: BTreeMap<String, Counters>,
    pub sum: Counters,
}

impl Statistics {
    pub fn of(days: BTreeMap<String, Counters>) -> Statistics {
        let mut sum = Counters::new();
        days.values().for_each(|day| add_counters(&mut sum, day));
        Statistics { days, sum }
    }
}

/// The state of the queues and of the sweep.
#[derive(Debug, Clone)]
pub struct QueueStatus {
    /// The counters of all of the tenant's messages, and when they were last written.
    pub totals: Counters,
    pub as_of: Option<Timestamp>,
    pub depths: Vec<(QueueId, QueueDepth)>,
    /// `None` if the sweep has never run.
    pub last_sweep: Option<Timestamp>,
}

/// Sums the caller's counters from the day of `from` to the day of `to`.
///
/// # Errors
///
/// [`MessageError`]
pub async fn statistics(
    app: &App,
    caller: &Caller,
    from: Timestamp,
    to: Timestamp,
) -> Result<Statistics, MessageError> {
    caller.authorise(Permission::Stats, Reach::Tenant)?;
    Ok(Statistics::of(app.views.daily_counters(&caller.scope(), &utc_day(from), &utc_day(to)).await?))
}

/// # Errors
///
/// [`MessageError`]
pub async fn queue_status(app: &App, caller: &Caller) -> Result<QueueStatus, MessageError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let (totals, as_of) = app.views.total_counters(&caller.scope()).await?;
    let mut depths = Vec::new();
    for queue in QueueId::DELIVERY {
        depths.push((queue, app.queue.depth(queue).await?));
    }
    let last_sweep = app.limits.last_heartbeat("sweep").await?;
    Ok(QueueStatus { totals, as_of, depths, last_sweep })
}
