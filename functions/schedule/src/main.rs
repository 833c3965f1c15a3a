//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, SqsWorkQueue, init_logs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use schedule::config::Config;
use schedule::{Schedule, Sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let store = Arc::new(DynamoStore {
        client: aws.dynamodb(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    });
    let schedule = &Schedule {
        store: store.clone(),
        limits: store,
        queue: Arc::new(SqsWorkQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |_: LambdaEvent<EventBridgeEvent>| {
        let hints = schedule.sweep(Sweep::Tick).await?;
        tracing::info!(hints, "swept");
        Ok::<_, Error>(serde_json::json!({ "hints": hints }))
    }))
    .await
}
