//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use application::directory::{Own, connected};
use application::hint;
use aws_lambda_events::sqs::SqsEvent;
use deliver::Deliver;
use deliver::config::Config;
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, KmsCipher, SnsAlertSink, SqsWorkQueue, init_logs};
use infra::providers::{HttpClients, HttpProviderFactory, PublicFileFetcher, sandboxes};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let deliver = &wire(config, &aws);
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Timestamp(event.context.deadline as i64);
        let failed = deliver::batch(deliver, hint::messages(event.payload), deadline).await;
        Ok::<_, Error>(hint::response(failed))
    }))
    .await
}

fn wire(config: Config, aws: &Aws) -> Deliver {
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
    let mut providers = connected(&*connector, config.configured, &config.public_url);
    providers.extend(sandboxes());
    Deliver {
        store: store.clone(),
        vault: store.clone(),
        queue: Arc::new(SqsWorkQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        providers,
        own: Own {
            store: store.clone(),
            documents: store.clone(),
            sealer: Arc::new(KmsCipher { client: aws.kms(), key_id: config.secrets_key }),
            connector,
            host: host.clone(),
            public_url: config.public_url,
        },
        documents: store.clone(),
        files: Arc::new(PublicFileFetcher { client: http.public, timeout: Duration::from_secs(5) }),
        objects: Arc::new(aws.s3(http.client, config.files_bucket)),
        contact_key: config.contact_key,
        limits: store,
        tenant_rate: config.tenant_rate,
        global_rate: config.global_rate,
        memory: Arc::default(),
        alerts: Arc::new(SnsAlertSink { client: aws.sns(), topic_arn: config.alerts_topic }),
        host,
        provider_timeout_ms: config.provider_timeout_ms,
    }
}
