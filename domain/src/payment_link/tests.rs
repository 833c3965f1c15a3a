use events::{
    Channel, CommunicationId, EventMetadata, FactSource, InvoiceEvent, InvoiceStatus, InvoiceTerms, LinkRevokeReason,
    Mode, PaymentLinkEvent, RecordedEvent, StreamId, Timestamp,
};

use super::*;
use crate::aggregate::fold;
use crate::ports::ViewRow;
use crate::projection::Projection;

const EXPIRES_MS: i64 = 30 * DAY_MS;

fn record<E>(event: E) -> RecordedEvent<E> {
    let (command, actor) = ("c".to_owned(), "test".to_owned());
    let meta =
        EventMetadata { at: Timestamp(1), command, actor, correlation: None, causation: None, traceparent: None };
    RecordedEvent { version: 1, meta, event }
}

fn created() -> PaymentLinkEvent {
    let (mode, invoice, number, expires_at) = (Mode::Live, "inv_1".to_owned(), 1, Timestamp(EXPIRES_MS));
    PaymentLinkEvent::PaymentLinkCreated { mode, invoice, number, expires_at }
}

fn revoked() -> PaymentLinkEvent {
    PaymentLinkEvent::PaymentLinkRevoked { reason: LinkRevokeReason::Requested, by: "ops".to_owned() }
}

fn used(payment: usize) -> PaymentLinkEvent {
    PaymentLinkEvent::PaymentLinkUsed { payment: payment.to_string() }
}

fn given(events: impl IntoIterator<Item = PaymentLinkEvent>) -> PaymentLinkState {
    let records: Vec<_> = events.into_iter().map(record).collect();
    fold(PaymentLinkState::default(), &records)
}

fn link(events: impl IntoIterator<Item = PaymentLinkEvent>) -> PaymentLink {
    given([created()].into_iter().chain(events)).link.expect("a link")
}

fn create() -> Command {
    let (mode, invoice, number, expires_at) = (Mode::Live, "inv_1".to_owned(), 1, Timestamp(EXPIRES_MS));
    Command::Create { mode, invoice, number, expires_at }
}

#[test]
fn a_link_is_created_once() {
    assert_eq!(given([]).decide(create()), Ok(vec![created()]));
    assert_eq!(given([created()]).decide(create()), Ok(Vec::new()));
    for command in [Command::Open, Command::Use { payment: "1".to_owned() }] {
        assert_eq!(given([]).decide(command), Err(Rejection::Unknown));
    }
}

#[test]
fn twenty_openings_are_counted_and_one_more_is_remembered() {
    let opened = |times: usize| link(std::iter::repeat_n(PaymentLinkEvent::PaymentLinkOpened {}, times));
    let shown = |times: usize| (opened(times).openings(), opened(times).has_more_openings());
    assert_eq!([0, 20, 21].map(shown), [(0, false), (20, false), (20, true)]);
    let decide = |times: usize| PaymentLinkState { link: Some(opened(times)) }.decide(Command::Open);
    assert_eq!(decide(20), Ok(vec![PaymentLinkEvent::PaymentLinkOpened {}]));
    assert_eq!(decide(21), Ok(Vec::new()));
}

#[test]
fn a_payment_uses_a_link_once_and_payments_are_bounded() {
    let use_by = |payment: usize| Command::Use { payment: payment.to_string() };
    assert_eq!(given([created()]).decide(use_by(1)), Ok(vec![used(1)]));
    assert_eq!(given([created(), used(1)]).decide(use_by(1)), Ok(Vec::new()));
    let full = given([created()].into_iter().chain((0..MAX_PAYMENTS).map(used)));
    assert_eq!(full.decide(use_by(1)), Ok(Vec::new()));
    assert_eq!(full.decide(use_by(MAX_PAYMENTS)), Err(Rejection::TooManyPayments));
    // Somebody may pay just as the link is revoked.
    assert_eq!(given([created(), revoked()]).decide(use_by(1)), Ok(vec![used(1)]));
}

#[test]
fn a_link_is_revoked_once_and_a_sending_is_recorded_once() {
    let revoke = Command::Revoke { reason: LinkRevokeReason::Erased, by: "ops".to_owned() };
    assert_eq!(given([created(), revoked()]).decide(revoke), Ok(Vec::new()));
    let communication = CommunicationId::generate(Timestamp(1), 1);
    let send = |channel| Command::RecordSending { channel, communication };
    let sent = PaymentLinkEvent::PaymentLinkSent { channel: Channel::Sms, communication };
    assert_eq!(given([created()]).decide(send(Channel::Sms)), Ok(vec![sent.clone()]));
    assert_eq!(given([created(), sent]).decide(send(Channel::Sms)), Ok(Vec::new()));
}

#[test]
fn a_link_is_sent_until_two_weeks_or_half_of_its_time_are_left() {
    let at = |days: i64| Timestamp(days * DAY_MS);
    let can_send = |valid_ms, now| link([]).is_sendable(valid_ms, now);
    assert!(can_send(DEFAULT_VALID_MS, at(16)) && !can_send(DEFAULT_VALID_MS, Timestamp(at(16).0 + 1)));
    assert!(can_send(2 * DAY_MS, at(29)) && !can_send(2 * DAY_MS, Timestamp(at(29).0 + 1)));
    assert!(!link([revoked()]).is_sendable(DEFAULT_VALID_MS, at(0)));
}

#[test]
fn an_audit_finds_what_no_decision_allows() {
    let audit = |events: Vec<PaymentLinkEvent>| {
        let records: Vec<_> = events.into_iter().map(record).collect();
        let state = fold(PaymentLinkState::default(), &records);
        state.audit(&records).into_iter().map(|violation| violation.what).collect::<Vec<_>>()
    };
    let opened = |times| std::iter::repeat_n(PaymentLinkEvent::PaymentLinkOpened {}, times);
    assert_eq!(audit([created(), used(1)].into_iter().chain(opened(21)).collect()), Vec::<String>::new());
    assert_eq!(audit([created()].into_iter().chain(opened(22)).collect()).len(), 1);
    assert_eq!(audit(vec![created(), used(1), used(1)]), ["a payment has used the link twice"]);
    assert_eq!(audit(vec![created(), created()]), ["it was not created once"]);
}

fn invoice(facts: impl IntoIterator<Item = InvoiceEvent>) -> InvoiceState {
    let terms = InvoiceTerms {
        number: Some("INV-1".to_owned()),
        currency: Some("EUR".to_owned()),
        total: Some(100),
        status: Some(InvoiceStatus::Issued),
        ..InvoiceTerms::default()
    };
    let issued = InvoiceEvent::InvoiceIssued { terms, source: source("issued") };
    let records: Vec<_> = [issued].into_iter().chain(facts).map(record).collect();
    fold(InvoiceState::default(), &records)
}

fn source(event: &str) -> FactSource {
    FactSource { event: event.to_owned(), occurred_at: Timestamp(1), revision: None }
}

fn paid(amount: i64, currency: &str) -> InvoiceEvent {
    InvoiceEvent::PaymentRecorded {
        payment: "p".to_owned(),
        amount,
        currency: currency.to_owned(),
        received_at: Timestamp(1),
        link: None,
        source: source("paid"),
    }
}

fn voided() -> InvoiceEvent {
    InvoiceEvent::InvoiceVoided { source: source("voided") }
}

#[test]
fn only_an_open_link_can_be_paid_by() {
    use PaymentLinkStatus::{Expired, Open, Revoked, Settled, Void};
    let erased = InvoiceEvent::InvoiceErased { by: "ops".to_owned() };
    let written_off = InvoiceEvent::InvoiceWrittenOff { source: source("off") };
    let before = Timestamp(EXPIRES_MS - 1);
    for (facts, events, now, expected) in [
        (vec![], vec![], before, Some(Open)),
        (vec![paid(99, "EUR")], vec![], before, Some(Open)),
        (vec![], vec![], Timestamp(EXPIRES_MS), Some(Expired)),
        (vec![paid(100, "EUR")], vec![], Timestamp(EXPIRES_MS), Some(Settled)),
        (vec![paid(100, "EUR"), voided()], vec![], before, Some(Void)),
        (vec![written_off], vec![], before, Some(Void)),
        (vec![voided()], vec![revoked()], before, Some(Revoked)),
        (vec![erased], vec![], before, None),
    ] {
        assert_eq!(link(events).status(&invoice(facts.clone()), now), expected, "{facts:?}");
    }
}

#[test]
fn a_link_is_refused_with_its_reason() {
    let status = |status| InvoiceEvent::InvoiceChanged {
        terms: InvoiceTerms { status: Some(status), ..InvoiceTerms::default() },
        source: FactSource { occurred_at: Timestamp(2), ..source("changed") },
    };
    for (facts, expected) in [
        (vec![], None),
        (vec![paid(99, "EUR")], None),
        (vec![paid(100, "EUR")], Some("settled")),
        (vec![status(InvoiceStatus::Paid)], Some("settled")),
        (vec![status(InvoiceStatus::Draft)], Some("not_payable")),
        (vec![paid(1, "USD")], Some("not_payable")),
        (vec![voided()], Some("voided")),
        (vec![InvoiceEvent::InvoiceWrittenOff { source: source("off") }], Some("written_off")),
        (vec![InvoiceEvent::InvoiceDisputed { source: source("no") }], Some("disputed")),
        (vec![InvoiceEvent::InvoiceErased { by: "ops".to_owned() }], Some("erased")),
    ] {
        assert_eq!(invoice(facts.clone()).link_refusal(), expected, "{facts:?}");
    }
    assert_eq!(InvoiceState::default().link_refusal(), Some("unknown_invoice"));
}

#[test]
fn the_counters_say_how_many_links_were_created_opened_and_used() {
    let row = |events: Vec<PaymentLinkEvent>| {
        let records: Vec<_> = [created()].into_iter().chain(events).map(record).collect();
        let id = StreamId::new(&"acme".parse().expect("a tenant"), StreamKind::PAYMENT_LINK, "pay_1");
        PaymentLinkState::project(&id, &records).expect("a row").1
    };
    let names = |row: &PaymentLinkRow| row.counters().into_keys().collect::<Vec<_>>();
    assert_eq!(names(&row(vec![])), ["created"]);
    let opened = PaymentLinkEvent::PaymentLinkOpened {};
    assert_eq!(names(&row(vec![opened.clone(), opened, used(1)])), ["created", "opened", "used"]);
    assert_eq!(names(&row(vec![revoked()])), ["created", "revoked"]);
}
