//! Wiring only.

use lambda::{Adapters, images, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use publish::PublishHandler;
use publish::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let publish = &PublishHandler { store: adapters.store(config.tables), bus: adapters.bus(config.bus) };
    run(service_fn(async |event: LambdaEvent<aws_lambda_events::dynamodb::Event>| {
        publish.publish(images(event.payload)).await?;
        Ok::<_, Error>(())
    }))
    .await
}
