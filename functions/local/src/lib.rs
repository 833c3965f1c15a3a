//! Every door in one process, on the embedded home, with simulated providers. Nothing leaves this machine.

pub mod clock;
mod dev;
#[allow(clippy::result_large_err, reason = "a refusal is an answer of the web server as it is")]
pub mod simulator;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use api::config::Jwt;
use api::rate::RequestLimiter;
use application::App;
use application::app::RetentionPeriods;
use application::directory::{Own, ProviderDirectory, connected};
use application::hint::Message;
use application::settings::DeploymentProviderConfig;
use audit::Audit;
use clock::Clock;
use dead_letter::DeadLetter;
use deliver::Deliver;
use domain::ports::{
    ApiKeyStore, ClockAndRng, CoordinationStore, Principal, Provider, ProviderConfig, ProviderFactory,
};
use domain::provider::{InvalidSetting, ProviderKind};
use events::RateLimit;
use events::{Channel, Mode, TenantId, Timestamp};
use infra::SystemClockAndRng;
use infra::embedded::{
    Database, FolderObjectStore, LocalKeyCipher, LogAlertSink, MemoryWorkQueue, SqliteUnmatchedQueue, WaitingCallback,
};
use infra::providers::{HttpClients, HttpJwksSource, HttpProviderFactory, REGISTRY, http_client};
use project::{Image, Project};
use schedule::{Schedule, Sweep};
use simulator::{Known, Simulator};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use webhook::Webhook;

/// The key that works at once, and whose it is.
pub const DEV_KEY: &str = "td_test_local";
pub const DEV_TENANT: &str = "local";
/// How long one delivery may run, as the function's timeout in `template.yaml`.
const INVOCATION_MS: i64 = 30_000;
/// AWS asks for six times the timeout.
const VISIBILITY_MS: i64 = 6 * INVOCATION_MS;
const TICK_MS: i64 = 60_000;
/// Deliveries side by side, for each channel.
const WORKERS: usize = 16;
/// Changes that are projected together.
const FEED_BATCH: usize = 200;
/// Changes of one communication come in flurries: waiting this long folds them into one write.
const SETTLE: Duration = Duration::from_millis(20);

/// More than one machine does.
const NO_LIMIT: RateLimit = RateLimit { burst: 1_000_000, per_second: 100_000 };

/// Where data is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Folder(PathBuf),
    /// Gone with the process.
    Memory,
}

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// 0 picks one; one that is taken gives the next.
    pub port: u16,
    pub data: Data,
    /// How fast the clock runs.
    pub clock_factor: u32,
    pub provider_timeout_ms: u64,
    /// How fast each provider may be called. None: as fast as it goes, for the simulated ones have no limit of their own.
    pub rate: Option<RateLimit>,
    /// How often each API key may ask. None: as often as it likes.
    pub request_rate: Option<RateLimit>,
    /// Whose tokens are taken beside API keys.
    pub jwt: Option<Jwt>,
    /// Where providers are, instead of the simulated ones: an address without a slash at the end.
    pub providers_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let data = Data::Folder(PathBuf::from(".tidings"));
        Options {
            port: 7070,
            data,
            clock_factor: 1,
            provider_timeout_ms: 10_000,
            rate: None,
            request_rate: None,
            jwt: None,
            providers_url: None,
        }
    }
}

/// A running Tidings. Dropped, it stops at once, as if killed.
pub struct Local {
    pub url: String,
    pub port: u16,
    pub clock: Arc<Clock>,
    pub simulator: Arc<Simulator>,
    pub database: Database,
    pub objects: Arc<FolderObjectStore>,
    pub queue: Arc<MemoryWorkQueue>,
    pub schedule: Schedule,
    tasks: JoinSet<()>,
    /// Held while it runs: one process for one folder.
    _lock: File,
    scratch: Option<PathBuf>,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tasks.abort_all();
        if let Some(scratch) = &self.scratch {
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

impl Local {
    /// Opens the data, starts every door and the simulator, and takes up what an earlier process left undone.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, another process uses it, or no port is free.
    pub async fn start(options: Options) -> io::Result<Local> {
        let scratch = match &options.data {
            Data::Folder(_) => None,
            Data::Memory => Some(scratch_folder()),
        };
        let folder = match (&options.data, &scratch) {
            (Data::Folder(folder), _) | (Data::Memory, Some(folder)) => folder.clone(),
            (Data::Memory, None) => scratch_folder(),
        };
        std::fs::create_dir_all(&folder)?;
        let lock = lock(&folder)?;
        let durable = options.data != Data::Memory;
        let database = Database::open(&folder.join("tidings.db"), durable).map_err(io::Error::other)?;
        let last = database.last_heartbeat("sweep").await.map_err(io::Error::other)?;
        // A clock that was moved forward does not go back.
        let start = last.unwrap_or(Timestamp(0)).max(SystemClockAndRng.now());
        let clock = Arc::new(Clock::new(start, options.clock_factor));
        let client = http_client();
        let simulator =
            Simulator::new(clock.clone(), [SystemClockAndRng.random(), SystemClockAndRng.random()], client.clone());
        let providers_at = TcpListener::bind(("127.0.0.1", 0)).await?;
        let providers_url = match options.providers_url {
            Some(url) => url,
            None => format!("http://{}", providers_at.local_addr()?),
        };
        let listener = listen(options.port).await?;
        let port = listener.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        dev_key(&database).await.map_err(io::Error::other)?;

        let at = |provider: &str| (provider.to_owned(), providers_url.clone());
        let simulated = simulator::examples("");
        let connections = HttpProviderFactory {
            http: HttpClients { client, ..HttpClients::new() },
            simulators: simulated.iter().map(|(provider, ..)| at(provider)).collect(),
            // Nothing leaves this machine: not a live message either.
            bases: REGISTRY.iter().map(|entry| at(entry.kind.name)).collect(),
        };
        let connector = Arc::new(SimulatedProviderFactory { connections, simulator: simulator.clone() });
        let providers = providers(&simulator, &*connector, &url, options.rate.unwrap_or(NO_LIMIT));
        let store = Arc::new(database.clone());
        let own = Own {
            journals: store.clone(),
            documents: store.clone(),
            sealer: Arc::new(LocalKeyCipher(sealing_key(&folder.join("secrets.key"))?)),
            connector,
            host: clock.clone(),
            public_url: url.clone(),
        };
        let contact_key = secret(&folder.join("contact.key"))?;
        let objects =
            Arc::new(FolderObjectStore { folder: folder.join("files"), url: url.clone(), key: contact_key.clone() });
        let queue = Arc::new(MemoryWorkQueue::new(clock.clone(), clock.scaled(VISIBILITY_MS)));
        let schedule =
            Schedule { store: store.clone(), queue: queue.clone(), limits: store.clone(), host: clock.clone() };
        let deliver = Deliver {
            store: store.clone(),
            vault: store.clone(),
            queue: queue.clone(),
            providers: providers.clone(),
            own: own.clone(),
            documents: store.clone(),
            files: Arc::new(simulator::SimulatedFiles),
            objects: objects.clone(),
            contact_key: contact_key.clone(),
            limits: store.clone(),
            tenant_rate: None,
            global_rate: None,
            memory: Arc::default(),
            alerts: Arc::new(LogAlertSink),
            host: clock.clone(),
            provider_timeout_ms: options.provider_timeout_ms,
        };
        let app = App {
            store: store.clone(),
            vault: store.clone(),
            queue: queue.clone(),
            views: store.clone(),
            keys: store.clone(),
            limits: store.clone(),
            own: own.clone(),
            directory: ProviderDirectory::default(),
            library: Default::default(),
            defaults: Default::default(),
            has_sandbox: true,
            accounts: providers.iter().map(|provider| provider.config().clone()).collect(),
            objects: objects.clone(),
            host: clock.clone(),
            contact_key: contact_key.clone(),
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        };
        let api = Arc::new(Api {
            app: Arc::new(app),
            requests: RequestLimiter::new(options.request_rate),
            issuer: options.jwt.map(|jwt| {
                let url = jwt.keys_url.clone();
                jwt.connect(Arc::new(HttpJwksSource { client: http_client(), url }))
            }),
        });
        let inbox = Arc::new(SqliteUnmatchedQueue { database: database.clone(), host: clock.clone() });
        let webhook = Arc::new(Webhook {
            store: store.clone(),
            host: clock.clone(),
            vault: store.clone(),
            documents: store.clone(),
            inbox: inbox.clone(),
            providers,
            own,
            directory: ProviderDirectory::default(),
            queue: queue.clone(),
            objects: objects.clone(),
            contact_key,
        });
        let dead_letter = DeadLetter { store: store.clone(), alerts: Arc::new(LogAlertSink), host: clock.clone() };
        let project = Project { views: store, host: clock.clone() };

        schedule.sweep(Sweep::Restart).await.map_err(io::Error::other)?;
        let mut tasks = JoinSet::new();
        let dev = dev::Dev {
            simulator: simulator.clone(),
            clock: clock.clone(),
            queue: queue.clone(),
            schedule: schedule.clone(),
            database: database.clone(),
            objects: objects.clone(),
        };
        tasks.spawn(run_unmatched(inbox, webhook.clone(), clock.clone()));
        let router = api::router(api).merge(webhook::router(webhook)).merge(dev::router(Arc::new(dev)));
        tasks.spawn(async move {
            // Ends only when the listener breaks, and with it the process.
            let _ = axum::serve(listener, router).await;
        });
        tasks.spawn(simulator.clone().serve(providers_at));
        for &channel in Channel::ALL {
            for _ in 0..WORKERS {
                tasks.spawn(run_delivery_worker(channel, queue.clone(), deliver.clone(), clock.clone()));
            }
        }
        tasks.spawn(bury(queue.clone(), dead_letter));
        tasks.spawn(run_projection(database.clone(), project));
        tasks.spawn(tick(schedule.clone(), clock.clone()));
        Ok(Local { url, port, clock, simulator, database, objects, queue, schedule, tasks, _lock: lock, scratch })
    }
}

/// What changed within this time may still be on its way to the views, in milliseconds.
const UNSETTLED_MS: i64 = 5_000;

/// Audits the data of a folder, whether or not a process is at work on it.
///
/// # Errors
///
/// There is no data, or it cannot be read.
pub async fn audit(folder: &Path) -> io::Result<audit::Report> {
    let file = data_of(folder)?;
    let store = Arc::new(Database::open(&file, true).map_err(io::Error::other)?);
    let last = store.last_heartbeat("sweep").await.map_err(io::Error::other)?;
    let clock = Clock::new(last.unwrap_or(Timestamp(0)).max(SystemClockAndRng.now()), 1);
    let audit = Audit { store: store.clone(), views: store, host: Arc::new(clock), settle_ms: UNSETTLED_MS };
    audit.run(None).await.map_err(io::Error::other)
}

/// Makes the views of a folder again from its streams, and audits them.
///
/// # Errors
///
/// There is no data, a process is at work on it, or it cannot be read.
pub async fn rebuild(folder: &Path) -> io::Result<(audit::RebuildProgress, audit::Report)> {
    let file = data_of(folder)?;
    let _lock = lock(folder)?;
    let store = Arc::new(Database::open(&file, true).map_err(io::Error::other)?);
    store.clear_views().await.map_err(io::Error::other)?;
    let audit = Audit { store: store.clone(), views: store, host: Arc::new(SystemClockAndRng), settle_ms: 0 };
    let rebuilt = audit.rebuild(None, None).await.map_err(io::Error::other)?;
    drop(audit);
    Ok((rebuilt, self::audit(folder).await?))
}

/// The file of a folder that was used before.
fn data_of(folder: &Path) -> io::Result<PathBuf> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("there is no data in {}", folder.display()));
    Some(folder.join("tidings.db")).filter(|file| file.is_file()).ok_or_else(none)
}

fn scratch_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("tidings-{}-{:08x}", std::process::id(), SystemClockAndRng.random() as u32))
}

fn lock(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is in use by another tidings", folder.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A key of this machine's own, made once.
fn secret(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = format!("{:032x}", SystemClockAndRng.random()).into_bytes();
            let mut options = File::options();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path)?.write_all(&key)?;
            Ok(key)
        }
        other => other,
    }
}

/// What credentials are sealed with on this machine.
fn sealing_key(path: &Path) -> io::Result<[u8; 32]> {
    let text = secret(path)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a key", path.display()));
    text.try_into().map_err(|_| wrong())
}

async fn listen(port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in port..=port.saturating_add(if port == 0 { 0 } else { 50 }) {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            other => return other,
        }
    }
    Err(last)
}

async fn dev_key(database: &Database) -> Result<(), domain::ports::StoreError> {
    let tenant: TenantId = DEV_TENANT.parse().map_err(|_| domain::ports::StoreError::Unreadable("tenant".into()))?;
    let principal = Principal::admin(tenant, "developer", Mode::Test);
    ApiKeyStore::put(database, &application::hash::key_hash(DEV_KEY), &principal).await
}

/// Connects to the simulated providers, which learn of every account that our side is configured with.
struct SimulatedProviderFactory {
    connections: HttpProviderFactory,
    simulator: Arc<Simulator>,
}

impl ProviderFactory for SimulatedProviderFactory {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        self.connections.kinds()
    }

    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let known = Known {
            provider: account.provider.clone(),
            config: account.id.clone(),
            channel: account.channel,
            settings: settings.clone(),
            callback_url: callback_url.to_owned(),
        };
        let connected = self.connections.create(account, settings, callback_url)?;
        self.simulator.know(known);
        Ok(connected)
    }
}

/// The deployment's own accounts, for tenants without theirs.
fn providers(
    simulator: &Simulator,
    connector: &dyn ProviderFactory,
    public_url: &str,
    rate: RateLimit,
) -> Vec<Arc<dyn Provider>> {
    let configured = simulator::deployment(&simulator.sendgrid_public_key()).into_iter();
    let configured = configured.map(|(config, provider, channel, settings)| {
        let (config, provider) = (config.to_owned(), provider.to_owned());
        let callback_path = application::settings::callback_path(&provider, channel);
        let account = ProviderConfig { id: config, provider, channel, mode: Mode::Test, rate };
        DeploymentProviderConfig { account, settings, callback_path }
    });
    connected(connector, configured.collect(), public_url)
}

/// What SQS and Lambda do: receive, invoke, take away what was done.
async fn run_delivery_worker(channel: Channel, queue: Arc<MemoryWorkQueue>, deliver: Deliver, clock: Arc<Clock>) {
    loop {
        let received = queue.receive(channel).await;
        let message = |received: &infra::embedded::ReceivedHint| {
            let key = &received.hint.key;
            let body = serde_json::json!({ "tenant": key.tenant, "id": key.id }).to_string();
            Message { id: received.id.to_string(), body }
        };
        let messages = received.iter().map(message).collect();
        let deadline = clock.now() + clock.scaled(INVOCATION_MS);
        let again = deliver::batch(&deliver, messages, deadline).await;
        for received in received.iter().filter(|received| !again.contains(&received.id.to_string())) {
            queue.acknowledge(received);
        }
    }
}

async fn bury(queue: Arc<MemoryWorkQueue>, dead_letter: DeadLetter) {
    loop {
        for hint in queue.receive_dead_letters().await {
            if let Err(error) = dead_letter.bury(&hint.key).await {
                tracing::error!(%error, "a dead letter was not recorded; its timer shows it again");
            }
        }
    }
}

/// What the table's stream does: every change, in order, with a cursor.
async fn run_projection(database: Database, project: Project) {
    const CONSUMER: &str = "project";
    let mut cursor = database.cursor(CONSUMER).unwrap_or(0);
    loop {
        let changes = match database.changes(cursor, FEED_BATCH) {
            Ok(changes) if changes.is_empty() => {
                let _ = tokio::time::timeout(Duration::from_secs(1), database.wait_for_change()).await;
                tokio::time::sleep(SETTLE).await;
                continue;
            }
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "the change feed cannot be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let next = changes.last().map_or(cursor, |change| change.cursor);
        let images = changes.into_iter().map(|change| Image { key: change.key, lines: change.lines }).collect();
        let done = match project.project(images).await {
            Ok(()) => database.set_cursor(CONSUMER, next).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => cursor = next,
            Err(error) => {
                tracing::error!(%error, "changes are projected again");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Shows callbacks again that found no message.
async fn run_unmatched(inbox: Arc<SqliteUnmatchedQueue>, webhook: Arc<Webhook>, clock: Arc<Clock>) {
    let every = clock.on_the_wall(1_000).max(Duration::from_millis(50));
    loop {
        tokio::time::sleep(every).await;
        let due = inbox.due(clock.now()).unwrap_or_else(|error| {
            tracing::error!(%error, "the inbox cannot be read");
            Vec::new()
        });
        let message = |waiting: &WaitingCallback| Message { id: waiting.id.to_string(), body: waiting.body.clone() };
        let again = webhook::batch(&webhook, due.iter().map(message).collect()).await;
        for waiting in due.iter().filter(|waiting| !again.contains(&waiting.id.to_string())) {
            if let Err(error) = inbox.delete(waiting.id).await {
                tracing::error!(%error, "looked at once more than needed");
            }
        }
    }
}

async fn tick(schedule: Schedule, clock: Arc<Clock>) {
    let every = clock.on_the_wall(TICK_MS).max(Duration::from_millis(100));
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = schedule.sweep(Sweep::Tick).await {
            tracing::error!(%error, "a sweep failed; the next one goes on");
        }
    }
}
