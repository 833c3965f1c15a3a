//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use events::Timestamp;
use infra::SystemClockAndRng;
use lambda::{Adapters, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use reconcile::config::Config;
use reconcile::{ReconcileHandler, Report};

/// Time that is reserved for the last page and its record, in milliseconds.
const SHUTDOWN_MARGIN_MS: i64 = 30_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let store = adapters.store(config.tables);
    let reconcile = &ReconcileHandler {
        store: store.clone(),
        views: adapters.views(config.views_table),
        documents: store,
        alerts: adapters.alerts(config.alerts_topic),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |event: LambdaEvent<EventBridgeEvent>| {
        let deadline = Timestamp(event.context.deadline as i64) - SHUTDOWN_MARGIN_MS;
        let Report { tenants, looked, repaired, lost, is_complete } = reconcile.run(Some(deadline)).await?;
        tracing::info!(tenants, looked, repaired, lost, is_complete, "reconciled");
        Ok::<_, Error>(serde_json::json!({ "tenants": tenants, "looked": looked, "repaired": repaired, "lost": lost }))
    }))
    .await
}
