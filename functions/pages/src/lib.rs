//! In: recipients who follow a signed link in a message. Out: HTML pages, redirects to uploaded files, changed
//! preferences, and unsubscribe reports in the streams of the messages.
//! May touch: streams, vault, documents, the suppression list, the work queue (best effort), addresses of uploaded
//! files.
//! Never: shows or changes anything that the link does not sign; changes anything on GET, because mail programs open
//! links.
//!
//! The program of `functions/webhook` serves these routes.

pub mod config;
mod files;
mod page;
mod preferences;
mod unsubscribe;

use std::sync::Arc;

use application::directory::TenantPorts;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use domain::ports::{ClockAndRng, DocumentStore, EventStore, ObjectStore, Vault, WorkQueue};

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
    /// The key that links are signed with.
    pub contact_key: Vec<u8>,
    pub host: Arc<dyn ClockAndRng>,
}

type Shared = State<Arc<PagesHandler>>;

/// Every route, as (method, path). A test checks that `template.yaml` lists the same ones.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/unsubscribe/{tenant}/{id}/{signature}"),
    ("POST", "/unsubscribe/{tenant}/{id}/{signature}"),
    ("GET", "/files/{tenant}/{id}/{until}/{signature}"),
    ("GET", "/preferences/{tenant}/{person}/{until}/{signature}"),
    ("POST", "/preferences/{tenant}/{person}/{until}/{signature}"),
];

/// The routes that links in messages lead to.
pub fn router(pages: Arc<PagesHandler>) -> Router {
    Router::new()
        .route(
            "/unsubscribe/{tenant}/{id}/{signature}",
            get(unsubscribe::show_confirmation).post(unsubscribe::unsubscribe),
        )
        .route("/files/{tenant}/{id}/{until}/{signature}", get(files::redirect))
        .route("/preferences/{tenant}/{person}/{until}/{signature}", get(preferences::show).post(preferences::save))
        .with_state(pages)
}
