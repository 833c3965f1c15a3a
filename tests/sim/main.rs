//! The deterministic simulation: the real handlers over simulated ports. A seed decides which task runs next, which I/O fails
//! and which process is killed. Then the faults stop: everything must come to rest, and the streams must agree with what the
//! providers saw.
//!
//! `SIM_SEEDS=2000` runs more seeds than the default, `SIM_SEED=17` replays one, and `SIM_EVERY_NTH_PAIR=1` runs all pairs of
//! faults.

mod actions;
mod bugs;
mod exhaustive;
mod invariants;
mod jobs;
mod scheduler;
mod seeds;
mod simulation;
mod world;

use std::future::Future;
use std::task::{Context, Poll, Waker};

use api::Api;
use api::rate::RequestLimiter;
use application::App;
use application::app::RetentionPeriods;
use application::directory::Own;
use application::problem::Problem;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use dead_letter::DeadLetter;
use deliver::Deliver;
use domain::ports::{AddressKey, EventStore, Provider, StreamKey, UnmatchedRetry};
use domain::provider::{About, Told};
use events::RateLimit;

const T0: i64 = 1_800_000_000_000;
const COMMUNICATIONS: usize = 100;
/// Callers act during this time; faults go on for longer.
const CALLERS_ACT_MS: i64 = 20 * 60_000;
const FAULTS_STOP_MS: i64 = 60 * 60_000;
/// Everything must be at rest by then.
const END_MS: i64 = 5 * 24 * 3_600_000;
const INVOCATION_MS: i64 = 30_000;
const VISIBILITY_MS: i64 = 180_000;
const MAX_RECEIVES: u32 = 5;
/// Processes of the deliver function. Each has its own memory of the rate limits.
const PROCESSES: u64 = 8;
/// Messages of one invocation, at most.
const BATCH: usize = 3;

/// Rate limit of each provider.
pub const RATE: RateLimit = RateLimit { burst: 8, per_second: 1 };
/// High enough never to limit anything.
const REQUEST_RATE: RateLimit = RateLimit { burst: 10_000, per_second: 10_000 };

/// Something that a caller wants.
#[derive(Debug, Clone)]
enum Action {
    Send {
        n: usize,
        body: Value,
    },
    Cancel {
        n: usize,
    },
    Reschedule {
        n: usize,
        at: i64,
    },
    OptOut {
        n: usize,
    },
    /// Another communication, `copy`, with the words of `n`.
    Resend {
        n: usize,
        copy: usize,
    },
    /// Its personal data is gone.
    Erase {
        n: usize,
    },
    /// A tenant's dead letters are tried again.
    Redrive {
        tenant: usize,
    },
}

/// What runs, and what follows when it ends or dies.
#[derive(Debug, Clone)]
enum Job {
    ApiCall(Action),
    Deliver {
        messages: Vec<u64>,
    },
    /// The head of a shard of the table's stream.
    Project {
        shard: usize,
        count: usize,
    },
    DeadLetter {
        key: StreamKey,
    },
    CallBack(Callback),
    /// Facts that found no message are looked at once more.
    LookAgain(UnmatchedRetry),
    Sweep,
}

/// How a job ended.
enum TaskResult {
    Done,
    /// To be tried again: by the caller, the queue, or the provider.
    Retry,
    /// Of a batch, these.
    AgainOf(Vec<String>),
    Accepted(CommunicationId),
}

struct Task {
    job: Job,
    future: Pin<Box<dyn Future<Output = TaskResult>>>,
    resume_at: i64,
    deadline: i64,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub communications: usize,
    pub sends: usize,
    /// Sent by the second provider.
    pub failovers: usize,
    pub duplicates: usize,
    /// Sent by the next channel.
    pub fallbacks: usize,
    pub faults: u64,
    pub kills: u64,
    pub steps: u64,
}

struct Simulation {
    world: World,
    router: axum::Router,
    /// This version and the next: while a release is rolled out, both are at work. Of each, some processes.
    deliver: [Vec<Arc<Deliver>>; 2],
    webhook: [Arc<Webhook>; 2],
    is_rolling: bool,
    /// Messages of one invocation, at most.
    batch: usize,
    project: Arc<Project>,
    schedule: Arc<Schedule>,
    dead_letter: [Arc<DeadLetter>; 2],
    tasks: Vec<Task>,
    wishes: Vec<(i64, Action)>,
    accepted: BTreeMap<usize, StreamKey>,
    next_tick: i64,
    kills: u64,
    steps: u64,
}

impl Job {
    fn door(&self) -> &'static str {
        match self {
            Job::ApiCall(_) => "api",
            Job::Deliver { .. } => "deliver",
            Job::DeadLetter { .. } => "dead-letter",
            Job::CallBack(_) | Job::LookAgain(_) => "webhook",
            Job::Sweep => "schedule",
            Job::Project { .. } => "project",
        }
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, T0);
        let wishes = plan(&world, seed);
        let mut simulation = Simulation::of(world, wishes);
        simulation.is_rolling = seed % 4 == 3;
        simulation
    }

    fn of(world: World, wishes: Vec<(i64, Action)>) -> Self {
        let port = Arc::new(world.clone());
        let provider = |world: &World, config: &str, answers| -> Arc<dyn Provider> {
            let account = tests::bench::account(config, Channel::Email, Mode::Live, RATE);
            Arc::new(SimProvider { world: world.clone(), account, answers, echoes: true })
        };
        let providers = |world: &World| vec![provider(world, "sim-a", false), provider(world, "sim-b", true)];
        let app = App {
            store: port.clone(),
            vault: port.clone(),
            queue: port.clone(),
            views: port.clone(),
            keys: port.clone(),
            limits: port.clone(),
            own: own(&port),
            directory: Default::default(),
            library: Default::default(),
            defaults: Default::default(),
            objects: port.clone(),
            has_sandbox: false,
            accounts: providers(&world).iter().map(|provider| provider.account().clone()).collect(),
            host: port.clone(),
            contact_key: vec![7; 32],
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        };
        let api = Api { app: Arc::new(app), issuer: None, requests: RequestLimiter::new(Some(REQUEST_RATE)) };
        let deliver = |world: World| {
            let port = Arc::new(world.clone());
            Arc::new(Deliver {
                store: port.clone(),
                vault: port.clone(),
                queue: port.clone(),
                providers: providers(&world),
                own: own(&port),
                documents: port.clone(),
                files: port.clone(),
                objects: port.clone(),
                contact_key: vec![7; 32],
                limits: port.clone(),
                tenant_rate: None,
                global_rate: None,
                memory: Arc::default(),
                alerts: port.clone(),
                host: port,
                provider_timeout_ms: 10_000,
            })
        };
        let webhook = |world: World| {
            let port = Arc::new(world);
            Arc::new(Webhook {
                store: port.clone(),
                vault: port.clone(),
                documents: port.clone(),
                inbox: port.clone(),
                providers: Vec::new(),
                own: own(&port),
                directory: Default::default(),
                queue: port.clone(),
                objects: port.clone(),
                contact_key: vec![7; 32],
                host: port,
            })
        };
        let schedule = Schedule { store: port.clone(), queue: port.clone(), limits: port.clone(), host: port.clone() };
        let project = Project { views: port.clone(), host: port };
        let dead_letter = |world: World| {
            let port = Arc::new(world);
            Arc::new(DeadLetter { store: port.clone(), alerts: port.clone(), host: port })
        };
        Simulation {
            router: api::router(Arc::new(api)),
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
            wishes,
            accepted: BTreeMap::new(),
            next_tick: T0 + 1_000,
            kills: 0,
            steps: 0,
        }
    }

    /// Which version takes the next piece of work: both while a release is rolled out, then the next one alone.
    fn version(&self) -> usize {
        let mut inside = self.world.inside();
        match (self.is_rolling, inside.faults) {
            (false, _) => 0,
            (true, true) => inside.chance.below(2) as usize,
            (true, false) => 1,
        }
    }

    /// Runs until nothing is left to do.
    fn run(&mut self) -> Result<Figures, String> {
        loop {
            let now = self.world.inside().now;
            if now > T0 + FAULTY_MS {
                self.world.inside().faults = false;
            }
            if now > T0 + END_MS {
                return Err(format!("I12: not at rest after five days: {:?}", self.unfinished()));
            }
            self.arrive(now);
            let ready: Vec<usize> = (0..self.tasks.len()).filter(|n| self.tasks[*n].resume_at <= now).collect();
            match ready.len() {
                0 if self.is_at_rest() => break,
                0 => self.wait(),
                count => {
                    let chosen = ready[self.world.inside().chance.below(count as u64) as usize];
                    self.step(chosen, now);
                }
            }
        }
        invariants::check_all(&self.world, &self.accepted)?;
        let inside = self.world.inside();
        let taken = inside.calls.iter().filter(|call| call.taken);
        let mut times: BTreeMap<CommunicationId, usize> = BTreeMap::new();
        taken.clone().for_each(|call| *times.entry(call.attempt.communication).or_default() += 1);
        Ok(Figures {
            communications: self.accepted.len(),
            sends: taken.clone().count(),
            failovers: taken.filter(|call| call.config == "sim-b").count(),
            duplicates: times.values().filter(|times| **times > 1).count(),
            fallbacks: inside.streams.len() - self.accepted.len(),
            faults: inside.injected,
            kills: self.kills,
            steps: self.steps,
        })
    }

    fn unfinished(&self) -> BTreeSet<StreamKey> {
        let inside = self.world.inside();
        let open = inside.streams.iter().filter(|(_, (stream, ..))| stream.wake.is_some());
        open.map(|(key, _)| key.clone()).collect()
    }

    fn is_at_rest(&self) -> bool {
        let quiet = {
            let inside = self.world.inside();
            self.tasks.is_empty()
                && self.wishes.is_empty()
                && inside.callbacks.is_empty()
                && inside.inbox.is_empty()
                && inside.feed.iter().all(VecDeque::is_empty)
        };
        quiet && self.unfinished().is_empty()
    }

    /// Starts whatever has come due.
    fn arrive(&mut self, now: i64) {
        let due: Vec<_> = self.wishes.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, wish)| self.start(Job::ApiCall(wish)));
        let called: Vec<Callback> =
            self.world.inside().callbacks.extract_if(.., |callback| callback.at <= now).collect();
        called.into_iter().for_each(|callback| self.start(Job::CallBack(callback)));
        let waiting: Vec<_> = self.world.inside().inbox.extract_if(.., |(at, _)| *at <= now).collect();
        waiting.into_iter().for_each(|(_, again)| self.start(Job::LookAgain(again)));
        if self.next_tick <= now {
            self.next_tick = now + 60_000;
            self.start(Job::Sweep);
        }
        let mut shown = Vec::new();
        {
            let mut guard = self.world.inside();
            let inside = &mut *guard;
            for message in inside.messages.iter_mut().filter(|message| message.visible_at <= now) {
                message.receives += 1;
                // At least once: now and then a message is shown while it is being worked on.
                let hidden = !inside.faults || !inside.chance.percent(2);
                message.visible_at = now + if hidden { VISIBILITY_MS } else { 50 };
                shown.push(message.clone());
            }
            inside.messages.retain(|message| message.receives <= MAX_RECEIVES);
        }
        let (alive, dead): (Vec<_>, Vec<_>) = shown.into_iter().partition(|message| message.receives <= MAX_RECEIVES);
        dead.into_iter().for_each(|message| self.start(Job::DeadLetter { key: message.hint.key }));
        for batch in alive.chunks(self.batch) {
            self.start(Job::Deliver { messages: batch.iter().map(|message| message.id).collect() });
        }
        for shard in 0..FEEDS {
            let busy = |task: &Task| matches!(task.job, Job::Project { shard: at, .. } if at == shard);
            let count = self.world.inside().feed[shard].len().min(20);
            if count > 0 && !self.tasks.iter().any(busy) {
                self.start(Job::Project { shard, count });
            }
        }
    }

    fn start(&mut self, job: Job) {
        let now = self.world.inside().now;
        let future: Pin<Box<dyn Future<Output = TaskResult>>> = match job.clone() {
            Job::ApiCall(wish) => self.call(wish),
            Job::Sweep => {
                let door = self.schedule.clone();
                Box::pin(async move { door.sweep(Sweep::Tick).await.map_or(TaskResult::Retry, |_| TaskResult::Done) })
            }
            Job::CallBack(Callback { key, report, by, .. }) => {
                let door = self.webhook[self.version()].clone();
                let Some(by) = by else {
                    let callback = webhook::Callback { key, report };
                    return self.begin(job, async move { door.record("sim", vec![callback]).await.map(drop) });
                };
                let name = format!("{:016x}", self.world.inside().fresh());
                self.begin(job, async move {
                    let told = vec![Told { about: About::Message(by), report }];
                    let (callbacks, told) = door.match_reports(Some(&key.tenant), OWN, told).await?;
                    door.record("sim", callbacks).await?;
                    let parked = UnmatchedReports { config: OWN.to_owned(), provider: "sim".to_owned(), told };
                    door.store_unmatched(&key.tenant, &name, &parked, 0).await
                });
                return;
            }
            Job::LookAgain(again) => {
                let door = self.webhook[self.version()].clone();
                return self.begin(job, async move { door.retry_unmatched(again).await });
            }
            Job::DeadLetter { key } => {
                let door = self.dead_letter[self.version()].clone();
                Box::pin(async move { door.bury(&key).await.map_or(TaskResult::Retry, |()| TaskResult::Done) })
            }
            Job::Project { shard, count } => {
                let door = self.project.clone();
                let lower = |image: &Image| {
                    let lines = image.lines.iter().map(|line| as_current_version(line)).collect();
                    Image { key: image.key.clone(), lines }
                };
                let images = self.world.inside().feed[shard].iter().take(count).map(lower).collect();
                Box::pin(async move { door.project(images).await.map_or(TaskResult::Retry, |()| TaskResult::Done) })
            }
            Job::Deliver { messages } => {
                let inside = self.world.inside();
                let found = inside.messages.iter().filter(|message| messages.contains(&message.id));
                let batch: Vec<_> = found
                    .map(|message| {
                        let key = &message.hint.key;
                        let body = json!({ "tenant": key.tenant, "id": key.id }).to_string();
                        application::hint::Message { id: message.id.to_string(), body }
                    })
                    .collect();
                drop(inside);
                let processes = &self.deliver[self.version()];
                let door = processes[self.world.inside().chance.below(PROCESSES) as usize].clone();
                let deadline = Timestamp(now + INVOCATION_MS);
                Box::pin(async move { TaskResult::AgainOf(deliver::batch(&door, batch, deadline).await) })
            }
        };
        self.tasks.push(Task { job, future, resume_at: now, deadline: now + INVOCATION_MS });
    }

    /// Work of the webhook door.
    fn begin(&mut self, job: Job, work: impl Future<Output = Result<(), Problem>> + 'static) {
        let now = self.world.inside().now;
        let future = Box::pin(async move { work.await.map_or(TaskResult::Retry, |()| TaskResult::Done) });
        self.tasks.push(Task { job, future, resume_at: now, deadline: now + INVOCATION_MS });
    }

    fn call(&self, wish: Action) -> Pin<Box<dyn Future<Output = TaskResult>>> {
        let id = |n: usize| self.accepted.get(&n).map(|key| key.id);
        let n = match &wish {
            Action::Send { n, .. } | Action::Cancel { n } | Action::Reschedule { n, .. } | Action::OptOut { n } => *n,
            Action::Resend { n, .. } | Action::Erase { n } | Action::Redrive { tenant: n } => *n,
        };
        let (method, path, key, body) = match wish {
            Action::Send { body, .. } => (Method::POST, "/send".to_owned(), Some(format!("n-{n}")), body),
            Action::Cancel { n } => match id(n) {
                Some(id) => (Method::POST, format!("/{id}/cancel"), None, json!({})),
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Reschedule { n, at } => match id(n) {
                Some(id) => {
                    let at = api::fields::show_time(Timestamp(at));
                    (Method::PATCH, format!("/{id}"), None, json!({ "scheduledAt": at }))
                }
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Resend { n, copy } => match id(n) {
                Some(id) => (Method::POST, format!("/{id}/resend"), Some(format!("n-{copy}")), json!({})),
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Redrive { tenant } => {
                let path = "/../dead-letters/redrive".to_owned();
                return self.request(tenant, Method::POST, path, None, json!({ "perSecond": 5 }));
            }
            Action::Erase { n } => {
                let Some(id) = id(n) else { return Box::pin(async { TaskResult::Done }) };
                let world = self.world.clone();
                return Box::pin(async move { world.erase(id).await.map_or(TaskResult::Retry, |()| TaskResult::Done) });
            }
            Action::OptOut { n } => {
                let (store, tenant) = (self.world.clone(), tenant(n));
                let hash = application::hash::contact_hash(&[7; 32], &tenant, &contact(n));
                let contact = AddressKey { tenant, channel: Channel::Email, contact_hash: hash };
                return Box::pin(async move {
                    let done = store.suppress(&contact, "opted_out", Timestamp(0)).await;
                    done.map_or(TaskResult::Retry, |()| TaskResult::Done)
                });
            }
        };
        self.request(n, method, path, key, body)
    }

    /// A request of the tenant that `n` belongs to.
    fn request(
        &self,
        n: usize,
        method: Method,
        path: String,
        key: Option<String>,
        body: Value,
    ) -> Pin<Box<dyn Future<Output = TaskResult>>> {
        let router = self.router.clone();
        let path = match path.strip_prefix("/..") {
            Some(path) => format!("/api{path}"),
            None => format!("/api/communications{path}"),
        };
        let api_key = TENANTS[n % 2].0;
        Box::pin(async move {
            let mut request = Request::builder().method(method).uri(path);
            request = request.header("authorization", format!("Bearer {api_key}"));
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body.to_string())).expect("a request");
            let answer = router.oneshot(request).await.expect("an answer");
            let status = answer.status();
            let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            match status.as_u16() {
                201 => TaskResult::Accepted(body["id"].as_str().expect("an id").parse().expect("an id")),
                503 => TaskResult::Retry,
                200..=499 => TaskResult::Done,
                // A stream that the next version has written to: it fails closed.
                500 if body["detail"] == "Stored data could not be read." => TaskResult::Done,
                _ => panic!("{status}: {body}"),
            }
        })
    }

    /// One I/O further, or a kill.
    fn step(&mut self, chosen: usize, now: i64) {
        self.steps += 1;
        let (killed, stalls) = {
            let mut guard = self.world.inside();
            let inside = &mut *guard;
            let killed = inside.faults && inside.chance.below(400) == 0;
            inside.resume_at = now;
            (killed, inside.faults && inside.chance.below(60) == 0)
        };
        if killed || self.tasks[chosen].deadline <= now {
            self.kills += 1;
            let task = self.tasks.swap_remove(chosen);
            self.ended(task.job, TaskResult::Retry);
            return;
        }
        let task = &mut self.tasks[chosen];
        self.world.inside().door = task.job.door();
        match task.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => task.resume_at = self.world.inside().resume_at,
            Poll::Ready(end) => {
                let task = self.tasks.swap_remove(chosen);
                self.ended(task.job, end);
            }
        }
        if std::mem::take(&mut self.world.inside().killed) {
            self.kills += 1;
            let task = self.tasks.swap_remove(chosen);
            self.ended(task.job, TaskResult::Retry);
        }
        if stalls {
            let mut guard = self.world.inside();
            let inside = &mut *guard;
            let most = if inside.chance.percent(5) { 40_000 } else { 1_500 };
            inside.now += inside.chance.below(most) as i64;
        }
    }

    fn ended(&mut self, job: Job, end: TaskResult) {
        let now = self.world.inside().now;
        match (job, end) {
            (Job::ApiCall(Action::Send { n, .. } | Action::Resend { copy: n, .. }), TaskResult::Accepted(id)) => {
                let key = StreamKey { tenant: tenant(n), id };
                let before = self.accepted.insert(n, key.clone());
                assert!(before.is_none_or(|before| before == key), "one key, one communication");
            }
            (Job::ApiCall(wish), TaskResult::Retry) => self.wishes.push((now + 2_000, wish)),
            (Job::Deliver { messages }, TaskResult::AgainOf(again)) => {
                let done = |id: u64| messages.contains(&id) && !again.contains(&id.to_string());
                self.world.inside().messages.retain(|waiting| !done(waiting.id));
            }
            (Job::Project { shard, count }, TaskResult::Done) => {
                self.world.inside().feed[shard].drain(..count);
            }
            (Job::DeadLetter { key }, TaskResult::Retry) => {
                self.start(Job::DeadLetter { key });
                self.tasks.iter_mut().next_back().expect("just begun").resume_at = now + 5_000;
            }
            (Job::CallBack(callback), TaskResult::Retry) => {
                self.world.inside().callbacks.push(Callback { at: now + 5_000, ..callback });
            }
            (Job::LookAgain(again), TaskResult::Retry) => self.world.inside().inbox.push((now + 60_000, again)),
            _ => (),
        }
    }

    /// Nothing can go on: time passes until something can.
    fn wait(&mut self) {
        let mut inside = self.world.inside();
        let tasks = self.tasks.iter().map(|task| task.resume_at);
        let wishes = self.wishes.iter().map(|(at, _)| *at);
        let queues = inside.messages.iter().map(|message| message.visible_at);
        let callbacks = inside.callbacks.iter().map(|callback| callback.at);
        let inbox = inside.inbox.iter().map(|(at, _)| *at);
        let next = tasks.chain(wishes).chain(queues).chain(callbacks).chain(inbox).chain([self.next_tick]).min();
        inside.now = next.unwrap_or(self.next_tick).max(inside.now + 1);
    }
}

fn own(port: &Arc<World>) -> Own {
    Own {
        journals: port.clone(),
        documents: port.clone(),
        sealer: port.clone(),
        connector: port.clone(),
        host: port.clone(),
        public_url: String::new(),
    }
}

fn contact(n: usize) -> String {
    format!("person-{n}@example.com")
}

/// A resend stays with its tenant.
fn tenant(n: usize) -> TenantId {
    TENANTS[n % 2].1.parse().expect("a tenant")
}

/// Ends at once: nothing in it waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("something waits"),
    }
}
