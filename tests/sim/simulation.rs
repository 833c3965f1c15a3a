//! One run: the real handlers over the simulated ports, from the first request until all work is finished.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::actions::{Action, plan};
use crate::scheduler::Task;
use crate::world::{SimProvider, World};
use crate::{BATCH, END_MS, FAULTS_STOP_MS, PROCESSES, RATE, REQUEST_RATE, T0, invariants};
use api::Api;
use api::rate::RequestLimiter;
use application::App;
use application::directory::TenantPorts;
use application::links::LinkKeys;
use application::retention::RetentionPeriods;
use dead_letter::DeadLetterHandler;
use deliver::DeliverHandler;
use domain::ports::{CommunicationKey, Provider};
use events::{Channel, CommunicationId, Mode, StreamId, Timestamp};
use project::ProjectHandler;
use schedule::SweepHandler;
use webhook::WebhookHandler;

#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub communications: usize,
    pub sends: usize,
    /// Messages sent by the second provider.
    pub failovers: usize,
    pub duplicates: usize,
    /// Communications created as a fallback.
    pub fallbacks: usize,
    pub faults: u64,
    pub kills: u64,
    pub steps: u64,
}

pub struct Simulation {
    pub world: World,
    pub router: axum::Router,
    /// Processes of this version and of the next. Both serve while a release is rolled out.
    pub deliver: [Vec<Arc<DeliverHandler>>; 2],
    pub webhook: [Arc<WebhookHandler>; 2],
    pub is_rolling: bool,
    /// Maximum number of messages in one invocation.
    pub batch: usize,
    pub project: Arc<ProjectHandler>,
    pub schedule: Arc<SweepHandler>,
    pub dead_letter: [Arc<DeadLetterHandler>; 2],
    pub tasks: Vec<Task>,
    pub actions: Vec<(i64, Action)>,
    pub accepted: BTreeMap<usize, CommunicationKey>,
    pub next_tick: i64,
    /// When all work must be finished, counted from the start.
    pub end_ms: i64,
    /// When everything is restarted, as the only process is. Earliest first.
    pub restarts: Vec<i64>,
    /// The timers that lay ahead at the last restart, with the version of their stream.
    pub timers_ahead: BTreeMap<StreamId, (u64, Timestamp)>,
    /// The first invariant that was found broken during the run.
    pub violation: Option<String>,
    pub kills: u64,
    pub steps: u64,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let world = World::new(seed, T0);
        let actions = plan(&world, seed);
        let mut simulation = Simulation::of(world, actions);
        simulation.is_rolling = seed % 4 == 3;
        simulation
    }

    /// The use cases over the simulated ports.
    pub fn app(world: &World) -> Arc<App> {
        let port = Arc::new(world.clone());
        Arc::new(App {
            store: port.clone(),
            vault: port.clone(),
            queue: port.clone(),
            views: port.clone(),
            keys: port.clone(),
            limits: port.clone(),
            alerts: port.clone(),
            tenant_ports: tenant_ports(&port),
            directory: Default::default(),
            library: Default::default(),
            defaults: Default::default(),
            objects: port.clone(),
            sms_countries: None,
            tenant_rate: None,
            has_sandbox: false,
            accounts: providers(world).iter().map(|provider| provider.config().clone()).collect(),
            printer: Some(port.clone()),
            host: port.clone(),
            contact_key: vec![7; 32],
            link_keys: LinkKeys::new(vec![8; 32]),
            payment_url: None,
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        })
    }

    /// The API of these use cases.
    pub fn api_router(app: Arc<App>) -> axum::Router {
        let requests = RequestLimiter::new(Some(REQUEST_RATE));
        api::router(Arc::new(Api { app, issuer: None, requests, health: Default::default() }))
    }

    pub fn deliver_handler(world: &World, providers: Vec<Arc<dyn Provider>>) -> DeliverHandler {
        let port = Arc::new(world.clone());
        DeliverHandler {
            store: port.clone(),
            vault: port.clone(),
            queue: port.clone(),
            providers,
            tenant_ports: tenant_ports(&port),
            documents: port.clone(),
            files: port.clone(),
            objects: port.clone(),
            link_keys: Some(LinkKeys::new(vec![8; 32])),
            limits: port.clone(),
            tenant_rate: None,
            global_rate: None,
            cache: Arc::default(),
            alerts: port.clone(),
            host: port,
            provider_timeout_ms: 10_000,
        }
    }

    pub fn webhook_handler(world: &World) -> WebhookHandler {
        let port = Arc::new(world.clone());
        WebhookHandler {
            store: port.clone(),
            vault: port.clone(),
            documents: port.clone(),
            unmatched: port.clone(),
            providers: Vec::new(),
            tenant_ports: tenant_ports(&port),
            directory: Default::default(),
            queue: port.clone(),
            contact_key: vec![7; 32],
            views: port.clone(),
            deployment_tenant: None,
            host: port,
        }
    }

    pub fn of(world: World, actions: Vec<(i64, Action)>) -> Self {
        let port = Arc::new(world.clone());
        let deliver = |world: World| Arc::new(Simulation::deliver_handler(&world, providers(&world)));
        let webhook = |world: World| Arc::new(Simulation::webhook_handler(&world));
        let schedule =
            SweepHandler { store: port.clone(), queue: port.clone(), limits: port.clone(), host: port.clone() };
        let project = ProjectHandler { store: port.clone(), views: port.clone(), host: port };
        let dead_letter = |world: World| {
            let port = Arc::new(world);
            Arc::new(DeadLetterHandler { store: port.clone(), alerts: port.clone(), host: port })
        };
        Simulation {
            router: Simulation::api_router(Simulation::app(&world)),
            deliver: [world.clone(), world.next_version()]
                .map(|world| (0..PROCESSES).map(|_| deliver(world.clone())).collect()),
            webhook: [webhook(world.clone()), webhook(world.next_version())],
            dead_letter: [dead_letter(world.clone()), dead_letter(world.next_version())],
            is_rolling: false,
            batch: BATCH,
            world,
            project: Arc::new(project),
            schedule: Arc::new(schedule),
            tasks: Vec::new(),
            actions,
            accepted: BTreeMap::new(),
            next_tick: T0 + 1_000,
            end_ms: END_MS,
            restarts: Vec::new(),
            timers_ahead: BTreeMap::new(),
            violation: None,
            kills: 0,
            steps: 0,
        }
    }

    /// The version that takes the next job: either one while a release is rolled out, and the next one afterwards.
    pub fn version(&self) -> usize {
        let mut state = self.world.state();
        match (self.is_rolling, state.faults) {
            (false, _) => 0,
            (true, true) => state.rng.below(2) as usize,
            (true, false) => 1,
        }
    }

    /// Runs until all work is finished, then checks the invariants.
    pub fn run(&mut self) -> Result<Figures, String> {
        loop {
            let now = self.world.state().now;
            if now > T0 + FAULTS_STOP_MS {
                self.world.state().faults = false;
            }
            if now > T0 + self.end_ms {
                let hours = self.end_ms / 3_600_000;
                return Err(format!("I12: not at rest after {hours} hours: {:?}", self.unfinished()));
            }
            self.start_due(now);
            if let Some(why) = self.violation.take() {
                return Err(why);
            }
            let ready: Vec<usize> = (0..self.tasks.len()).filter(|n| self.tasks[*n].resume_at <= now).collect();
            match ready.len() {
                0 if self.is_at_rest() => break,
                0 => self.wait(),
                count => {
                    let chosen = ready[self.world.state().rng.below(count as u64) as usize];
                    self.step(chosen, now);
                }
            }
        }
        invariants::check_all(&self.world, &self.accepted)?;
        let state = self.world.state();
        let taken = state.calls.iter().filter(|call| call.taken);
        let mut times: BTreeMap<CommunicationId, usize> = BTreeMap::new();
        taken.clone().for_each(|call| *times.entry(call.attempt.communication).or_default() += 1);
        Ok(Figures {
            communications: self.accepted.len(),
            sends: taken.clone().count(),
            failovers: taken.filter(|call| call.config == "sim-b").count(),
            duplicates: times.values().filter(|times| **times > 1).count(),
            fallbacks: state.communications().count() - self.accepted.len(),
            faults: state.injected,
            kills: self.kills,
            steps: self.steps,
        })
    }

    fn unfinished(&self) -> BTreeSet<StreamId> {
        let state = self.world.state();
        let open = state.streams.iter().filter(|(_, (stream, ..))| stream.wake.is_some());
        open.map(|(id, _)| id.clone()).collect()
    }

    pub fn is_at_rest(&self) -> bool {
        let quiet = {
            let state = self.world.state();
            self.tasks.is_empty()
                && self.restarts.is_empty()
                && self.actions.is_empty()
                && state.callbacks.is_empty()
                && state.unmatched.is_empty()
                && state.feed.iter().all(VecDeque::is_empty)
        };
        quiet && self.unfinished().is_empty()
    }
}

fn tenant_ports(port: &Arc<World>) -> TenantPorts {
    TenantPorts {
        store: port.clone(),
        documents: port.clone(),
        sealer: port.clone(),
        connector: port.clone(),
        host: port.clone(),
        public_url: String::new(),
    }
}

/// Two provider configurations. The second can be queried about an attempt in doubt.
fn providers(world: &World) -> Vec<Arc<dyn Provider>> {
    let provider = |config: &str, answers| -> Arc<dyn Provider> {
        let account = tests::harness::account(config, Channel::Email, Mode::Live, RATE);
        Arc::new(SimProvider { world: world.clone(), account, answers, echoes: true })
    };
    vec![provider("sim-a", false), provider("sim-b", true)]
}
