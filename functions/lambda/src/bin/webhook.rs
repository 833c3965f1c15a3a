//! Wiring only.

use std::sync::Arc;

use application::directory::connected;
use aws_lambda_events::sqs::SqsEvent;
use infra::SystemClockAndRng;
use infra::providers::HttpClients;
use lambda::{Adapters, failures, messages, provider_factory, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use webhook::Webhook;
use webhook::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let http = HttpClients::new();
    let store = adapters.store(config.tables);
    let connector = provider_factory(&http, config.bases);
    let webhook = Webhook {
        store: store.clone(),
        vault: store.clone(),
        documents: store.clone(),
        inbox: adapters.unmatched(config.inbox_queue),
        providers: connected(&*connector, config.configured, &config.public_url),
        tenant_ports: adapters.tenant_ports(&store, connector, config.secrets_key, config.public_url),
        directory: Default::default(),
        queue: adapters.queue(config.queues),
        objects: adapters.objects(&http, config.files_bucket),
        contact_key: config.contact_key,
        host: Arc::new(SystemClockAndRng),
    };
    if !config.is_inbox {
        return lambda_http::run(webhook::router(Arc::new(webhook))).await;
    }
    let webhook = &webhook;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(failures(webhook::batch(webhook, messages(event.payload)).await))
    }))
    .await
}
