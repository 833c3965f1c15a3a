//! Attempts, refusals and retries.

use super::*;

#[test]
fn a_due_communication_is_attempted() {
    given([requested()]).when(begin(0)).then([started(1)]).shows(Status::Sending);
}

#[test]
fn two_workers_cannot_hold_one_attempt() {
    given([requested(), started(1)]).when(begin(LEASE - 1)).then_rejected(Rejection::AttemptInFlight(at(LEASE)));
}

#[test]
fn no_attempt_begins_before_the_due_time() {
    given([scheduled(60_000)])
        .shows(Status::Scheduled)
        .when(begin(59_999))
        .then_rejected(Rejection::NotDue(at(60_000)));
    let start = CommunicationEvent::DeliveryAttemptStarted {
        attempt: 1,
        config: "sendgrid".into(),
        provider: "sendgrid".into(),
        idempotency_key: None,
        lease_until: at(60_000 + LEASE),
        about: Vec::new(),
    };
    given([scheduled(60_000)]).when(begin(60_000)).then([start]);
}

#[test]
fn no_attempt_begins_after_the_end() {
    for end in [
        cancelled(),
        failed(FailReason::Permanent, false),
        dead(DeadLetterReason::Expired, false),
        CommunicationEvent::CommunicationSuppressed { reason: SuppressReason::OptedOut },
    ] {
        given([requested(), end]).when(begin(0)).then_rejected(Rejection::Finished);
    }
    given([requested(), started(1), accepted(1)]).when(begin(0)).then_rejected(Rejection::Finished);
}

#[test]
fn an_answer_in_time_ends_the_attempt() {
    given([requested(), started(1)])
        .when(outcome(1, yes()))
        .then([accepted(1)])
        .is(Lifecycle::Sent)
        .shows(Status::Sent);
}

#[test]
fn a_repeated_acceptance_is_not_recorded_again() {
    given([requested(), started(1), accepted(1)]).when(outcome(1, yes())).then([]);
}

#[test]
fn an_outcome_of_an_unknown_attempt_is_rejected() {
    given([requested()]).when(outcome(1, yes())).then_rejected(Rejection::UnknownAttempt);
    given([requested(), started(1)]).when(outcome(2, yes())).then_rejected(Rejection::UnknownAttempt);
}

#[test]
fn counted_refusals_are_retried_and_end_in_a_dead_letter() {
    let step = |attempt, wait| refused(attempt, RefusalClass::Transient, "x", true, Some(wait));
    let no = || no(RefusalClass::Transient, "x", None);
    let g = given([requested(), started(1)]).when(outcome(1, no())).then([step(1, 60_000)]);
    assert_eq!(readiness(g.communication(), at(59_999)), Readiness::NotBefore(at(60_000)));
    assert_eq!(readiness(g.communication(), at(60_000)), Readiness::Ready);
    given([requested(), started(1), transient(1), started(2)]).when(outcome(2, no())).then([step(2, 300_000)]);
    given([requested(), started(1), transient(1), started(2), transient(2), started(3)])
        .when(outcome(3, no()))
        .then([step(3, 900_000)]);
    given([requested(), started(1), transient(1), started(2), transient(2), started(3), transient(3), started(4)])
        .when(outcome(4, no()))
        .then([step(4, 3_600_000)]);
    given([
        requested(),
        started(1),
        transient(1),
        started(2),
        transient(2),
        started(3),
        transient(3),
        started(4),
        transient(4),
        started(5),
    ])
    .when(outcome(5, no()))
    .then([refused(5, RefusalClass::Transient, "x", true, None), dead(DeadLetterReason::RetriesExhausted, false)])
    .shows(Status::Failed)
    .maybe_sent(false);
}

#[test]
fn throttled_attempts_do_not_count() {
    for (class, after, wait) in [
        (RefusalClass::Throttled, Some(7_000), 7_000),
        (RefusalClass::Throttled, None, policy::DEFAULT_RETRY_AFTER_MS),
        (RefusalClass::Throttled, Some(86_400_000), 3_600_000),
        (RefusalClass::Throttled, Some(0), 1_000),
        (RefusalClass::Unavailable, Some(30_000), 30_000),
        (RefusalClass::Auth, None, policy::ACCOUNT_HOLD_MS),
        (RefusalClass::Balance, None, policy::ACCOUNT_HOLD_MS),
    ] {
        let g = given([requested(), started(1)]).when(outcome(1, no(class, "x", after))).then([refused(
            1,
            class,
            "x",
            false,
            Some(wait),
        )]);
        assert_eq!(g.communication().counted_attempts, 0);
    }
}

#[test]
fn an_attempt_with_an_unreachable_provider_counts() {
    given([requested(), started(1)]).when(outcome(1, no(RefusalClass::Unavailable, "connect", None))).then([refused(
        1,
        RefusalClass::Unavailable,
        "connect",
        true,
        Some(60_000),
    )]);
}

#[test]
fn a_permanent_refusal_fails_the_communication_at_once() {
    given([requested(), started(1)])
        .when(outcome(1, no(RefusalClass::Permanent, "21211", None)))
        .then([refused(1, RefusalClass::Permanent, "21211", true, None), failed(FailReason::Permanent, false)])
        .shows(Status::Failed);
}

#[test]
fn no_retry_is_scheduled_after_the_expiry() {
    let soon = requested_with(|request| request.expires_at = at(30_000));
    given([soon, started(1)])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, None), dead(DeadLetterReason::Expired, false)])
        .shows(Status::Expired);
}

#[test]
fn an_expired_message_is_not_sent() {
    let soon = requested_with(|request| request.expires_at = at(30_000));
    given([soon.clone()]).when(advance_to(29_999)).then([]);
    given([soon]).when(advance_to(30_000)).then([dead(DeadLetterReason::Expired, false)]).shows(Status::Expired);
}

#[test]
fn a_fault_of_the_provider_fails_over_at_once() {
    for (class, counted) in [
        (RefusalClass::Transient, true),
        (RefusalClass::Unavailable, true),
        (RefusalClass::Auth, false),
        (RefusalClass::Balance, false),
    ] {
        let outcome = AttemptOutcome::Refused { class, code: "x".into(), retry_after_ms: None };
        let g = given([requested(), started(1)])
            .when(Command::RecordOutcome { attempt: 1, now: at(0), chance: 200, outcome, failover: true })
            .then([refused_with_failover(1, class, counted)]);
        assert_eq!(g.communication().refusing_configs.len(), 1);
    }
    let outcome =
        AttemptOutcome::Refused { class: RefusalClass::Throttled, code: "x".into(), retry_after_ms: Some(5_000) };
    let g = given([requested(), started(1)])
        .when(Command::RecordOutcome { attempt: 1, now: at(0), chance: 200, outcome, failover: true })
        .then([refused(1, RefusalClass::Throttled, "x", false, Some(5_000))]);
    assert!(g.communication().refusing_configs.is_empty(), "throttling is not a fault of the provider");
}
