use events::{
    Channel, CollectionCause, CollectionEndReason, EventMetadata, FactSource, InvoiceDocument, InvoiceEvent,
    InvoiceKind, InvoiceRef, InvoiceStatus, InvoiceTerms, Mode, Recipient, RecipientType, RecordedEvent,
    StepSkipReason, StreamId, StreamKind, Timestamp,
};
use proptest::prelude::*;

use super::{Amounts, Command, InvoiceStage, InvoiceState, MAX_PAYMENTS, MAX_WAITING, Rejection, StepOutcome};
use crate::aggregate::{Aggregate, decode_snapshot, encode_snapshot};
use crate::ports::{RowIndex, ViewRow};
use crate::projection::Projection;

const DAY: i64 = 24 * 3_600_000;

pub fn reference() -> InvoiceRef {
    InvoiceRef { mode: Mode::Live, namespace: "flowpos".to_owned(), id: "7".to_owned() }
}

pub fn source(event: &str, day: i64) -> FactSource {
    FactSource { event: event.to_owned(), occurred_at: Timestamp(day * DAY), revision: None }
}

pub fn issued(total: i64, due_on: Option<&str>) -> InvoiceEvent {
    let terms = InvoiceTerms {
        number: Some("INV-7".to_owned()),
        kind: Some(InvoiceKind::Invoice),
        customer: Some(Recipient { kind: RecipientType::Customer, id: Some("c7".to_owned()) }),
        currency: Some("EUR".to_owned()),
        total: Some(total),
        issued_on: Some("2026-10-25".to_owned()),
        due_on: due_on.map(str::to_owned),
        status: Some(InvoiceStatus::Issued),
        document: None,
        business_name: None,
        time_zone: None,
    };
    InvoiceEvent::InvoiceIssued { terms, source: source("issued", 1) }
}

pub fn paid(payment: &str, amount: i64, day: i64) -> InvoiceEvent {
    InvoiceEvent::PaymentRecorded {
        payment: payment.to_owned(),
        amount,
        currency: "EUR".to_owned(),
        received_at: Timestamp(day * DAY),
        link: None,
        source: source(payment, day),
    }
}

fn reversed(refund: &str, payment: &str, amount: i64, day: i64) -> InvoiceEvent {
    let (refund, payment) = (refund.to_owned(), payment.to_owned());
    InvoiceEvent::PaymentReversed { source: source(&refund, day), refund, payment, amount }
}

fn failed(payment: &str, day: i64) -> InvoiceEvent {
    InvoiceEvent::PaymentFailed { payment: payment.to_owned(), source: source(&format!("failed-{payment}-{day}"), day) }
}

fn stated(balance: i64, day: i64) -> InvoiceEvent {
    InvoiceEvent::BalanceStated { balance, source: source(&format!("balance{day}"), day) }
}

/// Decides and folds, at a time.
pub fn after_at<A: Aggregate>(state: A, command: A::Command, at: Timestamp) -> A {
    let meta = EventMetadata {
        at,
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "test".to_owned(),
        traceparent: None,
    };
    let events = state.decide(command).expect("decided");
    let records = events.into_iter().map(|event| RecordedEvent { version: 1, meta: meta.clone(), event });
    records.fold(state, |state, record| state.evolve(&record))
}

fn after(state: InvoiceState, command: Command) -> InvoiceState {
    after_at(state, command, Timestamp(0))
}

pub fn record(facts: Vec<InvoiceEvent>) -> Command {
    Command::Record { reference: reference(), facts, collect_from: None }
}

pub fn restart() -> Command {
    Command::Restart { from: "2026-10-01".to_owned(), by: "support".to_owned() }
}

fn invoice(facts: Vec<InvoiceEvent>) -> InvoiceState {
    after(InvoiceState::default(), record(facts))
}

#[test]
fn what_is_owed_is_the_smaller_of_payments_and_the_stated_balance() {
    let of = |facts: Vec<InvoiceEvent>| {
        let all = [vec![issued(1000, None)], facts].concat();
        let Amounts { owed, disagreement, .. } = invoice(all).facts.amounts().expect("an issued invoice");
        (owed, disagreement)
    };
    for (what, facts, expected) in [
        ("nothing paid", vec![], (1000, None)),
        ("a part", vec![paid("p1", 400, 3)], (600, None)),
        ("the same payment twice", vec![paid("p1", 400, 3), paid("p1", 400, 3)], (600, None)),
        ("too much", vec![paid("p1", 1400, 3)], (0, None)),
        ("a refund", vec![paid("p1", 1000, 3), reversed("r1", "p1", 300, 4)], (300, None)),
        (
            "the same refund twice",
            vec![paid("p1", 1000, 3), reversed("r1", "p1", 300, 4), reversed("r1", "p1", 300, 4)],
            (300, None),
        ),
        ("a refund of more than was paid", vec![paid("p1", 100, 3), reversed("r1", "p1", 500, 4)], (1000, None)),
        ("a refund of what nobody paid", vec![reversed("r1", "p9", 300, 4)], (1000, None)),
        ("the refund came first", vec![reversed("r1", "p1", 300, 4), paid("p1", 1000, 3)], (300, None)),
        (
            "a refund after the balance",
            vec![paid("p1", 400, 3), stated(600, 4), reversed("r1", "p1", 900, 5)],
            (1000, None),
        ),
        ("a balance that agrees", vec![paid("p1", 400, 3), stated(600, 4)], (600, None)),
        ("a balance that is less", vec![paid("p1", 400, 3), stated(500, 4)], (500, Some((600, 500)))),
        ("a balance that is more", vec![paid("p1", 400, 3), stated(900, 4)], (600, Some((600, 900)))),
        ("a payment after the balance", vec![stated(700, 4), paid("p1", 400, 5)], (300, Some((600, 300)))),
        ("a newer balance", vec![stated(700, 4), stated(1000, 5)], (1000, None)),
        ("an older balance that comes late", vec![stated(1000, 5), stated(700, 4)], (1000, None)),
        ("a payment that failed", vec![paid("p1", 400, 3), failed("p1", 4)], (1000, None)),
        ("the failure came first", vec![failed("p1", 4), paid("p1", 400, 3)], (1000, None)),
        ("only a failure", vec![failed("p1", 4)], (1000, None)),
        ("it was received again", vec![paid("p1", 400, 3), failed("p1", 4), paid("p1", 400, 5)], (600, None)),
        (
            "it failed after a refund",
            vec![paid("p1", 400, 3), reversed("r1", "p1", 300, 4), failed("p1", 5)],
            (1000, None),
        ),
        ("it failed after the balance", vec![paid("p1", 400, 3), stated(600, 4), failed("p1", 5)], (1000, None)),
        ("it failed before the balance", vec![paid("p1", 400, 3), failed("p1", 4), stated(1000, 5)], (1000, None)),
    ] {
        assert_eq!(of(facts), expected, "{what}");
    }
    assert_eq!(invoice(vec![paid("p1", 400, 3)]).facts.amounts(), None, "it is not issued yet");
}

#[test]
fn a_payment_in_another_currency_counts_nothing_and_needs_a_person() {
    let foreign = InvoiceEvent::PaymentRecorded {
        payment: "p1".to_owned(),
        amount: 1000,
        currency: "USD".to_owned(),
        received_at: Timestamp(DAY),
        link: None,
        source: source("p1", 1),
    };
    let state = invoice(vec![issued(1000, Some("2026-11-01")), foreign, reversed("r1", "p1", 1000, 4)]);
    assert_eq!(state.facts.amounts().map(|amounts| amounts.owed), Some(1000));
    assert!(state.facts.has_foreign_payment() && !state.is_collectible());
}

#[test]
fn an_invoice_is_collectible_only_while_something_is_owed_and_nothing_forbids_it() {
    let due = || issued(1000, Some("2026-11-01"));
    let status = |status| InvoiceEvent::InvoiceChanged {
        terms: InvoiceTerms { status: Some(status), ..InvoiceTerms::default() },
        source: source("status", 2),
    };
    let void = |day| InvoiceEvent::InvoiceVoided { source: source("void", day) };
    let reinstated = |day| InvoiceEvent::InvoiceReinstated { source: source("back", day) };
    let disputed = InvoiceEvent::InvoiceDisputed { source: source("dispute", 3) };
    let resolved = InvoiceEvent::DisputeResolved { source: source("resolved", 4) };
    for (what, facts, expected) in [
        ("issued", vec![due()], true),
        ("without a due date", vec![issued(1000, None)], false),
        ("a draft", vec![due(), status(InvoiceStatus::Draft)], false),
        ("overdue", vec![due(), status(InvoiceStatus::Overdue)], true),
        ("paid, as its source says", vec![due(), status(InvoiceStatus::Paid)], false),
        ("settled", vec![due(), paid("p1", 1000, 3)], false),
        ("void", vec![due(), void(3)], false),
        ("void, and reinstated", vec![due(), void(3), reinstated(4)], true),
        ("reinstated before it was void", vec![due(), void(4), reinstated(3)], false),
        ("void before it was issued", vec![void(0), due()], false),
        ("disputed", vec![due(), disputed.clone()], false),
        ("the dispute is resolved", vec![due(), resolved, disputed], true),
        ("only paid so far", vec![paid("p1", 10, 1)], false),
    ] {
        assert_eq!(invoice(facts).is_collectible(), expected, "{what}");
    }
}

#[test]
fn collections_begin_with_the_fact_that_makes_an_invoice_collectible() {
    let begin = |facts: Vec<InvoiceEvent>, from: Option<&str>| {
        let collect_from = from.map(str::to_owned);
        let command = Command::Record { reference: reference(), facts, collect_from };
        let state = after(InvoiceState::default(), command);
        (state.collection.is_some(), state.is_complete(), state.wake(Timestamp(5), None))
    };
    let due = || vec![issued(1000, Some("2026-11-01"))];
    assert_eq!(begin(due(), Some("2026-10-01")), (true, false, Some(Timestamp(5))));
    assert_eq!(begin(due(), Some("2026-11-01")), (true, false, Some(Timestamp(5))));
    assert_eq!(begin(due(), Some("2026-11-02")), (false, true, None), "it was due before they were switched on");
    assert_eq!(begin(due(), None), (false, true, None), "collections are off");
    assert_eq!(begin(vec![issued(1000, None)], Some("2026-10-01")), (false, true, None));
}

#[test]
fn an_invoice_rests_while_it_is_settled_and_goes_on_when_a_payment_is_reversed() {
    let from = Some("2026-10-01".to_owned());
    let command =
        Command::Record { reference: reference(), facts: vec![issued(10, Some("2026-11-01"))], collect_from: from };
    let state = after(InvoiceState::default(), command);
    let settled = after(state, record(vec![paid("p1", 10, 3)]));
    assert!(settled.is_complete());
    let reopened = after(settled, record(vec![reversed("r1", "p1", 10, 4)]));
    assert!(!reopened.is_complete());
    assert_eq!(reopened.round, 0, "the ladder does not begin again");
}

#[test]
fn known_facts_and_repeated_commands_change_nothing() {
    let facts = vec![issued(1000, Some("2026-11-01")), paid("p1", 400, 3)];
    let state = invoice(facts.clone());
    assert_eq!(state.decide(record(facts)), Ok(Vec::new()));
    let held = after(state, Command::Promise { on: "2026-12-01".to_owned(), amount: None, by: "support".to_owned() });
    let again = Command::Promise { on: "2026-12-01".to_owned(), amount: None, by: "other".to_owned() };
    assert_eq!(held.decide(again), Ok(Vec::new()));
    let trigger = || Command::Trigger { step: "d1".to_owned(), day: "2026-11-02".to_owned(), notice: "n1".to_owned() };
    let triggered = after(held, trigger());
    assert_eq!(triggered.decide(trigger()), Ok(Vec::new()));
    assert!(!triggered.is_complete(), "a step that was triggered has to end");
    let skip = || Command::Skip { round: 0, step: "d1".to_owned(), reason: StepSkipReason::Settled };
    let skipped = after(triggered, skip());
    assert_eq!(skipped.decide(skip()), Ok(Vec::new()));
    assert_eq!(skipped.decide(trigger()), Err(Rejection::StepDone));
    assert_eq!(skipped.outcome("d1"), Some(&StepOutcome::Skipped(StepSkipReason::Settled)));
    let restarted = after(skipped, restart());
    assert_eq!(restarted.outcome("d1"), None, "in the new round it is not done");
    assert!(restarted.decide(trigger()).is_ok_and(|events| events.len() == 1));
}

#[test]
fn a_revision_decides_only_between_facts_of_one_time() {
    let due = |day: &str, event: &str, at: i64, revision: Option<u64>| InvoiceEvent::InvoiceChanged {
        terms: InvoiceTerms { due_on: Some(day.to_owned()), ..InvoiceTerms::default() },
        source: FactSource { revision, ..source(event, at) },
    };
    let last = |facts: &[InvoiceEvent]| invoice(facts.to_vec()).facts.due_on().map(str::to_owned);
    // A statement has no revision. What is told later with one applies.
    let told = [due("2026-11-03", "statement", 3, None), due("2026-11-04", "changed", 4, Some(7))];
    assert_eq!(last(&told).as_deref(), Some("2026-11-04"));
    let told = [due("2026-11-04", "b", 4, Some(7)), due("2026-11-05", "a", 4, Some(8))];
    assert_eq!(last(&told).as_deref(), Some("2026-11-05"));
}

#[test]
fn a_document_is_that_of_what_the_invoice_says_until_that_changes() {
    let document = |day: i64| InvoiceEvent::InvoiceChanged {
        terms: InvoiceTerms {
            document: Some(InvoiceDocument { attachment: "att_1".to_owned(), sha256: "a".to_owned() }),
            ..InvoiceTerms::default()
        },
        source: source("issued", day),
    };
    let total = InvoiceEvent::InvoiceChanged {
        terms: InvoiceTerms { total: Some(900), ..InvoiceTerms::default() },
        source: source("changed", 2),
    };
    let state = invoice(vec![issued(1000, None), document(1)]);
    assert!(state.facts.current_document().is_some());
    assert!(after(state, record(vec![total])).facts.current_document().is_none());
}

#[test]
fn a_request_to_send_waits_until_it_ends_and_is_remembered() {
    let request = |id: &str, channel: Option<Channel>| Command::RequestSending {
        request: id.to_owned(),
        channel,
        by: "support".to_owned(),
    };
    let end = |id: &str| Command::EndSending { request: id.to_owned(), acts: Vec::new() };
    let waiting = after(invoice(vec![issued(1000, None)]), request("snd_1", None));
    assert!(!waiting.is_complete() && waiting.wake(Timestamp(7), None) == Some(Timestamp(7)));
    assert_eq!(waiting.decide(request("snd_1", None)), Ok(Vec::new()));
    assert_eq!(waiting.decide(request("snd_1", Some(Channel::Sms))), Err(Rejection::KeyReused));
    let sent = after(waiting.clone(), end("snd_1"));
    assert!(sent.is_complete() && sent.sendings.get("snd_1").is_some_and(|known| known.acts.is_some()));
    assert_eq!((sent.decide(end("snd_1")), sent.decide(request("snd_1", None))), (Ok(Vec::new()), Ok(Vec::new())));
    let many = (2..40).map(|n| format!("snd_{n}"));
    let many = many.fold(sent, |state, id| after(after(state, request(&id, None)), end(&id)));
    assert_eq!(many.sendings.iter().count(), 10);
    let erased = after(waiting, Command::Erase { by: "x".to_owned() });
    assert!(erased.is_complete(), "nothing waits any more");
    let full =
        (0..MAX_WAITING).fold(invoice(vec![issued(5, None)]), |state, n| after(state, request(&n.to_string(), None)));
    assert_eq!(full.decide(request("more", None)), Err(Rejection::TooManySendings));
}

#[test]
fn an_unknown_invoice_refuses_commands_and_an_erased_one_too() {
    let none = InvoiceState::default();
    assert_eq!(none.decide(Command::Resume { by: "x".to_owned() }), Err(Rejection::Unknown));
    assert_eq!(none.decide(Command::Erase { by: "x".to_owned() }), Ok(Vec::new()));
    let erased = after(invoice(vec![issued(5, Some("2026-11-01"))]), Command::Erase { by: "x".to_owned() });
    assert!(erased.is_complete() && !erased.is_collectible());
    assert_eq!(erased.decide(restart()), Err(Rejection::Erased));
    let recorded = erased.decide(record(vec![paid("p1", 5, 3)]));
    assert!(recorded.is_ok_and(|events| events.len() == 1), "amounts stay for the books");
}

#[test]
fn payments_are_bounded() {
    let many = (0..MAX_PAYMENTS).map(|n| paid(&format!("p{n}"), 1, 3)).collect();
    let state = invoice(many);
    assert_eq!(state.decide(record(vec![paid("more", 1, 4)])), Err(Rejection::TooManyPayments));
}

#[test]
fn a_snapshot_restores_the_state() {
    let state = invoice(vec![issued(1000, Some("2026-11-01")), paid("p1", 400, 3), stated(600, 4)]);
    let snapshot = encode_snapshot(&state).expect("a snapshot");
    assert_eq!(decode_snapshot::<InvoiceState>(&snapshot), Some(state));
}

/// Seven facts, among them two about the same payment, the same attributes and the same flag.
fn seven() -> Vec<InvoiceEvent> {
    let changed = InvoiceTerms { total: Some(900), due_on: Some("2026-11-05".to_owned()), ..InvoiceTerms::default() };
    vec![
        issued(1000, Some("2026-11-01")),
        InvoiceEvent::InvoiceChanged { terms: changed, source: source("changed", 2) },
        paid("p1", 400, 3),
        reversed("r1", "p1", 100, 4),
        stated(550, 3),
        InvoiceEvent::InvoiceVoided { source: source("void", 5) },
        InvoiceEvent::InvoiceReinstated { source: source("back", 6) },
    ]
}

fn permutations(items: &[InvoiceEvent]) -> Vec<Vec<InvoiceEvent>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(index);
        for mut permutation in permutations(&rest) {
            permutation.insert(0, first.clone());
            all.push(permutation);
        }
    }
    all
}

/// I33
#[test]
fn the_order_of_facts_does_not_matter() {
    let expected = invoice(seven());
    assert_eq!(expected.facts.amounts().map(|amounts| amounts.owed), Some(600));
    for permutation in permutations(&seven()) {
        let one_by_one =
            permutation.iter().fold(InvoiceState::default(), |state, fact| after(state, record(vec![fact.clone()])));
        assert_eq!(one_by_one, expected, "{permutation:#?}");
    }
}

proptest! {
    /// I33, with facts that coincide in time and come more than once.
    #[test]
    fn any_order_and_any_repetition_of_facts_leads_to_the_same_state(
        chosen in prop::collection::vec((0..15_usize, -5..2_000_i64, 0..4_i64), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let fact = |&(which, amount, day): &(usize, i64, i64)| match which {
            0 => issued(1000, Some("2026-11-01")),
            1..=3 => paid(&format!("p{which}"), amount, day),
            4..=6 => reversed(&format!("r{which}"), &format!("p{}", which - 3), amount, day),
            7 => InvoiceEvent::InvoiceVoided { source: source("void", day) },
            8 => InvoiceEvent::InvoiceReinstated { source: source("back", day) },
            12..=14 => failed(&format!("p{}", which - 11), day),
            9 => InvoiceEvent::InvoiceDisputed { source: source("dispute", day) },
            10 => InvoiceEvent::DisputeResolved { source: source("resolved", day) },
            _ => stated(amount, day),
        };
        // One event states one thing, so equal sources mean equal facts.
        let mut facts: Vec<InvoiceEvent> = Vec::new();
        for fact in chosen.iter().map(fact) {
            let name = |fact: &InvoiceEvent| serde_json::to_value(fact).expect("JSON")["data"]["source"].clone();
            if facts.iter().all(|known| name(known) != name(&fact)) {
                facts.push(fact);
            }
        }
        let expected = invoice(facts.clone());
        let shuffled = order.iter().map(|index| index.get(&facts).clone()).chain(facts.iter().rev().cloned());
        let state = shuffled.fold(InvoiceState::default(), |state, fact| after(state, record(vec![fact])));
        prop_assert_eq!(state, expected);
    }
}

#[test]
fn a_ladder_begins_again_once_and_not_while_a_step_is_under_way() {
    let open = invoice(vec![issued(1000, Some("2026-11-01"))]);
    let triggered =
        after(open, Command::Trigger { step: "d1".to_owned(), day: "2026-11-02".to_owned(), notice: "n1".to_owned() });
    assert_eq!(triggered.decide(restart()), Err(Rejection::StepUnderWay));
    let skip = Command::Skip { round: 0, step: "d1".to_owned(), reason: StepSkipReason::TooLate };
    let again = after(after(triggered, skip), restart());
    assert_eq!((again.round, again.collection.as_ref().map(|start| start.cause)), (1, Some(CollectionCause::Restart)));
    assert_eq!(again.decide(restart()), Ok(Vec::new()), "it has just begun");
    let paid = after(again, record(vec![paid("p1", 1000, 3)]));
    assert_eq!(paid.decide(restart()), Err(Rejection::NotCollectible));
}

#[test]
fn the_row_of_an_invoice_says_where_it_stands() {
    let id = StreamId::new(&"acme".parse().expect("a tenant"), StreamKind::INVOICE, "inv_1");
    let row = |events: Vec<InvoiceEvent>| {
        let meta = EventMetadata {
            at: Timestamp(5),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "test".to_owned(),
            traceparent: None,
        };
        let first = InvoiceEvent::InvoiceFirstSeen { invoice: reference() };
        let records: Vec<_> = [first].into_iter().chain(events).collect();
        let records = records.into_iter().map(|event| RecordedEvent { version: 1, meta: meta.clone(), event });
        InvoiceState::project(&id, &records.collect::<Vec<_>>()).expect("a row").1
    };
    let issued = || issued(1000, Some("2026-11-01"));
    let begun = InvoiceEvent::CollectionBegun { from: "2026-01-01".to_owned(), cause: CollectionCause::OnTime };
    let over = InvoiceEvent::CollectionEnded { reason: CollectionEndReason::LadderOver };
    let off = InvoiceEvent::CollectionEnded { reason: CollectionEndReason::SwitchedOff };
    let paused = InvoiceEvent::CollectionPaused { until: None, by: "x".to_owned() };
    for (events, stage, is_idle) in [
        (vec![paid("p1", 400, 2)], InvoiceStage::Unissued, false),
        (vec![issued()], InvoiceStage::Open, true),
        (vec![issued(), paused], InvoiceStage::Paused, true),
        (vec![issued(), begun.clone()], InvoiceStage::Collecting, false),
        (vec![issued(), begun.clone(), off], InvoiceStage::Open, true),
        (vec![issued(), begun, over], InvoiceStage::LadderOver, false),
        (vec![issued(), paid("p1", 1000, 2)], InvoiceStage::Settled, false),
        (vec![issued(), InvoiceEvent::InvoiceVoided { source: source("v", 2) }], InvoiceStage::Voided, false),
    ] {
        let row = row(events);
        assert_eq!((row.stage, row.is_idle), (stage, is_idle), "{row:?}");
        assert_eq!(row.indexes().contains_key(&RowIndex::DeadLetters), row.is_open());
        let expected = match (row.is_idle, stage) {
            (true, _) => Some("idle"),
            (false, InvoiceStage::Collecting) => Some("collected"),
            (false, _) => None,
        };
        assert_eq!(row.indexes().get(&RowIndex::Due).map(String::as_str), expected, "{row:?}");
    }
    let half = row(vec![issued(), paid("p1", 400, 2)]);
    assert_eq!((half.owed, half.counters()["owed.EUR"]), (Some(600), 600));
    assert!(half.is_overdue("2026-11-02") && !half.is_overdue("2026-11-01"));
    assert_eq!(half.indexes()[&RowIndex::Recipient], "customer#c7");
}
