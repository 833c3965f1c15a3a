//! Decisions on business events, as given, when, then.

use events::{
    ActOutcome, BusinessEventEvent, EventClassification, EventMetadata, IntakeChannel, Mode, ParkReason, RecordedEvent,
    StreamId, StreamKind, Timestamp,
};

use super::*;
use crate::aggregate::{Aggregate, fold};
use crate::ports::ViewRow;
use crate::process::{Process, Step};
use crate::projection::Projection;

fn classification(kind: &str) -> EventClassification {
    EventClassification {
        kind: kind.to_owned(),
        version: 1,
        mapping: None,
        subject: Some("customer:7".to_owned()),
        mentions: Vec::new(),
        content: "customer:7#bev_1".to_owned(),
    }
}

fn received(hash: &str) -> Box<Received> {
    Box::new(Received {
        source: "erp".to_owned(),
        event_id: "7".to_owned(),
        occurred_at: Timestamp(1),
        body_hash: hash.to_owned(),
        via: IntakeChannel::Http,
        mode: Mode::Live,
        classification: classification("sale.created"),
    })
}

fn act(skipped: Option<&str>) -> ActOutcome {
    ActOutcome {
        act: "invoice".to_owned(),
        recipient: None,
        channel: None,
        reference: None,
        skipped: skipped.map(str::to_owned),
        note: None,
    }
}

fn deferred(until: i64) -> Command {
    let acts = vec![act(Some("unknown_invoice"))];
    Command::Defer { acts, until: Timestamp(until), reason: "unknown_invoice".to_owned() }
}

fn park() -> Command {
    Command::Park { reason: ParkReason::Invalid, faults: Vec::new() }
}

fn replay() -> Command {
    Command::Replay { by: "ops".to_owned(), classification: classification("sale.created") }
}

fn discard() -> Command {
    Command::Discard { by: "ops".to_owned(), reason: None }
}

fn erase() -> Command {
    Command::Erase { by: "key:ops".to_owned() }
}

fn record(event: BusinessEventEvent, at: i64) -> RecordedEvent<BusinessEventEvent> {
    let meta = EventMetadata {
        at: Timestamp(at),
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "process".to_owned(),
        traceparent: None,
    };
    RecordedEvent { version: 1, meta, event }
}

/// The records after these commands, each at a second of its own.
fn history(commands: Vec<Command>) -> Vec<RecordedEvent<BusinessEventEvent>> {
    let (mut state, mut records) = (BusinessEventState::default(), Vec::new());
    for (second, command) in (1..).zip(commands) {
        for event in state.decide(command).expect("a possible command") {
            let record = record(event, 1_000 * second);
            state = state.evolve(&record);
            records.push(record);
        }
    }
    records
}

fn given(commands: Vec<Command>) -> BusinessEventState {
    fold(BusinessEventState::default(), &history(commands))
}

fn receive() -> Command {
    Command::Receive(received("a"))
}

fn id() -> StreamId {
    StreamId::new(&"acme".parse().expect("a tenant"), StreamKind::BUSINESS_EVENT, "bev_1")
}

fn status(state: &BusinessEventState) -> EventStatus {
    state.event.as_ref().expect("an event").status
}

#[test]
fn an_event_is_received_once_and_its_id_means_one_body() {
    let state = given(vec![receive()]);
    assert_eq!(state.decide(receive()), Ok(Vec::new()));
    assert_eq!(state.decide(Command::Receive(received("b"))), Err(Rejection::IdReused));
    let parked = Command::ReceiveParked(received("a"), ParkReason::TooOld, Vec::new());
    let state = given(vec![parked]);
    assert_eq!(status(&state), EventStatus::Parked(ParkReason::TooOld));
    assert!(state.is_complete() && state.wake(Timestamp(9), None).is_none());
}

#[test]
fn an_event_is_handled_at_once_and_again_after_each_wait() {
    let state = given(vec![receive()]);
    assert_eq!(state.wake(Timestamp(5), None), Some(Timestamp(5)));
    assert!(matches!(state.next(&id(), Timestamp(5)), Step::Emit { then, .. } if *then == Step::Done));
    let waiting = given(vec![receive(), deferred(9_000)]);
    assert_eq!(waiting.wake(Timestamp(5), None), Some(Timestamp(9_000)));
    assert_eq!(waiting.next(&id(), Timestamp(8_999)), Step::Wait(Timestamp(9_000)));
    assert!(matches!(waiting.next(&id(), Timestamp(9_000)), Step::Emit { .. }));
    let handled = given(vec![receive(), deferred(9_000), Command::Handle(vec![act(None)])]);
    assert_eq!((status(&handled), handled.next(&id(), Timestamp(9_000))), (EventStatus::Handled, Step::Done));
    assert!(handled.is_complete() && handled.wake(Timestamp(9), None).is_none());
}

#[test]
fn the_tries_of_an_event_span_a_day_and_end() {
    let mut commands = vec![receive()];
    let mut now = Timestamp(0);
    let mut tries = 1;
    while let Some(next) = given(commands.clone()).event.expect("an event").next_try(now) {
        assert!(now < next);
        now = next;
        commands.push(deferred(next.0));
        tries += 1;
    }
    assert_eq!((tries, now.0 / 3_600_000), (MAX_TRIES, 24));
    commands.extend([park(), replay()]);
    assert_eq!(given(commands).event.expect("an event").tries, 0, "a replay begins anew");
}

#[test]
fn the_end_of_an_event_is_not_changed_by_a_late_try() {
    for end in [Command::Handle(Vec::new()), Command::Ignore, park(), discard()] {
        let state = given(vec![receive(), end]);
        for late in [Command::Handle(vec![act(None)]), deferred(9), Command::Ignore, park()] {
            assert_eq!(state.decide(late), Ok(Vec::new()));
        }
    }
}

#[test]
fn what_was_not_handled_can_be_replayed_or_discarded() {
    for end in [Command::Ignore, park(), discard()] {
        let state = given(vec![receive(), end, replay()]);
        assert_eq!(status(&state), EventStatus::Received);
        assert!(!state.is_complete());
    }
    assert_eq!(status(&given(vec![receive(), park(), discard()])), EventStatus::Discarded);
    let handled = given(vec![receive(), Command::Handle(Vec::new())]);
    assert_eq!(handled.decide(replay()), Err(Rejection::NotPossible("handled")));
    assert_eq!(handled.decide(discard()), Err(Rejection::NotPossible("handled")));
    assert_eq!(BusinessEventState::default().decide(discard()), Err(Rejection::Unknown));
}

#[test]
fn an_erased_event_is_not_handled() {
    let state = given(vec![receive(), erase()]);
    assert_eq!(status(&state), EventStatus::Parked(ParkReason::Erased));
    assert_eq!(state.decide(replay()), Err(Rejection::Erased));
    assert_eq!(state.decide(erase()), Ok(Vec::new()));
    let handled = given(vec![receive(), Command::Handle(Vec::new()), erase()]);
    assert_eq!(status(&handled), EventStatus::Handled, "what was done stays done");
}

#[test]
fn a_row_counts_what_was_done_and_skipped() {
    let acts = vec![act(None), act(Some("no_email"))];
    let (mode, row) =
        BusinessEventState::project(&id(), &history(vec![receive(), Command::Handle(acts)])).expect("a row");
    assert_eq!((mode, row.status.as_str(), row.done, row.position), (Mode::Live, "handled", 1, 2));
    let counters = row.counters();
    assert_eq!((counters["type.sale.created.handled"], counters["skipped.invoice.no_email"]), (1, 1));
    let (_, parked) = BusinessEventState::project(&id(), &history(vec![receive(), park()])).expect("a row");
    assert_eq!(parked.indexes().values().collect::<Vec<_>>(), ["customer:7", "parked"]);
}
