//! Every function in one process, on the embedded adapters, with simulated providers. Nothing leaves this machine.

mod api_call;
pub mod clock;
mod clock_jump;
mod data;
mod demo;
mod dev;
mod files;
mod hourly;
mod keys;
mod local_only;
mod parked_events;
mod private_files;
mod scratch;
pub mod server;
mod wiring;
mod workers;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use api::config::{ConsoleClient, Jwt};
use application::App;
use axum::Router;
use axum::middleware::from_fn_with_state;
use clock::Clock;
use data::DataFolder;
use domain::ports::{ApiKeyStore, ClockAndRng, Principal, StoreError};
use events::{Channel, Mode, RateLimit, TenantId};
use infra::SystemClockAndRng;
use infra::embedded::{Database, FolderObjectStore, MemoryWorkQueue};
use infra::providers::http_client;
use local_only::local_only;
use process::Process;
use schedule::SweepHandler;
use server::{ServerLimits, serve};
use simulator::Simulator;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wiring::Wiring;
use workers::{
    WORKERS_PER_CHANNEL, resume, run_dead_letters, run_delivery_worker, run_process_worker, run_projection, run_sweeps,
    run_unmatched,
};

pub use data::{Data, audit, rebuild};
pub use demo::tell as tell_demo;
pub use files::SimulatedFiles;
pub use parked_events::ParkedEvents;

/// The API key that works from the first start.
pub const DEV_KEY: &str = "td_test_local";
/// The tenant of [`DEV_KEY`].
pub const DEV_TENANT: &str = "local";
/// The AWS account whose events `POST /_dev/events` trusts.
pub const DEV_ACCOUNT: &str = "000000000000";

/// The options of one process.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port to listen on. 0 picks a free port. If the port is in use, the next free one is taken.
    pub port: u16,
    pub data: Data,
    /// How many times as fast as the wall clock the process's clock runs.
    pub clock_factor: u32,
    /// Start although the wall clock is more than a day before, or 31 days after, the last use of the folder.
    pub accept_clock: bool,
    pub provider_timeout_ms: u64,
    /// The rate limit of each provider. `None` means no limit, because the simulated providers have none.
    pub rate: Option<RateLimit>,
    /// The rate limit of each API key. `None` means no limit.
    pub request_rate: Option<RateLimit>,
    /// The identity provider whose tokens are accepted in addition to API keys.
    pub jwt: Option<Jwt>,
    /// How people sign in to the console. `None`: everybody who reaches this process is signed in.
    pub console: Option<ConsoleClient>,
    /// The address at which providers are called instead of the simulated ones, without a slash at the end.
    pub providers_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let data = Data::Folder(PathBuf::from(".tidings"));
        Options {
            port: 7070,
            data,
            clock_factor: 1,
            accept_clock: false,
            provider_timeout_ms: 10_000,
            rate: None,
            request_rate: None,
            jwt: None,
            console: None,
            providers_url: None,
        }
    }
}

/// A running process of Tidings. When it is dropped, it stops at once, as if it were killed.
pub struct Local {
    pub url: String,
    pub port: u16,
    pub clock: Arc<Clock>,
    pub simulator: Arc<Simulator>,
    pub database: Database,
    pub objects: Arc<FolderObjectStore>,
    pub queue: Arc<MemoryWorkQueue>,
    pub schedule: SweepHandler,
    tasks: JoinSet<()>,
    _folder: DataFolder,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

impl Local {
    /// Opens the data, starts every function and the simulator, and resumes unfinished work of an earlier process.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, another process uses it, or no port is free.
    pub async fn start(options: Options) -> io::Result<Local> {
        let folder = DataFolder::open(&options.data)?;
        let (database, clock) = folder.open_database(options.clock_factor, options.accept_clock).await?;
        create_dev_key(&database).await.map_err(io::Error::other)?;
        let simulator = simulator(clock.clone());
        let simulator_listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let providers_url = match &options.providers_url {
            Some(url) => url.clone(),
            None => format!("http://{}", simulator_listener.local_addr()?),
        };
        let listener = listen(options.port).await?;
        let port = listener.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        let wiring = Wiring::new(&folder, database, clock, simulator, &url, &providers_url, options.rate)?;

        let schedule = wiring.schedule();
        let mut tasks = JoinSet::new();
        let app = wiring.app();
        spawn_http(&mut tasks, &wiring, app.clone(), &options, (listener, port));
        tasks.spawn(wiring.simulator.clone().serve(simulator_listener));
        spawn_workers(&mut tasks, &wiring, app, &options);
        let Wiring { store, clock, simulator, queue, objects, .. } = wiring;
        let database = (*store).clone();
        Ok(Local { url, port, clock, simulator, database, objects, queue, schedule, tasks, _folder: folder })
    }
}

fn simulator(clock: Arc<Clock>) -> Arc<Simulator> {
    Simulator::new(clock, [SystemClockAndRng.random(), SystemClockAndRng.random()], http_client())
}

/// Serves the API, callbacks, pages and development routes, and retries reports whose message was not known yet.
fn spawn_http(
    tasks: &mut JoinSet<()>,
    wiring: &Wiring,
    app: Arc<App>,
    options: &Options,
    (listener, port): (TcpListener, u16),
) {
    let webhook = Arc::new(wiring.webhook());
    tasks.spawn(run_unmatched(wiring.unmatched.clone(), webhook.clone(), wiring.clock.clone()));
    let api = Arc::new(wiring.api(app.clone(), options));
    let dev = dev::router(Arc::new(wiring.dev(app)));
    let router: Router = api::router(api.clone())
        // What nothing else answers is an unknown page.
        .reset_fallback()
        .merge(console::router(Arc::new(wiring.console(api, dev.clone(), options))))
        .merge(webhook::router(webhook))
        .merge(pages::router(Arc::new(wiring.pages())))
        .merge(dev)
        .layer(from_fn_with_state(port, local_only));
    tasks.spawn(serve(listener, router, ServerLimits::default()));
}

/// Starts the loops that replace queues, the change stream and schedules.
fn spawn_workers(tasks: &mut JoinSet<()>, wiring: &Wiring, app: Arc<App>, options: &Options) {
    let deliver = wiring.deliver(options.provider_timeout_ms);
    let (resumed, is_resumed) = watch::channel(false);
    for &channel in Channel::ALL {
        for _ in 0..WORKERS_PER_CHANNEL {
            let (queue, clock) = (wiring.queue.clone(), wiring.clock.clone());
            tasks.spawn(run_delivery_worker(channel, queue, deliver.clone(), clock, is_resumed.clone()));
        }
    }
    tasks.spawn(run_process_worker(wiring.queue.clone(), Process { app }));
    tasks.spawn(run_dead_letters(wiring.queue.clone(), wiring.dead_letter()));
    let check = wiring.check.clone();
    tasks.spawn(async move { check.run().await });
    tasks.spawn(run_projection((*wiring.store).clone(), wiring.project()));
    let (schedule, clock, queue) = (wiring.schedule(), wiring.clock.clone(), wiring.queue.clone());
    tasks.spawn(async move {
        resume(&schedule, resumed).await;
        run_sweeps(schedule, clock, queue).await;
    });
}

/// Binds the port, or the next free one.
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

async fn create_dev_key(database: &Database) -> Result<(), StoreError> {
    let tenant: TenantId = DEV_TENANT.parse().map_err(|_| StoreError::Unreadable("tenant".into()))?;
    let principal = Principal::admin(tenant, "developer", Mode::Test);
    ApiKeyStore::put(database, &application::hash::key_hash(DEV_KEY), &principal).await
}
