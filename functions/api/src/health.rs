//! Whether the deployment works: its store takes writes.

use application::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{CoordinationStore, StoreError};
use domain::stats::utc_day;
use events::Timestamp;
use problem::{Problem, ProblemKind};
use tokio::sync::Mutex;

use crate::{Shared, json};

/// How long the result of a check is used, in milliseconds, because anybody may ask.
const CHECK_INTERVAL_MS: i64 = 5_000;
/// The counter of a day that a check adds to.
const COUNTER: &str = "health";
const DAY_MS: i64 = 24 * 3_600_000;

/// When the store was last checked, and whether it took the write.
#[derive(Default)]
pub struct HealthCheck(Mutex<Option<(Timestamp, bool)>>);

impl HealthCheck {
    async fn is_healthy(&self, app: &App) -> bool {
        let now = app.host.now();
        // Concurrent requests wait for one check.
        let mut last = self.0.lock().await;
        if let Some((at, is_healthy)) = *last
            && (0..CHECK_INTERVAL_MS).contains(&now.millis_since(at))
        {
            return is_healthy;
        }
        let written = write(&*app.limits, now).await;
        if let Err(error) = &written {
            tracing::error!(%error, "the store takes no writes");
        }
        *last = Some((now, written.is_ok()));
        written.is_ok()
    }
}

/// Counts the checks of the day.
async fn write(limits: &dyn CoordinationStore, now: Timestamp) -> Result<(), StoreError> {
    let name = format!("{COUNTER}#{}", utc_day(now));
    limits.add_within(&name, 1, i64::MAX, Timestamp(now.0 - now.0.rem_euclid(DAY_MS) + DAY_MS)).await.map(|_| ())
}

pub(crate) async fn health(State(api): Shared) -> Result<Response, Problem> {
    if !api.health.is_healthy(&api.app).await {
        return Err(Problem::new(ProblemKind::Unavailable, "The store takes no writes, so nothing can be accepted."));
    }
    Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })))
}
