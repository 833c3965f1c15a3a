//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::dynamodb;
use domain::ports::Stream;
use events::{StreamId, Timestamp};
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, DynamoViewStore, init_logs};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use project::config::Config;
use project::{Image, Project};
use serde::Deserialize;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let client = Aws::from_env(var)?.dynamodb();
    let store = DynamoStore {
        client: client.clone(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    };
    let views = DynamoViewStore { client, table: config.views_table };
    let project = &Project { store: Arc::new(store), views: Arc::new(views), host: Arc::new(SystemClockAndRng) };
    run(service_fn(async |event: LambdaEvent<dynamodb::Event>| {
        let images = event.payload.records.into_iter().filter_map(image).collect();
        // An error shows the whole batch again; Lambda halves it and gives up to the repair queue in the end.
        project.project(images).await.map_err(Error::from)
    }))
    .await
}

/// The stream that a record holds. The change stream of the table carries items of other sorts too.
fn image(record: dynamodb::EventRecord) -> Option<Image> {
    #[derive(Deserialize)]
    struct Item {
        pk: String,
        sk: String,
        v: u64,
        ev: Vec<String>,
        snap: Option<String>,
        wake: Option<i64>,
        writer: String,
    }
    let item: Item = serde_dynamo::from_item(record.change.new_image).ok()?;
    let Item { pk, v, ev, snap, wake, writer, .. } = Some(item).filter(|item| item.sk == "stream")?;
    let stream = Stream { version: v, snapshot: snap, lines: ev, wake: wake.map(Timestamp), writer_id: writer };
    Some(Image { id: StreamId::parse_storage_key(&pk)?, stream })
}
