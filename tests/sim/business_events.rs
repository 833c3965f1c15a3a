//! Business events: a sender doubles, reorders and delays them, over HTTP and from the bus, while I/O fails and processes
//! die. Then each event has ended, and has had its effects once.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use application::App;
use application::business_events::id_of;
use application::hash::sha256;
use application::hint::QueueMessage;
use application::kinds::rules_of;
use axum::body::Body;
use axum::http::Request;
use domain::business_event::Person;
use domain::ports::QueueId;
use events::{Mode, StreamId, StreamKind, TenantId, Timestamp};
use intake::{EventSources, IntakeHandler};
use process::Process;
use schedule::SweepHandler;
use serde_json::{Value, json};
use tests::rng::SeededRng;
use tower::ServiceExt;

use crate::bugs::Bug;
use crate::seeds::env_number;
use crate::simulation::Simulation;
use crate::world::{TENANTS, World, WorldState};
use crate::{T0, VISIBILITY_MS};

const USERS: usize = 4;
const INVITATIONS: usize = 10;
const ALERTS: usize = 3;
/// Sales whose invoices are printed. Each is told twice, by two ids. Half of the customers have no address.
const SALES: usize = 6;
/// The sender acts during this time.
const SENDS_MS: u64 = 20 * 60_000;
const FAULTS_STOP_MS: i64 = 60 * 60_000;
const END_MS: i64 = 26 * 3_600_000;
const SEEDS: u64 = 20;
const ACCOUNT: &str = "111111111111";

type Work = Pin<Box<dyn Future<Output = Outcome>>>;

enum Outcome {
    Done,
    /// It was answered with 2xx, or deleted from the queue. The event is not lost.
    Acknowledged,
    Retry,
    RetryItems(Vec<String>),
}

#[derive(Clone)]
enum Job {
    Http(Delivery),
    Bus(Delivery),
    Sweep,
    Process(Vec<u64>),
}

/// One delivery of an event. An event has several.
#[derive(Clone)]
struct Delivery {
    id: String,
    kind: &'static str,
    data: Value,
    occurred_at: i64,
}

struct Task {
    job: Job,
    work: Work,
}

struct Run {
    world: World,
    router: axum::Router,
    intake: IntakeHandler,
    schedule: SweepHandler,
    process: Process,
    tasks: Vec<Task>,
    deliveries: Vec<(i64, Job)>,
    next_sweep: i64,
    /// The ids of events whose sender was told that they are stored.
    acknowledged: BTreeSet<String>,
}

fn tenant() -> TenantId {
    TENANTS[0].1.parse().expect("a tenant")
}

fn email(n: usize, revision: i64) -> String {
    format!("person-{n}-{revision}@example.com")
}

/// Every event, with the time at which it happens.
fn events_of(rng: &mut SeededRng) -> Vec<Delivery> {
    let mut all = Vec::new();
    for n in 0..USERS {
        for revision in 0..3 {
            let user = json!({ "id": n.to_string(), "email": email(n, revision), "roles": ["inventory_manager"] });
            let kind = if revision == 0 { "user.created" } else { "user.changed" };
            let id = format!("user-{n}-{revision}");
            all.push(Delivery { id, kind, data: json!({ "user": user }), occurred_at: T0 + 1_000 * revision });
        }
    }
    for n in 0..INVITATIONS {
        // Some invitations are told twice, by two ids.
        for copy in 0..1 + usize::from(rng.percent(30)) {
            let data = json!({
                "inviteId": format!("invite-{n}"), "user": { "id": (n % USERS).to_string(), "email": format!("person-i{n}@example.com") },
                "businessName": "Acme", "inviteUrl": "https://app.example.com/i",
            });
            all.push(Delivery { id: format!("invite-{n}-{copy}"), kind: "user.invited", data, occurred_at: T0 });
        }
    }
    for n in 0..ALERTS {
        let data = json!({ "alert": { "id": format!("alert-{n}") }, "location": { "name": "Main" }, "items": [{ "name": "Oil" }] });
        all.push(Delivery { id: format!("stock-{n}"), kind: "low_stock.detected", data, occurred_at: T0 });
    }
    for n in 0..SALES {
        for copy in 0..2 {
            let mut customer = json!({ "id": format!("c{n}"), "name": format!("person-{n}") });
            if n % 2 == 0 {
                customer["email"] = email(n, 2).into();
            }
            let data = json!({
                "sale": { "id": n.to_string(), "number": format!("INV-{n}"), "date": "2027-01-10", "total": "121.00",
                          "currency": "EUR", "lines": [{ "description": "Rope", "total": "121.00" }] },
                "customer": customer,
            });
            all.push(Delivery { id: format!("sale-{n}-{copy}"), kind: "sale.created", data, occurred_at: T0 });
        }
    }
    all.push(Delivery { id: "moon".to_owned(), kind: "moon.landed", data: json!({}), occurred_at: T0 });
    all.push(Delivery { id: "bad".to_owned(), kind: "user.created", data: json!({}), occurred_at: T0 });
    all
}

impl Run {
    fn new(seed: u64, bug: Option<Bug>) -> Run {
        let world = World::new(4 * seed + 2, T0);
        let app = Simulation::app(&world);
        // The function api has no printer, and leaves sales to the function process.
        let api = Arc::new(App { printer: None, ..Arc::into_inner(Simulation::app(&world)).expect("the only one") });
        let port = Arc::new(world.clone());
        let mut deliveries = Vec::new();
        {
            let mut state = world.state();
            state.bug = bug;
            state.projects = false;
            for event in events_of(&mut state.rng) {
                for _ in 0..1 + state.rng.below(3) {
                    let at = T0 + 10_000 + state.rng.below(SENDS_MS) as i64;
                    // Over HTTP an event that is not valid is refused, and nobody is told that it is stored.
                    let is_http = state.rng.percent(50) && event.id != "bad";
                    deliveries.push((at, if is_http { Job::Http(event.clone()) } else { Job::Bus(event.clone()) }));
                }
            }
        }
        let sources = EventSources::all_of(ACCOUNT, tenant(), Mode::Live);
        Run {
            router: Simulation::api_router(api),
            intake: IntakeHandler { app: app.clone(), sources, unassigned: "unassigned".parse().expect("a tenant") },
            schedule: SweepHandler { store: port.clone(), queue: port.clone(), limits: port.clone(), host: port },
            process: Process { app },
            world,
            tasks: Vec::new(),
            deliveries,
            next_sweep: T0,
            acknowledged: BTreeSet::new(),
        }
    }

    fn start(&mut self, job: Job) {
        let work: Work = match &job {
            Job::Http(event) => {
                let time = api::fields::show_time(Timestamp(event.occurred_at));
                let body =
                    json!({ "id": event.id, "type": event.kind, "source": "erp", "time": time, "data": event.data });
                let request = Request::post("/api/events").header("authorization", format!("Bearer {}", TENANTS[0].0));
                let request = request.body(Body::from(body.to_string())).expect("a request");
                let router = self.router.clone();
                Box::pin(async move {
                    let status = router.oneshot(request).await.expect("a response").status().as_u16();
                    match status {
                        202 => Outcome::Acknowledged,
                        503 => Outcome::Retry,
                        _ => panic!("{status}"),
                    }
                })
            }
            Job::Bus(event) => {
                let time = api::fields::show_time(Timestamp(event.occurred_at));
                let detail = json!({
                    "specversion": "1.0", "id": event.id, "type": event.kind, "source": "erp", "time": time, "data": event.data,
                });
                let body = json!({
                    "id": "bus", "detail-type": "CloudEvent", "source": "erp", "account": ACCOUNT, "time": time, "detail": detail,
                });
                let message = QueueMessage { id: event.id.clone(), body: body.to_string() };
                let intake = self.intake.clone();
                Box::pin(async move {
                    let failed = intake.batch(vec![message]).await;
                    if failed.is_empty() { Outcome::Acknowledged } else { Outcome::Retry }
                })
            }
            Job::Sweep => {
                let schedule = self.schedule.clone();
                let swept = async move { schedule.sweep().await };
                Box::pin(async move { swept.await.map_or(Outcome::Retry, |_| Outcome::Done) })
            }
            Job::Process(ids) => {
                let state = self.world.state();
                let found = state.messages.iter().filter(|message| ids.contains(&message.id));
                let batch = found.map(|message| QueueMessage { id: message.id.to_string(), body: message.hint.body() });
                let (process, batch) = (self.process.clone(), batch.collect());
                Box::pin(async move { Outcome::RetryItems(process.batch(batch).await) })
            }
        };
        self.tasks.push(Task { job, work });
    }

    fn start_due(&mut self, now: i64) {
        let due: Vec<_> = self.deliveries.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, job)| self.start(job));
        if self.next_sweep <= now {
            self.next_sweep = now + 60_000;
            self.start(Job::Sweep);
        }
        let mut received = Vec::new();
        {
            let mut guard = self.world.state();
            let state = &mut *guard;
            state.messages.retain(|message| message.hint.queue == QueueId::Process);
            for message in state.messages.iter_mut().filter(|message| message.visible_at <= now) {
                let is_duplicated = state.faults && state.rng.percent(4);
                message.visible_at = now + if is_duplicated { 50 } else { VISIBILITY_MS };
                received.push(message.id);
            }
        }
        received.chunks(3).for_each(|batch| self.start(Job::Process(batch.to_vec())));
    }

    fn step(&mut self) {
        let chosen = self.world.state().rng.below(self.tasks.len() as u64) as usize;
        let is_killed = {
            let mut guard = self.world.state();
            let state = &mut *guard;
            state.now += 20;
            state.function_name = match self.tasks[chosen].job {
                Job::Http(_) => "api",
                Job::Bus(_) => "intake",
                Job::Sweep => "schedule",
                Job::Process(_) => "process",
            };
            state.faults && state.rng.below(200) == 0
        };
        let outcome = if is_killed {
            Some(Outcome::Retry)
        } else {
            match self.tasks[chosen].work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            }
        };
        let Some(outcome) = outcome else { return };
        let Task { job, work } = self.tasks.swap_remove(chosen);
        drop(work);
        let now = self.world.state().now;
        match (job, outcome) {
            (Job::Http(event) | Job::Bus(event), Outcome::Acknowledged) => drop(self.acknowledged.insert(event.id)),
            (job @ (Job::Http(_) | Job::Bus(_)), _) => self.deliveries.push((now + 2_000, job)),
            (Job::Process(ids), Outcome::RetryItems(failed)) => {
                let is_done = |id: u64| ids.contains(&id) && !failed.contains(&id.to_string());
                self.world.state().messages.retain(|message| !is_done(message.id));
            }
            (Job::Sweep | Job::Process(_), _) => (),
        }
    }

    fn run(&mut self) -> Result<Figures, String> {
        loop {
            let now = self.world.state().now;
            self.world.state().faults = now < T0 + FAULTS_STOP_MS;
            if T0 + END_MS <= now {
                break;
            }
            self.start_due(now);
            if self.tasks.is_empty() {
                let next = self.deliveries.iter().map(|(at, _)| *at).min().unwrap_or(i64::MAX);
                self.world.state().now = next.min(self.next_sweep).max(now + 50);
            } else {
                self.step();
            }
        }
        self.check()
    }
}

/// What happened in a run. The test asserts on it, so that runs are known to cover every case.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Figures {
    events: usize,
    messages: usize,
    documents: usize,
    repeated: usize,
    faults: u64,
}

impl Run {
    /// Each invoice that was sent has its document: the bytes whose hash its message pins. No document is left over that
    /// belongs to no message.
    fn check_documents(&self, state: &WorldState) -> Result<usize, String> {
        let mut used = BTreeSet::new();
        for key in state.communications() {
            let lines = state.history(&key.stream_id());
            let requested: Value = serde_json::from_str(lines.first().expect("a request")).expect("JSON");
            if requested["data"]["type"] != "invoice" {
                continue;
            }
            let pinned = &requested["data"]["attachments"][0]["sha256"];
            let Some((object, _)) = state.objects.iter().find(|(_, bytes)| json!(sha256(bytes)) == *pinned) else {
                return Err(format!("I34: the document of {} is not stored: {requested}", key.id));
            };
            used.insert(object.clone());
        }
        match state.objects.keys().find(|key| !used.contains(*key)) {
            Some(orphan) => Err(format!("I34: no message has the document {}", orphan.path())),
            None => Ok(used.len()),
        }
    }

    /// I34: each event that was acknowledged is stored and has ended, and its effects exist once, by their business
    /// names. What is known of a person is what the newest event says.
    fn check(&self) -> Result<Figures, String> {
        let state = self.world.state();
        let mut figures = Figures { faults: state.injected, ..Figures::default() };
        let tenant = tenant();
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for event in &self.acknowledged {
            let id = StreamId::new(&tenant, StreamKind::BUSINESS_EVENT, id_of(&tenant, Mode::Live, "erp", event));
            let lines = state.history(&id);
            let fail = |why: &str| Err(format!("I34: {event} {why}: {lines:#?}"));
            let Some((stream, ..)) = state.streams.get(&id).filter(|(stream, ..)| stream.version > 0) else {
                return fail("was acknowledged, and is not stored");
            };
            let audited = (rules_of(&id).expect("a kind").audit)(stream, &lines, Timestamp(state.now));
            if let Some(violation) = audited.violations.first() {
                return Err(format!("{}: {}: {event}", violation.invariant, violation.what));
            }
            if !audited.is_complete {
                return fail("has not ended");
            }
            let last = lines.last().expect("events");
            let expected = match event.as_str() {
                "moon" => "BusinessEventUnhandled",
                "bad" => "BusinessEventParked",
                _ => "BusinessEventHandled",
            };
            if !last.contains(expected) {
                return fail("has ended in another way");
            }
            if lines.iter().any(|line| line.contains("person-")) {
                return Err(format!("I10: personal data in {event}"));
            }
            figures.events += 1;
            figures.repeated += last.matches("already_sent").count();
            let references = last.split(r#""ref":""#).skip(1);
            for part in references.filter(|part| part.starts_with("com_")) {
                let reference = part.split('"').next().unwrap_or_default();
                let is_own = !part.split('}').next().unwrap_or_default().contains("already_sent");
                *sent.entry(reference.to_owned()).or_default() += usize::from(is_own);
                let key = StreamId::new(&tenant, StreamKind::COMMUNICATION, reference);
                if state.history(&key).is_empty() {
                    return fail("names a message that does not exist");
                }
            }
        }
        figures.messages = state.communications().count();
        if let Some((reference, times)) = sent.iter().find(|(_, times)| **times != 1) {
            return Err(format!("I34: {times} events say that they sent {reference}"));
        }
        figures.documents = self.check_documents(&state)?;
        // One for each invitation and each second sale, and one of each user for at most one of the alerts at the
        // location.
        let least = INVITATIONS + SALES / 2;
        if figures.messages != sent.len() || figures.messages < least || least + USERS < figures.messages {
            return Err(format!("I34: {} messages, {} of events", figures.messages, sent.len()));
        }
        for (key, document) in
            state.documents.iter().filter(|(key, _)| key.collection == "person" && key.name.contains("user:"))
        {
            let n: usize = key.name.rsplit(':').next().and_then(|id| id.parse().ok()).expect("a user");
            let person: Person = serde_json::from_str(document).expect("a person");
            if person.email != Some(email(n, 2)) {
                return Err(format!("I34: an older event decided about {}", key.name));
            }
        }
        Ok(figures)
    }
}

#[test]
fn each_event_ends_and_has_its_effects_once() {
    let seeds = env_number("SIM_SEEDS").map_or(SEEDS, |seeds| seeds / 10).max(1);
    let mut sum = Figures::default();
    for seed in env_number("SIM_SEED").map_or(0..seeds, |seed| seed..seed + 1) {
        let figures = Run::new(seed, None).run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        sum.events += figures.events;
        sum.messages += figures.messages;
        sum.documents += figures.documents;
        sum.repeated += figures.repeated;
        sum.faults += figures.faults;
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(0 < sum.repeated && 0 < sum.faults, "{sum:?}");
}

#[test]
fn every_planted_bug_of_events_is_found() {
    for bug in [Bug::EventNotStored, Bug::EventTimerLost, Bug::EventDataLost, Bug::DocumentLost] {
        let found = (0..SEEDS).find_map(|seed| Run::new(seed, Some(bug)).run().err().map(|why| (seed, why)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: found with seed {seed} by {}", why.lines().next().unwrap_or_default());
        assert!(why.starts_with("I34") || why.starts_with("I1:"), "{bug:?}: {why}");
    }
}
