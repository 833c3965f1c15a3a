//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::directory::{Own, connected};
use application::hint;
use aws_lambda_events::sqs::SqsEvent;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, KmsCipher, SqsUnmatchedQueue, SqsWorkQueue, init_logs};
use infra::providers::{HttpClients, HttpProviderFactory};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use webhook::Webhook;
use webhook::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let store = Arc::new(DynamoStore {
        client: aws.dynamodb(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    });
    let host = Arc::new(SystemClockAndRng);
    let http = HttpClients::new();
    let connector =
        Arc::new(HttpProviderFactory { http: http.clone(), simulators: BTreeMap::new(), bases: config.bases });
    let webhook = Webhook {
        store: store.clone(),
        vault: store.clone(),
        documents: store.clone(),
        inbox: Arc::new(SqsUnmatchedQueue { client: aws.sqs(), url: config.inbox_queue }),
        providers: connected(&*connector, config.configured, &config.public_url),
        own: Own {
            store: store.clone(),
            documents: store,
            sealer: Arc::new(KmsCipher { client: aws.kms(), key_id: config.secrets_key }),
            connector,
            host: host.clone(),
            public_url: config.public_url,
        },
        directory: Default::default(),
        queue: Arc::new(SqsWorkQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        objects: Arc::new(aws.s3(http.client, config.files_bucket)),
        contact_key: config.contact_key,
        host,
    };
    if !config.is_inbox {
        return lambda_http::run(webhook::router(Arc::new(webhook))).await;
    }
    let webhook = &webhook;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(hint::response(webhook::batch(webhook, hint::messages(event.payload)).await))
    }))
    .await
}
