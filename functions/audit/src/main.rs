//! Wiring only.

use std::sync::Arc;

use audit::config::Config;
use audit::{Audit, RebuildProgress};
use aws_lambda_events::eventbridge::EventBridgeEvent;
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, DynamoViewStore, SnsAlertSink, init_logs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;

/// The projection's stream is seconds behind; an alarm rings at five minutes.
const SETTLE_MS: i64 = 10 * 60_000;
/// The night's tick, or `{"rebuild": {"after": …}}` by hand.
#[derive(Deserialize)]
#[serde(untagged)]
enum AuditRequest {
    Rebuild { rebuild: ResumePoint },
    Night(#[expect(dead_code, reason = "that it came is all that it says")] EventBridgeEvent),
}

/// Where the last call stopped.
#[derive(Deserialize)]
struct ResumePoint {
    after: Option<String>,
}

/// Kept for telling what was found.
const SHUTDOWN_MARGIN_MS: i64 = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let client = aws.dynamodb();
    let store = DynamoStore {
        client: client.clone(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    };
    let audit = &Audit {
        store: Arc::new(store),
        views: Arc::new(DynamoViewStore { client, table: config.views_table }),
        host: Arc::new(SystemClockAndRng),
        settle_ms: SETTLE_MS,
    };
    let alerts = &SnsAlertSink { client: aws.sns(), topic_arn: config.alerts_topic };
    run(service_fn(async |event: LambdaEvent<AuditRequest>| {
        let deadline = Timestamp(event.context.deadline as i64) - SHUTDOWN_MARGIN_MS;
        if let AuditRequest::Rebuild { rebuild } = event.payload {
            let RebuildProgress { streams, passed_over, next } = audit.rebuild(rebuild.after, Some(deadline)).await?;
            tracing::info!(streams, passed_over, is_complete = next.is_none(), "views made again");
            return Ok(serde_json::json!({ "streams": streams, "passedOver": passed_over, "next": next }));
        }
        let report = audit.run(Some(deadline)).await?;
        let differences = report.findings.len() + report.more;
        tracing::info!(report.streams, report.events, differences, report.is_complete, "audited");
        audit::tell(alerts, &report).await?;
        Ok::<_, Error>(serde_json::json!({ "streams": report.streams, "differences": differences, "isComplete": report.is_complete }))
    }))
    .await
}
