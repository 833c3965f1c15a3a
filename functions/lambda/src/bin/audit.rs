//! Wiring only.

use std::sync::Arc;

use audit::config::Config;
use audit::{AuditHandler, RebuildProgress};
use aws_lambda_events::eventbridge::EventBridgeEvent;
use events::Timestamp;
use infra::SystemClockAndRng;
use lambda::{Adapters, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;

/// How long a change can take to reach the views, in milliseconds. It usually takes seconds, and an alarm is raised at
/// five minutes.
const SETTLE_MS: i64 = 10 * 60_000;
/// Time that is reserved for reporting the findings, in milliseconds.
const SHUTDOWN_MARGIN_MS: i64 = 20_000;

/// The event of the nightly schedule, or `{"rebuild": {"after": …}}` in a call by hand.
#[derive(Deserialize)]
#[serde(untagged)]
enum AuditRequest {
    Rebuild { rebuild: ResumePoint },
    Audit(#[expect(dead_code, reason = "the function needs no data of the event")] EventBridgeEvent),
}

/// The position at which the last call stopped.
#[derive(Deserialize)]
struct ResumePoint {
    after: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let audit = &AuditHandler {
        store: adapters.store(config.tables),
        views: adapters.views(config.views_table),
        host: Arc::new(SystemClockAndRng),
        settle_ms: SETTLE_MS,
    };
    let alerts = &*adapters.alerts(config.alerts_topic);
    run(service_fn(async |event: LambdaEvent<AuditRequest>| {
        let deadline = Timestamp(event.context.deadline as i64) - SHUTDOWN_MARGIN_MS;
        if let AuditRequest::Rebuild { rebuild } = event.payload {
            let RebuildProgress { streams, skipped, next } = audit.rebuild(rebuild.after, Some(deadline)).await?;
            tracing::info!(streams, passed_over = skipped, is_complete = next.is_none(), "views rebuilt");
            return Ok(serde_json::json!({ "streams": streams, "passedOver": skipped, "next": next }));
        }
        let report = audit.run(Some(deadline)).await?;
        let differences = report.findings.len() + report.more;
        tracing::info!(report.streams, report.events, differences, report.is_complete, "audited");
        audit::raise_alert(alerts, &report).await?;
        Ok::<_, Error>(serde_json::json!({ "streams": report.streams, "differences": differences, "isComplete": report.is_complete }))
    }))
    .await
}
