//! Wiring only.

use std::sync::Arc;

use infra::SystemHost;
use infra::aws::{Aws, DynamoStore, init_logs};
use lambda_http::{Error, run};
use webhook::Webhook;
use webhook::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let store = DynamoStore {
        client: Aws::from_env(var)?.dynamodb(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    };
    let webhook = Webhook {
        store: Arc::new(store),
        host: Arc::new(SystemHost),
        sendgrid: config.sendgrid,
        twilio: config.twilio,
    };
    run(webhook::router(Arc::new(webhook))).await
}
