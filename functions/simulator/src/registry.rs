//! The list of all simulated providers and their routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;

use crate::providers::{
    africastalking, aws, bulksms, custom, mailgun, mandrill, messagebird, meta, sendgrid, telegram, twilio, vonage,
};
use crate::server;
use crate::simulator::Simulator;

impl Simulator {
    /// Serves every provider's API until the process ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        server::serve(listener, router(self)).await;
    }
}

fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .merge(sendgrid::router())
        .merge(mailgun::router())
        .merge(mandrill::router())
        .merge(aws::router())
        .merge(twilio::router())
        .merge(vonage::router())
        .merge(messagebird::router())
        .merge(africastalking::router())
        .merge(bulksms::router())
        .merge(meta::router())
        .fallback(any(route_dynamic_paths))
        .with_state(simulator)
}

/// Routes paths that begin with credentials or a version, or that a tenant chose.
async fn route_dynamic_paths(
    State(simulator): State<Arc<Simulator>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    match path[..] {
        [bot, method] if bot.starts_with("bot") => telegram::call(&simulator, &bot[3..], method, &body).await,
        [_, id] if method == Method::GET => {
            meta::show(&simulator, id, &headers, uri.query().unwrap_or_default()).unwrap_or_else(|refused| refused)
        }
        _ => custom::call(&simulator, &uri, &headers, &body).await,
    }
}
