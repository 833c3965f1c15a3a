//! Timers.

use super::*;

#[test]
fn only_unfinished_streams_have_a_timer() {
    let wake_of = |events: &[CommunicationEvent]| wake(&events.iter().fold(State::default(), evolve), at(0), None);
    assert_eq!(wake_of(&[]), None);
    assert_eq!(wake_of(&[requested()]), Some(at(policy::REPAIR_DELAY_MS)));
    assert_eq!(wake_of(&[scheduled(90_000)]), Some(at(90_000)));
    assert_eq!(wake_of(&[requested(), started(1)]), Some(at(LEASE)));
    assert_eq!(
        wake_of(&[requested(), started(1), refused(1, RefusalClass::Transient, "x", true, Some(70_000))]),
        Some(at(70_000))
    );
    assert_eq!(
        wake_of(&[requested(), started(1), in_doubt(1, InDoubtCause::Timeout)]),
        Some(at(policy::EVIDENCE_WAIT_MS))
    );
    for end in [accepted(1), failed(FailReason::Permanent, false), dead(DeadLetterReason::Poison, true), cancelled()] {
        assert_eq!(wake_of(&[requested(), started(1), end]), None);
    }
}

#[test]
fn an_attempt_keeps_a_timer_that_fires_soon_after_its_lease() {
    let state = [requested(), started(1)].iter().fold(State::default(), evolve);
    assert_eq!(wake(&state, at(0), Some(at(policy::REPAIR_DELAY_MS))), Some(at(policy::REPAIR_DELAY_MS)));
    assert_eq!(wake(&state, at(0), Some(at(1))), Some(at(1)), "an early look is harmless");
    assert_eq!(wake(&state, at(0), Some(at(LEASE + policy::REPAIR_DELAY_MS + 1))), Some(at(LEASE)));
    assert_eq!(wake(&state, at(0), Some(at(0))), Some(at(LEASE)));
}
