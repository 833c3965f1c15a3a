//! The audit of attempts.

use events::{EventMetadata, RecordedEvent};

use super::*;

fn recorded(ms: i64, event: CommunicationEvent) -> RecordedEvent {
    let (command, actor) = ("c".to_owned(), "a".to_owned());
    let meta = EventMetadata { at: at(ms), command, correlation: None, causation: None, actor, traceparent: None };
    RecordedEvent { version: 1, meta, event }
}

fn audit<const N: usize>(events: [(i64, CommunicationEvent); N]) -> AttemptAudit {
    audit_attempts(&events.map(|(ms, event)| recorded(ms, event)))
}

#[test]
fn consecutive_attempts_have_no_findings() {
    let events = [(0, requested()), (1, started(1)), (2, transient(1)), (3, started(2)), (4, accepted(2))];
    assert_eq!(audit(events), AttemptAudit::default());
}

#[test]
fn an_attempt_must_not_begin_while_another_is_open() {
    let events = [(0, requested()), (1, started(1)), (2, started(2))];
    assert_eq!(audit(events).overlapping, Some(2));
    let in_doubt = in_doubt(1, InDoubtCause::Timeout);
    let events = [(0, requested()), (1, started(1)), (2, in_doubt), (3, started(2))];
    assert_eq!(audit(events).overlapping, Some(2), "an attempt in doubt is open until it is resolved");
}

#[test]
fn the_attempt_of_a_dead_letter_is_open_until_its_lease_ends() {
    let dead = || dead(DeadLetterReason::Poison, true);
    let retried = |ms| audit([(0, requested()), (1, started(1)), (2, dead()), (ms, started(2))]);
    assert_eq!(retried(LEASE - 1).overlapping, Some(2));
    assert_eq!(retried(LEASE), AttemptAudit { overlapping: None, undecided: 1 });
}

#[test]
fn an_attempt_whose_outcome_stays_unknown_is_counted() {
    let in_doubt = in_doubt(1, InDoubtCause::Timeout);
    let events = [(0, requested()), (1, started(1)), (2, in_doubt), (3, unknown(1)), (4, started(2))];
    assert_eq!(audit(events), AttemptAudit { overlapping: None, undecided: 1 });
}
