//! The deterministic simulation: the real handlers over simulated ports; a seed decides who goes on, what fails, and who is
//! killed. Then faults off: it must come to rest, and what the streams say must be what the provider saw.
//!
//! `SIM_SEEDS=2000 cargo test -p tests --test sim` runs more; `SIM_SEED=17 …` replays one.

mod exhaustive;
mod invariants;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use api::{Api, KnownKeys};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use dead_letter::DeadLetter;
use deliver::Deliver;
use domain::ports::{ContactKey, EventStore, StreamKey};
use events::{Channel, CommunicationId, Timestamp};
use schedule::{Schedule, Sweep};
use serde_json::{Value, json};
use tower::ServiceExt;
use webhook::Webhook;
use world::{Callback, World};

const T0: i64 = 1_800_000_000_000;
const COMMUNICATIONS: usize = 100;
/// Callers act during this time; faults go on for a while longer.
const BUSY_MS: i64 = 20 * 60_000;
const FAULTY_MS: i64 = 60 * 60_000;
/// It must be at rest by then.
const END_MS: i64 = 5 * 24 * 3_600_000;
const INVOCATION_MS: i64 = 30_000;
const VISIBILITY_MS: i64 = 180_000;
const MAX_RECEIVES: u32 = 5;

/// Something that a caller wants.
#[derive(Debug, Clone)]
enum Wish {
    Send { n: usize, body: Value },
    Cancel { n: usize },
    Move { n: usize, at: i64 },
    OptOut { n: usize },
}

/// What runs, and what follows when it ends or dies.
#[derive(Debug, Clone)]
enum Job {
    Call(Wish),
    Deliver { message: u64 },
    Bury { key: StreamKey },
    CallBack(Callback),
    Sweep,
}

/// How a job ended.
enum End {
    Done,
    /// To be tried again: by the caller, the queue, or the provider.
    Again,
    Accepted(CommunicationId),
}

struct Task {
    job: Job,
    future: Pin<Box<dyn Future<Output = End>>>,
    resume_at: i64,
    deadline: i64,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub communications: usize,
    pub sends: usize,
    pub duplicates: usize,
    pub faults: u64,
    pub kills: u64,
    pub steps: u64,
}

struct Simulation {
    world: World,
    router: axum::Router,
    deliver: Arc<Deliver>,
    webhook: Arc<Webhook>,
    schedule: Arc<Schedule>,
    dead_letter: Arc<DeadLetter>,
    tasks: Vec<Task>,
    wishes: Vec<(i64, Wish)>,
    accepted: BTreeMap<usize, StreamKey>,
    next_tick: i64,
    kills: u64,
    steps: u64,
}

impl Job {
    fn door(&self) -> &'static str {
        match self {
            Job::Call(_) => "api",
            Job::Deliver { .. } => "deliver",
            Job::Bury { .. } => "dead-letter",
            Job::CallBack(_) => "webhook",
            Job::Sweep => "schedule",
        }
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, T0);
        let wishes = plan(&world);
        Simulation::of(world, wishes)
    }

    fn of(world: World, wishes: Vec<(i64, Wish)>) -> Self {
        let port = Arc::new(world.clone());
        let api = Api {
            store: port.clone(),
            vault: port.clone(),
            queue: port.clone(),
            views: port.clone(),
            keys: port.clone(),
            limits: port.clone(),
            host: port.clone(),
            contact_key: vec![7; 32],
            retention_ms: 1,
            known: KnownKeys::default(),
        };
        let deliver = Deliver {
            store: port.clone(),
            vault: port.clone(),
            queue: port.clone(),
            providers: vec![port.clone()],
            alerts: port.clone(),
            host: port.clone(),
            provider_timeout_ms: 10_000,
        };
        let schedule = Schedule { store: port.clone(), queue: port.clone(), limits: port.clone(), host: port.clone() };
        let webhook = Webhook { store: port.clone(), host: port.clone(), sendgrid: None, twilio: None };
        let dead_letter = DeadLetter { store: port.clone(), alerts: port.clone(), host: port };
        Simulation {
            router: api::router(Arc::new(api)),
            world,
            deliver: Arc::new(deliver),
            webhook: Arc::new(webhook),
            schedule: Arc::new(schedule),
            dead_letter: Arc::new(dead_letter),
            tasks: Vec::new(),
            wishes,
            accepted: BTreeMap::new(),
            next_tick: T0 + 1_000,
            kills: 0,
            steps: 0,
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
        invariants::check(&self.world, &self.accepted)?;
        let inside = self.world.inside();
        let twice = world::repeated(inside.deliveries.iter().map(|delivery| delivery.attempt.communication));
        Ok(Figures {
            communications: self.accepted.len(),
            sends: inside.deliveries.len(),
            duplicates: twice.len(),
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
        let quiet = self.tasks.is_empty() && self.wishes.is_empty() && self.world.inside().callbacks.is_empty();
        quiet && self.unfinished().is_empty()
    }

    /// Starts whatever has come due.
    fn arrive(&mut self, now: i64) {
        let due: Vec<_> = self.wishes.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, wish)| self.start(Job::Call(wish)));
        let called: Vec<Callback> =
            self.world.inside().callbacks.extract_if(.., |callback| callback.at <= now).collect();
        called.into_iter().for_each(|callback| self.start(Job::CallBack(callback)));
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
        for message in shown {
            match message.receives <= MAX_RECEIVES {
                true => self.start(Job::Deliver { message: message.id }),
                false => self.start(Job::Bury { key: message.hint.key }),
            }
        }
    }

    fn start(&mut self, job: Job) {
        let now = self.world.inside().now;
        let future: Pin<Box<dyn Future<Output = End>>> = match job.clone() {
            Job::Call(wish) => self.call(wish),
            Job::Sweep => {
                let door = self.schedule.clone();
                Box::pin(async move { door.sweep(Sweep::Tick).await.map_or(End::Again, |_| End::Done) })
            }
            Job::CallBack(Callback { key, report, .. }) => {
                let door = self.webhook.clone();
                let callback = webhook::Callback { key, report };
                Box::pin(async move { door.record("sim", vec![callback]).await.map_or(End::Again, |_| End::Done) })
            }
            Job::Bury { key } => {
                let door = self.dead_letter.clone();
                Box::pin(async move { door.bury(&key).await.map_or(End::Again, |()| End::Done) })
            }
            Job::Deliver { message } => {
                let found = self.world.inside().messages.iter().find(|m| m.id == message).cloned();
                let Some(found) = found else { return };
                let door = self.deliver.clone();
                let key = found.hint.key;
                let body = json!({ "tenant": key.tenant, "id": key.id }).to_string();
                let batch = vec![shell::hint::Message { id: message.to_string(), body }];
                let deadline = Timestamp(now + INVOCATION_MS);
                Box::pin(async move {
                    let again = deliver::batch(&door, batch, deadline).await;
                    if again.is_empty() { End::Done } else { End::Again }
                })
            }
        };
        self.tasks.push(Task { job, future, resume_at: now, deadline: now + INVOCATION_MS });
    }

    fn call(&self, wish: Wish) -> Pin<Box<dyn Future<Output = End>>> {
        let id = |n: usize| self.accepted.get(&n).map(|key| key.id);
        let (method, path, key, body) = match wish {
            Wish::Send { n, body } => (Method::POST, "/send".to_owned(), Some(format!("n-{n}")), body),
            Wish::Cancel { n } => match id(n) {
                Some(id) => (Method::POST, format!("/{id}/cancel"), None, json!({})),
                None => return Box::pin(async { End::Done }),
            },
            Wish::Move { n, at } => match id(n) {
                Some(id) => {
                    let at = api::fields::show_time(Timestamp(at));
                    (Method::PATCH, format!("/{id}"), None, json!({ "scheduledAt": at }))
                }
                None => return Box::pin(async { End::Done }),
            },
            Wish::OptOut { n } => {
                let (store, tenant) = (self.world.clone(), tests::bench::tenant());
                let hash = shell::hash::contact_hash(&[7; 32], &tenant, &contact(n));
                let contact = ContactKey { tenant, channel: Channel::Email, contact_hash: hash };
                return Box::pin(async move {
                    let done = store.suppress(&contact, "opted_out", Timestamp(0)).await;
                    done.map_or(End::Again, |()| End::Done)
                });
            }
        };
        let router = self.router.clone();
        Box::pin(async move {
            let mut request = Request::builder().method(method).uri(format!("/api/communications{path}"));
            request = request.header("authorization", "Bearer td_sim");
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body.to_string())).expect("a request");
            let answer = router.oneshot(request).await.expect("an answer");
            let status = answer.status();
            let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            match status.as_u16() {
                201 => End::Accepted(body["id"].as_str().expect("an id").parse().expect("an id")),
                503 => End::Again,
                200..=499 => End::Done,
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
            self.ended(task.job, End::Again);
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
            self.ended(task.job, End::Again);
        }
        if stalls {
            let mut guard = self.world.inside();
            let inside = &mut *guard;
            let most = if inside.chance.percent(5) { 40_000 } else { 1_500 };
            inside.now += inside.chance.below(most) as i64;
        }
    }

    fn ended(&mut self, job: Job, end: End) {
        let now = self.world.inside().now;
        match (job, end) {
            (Job::Call(Wish::Send { n, .. }), End::Accepted(id)) => {
                let key = StreamKey { tenant: tests::bench::tenant(), id };
                let before = self.accepted.insert(n, key.clone());
                assert!(before.is_none_or(|before| before == key), "one key, one communication");
            }
            (Job::Call(wish), End::Again) => self.wishes.push((now + 2_000, wish)),
            (Job::Deliver { message }, End::Done) => {
                self.world.inside().messages.retain(|waiting| waiting.id != message);
            }
            (Job::Bury { key }, End::Again) => self.start(Job::Bury { key }),
            (Job::CallBack(callback), End::Again) => {
                self.world.inside().callbacks.push(Callback { at: now + 5_000, ..callback });
            }
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
        let next = tasks.chain(wishes).chain(queues).chain(callbacks).chain([self.next_tick]).min();
        inside.now = next.unwrap_or(self.next_tick).max(inside.now + 1);
    }
}

fn contact(n: usize) -> String {
    format!("person-{n}@example.com")
}

/// What callers will want, and when.
fn plan(world: &World) -> Vec<(i64, Wish)> {
    let mut guard = world.inside();
    let chance = &mut guard.chance;
    let mut wishes = Vec::new();
    for n in 0..COMMUNICATIONS {
        let at = T0 + chance.below(BUSY_MS as u64) as i64;
        let mut body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "Hello", "content": "Hello",
            "inDoubt": if chance.percent(30) { "hold" } else { "resend" },
            "priority": if chance.percent(20) { "urgent" } else { "normal" },
        });
        if chance.percent(30) {
            let later = at + 10_000 + chance.below(3_600_000) as i64;
            body["scheduledAt"] = json!(api::fields::show_time(Timestamp(later)));
        }
        wishes.push((at, Wish::Send { n, body }));
        let soon = at + chance.below(90_000) as i64;
        match chance.below(10) {
            0 | 1 => wishes.push((soon, Wish::Cancel { n })),
            2 => wishes.push((soon, Wish::Move { n, at: soon + chance.below(600_000) as i64 })),
            3 => wishes.push((soon, Wish::OptOut { n })),
            _ => (),
        }
    }
    wishes
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_is_sent_twice_unexplained() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(100),
    };
    let (count, mut sum) = (seeds.end - seeds.start, Figures::default());
    for seed in seeds {
        let figures = Simulation::new(seed).run();
        let figures = figures.unwrap_or_else(|why| {
            panic!("{why}\nreplay: SIM_SEED={seed} cargo test -p tests --test sim -- --nocapture");
        });
        sum.communications += figures.communications;
        sum.sends += figures.sends;
        sum.duplicates += figures.duplicates;
        sum.faults += figures.faults;
        sum.kills += figures.kills;
        sum.steps += figures.steps;
    }
    println!("{count} seeds: {sum:?}");
    assert!(sum.faults > 0 && sum.kills > 0 && sum.duplicates > 0, "the simulation reaches what it is for");
}

#[test]
fn a_seed_says_the_same_thing_twice() {
    let run = || Simulation::new(42).run().map(|figures| format!("{figures:?}"));
    assert_eq!(run(), run());
}
