//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;

use infra::SystemHost;
use infra::aws::{Aws, DynamoStore, KmsSealer, init_logs};
use infra::providers::{Connections, Http};
use lambda_http::{Error, run};
use shell::directory::{Own, connected};
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
    let host = Arc::new(SystemHost);
    let connector = Arc::new(Connections { http: Http::new(), simulators: BTreeMap::new(), bases: config.bases });
    let webhook = Webhook {
        store: store.clone(),
        documents: store.clone(),
        providers: connected(&*connector, config.configured, &config.public_url),
        own: Own {
            journals: store.clone(),
            documents: store,
            sealer: Arc::new(KmsSealer { client: aws.kms(), key_id: config.secrets_key }),
            connector,
            host: host.clone(),
            public_url: config.public_url,
        },
        directory: Default::default(),
        contact_key: config.contact_key,
        host,
    };
    run(webhook::router(Arc::new(webhook))).await
}
