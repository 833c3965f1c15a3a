//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use dead_letter::DeadLetterHandler;
use dead_letter::config::Config;
use infra::SystemClockAndRng;
use lambda::{Adapters, failures, messages, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let dead_letter = &DeadLetterHandler {
        store: adapters.store(config.tables),
        alerts: adapters.alerts(config.alerts_topic),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(failures(dead_letter.handle_batch(messages(event.payload)).await))
    }))
    .await
}
