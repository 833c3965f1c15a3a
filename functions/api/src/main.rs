//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::config::Config;
use api::rate::Requests;
use api::{Api, KnownKeys};
use infra::SystemHost;
use infra::aws::{Aws, DynamoStore, DynamoViews, KmsSealer, SqsQueue, init_logs};
use infra::providers::{Connections, Http, HttpKeySet};
use lambda_http::{Error, run};
use shell::directory::{Directory, Own};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let http = Http::new();
    let client = aws.dynamodb();
    let store = Arc::new(DynamoStore {
        client: client.clone(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    });
    let own = Own {
        journals: store.clone(),
        documents: store.clone(),
        sealer: Arc::new(KmsSealer { client: aws.kms(), key_id: config.secrets_key }),
        connector: Arc::new(Connections { http: http.clone(), simulators: BTreeMap::new(), bases: BTreeMap::new() }),
        host: Arc::new(SystemHost),
        public_url: config.public_url,
    };
    let api = Api {
        store: store.clone(),
        vault: store.clone(),
        keys: store.clone(),
        limits: store,
        own,
        directory: Directory::default(),
        library: Default::default(),
        defaults: Default::default(),
        has_sandbox: true,
        accounts: config.accounts,
        queue: Arc::new(SqsQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        views: Arc::new(DynamoViews { client, table: config.views_table }),
        objects: Arc::new(aws.s3(http.client.clone(), config.files_bucket)),
        host: Arc::new(SystemHost),
        contact_key: config.contact_key,
        kept: config.kept,
        known: KnownKeys::default(),
        requests: Requests::new(config.request_rate),
        issuer: config.jwt.map(|jwt| {
            let url = jwt.keys_url.clone();
            jwt.connect(Arc::new(HttpKeySet { client: http.client.clone(), url }))
        }),
    };
    run(api::router(Arc::new(api))).await
}
