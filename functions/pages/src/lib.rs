//! In: recipients who follow a signed link in a message. Out: HTML pages, redirects to uploaded files, changed
//! preferences, unsubscribe reports in the streams of the messages, and the number of times that a payment link was
//! opened.
//! May touch: streams, vault, documents, the suppression list, counters of requests, the work queue (best effort),
//! addresses of uploaded files.
//! Never: shows or changes anything that the link does not sign; changes anything on GET except for that number, because
//! mail programs open links.
//!
//! The program of `functions/webhook` serves these routes.

mod client;
pub mod config;
mod files;
mod page;
mod payment;
mod preferences;
mod unsubscribe;

use std::net::IpAddr;
use std::sync::Arc;

use application::directory::TenantPorts;
use application::links::LinkKeys;
use axum::Router;
use axum::extract::State;
use axum::http::Extensions;
use axum::middleware::from_fn;
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::ports::{ClockAndRng, CoordinationStore, DocumentStore, EventStore, ObjectStore, Vault, WorkQueue};

/// The ports of the pages.
pub struct PagesHandler {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub documents: Arc<dyn DocumentStore>,
    pub tenant_ports: TenantPorts,
    /// Takes the hint for a fallback that an unsubscribe report made due.
    pub queue: Arc<dyn WorkQueue>,
    /// Uploaded files.
    pub objects: Arc<dyn ObjectStore>,
    pub link_keys: LinkKeys,
    /// The key of contact hashes.
    pub contact_key: Vec<u8>,
    /// Counts the requests of an address.
    pub limits: Arc<dyn CoordinationStore>,
    /// Where a request comes from, as the server knows it. `None` means that it does not, and that there is no limit.
    pub client: fn(&Extensions) -> Option<IpAddr>,
    pub host: Arc<dyn ClockAndRng>,
}

type Shared = State<Arc<PagesHandler>>;

/// One method of one path.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    handler: fn() -> MethodRouter<Arc<PagesHandler>>,
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            path: $path,
            handler: || on(MethodFilter::$method, $handler),
        }),*]
    };
}

/// Every route. The router is made from this table. `template.yaml` lists the same routes; a test compares them.
pub const ROUTES: &[Route] = routes! {
    GET "/unsubscribe/{tenant}/{id}/{signature}" => unsubscribe::show_confirmation;
    POST "/unsubscribe/{tenant}/{id}/{signature}" => unsubscribe::unsubscribe;
    GET "/files/{tenant}/{id}/{until}/{signature}" => files::redirect;
    GET "/preferences/{tenant}/{person}/{until}/{signature}" => preferences::show;
    POST "/preferences/{tenant}/{person}/{until}/{signature}" => preferences::save;
    GET "/t/{tenant}/pay/{token}" => payment::show;
    HEAD "/t/{tenant}/pay/{token}" => payment::show;
};

/// The routes that links in messages lead to.
pub fn router(pages: Arc<PagesHandler>) -> Router {
    let add = |router: Router<Arc<PagesHandler>>, route: &Route| router.route(route.path, (route.handler)());
    ROUTES.iter().fold(Router::new(), add).layer(from_fn(page::protect)).with_state(pages)
}
