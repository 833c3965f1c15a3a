//! Wiring only.

use std::sync::Arc;

use api::Api;
use api::config::{Config, ConsoleClient, Jwt};
use api::rate::RequestLimiter;
use console::{Console, Sessions, SignIn};
use infra::SystemClockAndRng;
use infra::providers::{HttpClients, HttpIdentityProvider, HttpJwksSource};
use lambda::Adapters;
use lambda_http::{Error, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let http = HttpClients::new();
    let environment = adapters.environment(&http).await?;
    let Config { app, request_rate, jwt, console } = Config::read(|name| environment.variable(name))?;
    let url = app.public_url.clone();
    let app = adapters.app(&http, app);
    let keys = |jwt: &Jwt| Arc::new(HttpJwksSource { client: http.client.clone(), url: jwt.keys_url.clone() });
    let issuer = jwt.clone().map(|jwt| {
        let keys = keys(&jwt);
        jwt.connect(keys)
    });
    let requests = RequestLimiter::new(request_rate);
    let api = Arc::new(Api { app: Arc::new(app), requests, health: Default::default(), issuer });
    let mut router = api::router(api.clone());
    if let (Some(ConsoleClient { id, secret }), Some(jwt)) = (console, jwt) {
        let sign_in = SignIn {
            provider: Arc::new(HttpIdentityProvider::new(http.client.clone(), jwt.issuer.clone(), id.clone(), secret)),
            tokens: Arc::new(jwt.for_client(&id).connect(keys(&jwt))),
            documents: api.app.tenant_ports.documents.clone(),
            client_id: id,
            url,
        };
        let console = Console {
            api: api::router_for_principals(api),
            dev: None,
            sessions: Sessions::SignIn(sign_in),
            host: Arc::new(SystemClockAndRng),
        };
        // What nothing else answers is an unknown page.
        router = router.reset_fallback().merge(console::router(Arc::new(console)));
    }
    run(router).await
}
