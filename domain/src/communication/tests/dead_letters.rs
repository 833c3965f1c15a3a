//! Dead letters, their retry, and proof that reverts them.

use super::*;

#[test]
fn late_evidence_reverts_a_failure() {
    for end in [failed(FailReason::InDoubt, true), dead(DeadLetterReason::RetriesExhausted, true)] {
        let g = given([holding(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1), end])
            .when(report(1, ReportedStatus::Delivered))
            .then([reported(1, ReportedStatus::Delivered)])
            .is(Lifecycle::Sent)
            .shows(Status::Delivered);
        assert!(g.communication().late_evidence);
    }
}

#[test]
fn a_poison_message_becomes_a_dead_letter() {
    let poison = || Command::DeadLetter(DeadLetterReason::Poison);
    given([requested()]).when(poison()).then([dead(DeadLetterReason::Poison, false)]);
    given([requested(), started(1)]).when(poison()).then([dead(DeadLetterReason::Poison, true)]).maybe_sent(true);
    given([requested(), started(1), accepted(1)]).when(poison()).then([]);
}

#[test]
fn a_retried_dead_letter_counts_its_attempts_from_zero() {
    let retry = CommunicationEvent::RetryRequested { by: "operator".into(), expires_at: at(99_000), retry_at: None };
    let g = given([requested(), started(1), transient(1), dead(DeadLetterReason::RetriesExhausted, false), retry]);
    assert_eq!((g.communication().counted_attempts, g.communication().expires_at), (0, at(99_000)));
    assert_eq!(readiness(g.communication(), at(0)), Readiness::Ready);
}

#[test]
fn only_dead_letters_can_be_retried() {
    let retry = || Command::Retry { by: "operator".into(), now: at(0), at: None };
    let expires_at = at(72 * 3_600_000);
    let retried = CommunicationEvent::RetryRequested { by: "operator".into(), expires_at, retry_at: None };
    given([requested(), started(1), transient(1), dead(DeadLetterReason::RetriesExhausted, false)])
        .when(retry())
        .then([retried.clone()])
        .when(begin(0))
        .then([started(2)]);
    given([holding(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1), failed(FailReason::InDoubt, true)])
        .when(retry())
        .then([retried])
        .maybe_sent(true);
    given([requested()]).when(retry()).then_rejected(Rejection::NotDeadLettered);
    given([requested(), started(1), accepted(1)]).when(retry()).then_rejected(Rejection::AlreadyAccepted);
    given([requested(), cancelled()]).when(retry()).then_rejected(Rejection::NotDeadLettered);
    given([requested(), started(1), failed(FailReason::Permanent, false)])
        .when(retry())
        .then_rejected(Rejection::NotDeadLettered);
}

#[test]
fn a_redriven_dead_letter_waits_for_its_retry_time() {
    let g = given([requested(), started(1), transient(1), dead(DeadLetterReason::RetriesExhausted, false)])
        .when(Command::Retry { by: "operator".into(), now: at(0), at: Some(at(5_000)) })
        .then([CommunicationEvent::RetryRequested {
            by: "operator".into(),
            expires_at: at(5_000 + 72 * 3_600_000),
            retry_at: Some(at(5_000)),
        }]);
    assert_eq!(readiness(g.communication(), at(4_999)), Readiness::NotBefore(at(5_000)));
    assert_eq!(readiness(g.communication(), at(5_000)), Readiness::Ready);
}

#[test]
fn a_dead_letter_is_not_retried_before_its_lease_ends() {
    let retried = |retry_at| CommunicationEvent::RetryRequested {
        by: "operator".into(),
        expires_at: at(LEASE + 72 * 3_600_000),
        retry_at,
    };
    given([requested(), started(1), dead(DeadLetterReason::Poison, true)])
        .when(Command::Retry { by: "operator".into(), now: at(0), at: None })
        .then([retried(Some(at(LEASE)))]);
    given([requested(), started(1), dead(DeadLetterReason::Poison, true)])
        .when(Command::Retry { by: "operator".into(), now: at(LEASE), at: None })
        .then([retried(None)]);
}

#[test]
fn a_scheduled_dead_letter_keeps_its_due_time() {
    let scheduled = requested_with(|request| request.scheduled_at = Some(at(9_000)));
    let g = given([scheduled, dead(DeadLetterReason::Poison, false)])
        .when(Command::Retry { by: "operator".into(), now: at(0), at: Some(at(1_000)) })
        .then([CommunicationEvent::RetryRequested {
            by: "operator".into(),
            expires_at: at(9_000 + 72 * 3_600_000),
            retry_at: Some(at(9_000)),
        }]);
    assert_eq!(readiness(g.communication(), at(8_999)), Readiness::NotBefore(at(9_000)));
}
