//! In: callbacks of providers, whose signature is the credential; a queue of unmatched reports.
//! Out: delivery reports in the streams of their communications; incoming messages, each in a stream of its own.
//! May touch: streams, vault, documents, the suppression list, the work queue (best effort), the queue of unmatched
//! reports, and what a provider needs to verify its signatures.
//! Never: trusts an unsigned callback; rejects a status that it does not know; lets a tenant's channel report on
//! another tenant's messages.

mod append;
pub mod config;
mod error;
mod inbound;
mod log;
mod matching;
mod unmatched;

pub use append::suppression_reason;
pub use error::WebhookError;
pub use matching::StreamReport;
pub use unmatched::{UnmatchedReports, handle_batch};

use std::sync::Arc;

use application::directory::{CachedProvider, ProviderDirectory, ProviderSetupError, TenantPorts, tenant_of_config};
use application::settings::callback_path;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::ports::{ClockAndRng, DocumentStore, EventStore, UnmatchedQueue, Vault, ViewStore, WorkQueue};
use domain::provider::{CallbackRequest, ParsedCallback, Provider};
use events::{CommunicationId, Mode, TenantId};
use problem::{Problem, ProblemKind};

use crate::log::CallbackOutcome;

/// Maximum size of a callback body, in bytes. Providers send batches.
const MAX_BODY: usize = 1024 * 1024;
/// Maximum number of messages that an entry of the log names.
const MAX_LOGGED_MESSAGES: usize = 100;
/// Maximum number of streams that are read or written at the same time.
const MAX_CONCURRENT_STREAMS: usize = 32;

/// The ports of the function.
pub struct WebhookHandler {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub documents: Arc<dyn DocumentStore>,
    pub unmatched: Arc<dyn UnmatchedQueue>,
    /// The deployment's provider configurations.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The ports of the tenants' provider configurations.
    pub tenant_ports: TenantPorts,
    pub directory: Arc<ProviderDirectory>,
    /// Takes the hint for a fallback that a report made due.
    pub queue: Arc<dyn WorkQueue>,
    /// The key of contact hashes.
    pub contact_key: Vec<u8>,
    /// Rows of messages, by their providers' ids.
    pub views: Arc<dyn ViewStore>,
    /// The tenant that incoming messages on the deployment's accounts belong to, and reports that only contain a
    /// provider's message id.
    pub deployment_tenant: Option<TenantId>,
    pub host: Arc<dyn ClockAndRng>,
}

type Shared = State<Arc<WebhookHandler>>;

/// One method of one path.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    handler: fn() -> MethodRouter<Arc<WebhookHandler>>,
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
    POST "/webhooks/sendgrid/events" => deployment_callback;
    POST "/webhooks/twilio/sms-status" => deployment_callback;
    POST "/webhooks/twilio/whatsapp-status" => deployment_callback;
    POST "/webhooks/twilio/messenger-status" => deployment_callback;
    POST "/api/v1/communication/webhooks/{provider}" => deployment_callback;
    POST "/webhooks/{provider}/{config}/{secret}" => tenant_callback;
    GET "/webhooks/{provider}/{config}/{secret}" => tenant_callback;
    HEAD "/webhooks/{provider}/{config}/{secret}" => tenant_callback;
};

/// The routes that providers call.
pub fn router(webhook: Arc<WebhookHandler>) -> Router {
    let add = |router: Router<Arc<WebhookHandler>>, route: &Route| router.route(route.path, (route.handler)());
    ROUTES.iter().fold(Router::new(), add).with_state(webhook)
}

fn invalid_signature(reason: &str) -> Problem {
    Problem::new(
        ProblemKind::SignatureInvalid,
        format!("The signature is missing or invalid: {reason}. Nothing was stored."),
    )
}

fn unknown_channel() -> Problem {
    Problem::new(ProblemKind::NotFound, "The channel does not exist, or the secret in the path is wrong.")
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Unreadable { provider, reason } => {
                let detail = format!("The request is not a valid callback of {provider}: {reason}.");
                Problem::new(ProblemKind::Malformed, detail)
            }
            // A provider answers 503 by sending the whole callback again.
            WebhookError::ReportsNotStored(_) => {
                Problem::new(ProblemKind::Unavailable, "The request could not be stored. Send it again.")
            }
            WebhookError::Inbound(error) => error.into(),
            WebhookError::Store(error) => error.into(),
        }
    }
}

/// The answer to a callback that is stored. Some providers expect a text in it.
fn stored(response_body: Option<String>) -> Response {
    match response_body {
        Some(text) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain")], text).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Handles a callback to one of the deployment's addresses. The signature decides which provider configuration it is
/// for.
async fn deployment_callback(State(webhook): Shared, request: Request) -> Result<Response, Problem> {
    let segments = request.uri().path().split('/');
    let name = segments.skip_while(|segment| *segment != "webhooks").nth(1).unwrap_or_default().to_owned();
    let request = webhook.read_request(request).await?;
    let now = webhook.host.now();
    let mut reason = "this provider is not configured";
    let mut providers: Vec<_> = webhook.providers.iter().filter(|found| found.config().provider == name).collect();
    // Accounts of several channels may have the same credentials. The address tells which channel is meant.
    let path = request.url.strip_prefix(&webhook.tenant_ports.public_url).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    providers.sort_by_key(|found| callback_path(&found.config().provider, found.config().channel) != path);
    for provider in providers {
        match provider.verify_callback(&request, now).await {
            Ok(()) => return Ok(stored(webhook.ingest(None, &**provider, &request).await?)),
            Err(error) => reason = error,
        }
    }
    Err(invalid_signature(reason))
}

/// Handles a callback to a tenant's provider configuration. The address contains the configuration's id and a secret.
/// The provider's signature is verified in addition.
async fn tenant_callback(
    State(webhook): Shared,
    Path((name, config, secret)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let tenant = tenant_of_config(&config).ok_or_else(unknown_channel)?;
    let configs = webhook.directory.configs_containing(&webhook.tenant_ports, &tenant, &config).await?;
    let current = configs.configs.get(&config).filter(|current| current.provider == name);
    let current = current.ok_or_else(unknown_channel)?;
    let CachedProvider { provider, callback_secret } =
        match webhook.directory.connect(&webhook.tenant_ports, &tenant, current, Mode::Live).await {
            Ok(connected) => connected,
            Err(ProviderSetupError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(config, %error, "a provider configuration cannot be used");
                return Err(unknown_channel());
            }
        };
    if !application::hash::constant_time_eq(&callback_secret, &secret) {
        return Err(unknown_channel());
    }
    let request = webhook.read_request(request).await?;
    if provider.is_reachability_check(&request) {
        return Ok(StatusCode::OK.into_response());
    }
    if let Err(reason) = provider.verify_callback(&request, webhook.host.now()).await {
        webhook.write_log_entry(&tenant, &*provider, &request, CallbackOutcome::Refused(reason), Vec::new()).await;
        return Err(invalid_signature(reason));
    }
    Ok(stored(webhook.ingest(Some(&tenant), &*provider, &request).await?))
}

impl WebhookHandler {
    /// Reads a request as the provider sent it, with the public address that the signature covers.
    async fn read_request(&self, request: Request) -> Result<CallbackRequest, Problem> {
        let (parts, body): (_, Body) = request.into_parts();
        let body = problem::read_body(body, MAX_BODY, "The callback is larger than 1 MB.").await?;
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(CallbackRequest {
            method: parts.method.to_string(),
            url: format!("{}{path}", self.tenant_ports.public_url),
            headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
            body: body.to_vec(),
        })
    }

    /// Stores what a verified callback reports, and returns the text of the answer. `owner` is the tenant whose provider
    /// configuration was called, or `None` if it is one of the deployment.
    async fn ingest(
        &self,
        owner: Option<&TenantId>,
        provider: &dyn Provider,
        request: &CallbackRequest,
    ) -> Result<Option<String>, WebhookError> {
        let config = provider.config();
        let ParsedCallback { delivery_reports, inbound, consent_changes, skipped, response_body } =
            match provider.parse_callback(request, self.host.now()).await {
                Ok(parsed) => parsed.with_usable_ids(),
                Err(reason) => {
                    if let Some(owner) = owner {
                        self.write_log_entry(owner, provider, request, CallbackOutcome::Unreadable(reason), Vec::new())
                            .await;
                    }
                    return Err(WebhookError::Unreadable { provider: config.provider.clone(), reason });
                }
            };
        let total = delivery_reports.len() + skipped;
        let (matched, unmatched) = self.match_reports(owner, (&config.id, &config.provider), delivery_reports).await?;
        // A callback to the deployment belongs to the tenant of its messages, if they all have the same tenant.
        let mut tenants: Vec<&TenantId> = matched.iter().map(|report| &report.key.tenant).collect();
        tenants.sort();
        tenants.dedup();
        let only = if tenants.len() == 1 { Some(tenants[0]) } else { None };
        let tenant = owner.or(only).or(self.deployment_tenant.as_ref()).cloned();
        let mut communications: Vec<CommunicationId> = matched.iter().map(|report| report.key.id).collect();
        communications.sort();
        communications.dedup();
        communications.truncate(MAX_LOGGED_MESSAGES);
        let appended = self.append_reports(&config.provider, matched).await;
        let outcome = CallbackOutcome::Processed {
            total,
            applied: appended.as_ref().ok().copied(),
            waiting: unmatched.len(),
            inbound: inbound.len(),
            consent_changes: consent_changes.len(),
        };
        let Some(tenant) = &tenant else {
            if outcome.has_losses() {
                tracing::warn!(config = config.id, ?outcome, "a callback of a shared account was not applied in full");
            }
            return appended.map(|_| response_body);
        };
        for message in &inbound {
            self.receive_inbound(tenant, provider, message).await?;
        }
        for change in &consent_changes {
            self.change_consent(tenant, (&config.provider, config.channel), change).await?;
        }
        let name = self.write_log_entry(tenant, provider, request, outcome, communications).await;
        let reports =
            UnmatchedReports { config: config.id.clone(), provider: config.provider.clone(), reports: unmatched };
        self.store_unmatched(tenant, &name, &reports, 0).await?;
        appended?;
        Ok(response_body)
    }
}
