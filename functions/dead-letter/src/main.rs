//! Wiring only.

use std::sync::Arc;

use application::hint;
use aws_lambda_events::sqs::SqsEvent;
use dead_letter::DeadLetter;
use dead_letter::config::Config;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, SnsAlertSink, init_logs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let store = DynamoStore {
        client: aws.dynamodb(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    };
    let door = &DeadLetter {
        store: Arc::new(store),
        alerts: Arc::new(SnsAlertSink { client: aws.sns(), topic_arn: config.alerts_topic }),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let again = door.batch(hint::messages(event.payload)).await;
        Ok::<_, Error>(hint::response(again))
    }))
    .await
}
