//! A harness for the functions without HTTP: a store, a queue that records its hints, a provider that answers by
//! script, and a clock that only moves when advanced.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use application::directory::TenantPorts;
use application::links::LinkKeys;
use application::{CommandContext, CommandExecutor, Loaded};
use async_trait::async_trait;
use deliver::DeliverHandler;
use domain::communication::{AttemptOutcome, Command, Lifecycle};
use domain::message::MessageContent;
use domain::policy;
use domain::ports::{
    AlertSink, ClockAndRng, CommunicationKey, ContentKey, DocumentStore, EventStore, Hint, OutboundMessage, Provider,
    ProviderConfig, ProviderFactory, QueryResult, QueueDepth, QueueId, SendResult, StoreError, UnmatchedQueue,
    UnmatchedRetry, Vault, WorkQueue,
};
use domain::provider::{CallbackRequest, Capabilities, InvalidSetting, ParsedCallback, ProviderKind};
use events::RateLimit;
use events::{
    Channel, CommunicationId, CommunicationRequest, InDoubtPolicy, MessageType, Mode, Priority, Recipient,
    RecipientType, RefusalClass, Source, TenantId, Timestamp,
};
use futures_util::FutureExt;
use infra::embedded::{Database, FolderObjectStore, LocalKeyCipher};
use infra::providers::{HttpClients, HttpProviderFactory};
use schedule::SweepHandler;

pub const T0: i64 = 1_800_000_000_000;
pub const INVOCATION_MS: i64 = 30_000;

/// A clock that only moves when advanced, and random numbers that are the same in every run.
pub struct FixedClock {
    now: AtomicI64,
    chance: AtomicU64,
}

impl FixedClock {
    pub fn new() -> Arc<Self> {
        Arc::new(FixedClock { now: AtomicI64::new(T0), chance: AtomicU64::new(1) })
    }

    pub fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

impl ClockAndRng for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn random(&self) -> u128 {
        // An odd factor spreads the counter over all bits without repeating a value.
        u128::from(self.chance.fetch_add(1, Ordering::SeqCst)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Records the hints sent to it. Fails while `is_down`.
#[derive(Default)]
pub struct RecordingQueue {
    pub hints: Mutex<Vec<(Hint, u32)>>,
    pub is_down: Mutex<bool>,
}

impl RecordingQueue {
    pub fn take(&self) -> Vec<(Hint, u32)> {
        std::mem::take(&mut *self.hints.lock().expect("hints"))
    }
}

#[async_trait]
impl WorkQueue for RecordingQueue {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        if *self.is_down.lock().expect("a switch") {
            return Err(StoreError::Unavailable("the queue is down".to_owned()));
        }
        self.hints.lock().expect("hints").extend_from_slice(hints);
        Ok(())
    }

    async fn depth(&self, _: QueueId) -> Result<QueueDepth, StoreError> {
        Ok(QueueDepth::default())
    }
}

/// Gives the scripted answers in order, then accepts; records the messages sent to it.
pub struct ScriptedProvider {
    account: ProviderConfig,
    pub answers: Mutex<VecDeque<AttemptOutcome>>,
    pub sent_messages: Mutex<Vec<OutboundMessage>>,
    /// Its answer when queried about an attempt in doubt.
    pub query_result: Mutex<QueryResult>,
}

impl ScriptedProvider {
    pub fn new(config: &str) -> Arc<Self> {
        ScriptedProvider::at(config, RateLimit { burst: 1_000, per_second: 1_000 })
    }

    pub fn at(config: &str, rate: RateLimit) -> Arc<Self> {
        Arc::new(ScriptedProvider {
            account: account(config, Channel::Email, Mode::Live, rate),
            answers: Mutex::default(),
            sent_messages: Mutex::default(),
            query_result: Mutex::new(QueryResult::Unsupported),
        })
    }
}

pub fn account(config: &str, channel: Channel, mode: Mode, rate: RateLimit) -> ProviderConfig {
    ProviderConfig { id: config.to_owned(), provider: "mock".to_owned(), channel, mode, rate, prices: None }
}

pub fn accepted() -> AttemptOutcome {
    let (segments, cost) = (None, None);
    AttemptOutcome::Accepted { provider_message_id: "mock-1".to_owned(), segments, cost, latency_ms: 1 }
}

pub fn refused(class: RefusalClass) -> AttemptOutcome {
    AttemptOutcome::Refused { class, code: "mock".to_owned(), retry_after_ms: None }
}

#[async_trait]
impl Provider for ScriptedProvider {
    fn config(&self) -> &ProviderConfig {
        &self.account
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { query: true, ..Capabilities::TEXT }
    }

    async fn send(&self, outbound: &OutboundMessage, _: u64) -> SendResult {
        self.sent_messages.lock().expect("sent messages").push(outbound.clone());
        // Lets other tasks run between the claim and its outcome.
        tokio::task::yield_now().await;
        let answer = self.answers.lock().expect("answers").pop_front().unwrap_or_else(accepted);
        answer.into()
    }

    async fn query_delivery(&self, _: &OutboundMessage, _: Timestamp, _: Timestamp, _: u64) -> QueryResult {
        self.query_result.lock().expect("a query result").clone()
    }
}

/// Records the subjects of alerts.
#[derive(Default)]
pub struct RecordingAlerts(pub Mutex<Vec<String>>);

#[async_trait]
impl AlertSink for RecordingAlerts {
    async fn raise(&self, subject: &str, _: &str) -> Result<(), StoreError> {
        self.0.lock().expect("alerts").push(subject.to_owned());
        Ok(())
    }
}

/// A temporary folder, deleted on drop.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let parent = PathBuf::from("/dev/shm");
        let parent = if parent.is_dir() { parent } else { std::env::temp_dir() };
        let folder = parent.join(format!("tidings-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Scratch(folder)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A real provider adapter with these settings, at the provider's own address.
pub fn provider(name: &str, channel: Channel, settings: &[(&str, &str)]) -> Result<Arc<dyn Provider>, InvalidSetting> {
    provider_at(None, name, channel, settings)
}

/// A real provider adapter that calls the provider at address `at`.
pub fn provider_at(
    at: Option<&str>,
    name: &str,
    channel: Channel,
    settings: &[(&str, &str)],
) -> Result<Arc<dyn Provider>, InvalidSetting> {
    static HTTP: std::sync::OnceLock<HttpClients> = std::sync::OnceLock::new();
    let http = HTTP.get_or_init(HttpClients::new).clone();
    let bases = at.iter().map(|at| (name.to_owned(), (*at).to_owned())).collect();
    let connections = HttpProviderFactory { http, simulators: BTreeMap::new(), bases };
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let account = ProviderConfig {
        id: format!("acme.{name}"),
        provider: name.to_owned(),
        channel,
        mode: Mode::Live,
        rate: RateLimit { burst: 1, per_second: 1 },
        prices: None,
    };
    connections.create(account, &settings, "https://example.com/webhooks")
}

/// Valid settings of a provider: the simulator's example with the entries of `over` replaced.
pub fn example(name: &str, channel: Channel, over: &[(&str, &str)]) -> BTreeMap<String, String> {
    let examples = simulator::examples("");
    let is_match = |(provider, of, _): &&(&str, Channel, serde_json::Value)| (*provider, *of) == (name, channel);
    let (_, _, settings) = examples.iter().find(is_match).expect("an example");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let settings = settings.as_object().expect("settings").iter().map(|(name, value)| (name.clone(), text(value)));
    settings.chain(over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

pub fn callback(url: &str, headers: &[(&str, &str)], body: &[u8]) -> CallbackRequest {
    let headers = headers.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
    let method = if body.is_empty() { "GET" } else { "POST" }.to_owned();
    CallbackRequest { method, url: url.to_owned(), headers, body: body.to_vec() }
}

/// Parses a callback, for providers that do this without I/O.
pub fn parsed_callback(
    provider: &dyn Provider,
    request: &CallbackRequest,
    now: Timestamp,
) -> Result<ParsedCallback, &'static str> {
    provider.parse_callback(request, now).now_or_never().expect("nothing to wait for")
}

/// Verifies a callback's signature, for providers that do this without I/O.
pub fn verified(provider: &dyn Provider, request: &CallbackRequest, now: Timestamp) -> Result<(), &'static str> {
    provider.verify_callback(request, now).now_or_never().expect("nothing to wait for")
}

/// Discards all unmatched reports.
pub struct DiscardingUnmatchedQueue;

#[async_trait]
impl UnmatchedQueue for DiscardingUnmatchedQueue {
    async fn enqueue(&self, _: &UnmatchedRetry, _: u32) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Offers no providers, so no tenant can have its own configurations.
pub struct EmptyProviderFactory;

impl ProviderFactory for EmptyProviderFactory {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        Vec::new()
    }

    fn create(
        &self,
        _: ProviderConfig,
        _: &BTreeMap<String, String>,
        _: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        Err(InvalidSetting { setting: "provider", detail: "There are none.".to_owned() })
    }
}

/// The ports for the tenants' own configurations, over any store.
pub fn tenant_ports<S: EventStore + DocumentStore + 'static>(store: Arc<S>, host: Arc<dyn ClockAndRng>) -> TenantPorts {
    TenantPorts {
        store: store.clone(),
        documents: store,
        sealer: Arc::new(LocalKeyCipher([7; 32])),
        connector: Arc::new(EmptyProviderFactory),
        host,
        public_url: "https://tidings.test".to_owned(),
    }
}

pub struct Harness {
    pub host: Arc<FixedClock>,
    pub store: Arc<Database>,
    pub queue: Arc<RecordingQueue>,
    pub provider: Arc<ScriptedProvider>,
    /// The next provider of the channel, for failover.
    pub second: Arc<ScriptedProvider>,
    pub alerts: Arc<RecordingAlerts>,
    pub deliver: DeliverHandler,
    pub schedule: SweepHandler,
    _scratch: Scratch,
}

/// Uploaded files in a folder.
pub fn objects(folder: PathBuf) -> Arc<FolderObjectStore> {
    Arc::new(FolderObjectStore { folder, url: String::new(), key: vec![7; 32] })
}

impl Harness {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let store = Arc::new(Database::open(&scratch.0.join("harness.db"), false).expect("a database"));
        let (host, queue) = (FixedClock::new(), Arc::new(RecordingQueue::default()));
        let (provider, second) = (ScriptedProvider::new("mock"), ScriptedProvider::new("mock-second"));
        let alerts = Arc::new(RecordingAlerts::default());
        let deliver = DeliverHandler {
            store: store.clone(),
            vault: store.clone(),
            queue: queue.clone(),
            providers: vec![provider.clone()],
            tenant_ports: tenant_ports(store.clone(), host.clone()),
            documents: store.clone(),
            files: Arc::new(local::SimulatedFiles),
            objects: objects(scratch.0.join("files")),
            link_keys: Some(LinkKeys::new(vec![8; 32])),
            limits: store.clone(),
            tenant_rate: None,
            global_rate: None,
            cache: Arc::default(),
            alerts: alerts.clone(),
            host: host.clone(),
            provider_timeout_ms: 1_000,
        };
        let schedule =
            SweepHandler { store: store.clone(), queue: queue.clone(), limits: store.clone(), host: host.clone() };
        Harness { host, store, queue, provider, second, alerts, deliver, schedule, _scratch: scratch }
    }

    /// A harness with two providers of the channel, in order.
    pub fn with_failover() -> Self {
        let mut harness = Harness::new();
        harness.deliver.providers.push(harness.second.clone());
        harness
    }

    /// Stores a stream and its content as the API does, but sends no hint.
    pub async fn accept(&self, change: impl FnOnce(&mut CommunicationRequest)) -> CommunicationKey {
        let mut request = request(self.host.now());
        change(&mut request);
        let id = CommunicationId::generate(self.host.now(), self.host.random());
        let key = CommunicationKey { tenant: tenant(), id };
        let content_key = ContentKey::for_request(&key, &request, &request.request_hash);
        Vault::put(&*self.store, &content_key, &content(), Timestamp(T0 * 2)).await.expect("stored");
        self.execute(&key, Command::Request(Box::new(request))).await;
        key
    }

    /// Handles hints in one batch. Returns the ids of the messages to be delivered again.
    pub async fn batch(&self, keys: &[CommunicationKey]) -> Vec<String> {
        let message = |(index, key): (usize, &CommunicationKey)| {
            let body = hint_body(key);
            application::hint::QueueMessage { id: index.to_string(), body }
        };
        let messages = keys.iter().enumerate().map(message).collect();
        deliver::handle_batch(&self.deliver, messages, self.host.now() + INVOCATION_MS).await
    }

    pub async fn lifecycle(&self, key: &CommunicationKey) -> Lifecycle {
        self.load(key).await.state.requested().expect("requested").lifecycle.clone()
    }

    pub async fn execute(&self, key: &CommunicationKey, command: Command) -> Loaded {
        let origin = CommandContext::function("test");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        executor.execute(key, command).await.expect("the command succeeds")
    }

    pub async fn load(&self, key: &CommunicationKey) -> Loaded {
        let origin = CommandContext::function("test");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        executor.load(key).await.expect("a stream")
    }

    /// Handles one hint.
    pub async fn hint(&self, key: &CommunicationKey) {
        let deadline = self.host.now() + INVOCATION_MS;
        self.deliver.deliver(key, deadline).await.expect("delivered");
    }

    /// Runs the sweep and handles every hint that it sends without delay. Returns their number.
    pub async fn sweep_and_deliver(&self) -> usize {
        self.schedule.sweep().await.expect("a sweep");
        let due: Vec<_> = self.queue.take().into_iter().filter(|(_, delay)| *delay == 0).collect();
        for (hint, _) in &due {
            let key = CommunicationKey::from_stream(&hint.stream).expect("a communication");
            self.hint(&key).await;
        }
        due.len()
    }

    pub fn sent_messages(&self) -> usize {
        self.provider.sent_messages.lock().expect("sent messages").len()
    }

    pub fn answers(&self, answers: impl IntoIterator<Item = AttemptOutcome>) {
        self.provider.answers.lock().expect("answers").extend(answers);
    }

    pub async fn event_names(&self, key: &CommunicationKey) -> Vec<&'static str> {
        self.load(key).await.records.iter().map(|record| record.event.name()).collect()
    }

    pub async fn wake(&self, key: &CommunicationKey) -> Option<i64> {
        EventStore::read(&*self.store, &key.stream_id()).await.expect("a stream").wake.map(|wake| wake.0)
    }
}

impl Default for Harness {
    fn default() -> Self {
        Harness::new()
    }
}

/// The body of a queue message that names a communication.
pub fn hint_body(key: &CommunicationKey) -> String {
    Hint { queue: QueueId::Process, stream: key.stream_id() }.body()
}

pub fn tenant() -> TenantId {
    "acme".parse().expect("a tenant")
}

pub fn content() -> MessageContent {
    MessageContent {
        recipient_contact: "ada@example.com".to_owned(),
        recipient_name: Some("Ada".to_owned()),
        subject: Some("Hello".to_owned()),
        rendered_subject: None,
        content: Some("Hello there".to_owned()),
        variables: None,
        attachments: Vec::new(),
        location: None,
        buttons: Vec::new(),
        provider_template: None,
        metadata: None,
    }
}

pub fn request(now: Timestamp) -> CommunicationRequest {
    CommunicationRequest {
        channel: Channel::Email,
        kind: MessageType::Invoice,
        priority: Priority::Normal,
        source: Source::Api,
        recipient: Recipient { kind: RecipientType::Customer, id: Some("cus-1".to_owned()) },
        contact_hash: "hash-1".to_owned(),
        template: None,
        locale: None,
        attachments: Vec::new(),
        entity: None,
        scheduled_at: None,
        expires_at: policy::default_expiry(MessageType::Invoice, now),
        quiet_hours: None,
        in_doubt: InDoubtPolicy::Resend,
        on_missing_file: None,
        max_attempts: policy::MAX_ATTEMPTS,
        campaign: None,
        rule: None,
        resend_of: None,
        fallback: None,
        fallback_of: None,
        retention: None,
        via: None,
        request_hash: "body-1".to_owned(),
        unless_settled: Vec::new(),
        without_document: None,
        requested_by: "test".to_owned(),
        mode: Mode::Live,
    }
}
