//! In: callbacks of providers; their signature is the credential. Out: facts, in the streams they are about.
//! May touch: streams, and the suppression list.
//! Never: believes what is not signed; refuses a status it does not know.

pub mod config;
pub mod sendgrid;
pub mod twilio;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use domain::communication::{Command, Rejection, Report};
use domain::ports::{ContactKey, EventStore, Host, StreamKey};
use events::Fact;
use futures_util::future::join_all;
use shell::problem::{Kind, Problem};
use shell::{ExecuteError, Origin, Shell};

/// Bytes of a callback, at most: providers send batches.
const MAX_BODY: usize = 1024 * 1024;
/// Streams written side by side.
const SIDE_BY_SIDE: usize = 32;

/// Everything the door may touch.
pub struct Webhook {
    pub store: Arc<dyn EventStore>,
    pub host: Arc<dyn Host>,
    /// One for each account; without any, SendGrid's callbacks are refused.
    pub sendgrid: Vec<sendgrid::Verifier>,
    /// One for each account; without any, Twilio's callbacks are refused.
    pub twilio: Vec<twilio::Verifier>,
}

type Shared = State<Arc<Webhook>>;

/// Every route, as (method, path). `template.yaml` lists the same; a test compares them.
pub const ROUTES: &[(&str, &str)] = &[("POST", "/webhooks/sendgrid/events"), ("POST", "/webhooks/twilio/sms-status")];

/// The providers' entrance.
pub fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/webhooks/sendgrid/events", post(sendgrid_events))
        .route("/webhooks/twilio/sms-status", post(twilio_sms_status))
        .with_state(webhook)
}

/// A fact and the stream it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub key: StreamKey,
    pub report: Report,
}

fn forbidden() -> Problem {
    Problem::new(Kind::Forbidden, "The signature is missing or wrong. Nothing was stored.")
}

async fn read_body(body: Body) -> Result<axum::body::Bytes, Problem> {
    let too_large = |_| Problem::new(Kind::TooLarge, "A callback may have 1 MB.");
    to_bytes(body, MAX_BODY).await.map_err(too_large)
}

async fn sendgrid_events(State(webhook): Shared, headers: HeaderMap, body: Body) -> Result<StatusCode, Problem> {
    let body = read_body(body).await?;
    let now = webhook.host.now();
    if !webhook.sendgrid.iter().any(|verifier| verifier.verify(&headers, &body, now)) {
        return Err(forbidden());
    }
    let callbacks = sendgrid::parse(&body).map_err(|_| Problem::new(Kind::Malformed, "Not a list of events."))?;
    webhook.record("sendgrid", callbacks).await
}

async fn twilio_sms_status(
    State(webhook): Shared,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let body = read_body(body).await?;
    if !webhook.twilio.iter().any(|verifier| verifier.verify(&uri, &headers, &body)) {
        return Err(forbidden());
    }
    let callback = twilio::parse(uri.query().unwrap_or_default(), &body, webhook.host.now());
    webhook.record("twilio", callback.into_iter().collect()).await
}

impl Webhook {
    /// All facts of one communication in one append. 503 makes the provider send the whole callback again, which changes
    /// nothing that is stored already.
    ///
    /// # Errors
    ///
    /// [`Problem`] with 503: not all of it is stored.
    pub async fn record(&self, provider: &str, callbacks: Vec<Callback>) -> Result<StatusCode, Problem> {
        let mut by_stream: BTreeMap<StreamKey, Vec<Report>> = BTreeMap::new();
        for Callback { key, report } in callbacks {
            by_stream.entry(key).or_default().push(report);
        }
        let streams: Vec<_> = by_stream.into_iter().collect();
        let mut failed = None;
        for some in streams.chunks(SIDE_BY_SIDE) {
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

    async fn report(&self, provider: &str, key: &StreamKey, reports: &[Report]) -> Result<(), ExecuteError> {
        let origin = Origin::function(&format!("webhook:{provider}"));
        let shell = Shell { store: &*self.store, host: &*self.host, origin: &origin };
        let loaded = shell.load(key).await?;
        let Ok(communication) = loaded.state.requested() else {
            tracing::warn!(provider, id = %key.id, "a callback for an unknown communication");
            return Ok(());
        };
        let unwanted = |fact: Fact| matches!(fact, Fact::Bounced | Fact::Complained | Fact::Unsubscribed);
        // Before the fact is stored: a crash between is repaired by the provider's retry.
        if let Some(report) = reports.iter().find(|report| unwanted(report.fact)) {
            let contact = ContactKey {
                tenant: key.tenant.clone(),
                channel: communication.request.channel,
                contact_hash: communication.request.contact_hash.clone(),
            };
            self.store.suppress(&contact, report.fact.as_str(), self.host.now()).await?;
        }
        match shell.execute_on(key, loaded, Command::Report(reports.to_vec())).await {
            Err(ExecuteError::Rejected(Rejection::NeverAttempted)) => {
                tracing::warn!(provider, id = %key.id, "a callback for an attempt that was never made");
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }
}
