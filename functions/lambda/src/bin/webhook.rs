//! Wiring only.

use std::sync::Arc;

use application::directory::build_deployment_providers;
use aws_lambda_events::sqs::SqsEvent;
use infra::SystemClockAndRng;
use infra::providers::HttpClients;
use lambda::{Adapters, client_address, failures, messages, provider_factory};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pages::PagesHandler;
use webhook::WebhookHandler;
use webhook::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let http = HttpClients::new();
    let environment = adapters.environment(&http).await?;
    let config = Config::read(|name| environment.variable(name))?;
    let store = adapters.store(config.tables);
    let factory = provider_factory(&http, config.bases);
    let tenant_ports = adapters.tenant_ports(&store, factory.clone(), config.secrets_key, config.public_url.clone());
    let queue = adapters.queue(config.queues);
    let webhook = WebhookHandler {
        store: store.clone(),
        vault: store.clone(),
        documents: store.clone(),
        unmatched: adapters.unmatched(config.unmatched_queue),
        providers: build_deployment_providers(&*factory, config.configured, &config.public_url),
        tenant_ports: tenant_ports.clone(),
        directory: Default::default(),
        queue: queue.clone(),
        contact_key: config.contact_key,
        views: adapters.views(config.views_table),
        deployment_tenant: config.deployment_tenant,
        host: Arc::new(SystemClockAndRng),
    };
    if config.handles_unmatched {
        let webhook = &webhook;
        return run(service_fn(async |event: LambdaEvent<SqsEvent>| {
            Ok::<_, Error>(failures(webhook::handle_batch(webhook, messages(event.payload)).await))
        }))
        .await;
    }
    let config = pages::config::Config::read(|name| environment.variable(name))?;
    let limits = store.clone();
    let pages = PagesHandler {
        store: store.clone(),
        vault: store.clone(),
        documents: store,
        tenant_ports,
        queue,
        objects: adapters.objects(&http, config.files_bucket),
        link_keys: config.link_keys,
        contact_key: webhook.contact_key.clone(),
        limits,
        client: client_address,
        host: Arc::new(SystemClockAndRng),
    };
    let router = webhook::router(Arc::new(webhook)).merge(pages::router(Arc::new(pages)));
    lambda_http::run(router).await
}
