//! Providers on loopback: they speak the real APIs, check what they get, and call back with real signatures. One file
//! for each API; what becomes of a message is decided here.

mod africastalking;
mod aws;
mod bulksms;
mod custom;
mod faults;
mod inbox;
mod mailgun;
mod mandrill;
mod messagebird;
mod meta;
mod recipients;
mod sendgrid;
mod signing;
mod telegram;
mod twilio;
mod vonage;

pub use faults::{Fault, Kind};
pub use inbox::{Entry, Inbox};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use domain::ports::{ClockAndRng, FetchError, FileFetcher};
use events::Channel;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use infra::providers::check_public_url;
use p256::ecdsa::SigningKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::clock::Clock;
use faults::Faults;
use recipients::Behaviour;

/// Credentials with this in them are refused.
const INVALID: &str = "invalid";
/// A provider that hangs answers long after anybody waits.
const HANG: Duration = Duration::from_secs(120);
/// Between the things that happen to one message.
const SOON: Duration = Duration::from_millis(20);
/// Slow recipients take this long of the clock.
const SLOW_MS: i64 = 30_000;
/// Keys of messages taken that are remembered, at most.
const KEPT: usize = 100_000;

/// An account at a simulated provider, as our side is configured with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub provider: String,
    /// Our name for it; faults are injected by it.
    pub config: String,
    pub channel: Channel,
    pub settings: BTreeMap<String, String>,
    /// Where it calls us back.
    pub callback_url: String,
}

impl Known {
    fn get(&self, setting: &str) -> &str {
        self.settings.get(setting).map(String::as_str).unwrap_or_default()
    }

    /// Whether a setting is what a request was made with.
    fn has(&self, setting: &str, given: &str) -> bool {
        !given.is_empty() && self.get(setting) == given && !given.contains(INVALID)
    }
}

/// A message as a simulated provider got it.
#[derive(Debug, Clone)]
struct Message {
    account: Arc<Known>,
    /// The provider's own id of it; empty until it is taken.
    id: String,
    to: String,
    from: String,
    subject: Option<String>,
    text: String,
    html: Option<String>,
    attachments: Vec<Value>,
    /// Where one click unsubscribes, as the email's header says.
    unsubscribe: Option<String>,
    /// Ours, where they travelled with it.
    tenant: Option<String>,
    attempt: Option<String>,
    /// Where it asks to be called back, if it does.
    callback: Option<String>,
    /// The same key twice is one message.
    key: Option<String>,
}

impl Message {
    fn new(account: Arc<Known>, to: impl Into<String>, text: impl Into<String>) -> Message {
        Message {
            account,
            id: String::new(),
            to: to.into(),
            from: String::new(),
            subject: None,
            text: text.into(),
            html: None,
            attachments: Vec::new(),
            unsubscribe: None,
            tenant: None,
            attempt: None,
            callback: None,
            key: None,
        }
    }

    fn communication(&self) -> Option<String> {
        let attempt = self.attempt.as_deref()?.parse::<events::AttemptId>().ok()?;
        Some(attempt.communication.to_string())
    }

    fn callback_url(&self) -> &str {
        self.callback.as_deref().unwrap_or(&self.account.callback_url)
    }
}

/// What happens to a message, and what a person does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Accepted,
    Sent,
    Delivered,
    Bounced,
    /// Not delivered, for once.
    SoftBounced,
    /// Opened, or read.
    Opened,
    Clicked,
    Complained,
    /// Wrote STOP, or blocked us.
    OptedOut,
}

/// A request that a provider makes to us.
#[derive(Debug, Clone)]
struct Callback {
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Callback {
    fn json(url: impl Into<String>, body: &Value) -> Callback {
        let headers = vec![("content-type", "application/json".to_owned())];
        Callback { url: url.into(), headers, body: body.to_string() }
    }

    fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Callback {
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Callback { url: url.into(), headers, body }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Callback {
        self.headers.push((name, value.into()));
        self
    }
}

/// How one provider speaks.
#[async_trait]
trait ProviderSimulation: Sync {
    fn message_id(&self, simulator: &Simulator) -> String {
        simulator.unique()
    }

    /// Its answer when it has taken a message.
    fn taken(&self, message: &Message) -> Response;

    /// Its answer when it takes none: 400, 401, 402 or 429. Other errors have no form.
    fn refusal(&self, status: StatusCode) -> Response;

    /// Its answer for somebody who does not want to be written to; none where it takes the message all the same.
    fn opted_out(&self, _: &Message) -> Option<Response> {
        None
    }

    /// What comes before its first report.
    async fn begin(&self, _: &Simulator, _: &Message) {}

    /// What it reports of a step; nothing where it knows no such thing.
    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback>;
}

/// All providers of one process.
pub struct Simulator {
    pub inbox: Inbox,
    faults: Faults,
    accounts: Mutex<Vec<Arc<Known>>>,
    /// How often a message was refused, by communication.
    refused: Mutex<HashMap<String, u32>>,
    /// Addresses that want nothing more.
    stopped: Mutex<HashSet<String>>,
    /// What was taken, by account and key.
    taken: Mutex<HashMap<(String, String), Message>>,
    /// Addresses that have agreed to be called, and those that were asked, by token.
    subscribed: Mutex<HashSet<String>>,
    asked: Mutex<HashMap<String, String>>,
    clock: Arc<Clock>,
    signing: SigningKey,
    client: reqwest::Client,
    /// Events of SendGrid's, which it sends together.
    gathered: tokio::sync::mpsc::UnboundedSender<(Arc<Known>, Value)>,
}

/// Marks an answer that never arrives: the connection is closed instead.
#[derive(Clone)]
struct Reset;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    /// `random`: the key that SendGrid's callbacks are signed with.
    pub fn new(clock: Arc<Clock>, random: [u128; 2], client: reqwest::Client) -> Arc<Self> {
        let bytes: Vec<u8> = random.iter().flat_map(|part| part.to_be_bytes()).collect();
        // All but one in 2^32 random numbers are keys.
        let signing = SigningKey::from_slice(&bytes)
            .or_else(|_| SigningKey::from_slice(&[1; 32]))
            .expect("a small number is a key");
        let (gathered, events) = tokio::sync::mpsc::unbounded_channel();
        let simulator = Arc::new(Simulator {
            inbox: Inbox::default(),
            faults: Faults::default(),
            accounts: Mutex::default(),
            refused: Mutex::default(),
            stopped: Mutex::default(),
            taken: Mutex::default(),
            subscribed: Mutex::default(),
            asked: Mutex::default(),
            clock,
            signing,
            client,
            gathered,
        });
        tokio::spawn(sendgrid::call_back(Arc::downgrade(&simulator), events));
        simulator
    }

    /// An account that is there from now on.
    pub fn know(&self, known: Known) {
        let mut accounts = lock(&self.accounts);
        accounts.retain(|other| (&other.provider, &other.config) != (&known.provider, &known.config));
        accounts.push(Arc::new(known));
    }

    /// Our names for all accounts.
    pub fn configs(&self) -> Vec<String> {
        lock(&self.accounts).iter().map(|known| known.config.clone()).collect()
    }

    /// The newest account of a provider that is as described.
    fn account(&self, provider: &str, is_it: impl Fn(&Known) -> bool) -> Option<Arc<Known>> {
        let accounts = lock(&self.accounts);
        accounts.iter().rev().find(|known| known.provider == provider && is_it(known)).cloned()
    }

    /// Base64 of the public key, as SendGrid's settings show it.
    pub fn sendgrid_public_key(&self) -> String {
        sendgrid::public_key(&self.signing)
    }

    pub fn inject(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.faults.clear();
        lock(&self.stopped).clear();
    }

    fn unique(&self) -> String {
        format!("{:032x}", self.clock.random())
    }

    fn seconds(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000)
    }

    /// RFC 3339.
    fn time(&self) -> String {
        api::fields::show_time(self.clock.now())
    }

    /// Serves every provider's API until the process ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let router = Router::new()
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
            .with_state(self);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let router = router.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let router = router.clone();
                    async move {
                        let response = router.oneshot(request.map(Body::new)).await.into_response();
                        match response.extensions().get::<Reset>() {
                            Some(Reset) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                            None => Ok(response),
                        }
                    }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                // A connection that breaks is one of the things simulated.
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    /// How many times this message was refused before this.
    fn refuse(&self, message: &str) -> u32 {
        let mut refused = lock(&self.refused);
        let times = refused.entry(message.to_owned()).or_insert(0);
        *times += 1;
        *times - 1
    }

    /// What this request meets: an injected fault first, else what the recipient stands for.
    fn fate(&self, message: &Message, behaviour: Behaviour) -> SimulatedResponse {
        if let Some(kind) = self.faults.take(&message.account.config) {
            return match kind {
                Kind::Timeout => SimulatedResponse::Hang { accepted: false, silent: false },
                Kind::AcceptThenTimeout => SimulatedResponse::Hang { accepted: true, silent: false },
                Kind::AcceptThenSilence => SimulatedResponse::Hang { accepted: true, silent: true },
                Kind::Status402 => SimulatedResponse::Refuse(StatusCode::PAYMENT_REQUIRED, None),
                Kind::Reset => SimulatedResponse::Reset,
                Kind::Status429 => SimulatedResponse::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2)),
                Kind::Status500 => SimulatedResponse::Refuse(StatusCode::INTERNAL_SERVER_ERROR, None),
                Kind::Status503 => SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
                Kind::Status400 => SimulatedResponse::Refuse(StatusCode::BAD_REQUEST, None),
                Kind::Status401 => SimulatedResponse::Refuse(StatusCode::UNAUTHORIZED, None),
            };
        }
        // What names nothing of ours is known by where it goes and what it says.
        let name = message.communication().unwrap_or_else(|| format!("{} {}", message.to, message.text));
        match behaviour {
            Behaviour::Throttled if self.refuse(&name) < 2 => {
                SimulatedResponse::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2))
            }
            Behaviour::BounceSoft if self.refuse(&name) < 2 => {
                SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None)
            }
            Behaviour::Down => SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
            Behaviour::Timeout => SimulatedResponse::Hang { accepted: true, silent: false },
            _ => {
                lock(&self.refused).remove(&name);
                SimulatedResponse::Accept
            }
        }
    }

    /// Takes a message that is sound, or does not, as the provider would.
    async fn take(self: &Arc<Self>, dialect: &'static dyn ProviderSimulation, mut message: Message) -> Response {
        let key = message.key.clone().map(|key| (message.account.config.clone(), key));
        if let Some(known) = key.as_ref().and_then(|key| lock(&self.taken).get(key).cloned()) {
            return dialect.taken(&known);
        }
        let behaviour = recipients::of(&message.to);
        if lock(&self.stopped).contains(&message.to)
            && let Some(refused) = dialect.opted_out(&message)
        {
            return refused;
        }
        let fate = self.fate(&message, behaviour);
        let is_silent = match fate {
            SimulatedResponse::Refuse(status, retry_after) => return refusal(dialect, status, retry_after),
            SimulatedResponse::Reset => return reset(),
            SimulatedResponse::Hang { accepted: false, .. } => return hang().await,
            SimulatedResponse::Hang { silent, .. } => silent,
            SimulatedResponse::Accept => false,
        };
        message.id = dialect.message_id(self);
        self.inbox.add(Entry {
            provider: message.account.provider.clone(),
            config: message.account.config.clone(),
            channel: message.account.channel.as_str(),
            to: message.to.clone(),
            from: message.from.clone(),
            subject: message.subject.clone(),
            body: message.text.clone(),
            html: message.html.clone(),
            attachments: message.attachments.clone(),
            unsubscribe_url: message.unsubscribe.clone(),
            tenant: message.tenant.clone(),
            communication_id: message.communication(),
            attempt_id: message.attempt.clone(),
            provider_message_id: message.id.clone(),
            at: self.time(),
        });
        if let Some(key) = key {
            let mut taken = lock(&self.taken);
            if KEPT <= taken.len() {
                taken.clear();
            }
            taken.insert(key, message.clone());
        }
        let answer = dialect.taken(&message);
        if !is_silent {
            tokio::spawn(self.clone().play_reports(dialect, message, behaviour));
        }
        match fate {
            SimulatedResponse::Hang { .. } => hang().await,
            _ => answer,
        }
    }

    /// What becomes of a message, reported as it happens.
    async fn play_reports(
        self: Arc<Self>,
        dialect: &'static dyn ProviderSimulation,
        message: Message,
        behaviour: Behaviour,
    ) {
        let say = async |after: Duration, step: Step| {
            tokio::time::sleep(after).await;
            if let Some(callback) = dialect.report(&self, &message, step) {
                self.post(callback).await;
            }
        };
        dialect.begin(&self, &message).await;
        say(Duration::ZERO, Step::Accepted).await;
        say(Duration::ZERO, Step::Sent).await;
        match behaviour {
            Behaviour::BounceHard => say(SOON, Step::Bounced).await,
            Behaviour::Returned => say(SOON, Step::SoftBounced).await,
            Behaviour::Slow => say(self.clock.on_the_wall(SLOW_MS), Step::Delivered).await,
            _ => say(SOON, Step::Delivered).await,
        }
        match behaviour {
            Behaviour::Opened => say(SOON, Step::Opened).await,
            Behaviour::Clicked => {
                say(SOON, Step::Opened).await;
                say(SOON, Step::Clicked).await;
            }
            Behaviour::Complaint => {
                self.stop(&message.to);
                say(SOON, Step::Complained).await;
            }
            Behaviour::Stop => {
                self.stop(&message.to);
                say(SOON, Step::OptedOut).await;
            }
            _ => (),
        }
    }

    /// Email providers go on: their complaints are ours to act on.
    fn stop(&self, address: &str) {
        lock(&self.stopped).insert(address.to_owned());
    }

    /// Sends a callback, three times if need be; whether it was taken.
    async fn post(&self, callback: Callback) -> bool {
        for wait_ms in [100, 500, 2_000] {
            let request = self.client.post(&callback.url).body(callback.body.clone());
            let request = callback.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        false
    }
}

enum SimulatedResponse {
    Accept,
    Refuse(StatusCode, Option<u32>),
    /// No answer; `silent`: and nothing is ever reported either.
    Hang {
        accepted: bool,
        silent: bool,
    },
    Reset,
}

async fn hang() -> Response {
    tokio::time::sleep(HANG).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

fn reset() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Reset);
    response
}

fn refusal(dialect: &dyn ProviderSimulation, status: StatusCode, retry_after: Option<u32>) -> Response {
    // What a balancer in front of a provider says, in nobody's form.
    let mut response = match status.is_server_error() {
        true => (status, "upstream error").into_response(),
        false => dialect.refusal(status),
    };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

/// Paths that are made of credentials, of a version or of a tenant's own choice.
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

type Fields = HashMap<String, String>;

fn form(raw: &[u8]) -> Fields {
    form_urlencoded::parse(raw).into_owned().collect()
}

fn get(fields: &Fields, name: &str) -> String {
    fields.get(name).cloned().unwrap_or_default()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn bearer(headers: &HeaderMap) -> &str {
    header(headers, "authorization").strip_prefix("Bearer ").unwrap_or_default()
}

/// User and password.
fn basic(headers: &HeaderMap) -> (String, String) {
    use base64::Engine;
    let given = header(headers, "authorization").strip_prefix("Basic ").unwrap_or_default();
    let plain = base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
    let plain = String::from_utf8_lossy(&plain).into_owned();
    plain.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned())).unwrap_or_default()
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The address in a List-Unsubscribe header, which says too that one click is enough.
fn one_click(list: Option<&str>, post: Option<&str>) -> Option<String> {
    let url = list?.strip_prefix('<')?.strip_suffix('>')?;
    (post == Some("List-Unsubscribe=One-Click")).then(|| url.to_owned())
}

fn is_number(text: &str) -> bool {
    (7..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Files that tenants name, without asking anybody for them: the same addresses are refused as are in earnest.
pub struct SimulatedFiles;

#[async_trait]
impl FileFetcher for SimulatedFiles {
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError> {
        check_public_url(address)?;
        if address.contains("large") {
            return Err(FetchError::TooLarge(max_bytes));
        }
        Ok((format!("stands in for {address}").into_bytes(), "text/plain".to_owned()))
    }
}

/// Settings that work with the simulator: one example for each provider and channel that it serves.
pub fn examples(sendgrid_key: &str) -> Vec<(&'static str, Channel, Value)> {
    let from = "billing@tidings.test";
    vec![
        (
            "sendgrid",
            Channel::Email,
            json!({ "apiKey": "SG.example", "fromEmail": from, "fromName": "Tidings", "webhookKey": sendgrid_key }),
        ),
        (
            "mailgun",
            Channel::Email,
            json!({ "apiKey": "key-example", "domain": "mg.tidings.test", "fromEmail": from, "signingKey": "signing-example" }),
        ),
        (
            "mandrill",
            Channel::Email,
            json!({ "apiKey": "md-example", "fromEmail": from, "webhookKey": "webhook-example" }),
        ),
        (
            "ses",
            Channel::Email,
            json!({
                "accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "secret-example", "region": "eu-west-1",
                "fromEmail": from, "configurationSet": "tidings", "topicArn": "arn:aws:sns:eu-west-1:123456789012:tidings",
            }),
        ),
        (
            "twilio",
            Channel::Sms,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": TWILIO_FROM }),
        ),
        (
            "twilio",
            Channel::Whatsapp,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": TWILIO_FROM }),
        ),
        (
            "twilio",
            Channel::Messenger,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": "9876543210" }),
        ),
        (
            "vonage",
            Channel::Sms,
            json!({ "apiKey": "vonage-example", "apiSecret": "secret-example", "from": "Tidings", "signatureSecret": "signature-example" }),
        ),
        (
            "sns",
            Channel::Sms,
            json!({ "accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "secret-example", "region": "eu-west-1", "senderId": "Tidings" }),
        ),
        (
            "messagebird",
            Channel::Sms,
            json!({ "apiKey": "bk_eu1_example", "from": "Tidings", "webhookSecret": "whsec_ZXhhbXBsZS13ZWJob29rLXNlY3JldA==" }),
        ),
        (
            "africastalking",
            Channel::Sms,
            json!({ "apiKey": "atsk_example", "username": "sandbox", "senderId": "TIDINGS" }),
        ),
        ("bulksms", Channel::Sms, json!({ "tokenId": "token-example", "tokenSecret": "secret-example" })),
        (
            "whatsapp",
            Channel::Whatsapp,
            json!({ "phoneNumberId": "106540352242922", "accessToken": "EAAexample", "appSecret": "app-example", "verifyToken": "verify-example" }),
        ),
        (
            "messenger",
            Channel::Messenger,
            json!({ "pageId": "9876543210", "pageToken": "EAAPexample", "appSecret": "app-example", "verifyToken": "verify-example" }),
        ),
        ("telegram", Channel::Telegram, json!({ "botToken": "123456:example", "secretToken": "secret-example" })),
        (
            "custom",
            Channel::Sms,
            json!({
                "url": "https://sms.example.com/send", "authorization": "Bearer custom-example",
                "body": "{\"to\":\"{{to}}\",\"message\":\"{{text}}\",\"ref\":\"{{reference}}\",\"notify\":\"{{callbackUrl}}\"}",
                "idPointer": "/data/id", "errorPointer": "/error/code",
                "errorClasses": "{\"no_funds\":\"balance\",\"bad_key\":\"auth\",\"slow_down\":\"throttled\"}",
                "callbackScheme": "hmac-sha256", "callbackKey": "callback-example",
                "statuses": "{\"DELIVRD\":\"delivered\",\"UNDELIV\":\"bounced\"}", "referencePointer": "/ref",
            }),
        ),
    ]
}

/// The number that simulated SMS come from.
pub const TWILIO_FROM: &str = "+15005550006";

/// The deployment's own accounts: two for email and for SMS, the second for when the first is not called, and one for
/// every other channel.
pub fn deployment(sendgrid_key: &str) -> Vec<(&'static str, &'static str, Channel, BTreeMap<String, String>)> {
    let named = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let sendgrid = |key| {
        let from = ("fromEmail", "billing@tidings.test");
        named(&[("apiKey", key), from, ("fromName", "Tidings"), ("webhookKey", sendgrid_key)])
    };
    let twilio = |sid, token| named(&[("accountSid", sid), ("authToken", token), ("from", TWILIO_FROM)]);
    vec![
        ("sendgrid", "sendgrid", Channel::Email, sendgrid("SG.simulator")),
        ("sendgrid-second", "sendgrid", Channel::Email, sendgrid("SG.simulator-second")),
        ("twilio", "twilio", Channel::Sms, twilio("ACsimulator", "simulator-token")),
        ("twilio-second", "twilio", Channel::Sms, twilio("ACsimulator2", "simulator-token-2")),
        ("twilio-whatsapp", "twilio", Channel::Whatsapp, twilio("ACsimulator", "simulator-token")),
        ("twilio-messenger", "twilio", Channel::Messenger, twilio("ACsimulator", "simulator-token")),
        ("telegram", "telegram", Channel::Telegram, named(&[("botToken", "1:simulator")])),
    ]
}
