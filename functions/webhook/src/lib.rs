//! In: callbacks of providers, whose signature is the credential; people who follow a signed link; and what it told itself
//! to look at again. Out: facts, in the streams they are about; messages that came in, each in its journal.
//! May touch: streams, the queue (best effort), journals, documents, the suppression list, the inbox, addresses of uploaded files, and what a
//! provider needs to verify itself.
//! Never: believes what is not signed; refuses a status it does not know; lets one tenant speak of another's messages.

pub mod config;
mod files;
mod inbound;
mod log;
mod page;
mod preferences;
mod unmatched;
mod unsubscribe;

pub use unmatched::{UnmatchedReports, batch};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use application::directory::{
    CachedProvider, ProviderDirectory, ProviderSetupError, TenantPorts, provider_message_key, tenant_of_config,
};
use application::problem::{Kind, Problem};
use application::suppression::{Entry, List};
use application::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use domain::aggregate::Aggregate;
use domain::communication::{Command, DeliveryReport, Rejection};
use domain::ports::{
    AddressKey, ClockAndRng, CommunicationKey, ContentKey, DocumentKey, DocumentStore, EventStore, Hint, ObjectStore,
    StoreError, UnmatchedQueue, Vault, WorkQueue,
};
use domain::provider::{CallbackRequest, MessageRef, ParsedCallback, Provider, ProviderReport};
use events::{AttemptId, Channel, CommunicationId, Mode, ReportedStatus, TenantId};
use futures_util::future::join_all;

/// Bytes of a callback, at most: providers send batches.
const MAX_BODY: usize = 1024 * 1024;
/// Streams written side by side.
const MAX_CONCURRENT_STREAMS: usize = 32;

/// Everything the door may touch.
pub struct Webhook {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub documents: Arc<dyn DocumentStore>,
    pub inbox: Arc<dyn UnmatchedQueue>,
    /// The deployment's own accounts.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The tenants'.
    pub tenant_ports: TenantPorts,
    pub directory: ProviderDirectory,
    /// For the next channel's turn.
    pub queue: Arc<dyn WorkQueue>,
    /// Uploaded files.
    pub objects: Arc<dyn ObjectStore>,
    /// What contact hashes are keyed with.
    pub contact_key: Vec<u8>,
    pub host: Arc<dyn ClockAndRng>,
}

type Shared = State<Arc<Webhook>>;

/// Every route, as (method, path). `template.yaml` lists the same; a test compares them.
pub const ROUTES: &[(&str, &str)] = &[
    ("POST", "/webhooks/sendgrid/events"),
    ("POST", "/webhooks/twilio/sms-status"),
    ("POST", "/webhooks/twilio/whatsapp-status"),
    ("POST", "/webhooks/twilio/messenger-status"),
    ("POST", "/api/v1/communication/webhooks/{provider}"),
    ("POST", "/webhooks/{provider}/{config}/{secret}"),
    ("GET", "/webhooks/{provider}/{config}/{secret}"),
    ("HEAD", "/webhooks/{provider}/{config}/{secret}"),
    ("GET", "/unsubscribe/{tenant}/{id}/{signature}"),
    ("POST", "/unsubscribe/{tenant}/{id}/{signature}"),
    ("GET", "/files/{tenant}/{id}/{until}/{signature}"),
    ("GET", "/preferences/{tenant}/{person}/{until}/{signature}"),
    ("POST", "/preferences/{tenant}/{person}/{until}/{signature}"),
];

/// The providers' entrance.
pub fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/webhooks/sendgrid/events", post(deployment_callback))
        .route("/webhooks/twilio/sms-status", post(deployment_callback))
        .route("/webhooks/twilio/whatsapp-status", post(deployment_callback))
        .route("/webhooks/twilio/messenger-status", post(deployment_callback))
        .route("/api/v1/communication/webhooks/{provider}", post(deployment_callback))
        .route("/webhooks/{provider}/{config}/{secret}", get(own).post(own))
        .route("/unsubscribe/{tenant}/{id}/{signature}", get(unsubscribe::ask).post(unsubscribe::unsubscribe))
        .route("/files/{tenant}/{id}/{until}/{signature}", get(files::show))
        .route("/preferences/{tenant}/{person}/{until}/{signature}", get(preferences::show).post(preferences::save))
        .with_state(webhook)
}

/// Messages to an address that did not arrive, one after the other, before it is not written to again.
const MAX_SOFT_BOUNCES: usize = 5;
const SOFT_BOUNCES_REASON: &str = "soft_bounces";
/// A row that goes on for longer is none, in milliseconds.
const SOFT_BOUNCE_WINDOW_MS: i64 = 90 * 24 * 3_600_000;

fn soft_bounce_key(contact: &AddressKey) -> DocumentKey {
    let name = format!("{}#{}", contact.channel.as_str(), contact.contact_hash);
    DocumentKey { tenant: contact.tenant.clone(), collection: "returned", name }
}

/// A fact and the stream it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub key: CommunicationKey,
    pub report: DeliveryReport,
}

enum MatchResult {
    About(Callback),
    /// Early, or not ours: it may be known later.
    Unknown,
    /// It names what it may not, or nothing.
    Nobodys,
}

fn forbidden(why: &str) -> Problem {
    Problem::new(Kind::SignatureInvalid, format!("The signature is missing or wrong: {why}. Nothing was stored."))
}

fn no_address() -> Problem {
    Problem::new(Kind::NotFound, "There is no such channel, or the secret in its address is wrong.")
}

impl Webhook {
    /// A request as it came, under the address that providers know.
    async fn read(&self, request: Request) -> Result<CallbackRequest, Problem> {
        let (parts, body): (_, Body) = request.into_parts();
        let too_large = |_| Problem::new(Kind::TooLarge, "A callback may have 1 MB.");
        let body = to_bytes(body, MAX_BODY).await.map_err(too_large)?;
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let headers = parts.headers.iter();
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(CallbackRequest {
            method: parts.method.to_string(),
            url: format!("{}{path}", self.tenant_ports.public_url),
            headers: headers.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
            body: body.to_vec(),
        })
    }
}

/// Of the deployment's accounts: the one whose signature it is.
async fn deployment_callback(State(webhook): Shared, request: Request) -> Result<Response, Problem> {
    // Behind the word that all these addresses have in common.
    let name = request.uri().path().split('/').skip_while(|part| *part != "webhooks").nth(1);
    let name = name.unwrap_or_default().to_owned();
    let request = webhook.read(request).await?;
    let now = webhook.host.now();
    let mut why = "there is no account that it could be of";
    for provider in webhook.providers.iter().filter(|provider| provider.config().provider == name) {
        match provider.verify_callback(&request, now).await {
            Ok(()) => return webhook.ingest(None, &**provider, &request).await,
            Err(error) => why = error,
        }
    }
    Err(forbidden(why))
}

/// Of a tenant's own: its name and its secret are in the address, and the provider's signature comes on top.
async fn own(
    State(webhook): Shared,
    Path((name, config, secret)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let tenant = tenant_of_config(&config).ok_or_else(no_address)?;
    let channels = webhook.directory.configs_containing(&webhook.tenant_ports, &tenant, &config).await?;
    let known = channels.configs.get(&config).filter(|known| known.provider == name).ok_or_else(no_address)?;
    let CachedProvider { provider, callback_secret } =
        match webhook.directory.connect(&webhook.tenant_ports, &tenant, known, Mode::Live).await {
            Ok(connected) => connected,
            Err(ProviderSetupError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(config, %error, "a configuration cannot be used");
                return Err(no_address());
            }
        };
    if !application::hash::constant_time_eq(&callback_secret, &secret) {
        return Err(no_address());
    }
    let request = webhook.read(request).await?;
    if provider.is_reachability_check(&request) {
        return Ok(StatusCode::OK.into_response());
    }
    let verdict = provider.verify_callback(&request, webhook.host.now()).await;
    if let Err(why) = verdict {
        webhook.keep(&tenant, &*provider, &request, log::Outcome::Refused(why)).await;
        return Err(forbidden(why));
    }
    webhook.ingest(Some(&tenant), &*provider, &request).await
}

impl Webhook {
    /// Stores what a verified request says. `owner`: the tenant whose own configuration was called.
    async fn ingest(
        &self,
        owner: Option<&TenantId>,
        provider: &dyn Provider,
        request: &CallbackRequest,
    ) -> Result<Response, Problem> {
        let account = provider.config();
        let ParsedCallback { delivery_reports: told, inbound, consent_changes: consents, response_body: reply } =
            match provider.parse_callback(request, self.host.now()).await {
                Ok(heard) => heard,
                Err(why) => {
                    if let Some(owner) = owner {
                        self.keep(owner, provider, request, log::Outcome::Unreadable(why)).await;
                    }
                    return Err(Problem::new(
                        Kind::Malformed,
                        format!("Not a callback of {}: {why}.", account.provider),
                    ));
                }
            };
        let total = told.len();
        let (callbacks, unknown) = self.match_reports(owner, &account.id, told).await?;
        // Whose it is: the owner's, or that of all the messages it names, where that is one.
        let mut tenants: Vec<&TenantId> = callbacks.iter().map(|callback| &callback.key.tenant).collect();
        tenants.sort();
        tenants.dedup();
        let tenant = owner.or(if tenants.len() == 1 { Some(tenants[0]) } else { None }).cloned();
        let matched = callbacks.len();
        let recorded = self.record(&account.provider, callbacks).await;
        if let Some(tenant) = &tenant {
            for message in &inbound {
                self.receive(tenant, provider, message).await?;
            }
            for consent in &consents {
                self.consent(tenant, account.channel, consent).await?;
            }
            let outcome = log::Outcome::Taken { total, matched, waiting: unknown.len(), inbound: inbound.len() };
            let name = self.keep(tenant, provider, request, outcome).await;
            let parked =
                UnmatchedReports { config: account.id.clone(), provider: account.provider.clone(), told: unknown };
            self.store_unmatched(tenant, &name, &parked, 0).await?;
        }
        recorded?;
        Ok(match reply {
            Some(text) => (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain")], text).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        })
    }

    /// Facts with the communications they are about, and those whose message nobody knows yet.
    ///
    /// # Errors
    ///
    /// [`Problem`] with 503
    pub async fn match_reports(
        &self,
        owner: Option<&TenantId>,
        config: &str,
        told: Vec<ProviderReport>,
    ) -> Result<(Vec<Callback>, Vec<ProviderReport>), Problem> {
        let (mut callbacks, mut unknown) = (Vec::with_capacity(told.len()), Vec::new());
        for some in told.chunks(MAX_CONCURRENT_STREAMS) {
            let found = join_all(some.iter().map(|told| self.find(owner, config, told))).await;
            for (found, told) in found.into_iter().zip(some) {
                match found? {
                    MatchResult::About(callback) => callbacks.push(callback),
                    MatchResult::Unknown => unknown.push(told.clone()),
                    MatchResult::Nobodys => (),
                }
            }
        }
        Ok((callbacks, unknown))
    }

    async fn find(
        &self,
        owner: Option<&TenantId>,
        config: &str,
        told: &ProviderReport,
    ) -> Result<MatchResult, Problem> {
        let (tenant, attempt) = match &told.message {
            MessageRef::Attempt { tenant, attempt } => {
                let Some(tenant) = tenant.as_ref().or(owner) else { return Ok(MatchResult::Nobodys) };
                // A tenant's configuration is the tenant's word: it counts for its own messages alone.
                if owner.is_some_and(|owner| owner != tenant) {
                    tracing::warn!(config, "a callback named another tenant's message");
                    return Ok(MatchResult::Nobodys);
                }
                (tenant, attempt.clone())
            }
            MessageRef::ProviderMessageId(id) | MessageRef::LatestToAddress(id) => {
                let Some(tenant) = owner else { return Ok(MatchResult::Nobodys) };
                let key = provider_message_key(tenant, config, id);
                match self.documents.get_document(&key, self.host.now()).await? {
                    Some(attempt) => (tenant, attempt),
                    None => return Ok(MatchResult::Unknown),
                }
            }
        };
        let Ok(attempt) = attempt.parse::<AttemptId>() else { return Ok(MatchResult::Nobodys) };
        let report = DeliveryReport { attempt: Some(attempt.number), ..told.report.clone() };
        let key = CommunicationKey { tenant: tenant.clone(), id: attempt.communication };
        Ok(MatchResult::About(Callback { key, report }))
    }

    /// All facts of one communication in one append. 503 makes the provider send the whole callback again, which changes
    /// nothing that is stored already.
    ///
    /// # Errors
    ///
    /// [`Problem`] with 503: not all of it is stored.
    pub async fn record(&self, provider: &str, callbacks: Vec<Callback>) -> Result<StatusCode, Problem> {
        let mut by_stream: BTreeMap<CommunicationKey, Vec<DeliveryReport>> = BTreeMap::new();
        for Callback { key, report } in callbacks {
            by_stream.entry(key).or_default().push(report);
        }
        let streams: Vec<_> = by_stream.into_iter().collect();
        let mut failed = None;
        for some in streams.chunks(MAX_CONCURRENT_STREAMS) {
            let done = join_all(some.iter().map(|(key, reports)| self.report(provider, key, reports))).await;
            failed = done.into_iter().find_map(Result::err).or(failed);
        }
        match failed {
            None => Ok(StatusCode::NO_CONTENT),
            Some(error) => {
                tracing::error!(provider, %error, "a callback could not be stored");
                Err(Problem::new(Kind::Unavailable, "Send it again."))
            }
        }
    }

    async fn report(
        &self,
        provider: &str,
        key: &CommunicationKey,
        reports: &[DeliveryReport],
    ) -> Result<(), ExecuteError> {
        let origin = CommandContext::function(&format!("webhook:{provider}"));
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        let loaded = executor.load(key).await?;
        let Ok(communication) = loaded.state.requested() else {
            tracing::warn!(provider, id = %key.id, "a callback for an unknown communication");
            return Ok(());
        };
        let unwanted = |fact: ReportedStatus| {
            matches!(fact, ReportedStatus::Bounced | ReportedStatus::Complained | ReportedStatus::Unsubscribed)
        };
        let contact = AddressKey {
            tenant: key.tenant.clone(),
            channel: communication.request.channel,
            contact_hash: communication.request.contact_hash.clone(),
        };
        // Before the fact is stored: a crash between is repaired by the provider's retry.
        if let Some(report) = reports.iter().find(|report| unwanted(report.fact)) {
            let content = ContentKey::for_request(key, &communication.request, &communication.content_id);
            let content = self.vault.get(&content, self.host.now()).await?.map(|content| content.recipient_contact);
            self.suppress(&contact, content, report.fact.as_str(), Some(key.id)).await?;
        } else if contact.channel == Channel::Email {
            let arrived = |fact: ReportedStatus| {
                matches!(fact, ReportedStatus::Delivered | ReportedStatus::Opened | ReportedStatus::Clicked)
            };
            if reports.iter().any(|report| arrived(report.fact)) {
                self.arrived(&contact).await?;
            } else if reports.iter().any(|report| report.fact == ReportedStatus::Undelivered) {
                let content = ContentKey::for_request(key, &communication.request, &communication.content_id);
                self.returned(&contact, &key.id, &content).await?;
            }
        }
        match executor.execute_loaded(key, loaded, Command::Report(reports.to_vec())).await {
            Err(ExecuteError::Rejected(Rejection::UnknownAttempt)) => {
                tracing::warn!(provider, id = %key.id, "a callback for an attempt that was never made");
                Ok(())
            }
            other => {
                self.send_fallback_hint(key, &other?).await;
                Ok(())
            }
        }
    }

    /// What came back has another channel's turn at once. Best effort: the stream's timer sends the same hint a minute later.
    async fn send_fallback_hint(&self, key: &CommunicationKey, after: &Loaded) {
        let now = self.host.now();
        let is_due = after.state.requested().is_ok_and(|communication| communication.is_fallback_due(now));
        if !is_due {
            return;
        }
        let hint = Hint { queue: after.state.queue(), stream: key.stream_id() };
        if let Err(error) = self.queue.send(&[(hint, 0)]).await {
            tracing::warn!(id = %key.id, %error, "a hint was not sent; the sweep will");
        }
    }

    pub(crate) async fn suppress(
        &self,
        contact: &AddressKey,
        address: Option<String>,
        reason: &str,
        communication: Option<CommunicationId>,
    ) -> Result<(), StoreError> {
        let entry = Entry {
            channel: contact.channel,
            contact: address,
            reason: reason.to_owned(),
            at: self.host.now(),
            by: "function:webhook".to_owned(),
            communication,
        };
        self.list().add(contact, &entry).await
    }

    pub(crate) fn list(&self) -> List<'_> {
        List { store: &*self.store, documents: &*self.documents }
    }

    /// One that did not arrive, for once. Five in a row, of as many messages, and the address is not written to again.
    async fn returned(
        &self,
        contact: &AddressKey,
        id: &CommunicationId,
        content: &ContentKey,
    ) -> Result<(), StoreError> {
        let (key, now) = (soft_bounce_key(contact), self.host.now());
        let kept = self.documents.get_document(&key, now).await?;
        let mut returned: BTreeSet<CommunicationId> =
            kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
        if !returned.insert(*id) {
            return Ok(());
        }
        if returned.len() >= MAX_SOFT_BOUNCES {
            let address = self.vault.get(content, self.host.now()).await?.map(|content| content.recipient_contact);
            self.suppress(contact, address, SOFT_BOUNCES_REASON, Some(*id)).await?;
        }
        let body = serde_json::to_string(&returned).unwrap_or_default();
        self.documents.put_document(&key, &body, Some(now + SOFT_BOUNCE_WINDOW_MS)).await
    }

    /// The row ends.
    async fn arrived(&self, contact: &AddressKey) -> Result<(), StoreError> {
        let key = soft_bounce_key(contact);
        match self.documents.get_document(&key, self.host.now()).await? {
            Some(_) => self.documents.delete_document(&key).await,
            None => Ok(()),
        }
    }

    fn contact(&self, tenant: &TenantId, channel: Channel, address: &str) -> AddressKey {
        let address = domain::address::normalise(channel, address, None).unwrap_or_else(|_| address.to_owned());
        let contact_hash = application::hash::contact_hash(&self.contact_key, tenant, &address);
        AddressKey { tenant: tenant.clone(), channel, contact_hash }
    }
}
