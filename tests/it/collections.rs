//! Reminders of what is owed: the processes of invoices and notices over a real store, driven by their timers.

use std::collections::BTreeMap;

use application::kinds::rules_of;
use application::{CommandContext, CommandExecutor, consent, invoices};

use domain::aggregate::{Aggregate, AggregateId};
use domain::collect::{DebtorState, SettingsCommand, defaults};
use domain::communication::Lifecycle;
use domain::invoice::{Command, InvoiceState, StepOutcome, key_of, stream_name};
use domain::message::MessageContent;
use domain::ports::{CommunicationKey, ContentKey, DuePage, TIMER_SHARDS, Vault};
use events::{
    Channel, CollectionSettings, CommunicationEvent, FactSource, InvoiceEvent, InvoiceRef, InvoiceStatus, InvoiceTerms,
    MessageType, Mode, NoticeGrouping, RateLimit, Recipient, RecipientType, StepSkipReason, StreamId, StreamKind,
    SuppressReason, TemplateRef, Timestamp,
};
use serde_json::json;
use tests::harness::{Harness, T0, account, content, tenant};

use crate::use_cases::UseCases;

const MINUTE_MS: i64 = 60_000;

/// An instant in UTC. The clock of these tests starts at `2027-01-15T08:00`, a Friday.
pub fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = format!("{text}:00Z").parse().expect("a time");
    Timestamp(time.as_millisecond())
}

pub fn context() -> CommandContext {
    CommandContext::function("intake")
}

pub fn reference(id: &str) -> InvoiceRef {
    InvoiceRef { mode: Mode::Live, namespace: "flowpos".to_owned(), id: id.to_owned() }
}

pub struct Collections(pub UseCases);

impl Collections {
    /// Collections are on, from this month.
    pub async fn new() -> Collections {
        let mut cases = UseCases::new();
        let rate = RateLimit { burst: 10, per_second: 10 };
        let accounts = [Channel::Email, Channel::Sms];
        cases.app.accounts = accounts.map(|channel| account(channel.as_str(), channel, Mode::Live, rate)).to_vec();
        let enable = SettingsCommand::Enable { from: "2027-01-01".to_owned() };
        let stream = invoices::settings_stream(&tenant());
        cases.app.executor(&context()).execute(&stream, enable).await.expect("enabled");
        Collections(cases)
    }

    pub fn now(&self) -> Timestamp {
        self.0.app.host.now()
    }

    pub async fn address(&self, customer: &str, channel: Channel, address: &str) {
        let app = &self.0.app;
        let change = [(channel, Some(address.to_owned()))].into();
        consent::change_addresses(&app.tenant_ports, &tenant(), &format!("customer:{customer}"), &change)
            .await
            .expect("an address");
    }

    pub async fn record(&self, id: &str, fact: InvoiceEvent) -> InvoiceState {
        let recorded = invoices::record(&self.0.app, &context(), &tenant(), &reference(id), vec![fact]).await;
        recorded.expect("recorded").state
    }

    pub async fn issue(&self, id: &str, customer: &str, total: i64, due_on: &str) -> InvoiceState {
        let terms = InvoiceTerms {
            number: Some(format!("INV-{id}")),
            customer: Some(Recipient { kind: RecipientType::Customer, id: Some(customer.to_owned()) }),
            currency: Some("EUR".to_owned()),
            total: Some(total),
            due_on: Some(due_on.to_owned()),
            status: Some(InvoiceStatus::Issued),
            ..InvoiceTerms::default()
        };
        self.record(id, InvoiceEvent::InvoiceIssued { terms, source: self.source("issued") }).await
    }

    pub async fn pay(&self, id: &str, payment: &str, amount: i64) {
        let fact = InvoiceEvent::PaymentRecorded {
            payment: payment.to_owned(),
            amount,
            currency: "EUR".to_owned(),
            received_at: self.now(),
            link: None,
            source: self.source(payment),
        };
        self.record(id, fact).await;
    }

    pub fn source(&self, event: &str) -> FactSource {
        FactSource { event: event.to_owned(), occurred_at: self.now(), revision: None }
    }

    pub async fn invoice(&self, id: &str) -> InvoiceState {
        let key = key_of(&tenant(), &reference(id));
        self.0.app.executor(&context()).load(&key).await.expect("an invoice").state
    }

    pub async fn command(&self, id: &str, command: Command) {
        let key = key_of(&tenant(), &reference(id));
        invoices::execute(&self.0.app, &context(), &key, command).await.expect("done");
    }

    /// The timers of processes, earliest first.
    pub async fn timers(&self) -> BTreeMap<Timestamp, StreamId> {
        let mut timers = BTreeMap::new();
        for shard in 0..TIMER_SHARDS {
            let until = Timestamp(i64::MAX);
            let DuePage { timers: due, .. } =
                self.0.app.store.due_timers(shard, until, None, 1_000).await.expect("timers");
            let due = due.into_iter().filter(|due| due.hint.stream.kind != StreamKind::COMMUNICATION);
            timers.extend(due.map(|due| (due.wake, due.hint.stream)));
        }
        timers
    }

    /// Serves every timer until this time, each at its time.
    pub async fn run_until(&self, until: Timestamp) {
        for _ in 0..500 {
            let Some((wake, id)) = self.timers().await.into_iter().next().filter(|(wake, _)| *wake <= until) else {
                break;
            };
            self.0.host.advance(wake.millis_since(self.now()).max(0));
            let run = rules_of(&id).and_then(|rules| rules.process).expect("a process");
            run(&self.0.app, &id).await.expect("a step");
        }
        self.0.host.advance(until.millis_since(self.now()).max(0));
    }

    /// The texts that were accepted for sending, with their channels and addresses.
    pub async fn sent(&self) -> Vec<(Channel, String, String)> {
        let mut sent = Vec::new();
        let page = self.0.app.store.scan(None, 1_000).await.expect("streams");
        for (id, _) in page.streams {
            let Some(key) = CommunicationKey::from_stream(&id) else { continue };
            let state = self.0.app.executor(&context()).load(&key).await.expect("a communication").state;
            let request = &state.requested().expect("requested").request;
            let content = ContentKey::for_request(&key, request, &request.request_hash);
            let content = self.0.app.vault.get(&content, self.now()).await.expect("the vault").expect("content");
            let variables = serde_json::to_string(&content.variables).expect("JSON");
            sent.push((request.channel, content.recipient_contact, variables));
        }
        sent.sort();
        sent
    }
}

fn issued_step(state: &InvoiceState, step: &str) -> usize {
    match state.outcome(step) {
        Some(StepOutcome::Issued { communications, .. }) => communications.len(),
        other => panic!("{step} is {other:?}"),
    }
}

#[tokio::test]
async fn one_email_leaves_at_nine_on_the_day_after_the_due_day() {
    let collections = Collections::new().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    collections.issue("7", "ada", 12_100, "2027-01-20").await;
    collections.run_until(at("2027-01-21T08:59")).await;
    assert_eq!(collections.sent().await, []);
    collections.run_until(at("2027-01-21T09:01")).await;
    let sent = collections.sent().await;
    let [(Channel::Email, to, variables)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(to, "ada@example.com");
    assert!(variables.contains("121.00") && variables.contains("INV-7"), "{variables}");
    let state = collections.invoice("7").await;
    assert_eq!(issued_step(&state, "d1"), 1);
    assert!(!state.is_complete(), "it waits for the next step");
    let next = collections.timers().await.into_keys().next();
    assert_eq!(next, Some(at("2027-01-27T08:58")));
}

#[tokio::test]
async fn invoices_of_one_customer_share_a_message_and_one_that_is_paid_in_time_is_left_out() {
    let collections = Collections::new().await;
    collections.address("bea", Channel::Email, "bea@example.com").await;
    for id in ["1", "2", "3"] {
        collections.issue(id, "bea", 1_000, "2027-01-20").await;
    }
    collections.run_until(at("2027-01-21T08:59")).await;
    collections.pay("2", "p1", 1_000).await;
    collections.run_until(at("2027-01-21T09:02")).await;
    let sent = collections.sent().await;
    let [(_, _, variables)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(variables.contains("INV-1") && variables.contains("INV-3") && !variables.contains("INV-2"), "{variables}");
    assert!(variables.contains("20.00"), "the sum: {variables}");
    assert_eq!(collections.invoice("2").await.outcome("d1"), Some(&StepOutcome::Skipped(StepSkipReason::Settled)));
    let debtor = AggregateId::<DebtorState>::new(&tenant(), "customer:bea");
    let notices = collections.0.app.executor(&context()).load(&debtor).await.expect("a debtor").state.notices;
    assert_eq!(notices.iter().map(|sent| sent.day.as_str()).collect::<Vec<_>>(), ["2027-01-21"]);
}

#[tokio::test]
async fn what_is_paid_before_nine_is_not_reminded_of() {
    let collections = Collections::new().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    collections.issue("7", "ada", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-21T08:50")).await;
    collections.pay("7", "p1", 1_000).await;
    collections.run_until(at("2027-03-21T09:01")).await;
    assert_eq!(collections.sent().await, []);
    assert!(collections.timers().await.is_empty());
}

#[tokio::test]
async fn a_week_later_the_reminder_goes_by_email_and_then_by_sms() {
    let collections = Collections::new().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    collections.address("ada", Channel::Sms, "+447700900001").await;
    collections.issue("7", "ada", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-27T09:01")).await;
    let state = collections.invoice("7").await;
    let Some(StepOutcome::Issued { communications, .. }) = state.outcome("d7") else { panic!("{state:?}") };
    let [id] = communications[..] else { panic!("{communications:?}") };
    let key = CommunicationKey { tenant: tenant(), id };
    let state = collections.0.app.executor(&context()).load(&key).await.expect("a message").state;
    let request = &state.requested().expect("requested").request;
    assert_eq!(request.channel, Channel::Email);
    let steps = &request.fallback.as_ref().expect("a fallback").steps;
    assert_eq!((steps.len(), steps[0].channel, steps[0].after_ms), (1, Channel::Sms, Some(24 * 60 * MINUTE_MS)));
}

#[tokio::test]
async fn an_address_that_cannot_be_used_leaves_the_other_channels() {
    for (customer, phone, email, reached) in [
        ("eve", "call me", "eve@example.com", Channel::Email),
        ("fay", "612 345 678", "fay@example.com", Channel::Email),
        ("gus", "+447700900001", "gus at home", Channel::Sms),
    ] {
        let collections = Collections::new().await;
        collections.address(customer, Channel::Email, email).await;
        collections.address(customer, Channel::Sms, phone).await;
        collections.issue("7", customer, 1_000, "2027-01-20").await;
        collections.run_until(at("2027-01-27T09:01")).await;
        let state = collections.invoice("7").await;
        assert_eq!(issued_step(&state, "d7"), 1, "{customer}");
        let sent = collections.sent().await;
        assert!(sent.iter().all(|(channel, _, _)| *channel == reached), "{sent:?}");
    }
    let collections = Collections::new().await;
    collections.address("hal", Channel::Email, "nowhere").await;
    collections.address("hal", Channel::Sms, "call me").await;
    collections.issue("7", "hal", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-27T09:01")).await;
    let state = collections.invoice("7").await;
    assert_eq!(state.outcome("d7"), Some(&StepOutcome::Skipped(StepSkipReason::NoContact)));
}

#[tokio::test]
async fn a_customer_without_an_address_is_skipped_with_the_reason() {
    let collections = Collections::new().await;
    collections.issue("7", "nobody", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-21T09:02")).await;
    assert_eq!(collections.sent().await, []);
    let state = collections.invoice("7").await;
    assert_eq!(state.outcome("d1"), Some(&StepOutcome::Skipped(StepSkipReason::NoContact)));
}

#[tokio::test]
async fn a_promise_is_waited_for_and_the_ladder_ends() {
    let collections = Collections::new().await;
    collections.address("dan", Channel::Email, "dan@example.com").await;
    collections.issue("7", "dan", 1_000, "2027-01-20").await;
    let promise = Command::Promise { on: "2027-01-22".to_owned(), amount: None, by: "support".to_owned() };
    collections.command("7", promise).await;
    collections.run_until(at("2027-01-22T20:00")).await;
    assert_eq!(collections.sent().await, []);
    collections.run_until(at("2027-01-23T09:01")).await;
    assert_eq!(collections.sent().await.len(), 1, "back on the next day");
    collections.run_until(at("2027-04-01T09:01")).await;
    let state = collections.invoice("7").await;
    assert!(state.is_complete());
    assert_eq!(state.collection_end, Some(events::CollectionEndReason::LadderOver));
    assert!(collections.timers().await.is_empty());
}

#[tokio::test]
async fn repeating_any_step_of_a_notice_sends_nothing_twice() {
    let collections = Collections::new().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    collections.issue("7", "ada", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-21T09:01")).await;
    let sent = collections.sent().await;
    let page = collections.0.app.store.scan(None, 1_000).await.expect("streams");
    for (id, _) in page.streams {
        if let Some(run) = rules_of(&id).and_then(|rules| rules.process) {
            run(&collections.0.app, &id).await.expect("a step");
        }
    }
    assert_eq!(collections.sent().await, sent);
}

#[tokio::test]
async fn a_notice_that_is_late_for_its_day_says_nothing_and_its_invoice_is_told_the_day_after() {
    let collections = Collections::new().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    collections.issue("7", "ada", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-21T08:59")).await;
    collections.0.host.advance(11 * 60 * MINUTE_MS);
    collections.run_until(at("2027-01-21T20:05")).await;
    assert_eq!(collections.sent().await, []);
    collections.run_until(at("2027-01-22T09:01")).await;
    assert_eq!(collections.sent().await.len(), 1);
}

#[tokio::test]
async fn ungrouped_invoices_of_one_customer_are_told_on_one_day_each() {
    let collections = Collections::new().await;
    let settings = Box::new(CollectionSettings { grouping: NoticeGrouping::None, ..defaults() });
    let change = SettingsCommand::Change { expected: None, settings };
    let stream = invoices::settings_stream(&tenant());
    collections.0.app.executor(&context()).execute(&stream, change).await.expect("changed");
    collections.address("bea", Channel::Email, "bea@example.com").await;
    for id in ["1", "2"] {
        collections.issue(id, "bea", 1_000, "2027-01-20").await;
    }
    collections.run_until(at("2027-01-21T09:02")).await;
    assert_eq!(collections.sent().await.len(), 1);
    collections.run_until(at("2027-01-22T09:02")).await;
    assert_eq!(collections.sent().await.len(), 2);
}

/// A notice of invoices 1 and 2, and the worker that sends it.
async fn notice_of_two() -> (Harness, CommunicationKey) {
    let harness = Harness::new();
    harness.host.advance(60 * MINUTE_MS);
    let context = context();
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &context };
    let enable = SettingsCommand::Enable { from: "2027-01-01".to_owned() };
    executor.execute(&invoices::settings_stream(&tenant()), enable).await.expect("enabled");
    for id in ["1", "2"] {
        let terms = InvoiceTerms {
            number: Some(format!("INV-{id}")),
            currency: Some("EUR".to_owned()),
            total: Some(1_000),
            due_on: Some("2027-01-10".to_owned()),
            status: Some(InvoiceStatus::Issued),
            ..InvoiceTerms::default()
        };
        tell(&harness, id, InvoiceEvent::InvoiceIssued { terms, source: source("issued") }).await;
    }
    let key = harness
        .accept(|request| {
            request.kind = MessageType::CollectionNotice;
            request.template =
                Some(TemplateRef { id: "tpl_collection_notice_many_email".to_owned(), version: 1, text: None });
            request.unless_settled = ["1", "2"].map(|id| stream_name(&tenant(), &reference(id))).to_vec();
        })
        .await;
    let request = harness.load(&key).await.state.requested().expect("requested").request.clone();
    let variables = json!({
        "customerName": "Ada", "businessName": "Acme", "count": 2,
        "invoices": [{ "invoiceNumber": "INV-1", "amount": "7777", "currency": "EUR", "dueDate": "2027-01-10" }],
        "sums": [{ "amount": "7777", "currency": "EUR" }],
    });
    let content = MessageContent { content: None, subject: None, variables: Some(variables), ..content() };
    let content_key = ContentKey::for_request(&key, &request, &request.request_hash);
    Vault::put(&*harness.store, &content_key, &content, Timestamp(i64::MAX / 2)).await.expect("stored");
    (harness, key)
}

fn source(event: &str) -> FactSource {
    FactSource { event: event.to_owned(), occurred_at: Timestamp(T0), revision: None }
}

async fn tell(harness: &Harness, id: &str, fact: InvoiceEvent) {
    let context = context();
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &context };
    let command = Command::Record { reference: reference(id), facts: vec![fact], collect_from: None };
    executor.execute(&key_of(&tenant(), &reference(id)), command).await.expect("recorded");
}

fn payment(amount: i64) -> InvoiceEvent {
    InvoiceEvent::PaymentRecorded {
        payment: format!("p{amount}"),
        amount,
        currency: "EUR".to_owned(),
        received_at: Timestamp(T0),
        link: None,
        source: source(&format!("p{amount}")),
    }
}

#[tokio::test]
async fn a_notice_says_what_is_owed_when_it_is_sent_and_names_what_it_spoke_of() {
    let (harness, key) = notice_of_two().await;
    tell(&harness, "1", payment(400)).await;
    tell(&harness, "2", payment(1_000)).await;
    harness.hint(&key).await;
    let sent = harness.provider.sent_messages.lock().expect("messages").clone();
    let text = format!("{:?}", sent.first().expect("a message"));
    assert!(text.contains("€6.00") && !text.contains("7,777") && !text.contains("INV-2"), "{text}");
    let loaded = harness.load(&key).await;
    let about = loaded.records.iter().find_map(|record| match &record.event {
        CommunicationEvent::DeliveryAttemptStarted { about, .. } => Some(about.clone()),
        _ => None,
    });
    assert_eq!(about, Some(vec![stream_name(&tenant(), &reference("1"))]));
}

#[tokio::test]
async fn a_notice_is_not_sent_when_nothing_is_owed_or_collections_are_off() {
    let (harness, key) = notice_of_two().await;
    tell(&harness, "1", payment(1_000)).await;
    tell(&harness, "2", payment(1_000)).await;
    harness.hint(&key).await;
    assert_eq!(harness.lifecycle(&key).await, Lifecycle::Suppressed(SuppressReason::Settled));
    let (harness, key) = notice_of_two().await;
    tell(&harness, "1", InvoiceEvent::InvoiceDisputed { source: source("d") }).await;
    tell(&harness, "2", InvoiceEvent::InvoiceDisputed { source: source("d") }).await;
    harness.hint(&key).await;
    assert_eq!(harness.lifecycle(&key).await, Lifecycle::Suppressed(SuppressReason::CollectionPaused));
    let (harness, key) = notice_of_two().await;
    let context = context();
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &context };
    executor.execute(&invoices::settings_stream(&tenant()), SettingsCommand::Disable).await.expect("disabled");
    harness.hint(&key).await;
    assert_eq!(harness.lifecycle(&key).await, Lifecycle::Suppressed(SuppressReason::CollectionPaused));
    assert_eq!(harness.sent_messages(), 0);
}
