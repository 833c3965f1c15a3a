//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::dynamodb;
use domain::ports::StreamKey;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoViewStore, init_logs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use project::config::Config;
use project::{Image, Project};
use serde::Deserialize;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let views = DynamoViewStore { client: Aws::from_env(var)?.dynamodb(), table: config.views_table };
    let project = &Project { views: Arc::new(views), host: Arc::new(SystemClockAndRng) };
    run(service_fn(async |event: LambdaEvent<dynamodb::Event>| {
        let images = event.payload.records.into_iter().filter_map(image).collect();
        // An error shows the whole batch again; Lambda halves it and gives up to the repair queue in the end.
        project.project(images).await.map_err(Error::from)
    }))
    .await
}

/// None for guards: the table's stream carries every item.
fn image(record: dynamodb::EventRecord) -> Option<Image> {
    #[derive(Deserialize)]
    struct Item {
        pk: String,
        ev: Vec<String>,
    }
    let Item { pk, ev } = serde_dynamo::from_item(record.change.new_image).ok()?;
    Some(Image { key: StreamKey::parse_storage_key(&pk)?, lines: ev })
}
