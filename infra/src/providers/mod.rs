//! Providers: one file each. A provider sends once and says honestly how that ended; it knows its own callbacks.
//!
//! To add one: its file, its row in [`REGISTRY`], its document. `docs/adding-a-provider.md` shows it.

mod africastalking;
mod aws;
mod bulksms;
mod custom;
mod judge;
mod key_set;
mod mailgun;
mod mandrill;
mod messagebird;
mod messenger;
mod meta;
mod public;
mod sandbox;
mod sendgrid;
mod ses;
mod signatures;
mod sns;
mod telegram;
mod twilio;
mod vonage;
mod whatsapp;

pub use judge::{RecordedRequest, RecordedResult, judge};
pub use key_set::HttpJwksSource;
#[cfg(feature = "aws")]
pub(crate) use public::read_limited;
pub use public::{PublicFileFetcher, check_public_url, content_disposition, is_public};
pub use sandbox::{Sandbox, sandboxes};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::communication::AttemptOutcome;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, InvalidSetting, OutboundMessage, ParsedCallback, Provider,
    ProviderConfig, ProviderFactory, ProviderKind, ProviderReport, QueryResult, SendResult,
};
use events::{AttemptId, InDoubtCause, Mode, RefusalClass, ReportedStatus, TenantId, Timestamp};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;

/// One row for each provider.
pub const REGISTRY: &[Entry] = &[
    sendgrid::ENTRY,
    mailgun::ENTRY,
    mandrill::ENTRY,
    ses::ENTRY,
    twilio::ENTRY,
    vonage::ENTRY,
    sns::ENTRY,
    messagebird::ENTRY,
    africastalking::ENTRY,
    bulksms::ENTRY,
    whatsapp::ENTRY,
    messenger::ENTRY,
    telegram::ENTRY,
    custom::ENTRY,
];

/// A provider as the registry knows it.
pub struct Entry {
    pub kind: &'static ProviderKind,
    connect: fn(ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting>,
    /// Its signatures by the names they have in files of recorded callbacks.
    schemes: &'static [(&'static str, signatures::SignatureCheck)],
}

/// Clients that all providers of a process share.
#[derive(Clone)]
pub struct HttpClients {
    /// For addresses of ours: the providers'.
    pub client: Client,
    /// For addresses that a tenant gave: it reaches public ones alone.
    pub public: Client,
}

impl HttpClients {
    pub fn new() -> HttpClients {
        HttpClients { client: http_client(), public: public::client() }
    }
}

impl Default for HttpClients {
    fn default() -> Self {
        HttpClients::new()
    }
}

/// Everything a configuration is made of.
struct ConnectionSettings {
    account: ProviderConfig,
    settings: BTreeMap<String, String>,
    /// Where it calls us back.
    callback_url: String,
    http: HttpClients,
    /// Where the provider is, instead of at its own address.
    at: Option<String>,
}

impl ConnectionSettings {
    fn get(&self, name: &str) -> Option<String> {
        self.settings.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    fn need(&self, setting: &'static str) -> Result<String, InvalidSetting> {
        self.get(setting).ok_or_else(|| InvalidSetting { setting, detail: format!("{setting} is required.") })
    }

    /// `https://api.example.com`, without a slash at the end.
    fn base_url(&self, own: &str) -> String {
        self.at.clone().unwrap_or_else(|| own.to_owned())
    }
}

fn fault(setting: &'static str, detail: impl Into<String>) -> InvalidSetting {
    InvalidSetting { setting, detail: detail.into() }
}

/// Connects configurations to their providers, or in test mode to what stands in for them.
pub struct HttpProviderFactory {
    pub http: HttpClients,
    /// Where test messages go, by provider: a simulator's address. For the others a sandbox answers, and nothing leaves.
    pub simulators: BTreeMap<String, String>,
    /// Instead of the providers' own addresses, for live messages too: by provider.
    pub bases: BTreeMap<String, String>,
}

impl ProviderFactory for HttpProviderFactory {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        REGISTRY.iter().map(|entry| entry.kind).collect()
    }

    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let unknown = || fault("provider", format!("There is no provider {}.", account.provider));
        let entry = REGISTRY.iter().find(|entry| entry.kind.name == account.provider).ok_or_else(unknown)?;
        if !entry.kind.channels.contains(&account.channel) {
            let detail = format!("{} does not serve {}.", entry.kind.title, account.channel.as_str());
            return Err(fault("channel", detail));
        }
        let at = match account.mode {
            Mode::Test => self.simulators.get(&account.provider).cloned(),
            Mode::Live => self.bases.get(&account.provider).cloned(),
        };
        let is_sandbox = account.mode == Mode::Test && at.is_none();
        let link = ConnectionSettings {
            account: account.clone(),
            settings: settings.clone(),
            callback_url: callback_url.to_owned(),
            http: self.http.clone(),
            at,
        };
        // A sandbox refuses what the provider would refuse to be configured with.
        let connected = (entry.connect)(link)?;
        Ok(if is_sandbox { Arc::new(Sandbox { account, can: connected.capabilities() }) } else { connected })
    }
}

/// Bytes of a provider's answer that are read, at most.
const MAX_ANSWER: usize = 64 * 1024;

/// Mozilla's roots, compiled in.
fn roots() -> impl Iterator<Item = reqwest::Certificate> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    roots.filter_map(|der| reqwest::Certificate::from_der(der).ok())
}

/// No redirects, no retries, no proxy: what every client here has in common.
fn client_builder() -> reqwest::ClientBuilder {
    Client::builder()
        .tls_certs_only(roots())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
}

/// The one HTTP client of every provider.
pub fn http_client() -> Client {
    client_builder().build().expect("roots compiled in are certificates")
}

/// What came back, or how it failed to.
struct HttpExchange {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
    started: Instant,
}

impl HttpExchange {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in milliseconds; seconds are the only form that providers of ours use.
    fn retry_after_ms(&self) -> Option<i64> {
        self.header("retry-after")?.trim().parse::<i64>().ok().map(|seconds| seconds.saturating_mul(1_000))
    }

    fn json<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    fn code(&self) -> &str {
        self.status.as_str()
    }

    fn is_success(&self) -> bool {
        self.status.is_success()
    }

    fn accepted(&self, provider_message_id: impl Into<String>, segments: Option<u16>) -> SendResult {
        AttemptOutcome::Accepted {
            provider_message_id: provider_message_id.into(),
            segments,
            cost_micros: None,
            latency_ms: self.started.elapsed().as_millis() as u32,
        }
        .into()
    }

    /// 2xx without the answer that its documents promise: nobody can say what became of it.
    fn unreadable_response(&self) -> SendResult {
        AttemptOutcome::InDoubt(InDoubtCause::ServerError).into()
    }
}

/// One request, one answer. Where the request may have been read and no answer came, that is a doubt.
async fn exchange(request: RequestBuilder, timeout_ms: u64) -> Result<HttpExchange, AttemptOutcome> {
    let started = Instant::now();
    let request = request.timeout(Duration::from_millis(timeout_ms));
    let mut response: Response = request.send().await.map_err(classify_transport_error)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    // The status has come: a body that breaks off takes nothing away from it.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if MAX_ANSWER < body.len() {
            break;
        }
    }
    Ok(HttpExchange { status, headers, body, started })
}

fn classify_transport_error(error: reqwest::Error) -> AttemptOutcome {
    if error.is_connect() || error.is_builder() {
        refused(RefusalClass::Unavailable, "connect", None)
    } else if error.is_timeout() {
        AttemptOutcome::InDoubt(InDoubtCause::Timeout)
    } else {
        AttemptOutcome::InDoubt(InDoubtCause::ConnectionLost)
    }
}

fn refused(class: RefusalClass, code: impl Into<String>, retry_after_ms: Option<i64>) -> AttemptOutcome {
    AttemptOutcome::Refused { class, code: code.into(), retry_after_ms }
}

/// What an HTTP status means where the body says nothing better; none for success.
fn classify_status(exchange: &HttpExchange, code: &str) -> Option<AttemptOutcome> {
    let after = exchange.retry_after_ms();
    Some(match exchange.status.as_u16() {
        200..=299 => return None,
        401 | 403 => refused(RefusalClass::Auth, code, None),
        402 => refused(RefusalClass::Balance, code, None),
        408 => refused(RefusalClass::Transient, code, after),
        429 => refused(RefusalClass::Throttled, code, after),
        503 => refused(RefusalClass::Unavailable, code, after),
        500..=599 => AttemptOutcome::InDoubt(InDoubtCause::ServerError),
        _ => refused(RefusalClass::Permanent, code, None),
    })
}

/// A question: what it answers, or why it does not.
async fn query_api(request: RequestBuilder, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
    let exchange =
        exchange(request, timeout_ms).await.map_err(|_| AccountQueryError::NoResponse("no answer".to_owned()))?;
    match exchange.status.as_u16() {
        200..=299 => Ok(exchange),
        401 | 403 => Err(AccountQueryError::CredentialsRejected(exchange.code().to_owned())),
        code => Err(AccountQueryError::NoResponse(code.to_string())),
    }
}

fn unexpected_format() -> AccountQueryError {
    AccountQueryError::NoResponse("not in its own form".to_owned())
}

fn balance(amount: impl ToString, unit: impl Into<String>) -> Result<Balance, AccountQueryError> {
    Ok(Balance { amount: amount.to_string(), unit: unit.into() })
}

/// Our ids as they travel in addresses: `?tenant=…&attempt=…`.
fn append_attempt_ids(url: &str, outbound: &OutboundMessage) -> String {
    format!("{url}?tenant={}&attempt={}", outbound.tenant, outbound.attempt)
}

/// One text that names tenant and attempt, where a provider echoes one: `acme/att_…_1`.
fn encode_attempt_ref(outbound: &OutboundMessage) -> String {
    format!("{}/{}", outbound.tenant, outbound.attempt)
}

fn parse_attempt_ref(text: &str) -> Option<(TenantId, AttemptId)> {
    let (tenant, attempt) = text.split_once('/')?;
    Some((tenant.parse().ok()?, attempt.parse().ok()?))
}

/// The first value of a form or query field.
fn field(form: &[u8], name: &str) -> Option<String> {
    let found = form_urlencoded::parse(form).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned())
}

/// The ids of ours in a callback's address.
fn attempt_ids_from_query(request: &CallbackRequest) -> Option<(TenantId, AttemptId)> {
    let query = request.query().as_bytes();
    Some((field(query, "tenant")?.parse().ok()?, field(query, "attempt")?.parse().ok()?))
}

/// A short code for what is not applied, without words that may hold addresses.
fn unknown_code(status: &str) -> Option<String> {
    Some(status.chars().take(40).collect())
}

/// A provider's status as a fact, with its code; what no table knows is kept by its name.
fn told(
    about: domain::provider::MessageRef,
    (fact, code): (ReportedStatus, Option<String>),
    id: Option<String>,
    at: Timestamp,
) -> ProviderReport {
    let code = code.filter(|code| code.len() <= 40);
    let event_id = id.filter(|id| id.len() <= 100);
    let report = domain::communication::DeliveryReport { attempt: None, fact, event_id, at, code };
    ProviderReport { message: about, report }
}

/// The same, and that the person wants nothing more, where the status says so too.
fn report_with_consent(
    about: domain::provider::MessageRef,
    what: (ReportedStatus, Option<String>),
    id: Option<String>,
    at: Timestamp,
    opted_out: bool,
) -> Vec<ProviderReport> {
    let mut all = vec![told(about.clone(), what, id, at)];
    all.extend(opted_out.then(|| told(about, (ReportedStatus::Unsubscribed, None), None, at)));
    all
}

/// What the answer to the same request, made once more with the same key, says of the first one.
fn query_by_idempotent_repeat(answer: AttemptOutcome) -> QueryResult {
    match answer {
        AttemptOutcome::Accepted { provider_message_id, .. } => QueryResult::Accepted(provider_message_id),
        AttemptOutcome::Refused { class: RefusalClass::Permanent, .. } => QueryResult::NotAccepted,
        AttemptOutcome::Refused { .. } | AttemptOutcome::InDoubt(_) => QueryResult::NoResponse,
    }
}

fn reports_only(told: Vec<ProviderReport>) -> ParsedCallback {
    ParsedCallback { delivery_reports: told, ..ParsedCallback::default() }
}

/// Text cut to what the provider takes.
fn truncated_text(outbound: &OutboundMessage, most: usize) -> String {
    domain::sms::truncate(&outbound.message.text, most)
}

/// What a channel without pictures and places says instead: their addresses.
fn text_with_links(outbound: &OutboundMessage, most: usize) -> String {
    let message = &outbound.message;
    let mut text = message.text.clone();
    let mut add = |line: String| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    };
    message.media.iter().for_each(|link| add(format!("{}: {}", link.name, link.url)));
    message.location.iter().for_each(|place| add(place.url()));
    for button in message.buttons.iter().filter_map(|button| button.url.as_ref().map(|url| (&button.text, url))) {
        add(format!("{}: {}", button.0, button.1));
    }
    domain::sms::truncate(&text, most)
}
