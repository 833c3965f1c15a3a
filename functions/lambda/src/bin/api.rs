//! Wiring only.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Api;
use api::config::Config;
use api::rate::RequestLimiter;
use application::App;
use infra::SystemClockAndRng;
use infra::providers::{HttpClients, HttpJwksSource};
use lambda::{Adapters, provider_factory, variable};
use lambda_http::{Error, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let http = HttpClients::new();
    let store = adapters.store(config.tables);
    let connector = provider_factory(&http, BTreeMap::new());
    let app = App {
        store: store.clone(),
        vault: store.clone(),
        keys: store.clone(),
        limits: store.clone(),
        own: adapters.own(&store, connector, config.secrets_key, config.public_url),
        directory: Default::default(),
        library: Default::default(),
        defaults: Default::default(),
        has_sandbox: true,
        accounts: config.accounts,
        queue: adapters.queue(config.queues),
        views: adapters.views(config.views_table),
        objects: adapters.objects(&http, config.files_bucket),
        host: Arc::new(SystemClockAndRng),
        contact_key: config.contact_key,
        retention: config.retention,
        principals: Default::default(),
    };
    let issuer = config.jwt.map(|jwt| {
        let keys = HttpJwksSource { client: http.client.clone(), url: jwt.keys_url.clone() };
        jwt.connect(Arc::new(keys))
    });
    let api = Api { app: Arc::new(app), requests: RequestLimiter::new(config.request_rate), issuer };
    run(api::router(Arc::new(api))).await
}
