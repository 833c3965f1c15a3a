//! Every kind of stream under faults: several callers change the same streams at once, answers are lost, processes die
//! and streams roll over. No acknowledged change is lost, and none is stored twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use application::kinds::{KINDS, rules_of};
use application::{CommandContext, CommandExecutor, ExecuteError};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use domain::aggregate::{Aggregate, AggregateId};
use domain::business_event::{BusinessEventState, Command as BusinessEventCommand, Received};
use domain::collect::{
    CollectionsState, DebtorCommand, DebtorState, NoticeCommand, NoticeState, SETTINGS_STREAM, SentNotice,
    SettingsCommand,
};
use domain::inbound_message::InboundMessageState;
use domain::invoice::InvoiceState;
use domain::payment_link::{Command as LinkCommand, PaymentLinkState};
use events::{
    Channel, CollectionSettings, CommunicationId, EventClassification, FactSource, InboundMessageEvent, IntakeChannel,
    InvoiceEvent, InvoiceRef, LinkRevokeReason, Mode, NoticeInvoice, ParkReason, StreamKind, Timestamp,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::bugs::Bug;
use crate::seeds::env_number;
use crate::simulation::Simulation;
use crate::world::{TENANTS, World};
use crate::{INVOCATION_MS, T0};

/// Clients that change streams of the same kind and tenant at once.
const CLIENTS: usize = 3;
/// Requests of each client.
const REQUESTS: usize = 24;
const SEEDS: u64 = 12;
/// Maximum tries of one request. The second half meet no faults.
const TRIES: usize = 60;

/// What a client knows about a request after its response.
enum Answer {
    /// The request was stored. The stream's history contains the text.
    Acknowledged(Option<String>),
    Refused,
    /// The outcome is unknown, so the client repeats the request.
    Unknown,
}

type Work = Pin<Box<dyn Future<Output = Answer>>>;

/// One request to a kind of stream: the `step`th of a client.
type Scenario = fn(&Environment, usize, usize) -> Work;

/// The scenario of each kind that has no simulation of its own.
const SCENARIOS: [(StreamKind, Scenario); 15] = [
    (StreamKind::TEMPLATE, templates),
    (StreamKind::API_KEY, keys),
    (StreamKind::PROVIDER_CONFIG, provider_configs),
    (StreamKind::ROUTING, routing),
    (StreamKind::TENANT_LIMITS, limits),
    (StreamKind::PREFERENCE, preferences),
    (StreamKind::INBOUND_MESSAGE, inbound_messages),
    (StreamKind::BUSINESS_EVENT, business_events),
    (StreamKind::INVOICE, invoices),
    (StreamKind::COLLECTIONS, collections),
    (StreamKind::DEBTOR, debtors),
    (StreamKind::NOTICE, notices),
    (StreamKind::PAYMENT_LINK, payment_links),
    (StreamKind::EVENT_MAPPING, event_mappings),
    (StreamKind::AUTOMATION, automations),
];
/// Kinds that `simulation.rs`, `schedules.rs` and `backfills.rs` simulate.
const SIMULATED_ELSEWHERE: [StreamKind; 3] = [StreamKind::COMMUNICATION, StreamKind::SCHEDULE, StreamKind::BACKFILL];

struct Environment {
    world: World,
    router: axum::Router,
}

impl Environment {
    fn new(seed: u64) -> Environment {
        let simulation = Simulation::of(World::new(seed, T0), Vec::new());
        Environment { world: simulation.world, router: simulation.router }
    }

    /// The ids of the tenant's streams of a kind.
    fn ids(&self, kind: StreamKind) -> Vec<String> {
        let state = self.world.state();
        let mine = state.streams.keys().filter(|id| id.kind == kind && id.tenant.as_str() == TENANTS[0].1);
        mine.map(|id| id.id.clone()).collect()
    }

    fn request(&self, method: Method, path: String, body: Value, mark: Option<String>) -> Work {
        let router = self.router.clone();
        Box::pin(async move {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("authorization", format!("Bearer {}", TENANTS[0].0));
            let request = request.body(Body::from(body.to_string())).expect("a request");
            let response = router.oneshot(request).await.expect("a response");
            let status = response.status().as_u16();
            let text = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            match status {
                200..=299 => Answer::Acknowledged(mark),
                503 => Answer::Unknown,
                400 | 401 | 403 | 405 => panic!("{status}: {}", String::from_utf8_lossy(&text)),
                402..=499 => Answer::Refused,
                _ => panic!("{status}: {}", String::from_utf8_lossy(&text)),
            }
        })
    }
}

fn nothing() -> Work {
    Box::pin(async { Answer::Refused })
}

fn templates(at: &Environment, client: usize, step: usize) -> Work {
    let ids = at.ids(StreamKind::TEMPLATE);
    let path = |id: &str| format!("/api/communication-templates/{id}");
    let mark = format!("Name {client}-{step}");
    match (step % 8, ids.get(client % ids.len().max(1))) {
        (0, _) | (_, None) => {
            let body = json!({
                "name": mark, "code": format!("code-{}", step % 16), "channel": "sms", "type": "general",
                "bodyTemplate": "Hello {{name}}",
            });
            at.request(Method::POST, "/api/communication-templates".to_owned(), body, Some(mark))
        }
        (7, Some(id)) if step == REQUESTS - 1 && client == 0 => at.request(Method::DELETE, path(id), json!({}), None),
        (5, Some(id)) => at.request(Method::PATCH, path(id), json!({ "bodyTemplate": format!("Hi {step}") }), None),
        (3, Some(id)) => {
            let body = json!({ "bodyTemplate": format!("Hi {{{{name}}}} {step}") });
            at.request(Method::PUT, format!("{}/draft", path(id)), body, None)
        }
        (4, Some(id)) => at.request(Method::POST, format!("{}/draft/publish", path(id)), json!({}), None),
        (_, Some(id)) => at.request(Method::PATCH, path(id), json!({ "name": mark }), Some(mark.clone())),
    }
}

fn keys(at: &Environment, client: usize, step: usize) -> Work {
    let ids = at.ids(StreamKind::API_KEY);
    match ids.get(client) {
        Some(id) if step % 3 == 2 => at.request(Method::DELETE, format!("/api/keys/{id}"), json!({}), None),
        _ => {
            let mark = format!("key-{client}-{step}");
            at.request(Method::POST, "/api/keys".to_owned(), json!({ "name": mark, "role": "viewer" }), Some(mark))
        }
    }
}

fn provider_configs(at: &Environment, client: usize, step: usize) -> Work {
    let ids = at.ids(StreamKind::PROVIDER_CONFIG);
    let mark = format!("config-{client}-{step}");
    match (step % 6, ids.get(client % ids.len().max(1))) {
        (0, _) | (_, None) => {
            let body = json!({ "provider": "sim", "channel": "email", "name": mark, "settings": {} });
            at.request(Method::POST, "/api/channels".to_owned(), body, Some(mark))
        }
        (5, Some(id)) if step > REQUESTS / 2 => {
            at.request(Method::DELETE, format!("/api/channels/{id}"), json!({}), None)
        }
        (_, Some(id)) => {
            at.request(Method::PATCH, format!("/api/channels/{id}"), json!({ "name": mark }), Some(mark.clone()))
        }
    }
}

fn routing(at: &Environment, client: usize, step: usize) -> Work {
    if step < 2 {
        return provider_configs(at, client, step * 6);
    }
    let state = at.world.state();
    let listed = state.listed.iter().filter(|(id, is_current)| {
        **is_current && id.kind == StreamKind::PROVIDER_CONFIG && id.tenant.as_str() == TENANTS[0].1
    });
    let mut order: Vec<String> = listed.map(|(id, _)| id.id.clone()).collect();
    drop(state);
    if order.is_empty() {
        return nothing();
    }
    let by = (client + step) % order.len();
    order.rotate_left(by);
    at.request(Method::POST, "/api/channels/order".to_owned(), json!({ "channel": "email", "order": order }), None)
}

fn limits(at: &Environment, client: usize, step: usize) -> Work {
    let rate = json!({ "burst": 1_000 + client, "perSecond": 1 + step });
    let caps = json!({ "USD": 1_000_000 + step, "KES": if client == 0 { json!(null) } else { json!(step) } });
    at.request(Method::PATCH, "/api/limits".to_owned(), json!({ "rate": rate, "dailySpendCapsMicros": caps }), None)
}

fn preferences(at: &Environment, client: usize, step: usize) -> Work {
    let path = format!("/api/communication-preferences/customer/{}", (client + step) % 2);
    let email = format!("p{client}x{step}@sim.test");
    let body = match step % 3 {
        0 => json!({ "smsEnabled": step.is_multiple_of(2) }),
        1 => json!({ "preferences": { "invoice": ["email"] }, "preferredEmail": email }),
        _ => json!({ "whatsappEnabled": client == 0 }),
    };
    at.request(Method::PATCH, path, body, None)
}

/// The same callback arrives at every client.
/// Executes a command without a route. `mark` is a text that its event contains, if it always has one.
fn command<A>(at: &Environment, id: String, command: A::Command, mark: Option<String>) -> Work
where
    A: Aggregate,
    A::Command: 'static,
{
    let world = at.world.clone();
    Box::pin(async move {
        let context = CommandContext::function("process");
        let executor = CommandExecutor { store: &world, host: &world, origin: &context };
        let tenant = TENANTS[0].1.parse().expect("a tenant");
        match executor.execute(&AggregateId::<A>::new(&tenant, id), command).await {
            Ok(_) => Answer::Acknowledged(mark),
            Err(ExecuteError::Rejected(_) | ExecuteError::StreamFull) => Answer::Refused,
            Err(_) => Answer::Unknown,
        }
    })
}

/// The same events arrive at every client, which handles, parks and replays them.
fn business_events(at: &Environment, client: usize, step: usize) -> Work {
    let name = format!("event-{}", step % 6);
    let classification = EventClassification {
        kind: "sale.created".to_owned(),
        version: 1,
        mapping: None,
        subject: None,
        mentions: Vec::new(),
        content: format!("-#{name}"),
    };
    let chosen = match (step / 6 + client) % 4 {
        0 => BusinessEventCommand::Receive(Box::new(Received {
            source: "erp".to_owned(),
            event_id: name.clone(),
            occurred_at: Timestamp(T0),
            body_hash: "hash".to_owned(),
            via: IntakeChannel::Bus,
            mode: Mode::Live,
            classification,
        })),
        1 => BusinessEventCommand::Park { reason: ParkReason::HandlerFailed, faults: Vec::new() },
        2 => BusinessEventCommand::Replay { by: format!("client-{client}-{step}"), classification },
        _ => BusinessEventCommand::Handle(Vec::new()),
    };
    command::<BusinessEventState>(at, name, chosen, None)
}

fn inbound_messages(at: &Environment, _: usize, step: usize) -> Work {
    let name = format!("message-{}", step % 8);
    let event = InboundMessageEvent::MessageReceived {
        channel: Channel::Whatsapp,
        config: "sim-a".to_owned(),
        provider: "sim".to_owned(),
        provider_message_id: name.clone(),
        contact_hash: "hash".to_owned(),
        kind: "text".to_owned(),
        keyword: None,
        sent_at: Timestamp(T0),
        content: name.clone(),
    };
    command::<InboundMessageState>(at, name.clone(), event, Some(name))
}

/// Payments of two invoices, from several sources at once.
fn invoices(at: &Environment, client: usize, step: usize) -> Work {
    let invoice = InvoiceRef { mode: Mode::Live, namespace: "flowpos".to_owned(), id: format!("{}", step % 2) };
    let payment = format!("pay-{client}-{step}");
    let source = FactSource { event: payment.clone(), occurred_at: Timestamp(T0 + step as i64), revision: None };
    let fact = InvoiceEvent::PaymentRecorded {
        payment: payment.clone(),
        amount: 1,
        currency: "EUR".to_owned(),
        received_at: Timestamp(T0),
        link: None,
        source,
    };
    let name = domain::invoice::stream_name(&TENANTS[0].1.parse().expect("a tenant"), &invoice);
    let record = domain::invoice::Command::Record { reference: invoice, facts: vec![fact], collect_from: None };
    command::<InvoiceState>(at, name, record, Some(payment))
}

fn collections(at: &Environment, client: usize, step: usize) -> Work {
    let mark = format!("2027-{:02}-{:02}", client + 1, step + 1);
    let settings = CollectionSettings { holidays: vec![mark.clone()], ..domain::collect::defaults() };
    let change = SettingsCommand::Change { expected: None, settings: Box::new(settings) };
    command::<CollectionsState>(at, SETTINGS_STREAM.to_owned(), change, Some(mark))
}

fn debtors(at: &Environment, client: usize, step: usize) -> Work {
    let notice = format!("ntc-{client}-{step}");
    let sent = SentNotice { mode: Mode::Live, day: "2027-01-02".to_owned(), notice: notice.clone() };
    command::<DebtorState>(at, format!("customer:{}", step % 2), DebtorCommand::RecordNotice(sent), Some(notice))
}

fn notices(at: &Environment, client: usize, step: usize) -> Work {
    let invoice = format!("inv-{client}-{step}");
    let join = NoticeCommand::Join {
        mode: Mode::Live,
        customer: None,
        day: "2027-01-02".to_owned(),
        due_at: Timestamp(T0),
        joined: NoticeInvoice { invoice: invoice.clone(), round: 0, step: "d1".to_owned() },
        reference: InvoiceRef { mode: Mode::Live, namespace: "flowpos".to_owned(), id: "7".to_owned() },
        most: 50,
    };
    command::<NoticeState>(at, format!("ntc-{}", step % 4), join, Some(invoice))
}

/// The same links are created, sent, opened, used and revoked by every client.
fn payment_links(at: &Environment, client: usize, step: usize) -> Work {
    let number = 1 + (step % 3) as u32;
    let payment = format!("pay-{client}-{step}");
    let (chosen, mark) = match (step / 3 + client) % 5 {
        0 | 1 if step < 3 => {
            let (invoice, expires_at) = ("inv-1".to_owned(), Timestamp(T0));
            (LinkCommand::Create { mode: Mode::Live, invoice, number, expires_at }, None)
        }
        0 => (LinkCommand::Open, None),
        1 | 2 => (LinkCommand::Use { payment: payment.clone() }, Some(payment)),
        3 => {
            let communication = CommunicationId::generate(Timestamp(T0), (client + 10 * step) as u128);
            (LinkCommand::RecordSending { channel: Channel::Sms, communication }, None)
        }
        _ => (LinkCommand::Revoke { reason: LinkRevokeReason::Requested, by: payment }, None),
    };
    command::<PaymentLinkState>(at, format!("pay-{number}"), chosen, mark)
}

fn event_mappings(at: &Environment, client: usize, step: usize) -> Work {
    let path = format!("/api/event-mappings/source-{}", step % 2);
    let prefix = format!("prefix-{client}-{step}.");
    at.request(Method::PUT, path, json!({ "typePrefix": prefix, "types": { "Sale": "sale.created" } }), Some(prefix))
}

fn automations(at: &Environment, client: usize, step: usize) -> Work {
    let page = format!("https://pay.example.com/{client}-{step}");
    let path = "/api/automations/payment_link".to_owned();
    at.request(Method::PATCH, path, json!({ "paymentUrl": page }), Some(page))
}

/// A client with its remaining requests.
struct Client {
    number: usize,
    steps: VecDeque<usize>,
    tries: usize,
    work: Option<Work>,
}

/// Runs the clients of one scenario until all have their answers. Returns the texts of acknowledged requests.
fn run(at: &Environment, scenario: Scenario) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let new = |number| Client { number, steps: (0..REQUESTS).collect(), tries: 0, work: None };
    let mut clients: Vec<Client> = (0..CLIENTS).map(new).collect();
    while !clients.is_empty() {
        let chosen = at.world.state().rng.below(clients.len() as u64) as usize;
        let client = &mut clients[chosen];
        let Some(step) = client.steps.front().copied() else {
            clients.swap_remove(chosen);
            continue;
        };
        let mut work = match client.work.take() {
            Some(work) => work,
            None => {
                client.tries += 1;
                assert!(client.tries < TRIES, "request {step} of client {} never ends", client.number);
                scenario(at, client.number, step)
            }
        };
        {
            let mut state = at.world.state();
            state.faults = client.tries < TRIES / 2;
            state.function_name = "api";
            state.now += 50;
            // The process dies, and its client sends the request again.
            if state.faults && state.rng.below(200) == 0 {
                state.now += INVOCATION_MS;
                continue;
            }
        }
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => client.work = Some(work),
            Poll::Ready(Answer::Unknown) => (),
            Poll::Ready(answer) => {
                if let Answer::Acknowledged(Some(mark)) = answer {
                    acknowledged.push(mark);
                }
                client.steps.pop_front();
                client.tries = 0;
            }
        }
    }
    acknowledged
}

/// I14: acknowledged changes are stored, no event is stored twice, a snapshot agrees with its events, and lists agree
/// with the streams' states. Returns the number of streams that rolled over.
fn check(at: &Environment, kind: &StreamKind, acknowledged: &[String]) -> Result<usize, String> {
    let state = at.world.state();
    let mut text = String::new();
    let mut rolled_over = 0;
    for (id, (stream, ..)) in state.streams.iter().filter(|(id, _)| id.tenant.as_str() == TENANTS[0].1) {
        let rules = rules_of(id).ok_or_else(|| format!("unknown kind of {id}"))?;
        let lines = state.history(id);
        let audited = (rules.audit)(stream, &lines, Timestamp(state.now));
        if let Some(violation) = audited.violations.first() {
            return Err(format!("{}: {}: {id}", violation.invariant, violation.what));
        }
        let distinct: BTreeSet<&String> = lines.iter().collect();
        if distinct.len() < lines.len() {
            return Err(format!("I14: an event is stored twice in {id}"));
        }
        let is_listed = state.listed.get(id).copied().unwrap_or(false);
        if is_listed != audited.is_listed {
            return Err(format!("I14: {id} is listed: {is_listed}, by its state: {}", audited.is_listed));
        }
        rolled_over += usize::from(stream.snapshot.is_some());
        lines.iter().for_each(|line| text.push_str(line));
    }
    match acknowledged.iter().find(|mark| !text.contains(mark.as_str())) {
        Some(lost) => Err(format!("I14: {lost:?} was acknowledged by a stream of {kind}, and is lost")),
        None => Ok(rolled_over),
    }
}

fn simulate(kind: &StreamKind, scenario: Scenario, seed: u64, bug: Option<Bug>) -> Result<usize, String> {
    let at = Environment::new(4 * seed + 2);
    at.world.state().bug = bug;
    let acknowledged = run(&at, scenario);
    check(&at, kind, &acknowledged)
}

#[test]
fn no_kind_of_stream_loses_an_acknowledged_change() {
    let seeds = env_number("SIM_SEEDS").map_or(SEEDS, |seeds| seeds / 10).max(1);
    let mut rolled_over: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, scenario) in SCENARIOS {
        for seed in 0..seeds {
            let count = simulate(&kind, scenario, seed, None);
            *rolled_over.entry(kind.to_string()).or_default() +=
                count.unwrap_or_else(|why| panic!("{kind}, seed {seed}: {why}"));
        }
    }
    println!("streams that rolled over, in {seeds} seeds: {rolled_over:?}");
    assert!(rolled_over["template"] > 0, "no template rolled over");
}

#[test]
fn every_planted_bug_of_streams_is_found() {
    for (bug, invariant) in [(Bug::ChunksLost, "I5"), (Bug::SnapshotWrong, "I14"), (Bug::ListingForgotten, "I14")] {
        let found = (0..SEEDS).find_map(|seed| simulate(&StreamKind::TEMPLATE, templates, seed, Some(bug)).err());
        let why = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: found by {why}");
        assert!(why.starts_with(invariant), "{bug:?}: {why}");
    }
}

#[test]
fn every_kind_is_simulated() {
    let simulated: Vec<StreamKind> = SCENARIOS.into_iter().map(|(kind, _)| kind).chain(SIMULATED_ELSEWHERE).collect();
    for rules in &KINDS {
        assert!(simulated.contains(&rules.kind), "no simulation of streams of {}: tests/sim/kinds.rs", rules.kind);
    }
    assert_eq!(simulated.len(), KINDS.len());
}
