//! Wiring only.

use std::sync::Arc;

use api::Api;
use api::config::Config;
use api::rate::RequestLimiter;
use infra::providers::{HttpClients, HttpJwksSource};
use lambda::{Adapters, variable};
use lambda_http::{Error, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let http = HttpClients::new();
    let app = adapters.app(&http, config.app);
    let issuer = config.jwt.map(|jwt| {
        let keys = HttpJwksSource { client: http.client.clone(), url: jwt.keys_url.clone() };
        jwt.connect(Arc::new(keys))
    });
    let requests = RequestLimiter::new(config.request_rate);
    let api = Api { app: Arc::new(app), requests, health: Default::default(), issuer };
    run(api::router(Arc::new(api))).await
}
