//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Api;
use api::config::Config;
use api::rate::RequestLimiter;
use application::App;
use application::directory::{Own, ProviderDirectory};
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, DynamoViewStore, KmsCipher, SqsWorkQueue, init_logs};
use infra::providers::{HttpClients, HttpJwksSource, HttpProviderFactory};
use lambda_http::{Error, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let http = HttpClients::new();
    let client = aws.dynamodb();
    let store = Arc::new(DynamoStore {
        client: client.clone(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    });
    let own = Own {
        store: store.clone(),
        documents: store.clone(),
        sealer: Arc::new(KmsCipher { client: aws.kms(), key_id: config.secrets_key }),
        connector: Arc::new(HttpProviderFactory {
            http: http.clone(),
            simulators: BTreeMap::new(),
            bases: BTreeMap::new(),
        }),
        host: Arc::new(SystemClockAndRng),
        public_url: config.public_url,
    };
    let app = App {
        store: store.clone(),
        vault: store.clone(),
        keys: store.clone(),
        limits: store,
        own,
        directory: ProviderDirectory::default(),
        library: Default::default(),
        defaults: Default::default(),
        has_sandbox: true,
        accounts: config.accounts,
        queue: Arc::new(SqsWorkQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        views: Arc::new(DynamoViewStore { client, table: config.views_table }),
        objects: Arc::new(aws.s3(http.client.clone(), config.files_bucket)),
        host: Arc::new(SystemClockAndRng),
        contact_key: config.contact_key,
        retention: config.retention,
        principals: Default::default(),
    };
    let api = Api {
        app: Arc::new(app),
        requests: RequestLimiter::new(config.request_rate),
        issuer: config.jwt.map(|jwt| {
            let url = jwt.keys_url.clone();
            jwt.connect(Arc::new(HttpJwksSource { client: http.client.clone(), url }))
        }),
    };
    run(api::router(Arc::new(api))).await
}
