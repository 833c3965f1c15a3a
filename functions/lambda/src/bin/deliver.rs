//! Wiring only.

use std::sync::Arc;
use std::time::Duration;

use application::directory::build_deployment_providers;
use aws_lambda_events::sqs::SqsEvent;
use deliver::DeliverHandler;
use deliver::config::Config;
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::providers::{HttpClients, PublicFileFetcher, sandboxes};
use lambda::{Adapters, failures, messages, provider_factory};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let http = HttpClients::new();
    let environment = adapters.environment(&http).await?;
    let config = Config::read(|name| environment.variable(name))?;
    let store = adapters.store(config.tables);
    let factory = provider_factory(&http, config.bases);
    let mut providers = build_deployment_providers(&*factory, config.configured, &config.public_url);
    providers.extend(sandboxes());
    let deliver = &DeliverHandler {
        store: store.clone(),
        vault: store.clone(),
        queue: adapters.queue(config.queues),
        providers,
        tenant_ports: adapters.tenant_ports(&store, factory, config.secrets_key, config.public_url),
        documents: store.clone(),
        objects: adapters.objects(&http, config.files_bucket),
        files: Arc::new(PublicFileFetcher { client: http.public, timeout: Duration::from_secs(5) }),
        link_keys: config.link_keys,
        limits: store,
        tenant_rate: config.tenant_rate,
        global_rate: config.global_rate,
        cache: Arc::default(),
        alerts: adapters.alerts(config.alerts_topic),
        host: Arc::new(SystemClockAndRng),
        provider_timeout_ms: config.provider_timeout_ms,
    };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Timestamp(event.context.deadline as i64);
        Ok::<_, Error>(failures(deliver::handle_batch(deliver, messages(event.payload), deadline).await))
    }))
    .await
}
