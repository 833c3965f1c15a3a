//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use infra::SystemClockAndRng;
use lambda::{Adapters, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use schedule::SweepHandler;
use schedule::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let store = adapters.store(config.tables);
    let schedule = &SweepHandler {
        store: store.clone(),
        limits: store,
        queue: adapters.queue(config.queues),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |_: LambdaEvent<EventBridgeEvent>| {
        let hints = schedule.sweep().await?;
        tracing::info!(hints, "swept");
        Ok::<_, Error>(serde_json::json!({ "hints": hints }))
    }))
    .await
}
