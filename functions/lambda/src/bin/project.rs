//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::dynamodb;
use infra::SystemClockAndRng;
use lambda::{Adapters, images, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use project::ProjectHandler;
use project::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let project = &ProjectHandler {
        store: adapters.store(config.tables),
        views: adapters.views(config.views_table),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |event: LambdaEvent<dynamodb::Event>| {
        // After an error, Lambda splits the batch in halves and delivers them again. After the last try it sends the
        // records to the repair queue.
        project.project(images(event.payload)).await.map_err(Error::from)
    }))
    .await
}
