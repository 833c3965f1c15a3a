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
use domain::aggregate::fold;
use domain::business_event::Person;
use domain::communication::State;
use domain::ports::{ContentKey, ObjectKey, QueueId};
use events::{Mode, StreamId, StreamKind, TenantId, Timestamp};
use intake::{EventSources, IntakeHandler};
use process::Process;
use publish::PublishHandler;
use schedule::SweepHandler;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::bugs::Bug;
use crate::business_plan::{Delivery, INVITATIONS, SALES, USERS, email, events_of};
use crate::manual_sends::{self, ManualSend};
use crate::publishing;
use crate::seeds::env_number;
use crate::simulation::Simulation;
use crate::world::{TENANTS, World, WorldState};
use crate::{T0, VISIBILITY_MS};

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
    Send(ManualSend),
    /// The function publish has changes of a shard.
    Publish(usize),
    Sweep,
    Process(Vec<u64>),
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
    publish: PublishHandler,
    /// The ids of events whose sender was told that they are stored.
    acknowledged: BTreeSet<String>,
    /// The requests of people that were acknowledged.
    sent: BTreeSet<ManualSend>,
}

fn tenant() -> TenantId {
    TENANTS[0].1.parse().expect("a tenant")
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
            for sale in 0..SALES {
                for n in 0..state.rng.below(3) {
                    let at = T0 + 10_000 + state.rng.below(SENDS_MS) as i64;
                    deliveries.push((at, Job::Send(ManualSend { sale, key: format!("manual-{sale}-{n}") })));
                }
            }
        }
        let sources = EventSources::all_of(ACCOUNT, tenant(), Mode::Live);
        Run {
            router: Simulation::api_router(api),
            intake: IntakeHandler { app: app.clone(), sources, unassigned: "unassigned".parse().expect("a tenant") },
            schedule: SweepHandler { store: port.clone(), queue: port.clone(), limits: port.clone(), host: port },
            process: Process { app },
            publish: publishing::handler(&world),
            world,
            tasks: Vec::new(),
            deliveries,
            next_sweep: T0,
            acknowledged: BTreeSet::new(),
            sent: BTreeSet::new(),
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
            Job::Send(send) => {
                let (router, request) = (self.router.clone(), send.request());
                Box::pin(async move {
                    let status = router.oneshot(request).await.expect("a response").status().as_u16();
                    match status {
                        200 | 202 => Outcome::Acknowledged,
                        // The invoice, or the customer's address, is not known yet.
                        404 | 409 | 503 => Outcome::Retry,
                        _ => panic!("{status}"),
                    }
                })
            }
            Job::Publish(shard) => {
                let images = publishing::next(&self.world.state(), *shard);
                let (publish, world, shard, count) = (self.publish.clone(), self.world.clone(), *shard, images.len());
                Box::pin(async move {
                    if publish.publish(images).await.is_ok() {
                        publishing::advance(&mut world.state(), shard, count);
                    }
                    Outcome::Done
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
        // One invocation at a time reads a shard.
        let is_read =
            |shard: &usize| self.tasks.iter().any(|task| matches!(task.job, Job::Publish(read) if read == *shard));
        let changed: Vec<usize> =
            publishing::waiting(&self.world.state()).into_iter().filter(|it| !is_read(it)).collect();
        changed.into_iter().for_each(|shard| self.start(Job::Publish(shard)));
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
                Job::Http(_) | Job::Send(_) => "api",
                Job::Publish(_) => "publish",
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
            (Job::Send(send), Outcome::Acknowledged) => drop(self.sent.insert(send)),
            (job @ (Job::Http(_) | Job::Bus(_)), _) => self.deliveries.push((now + 2_000, job)),
            (job @ Job::Send(_), _) => self.deliveries.push((now + 30_000, job)),
            (Job::Process(ids), Outcome::RetryItems(failed)) => {
                let is_done = |id: u64| ids.contains(&id) && !failed.contains(&id.to_string());
                self.world.state().messages.retain(|message| !is_done(message.id));
            }
            (Job::Sweep | Job::Process(_) | Job::Publish(_), _) => (),
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
    /// Messages that people asked for, and requests that waited for a printer.
    manual: usize,
    waited: usize,
    /// Public events, and those that were put on the bus more than once.
    public: usize,
    put_again: usize,
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
            // Two messages can have copies with the same bytes, and an event that was too late has left content of its own.
            let records: Vec<_> = lines.iter().map(|line| events::decode(line).expect("an event")).collect();
            let communication = fold(State::default(), &records);
            let communication = communication.requested().expect("a request");
            let content = ContentKey::for_request(&key, &communication.request, &communication.content_id);
            let content = state.vault.get(&content);
            let file = content.and_then(|content| content.attachments.first()?.attachment.clone());
            let object = file.map(|file| ObjectKey::upload(&key.tenant, &file));
            let bytes = object.as_ref().and_then(|object| state.objects.get(object));
            let (Some(object), Some(true)) = (object, bytes.map(|bytes| json!(sha256(bytes)) == *pinned)) else {
                return Err(format!("I34: the document of {} is not stored: {requested}", key.id));
            };
            used.insert(object);
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
        // A customer whose address was known in time has an invoice, too.
        let (least, most) = (INVITATIONS + SALES / 2, INVITATIONS + SALES + USERS);
        let (manual, waited) = manual_sends::check(&state, &tenant, self.sent.iter().cloned())?;
        (figures.manual, figures.waited) = (manual.len(), waited);
        if figures.messages != sent.len() + manual.len() || !(least..=most).contains(&sent.len()) {
            return Err(format!(
                "I34: {} messages, {} of events, {} of people",
                figures.messages,
                sent.len(),
                manual.len()
            ));
        }
        (figures.public, figures.put_again) = publishing::check(&state)?;
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
        sum.manual += figures.manual;
        sum.waited += figures.waited;
        sum.public += figures.public;
        sum.put_again += figures.put_again;
        sum.faults += figures.faults;
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(0 < sum.repeated && 0 < sum.faults && 0 < sum.waited && 0 < sum.put_again, "{sum:?}");
}

#[test]
fn every_planted_bug_of_events_is_found() {
    for (bug, invariants) in [
        (Bug::EventNotStored, ["I34", "I1:"]),
        (Bug::EventTimerLost, ["I34", "I1:"]),
        (Bug::EventDataLost, ["I34", "I1:"]),
        (Bug::DocumentLost, ["I34", "I1:"]),
        (Bug::SendingTimerLost, ["I41", "I1:"]),
        (Bug::FailedEntriesUnread, ["I40", "I40"]),
    ] {
        let found = (0..SEEDS).find_map(|seed| Run::new(seed, Some(bug)).run().err().map(|why| (seed, why)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: found with seed {seed} by {}", why.lines().next().unwrap_or_default());
        assert!(invariants.iter().any(|name| why.starts_with(name)), "{bug:?}: {why}");
    }
}
