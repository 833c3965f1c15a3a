//! Attempts in doubt and their resolution.

use super::*;

#[test]
fn a_lost_answer_is_a_doubt_and_not_a_failure() {
    given([requested(), started(1)])
        .when(outcome(1, AttemptOutcome::InDoubt(InDoubtCause::Timeout)))
        .then([in_doubt(1, InDoubtCause::Timeout)])
        .shows(Status::Sending);
}

#[test]
fn an_expired_lease_is_a_doubt() {
    given([requested(), started(1)]).when(advance_to(LEASE - 1)).then([]);
    let doubt = CommunicationEvent::DeliveryAttemptInDoubt {
        attempt: 1,
        cause: InDoubtCause::LeaseExpired,
        evidence_until: at(LEASE + policy::EVIDENCE_WAIT_MS),
    };
    given([requested(), started(1)]).when(advance_to(LEASE)).then([doubt]);
}

#[test]
fn evidence_resolves_a_doubt_without_a_second_attempt() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(report(1, ReportedStatus::Delivered))
        .then([reported(1, ReportedStatus::Delivered), proven(1)])
        .is(Lifecycle::Sent)
        .shows(Status::Delivered)
        .maybe_sent(false)
        .when(begin(policy::EVIDENCE_WAIT_MS))
        .then_rejected(Rejection::Finished);
}

#[test]
fn a_report_of_failure_also_resolves_a_doubt() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(report(1, ReportedStatus::Undelivered))
        .then([reported(1, ReportedStatus::Undelivered), proven(1)])
        .is(Lifecycle::Sent)
        .shows(Status::Failed);
}

#[test]
fn evidence_from_before_the_doubt_resolves_it_too() {
    given([requested(), started(1), reported(1, ReportedStatus::Sent)])
        .when(outcome(1, AttemptOutcome::InDoubt(InDoubtCause::ConnectionLost)))
        .then([in_doubt(1, InDoubtCause::ConnectionLost), proven(1)])
        .is(Lifecycle::Sent);
}

#[test]
fn without_evidence_the_policy_decides() {
    let later = policy::EVIDENCE_WAIT_MS;
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)]).when(advance_to(later - 1)).then([]);
    let g = given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(advance_to(later))
        .then([unknown(1)])
        .maybe_sent(true);
    assert_eq!(readiness(g.communication(), at(later)), Readiness::Ready);
    given([holding(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(advance_to(later))
        .then([unknown(1), failed(FailReason::InDoubt, true)])
        .maybe_sent(true);
}

#[test]
fn running_out_of_attempts_in_doubt_is_never_a_plain_failure() {
    let once = requested_with(|request| request.max_attempts = 1);
    given([once, started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(advance_to(policy::EVIDENCE_WAIT_MS))
        .then([unknown(1), dead(DeadLetterReason::RetriesExhausted, true)])
        .maybe_sent(true);
}

#[test]
fn a_late_answer_still_resolves_its_doubt() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)])
        .when(outcome(1, yes()))
        .then([accepted(1)])
        .is(Lifecycle::Sent);
    let g = given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, Some(60_000))]);
    assert_eq!(g.communication().counted_attempts, 1, "the attempt was already counted");
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired), unknown(1)])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([])
        .maybe_sent(true);
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired), unknown(1)])
        .when(outcome(1, yes()))
        .then([accepted(1)])
        .is(Lifecycle::Sent);
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)])
        .when(outcome(1, AttemptOutcome::InDoubt(InDoubtCause::Timeout)))
        .then([]);
}

#[test]
fn proof_of_an_earlier_attempt_prevents_another_one() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1)])
        .when(report(1, ReportedStatus::Delivered))
        .then([reported(1, ReportedStatus::Delivered)])
        .is(Lifecycle::Sent)
        .maybe_sent(true);
    given([
        requested(),
        started(1),
        in_doubt(1, InDoubtCause::Timeout),
        unknown(1),
        started(2),
        reported(1, ReportedStatus::Delivered),
    ])
    .when(outcome(2, no(RefusalClass::Transient, "x", None)))
    .then([refused(2, RefusalClass::Transient, "x", true, None)])
    .is(Lifecycle::Sent);
    given([
        requested(),
        started(1),
        in_doubt(1, InDoubtCause::Timeout),
        unknown(1),
        started(2),
        reported(1, ReportedStatus::Delivered),
        in_doubt(2, InDoubtCause::Timeout),
    ])
    .when(advance_to(policy::EVIDENCE_WAIT_MS))
    .then([unknown(2)])
    .is(Lifecycle::Sent);
}

fn operator_resolves(outcome: Resolution) -> Command {
    Command::ResolveInDoubt { outcome, by: ResolvedBy::Operator, provider_message_id: None }
}

fn resolution(attempt: u16, outcome: Resolution) -> CommunicationEvent {
    resolved(attempt, outcome, ResolvedBy::Operator)
}

#[test]
fn an_operator_can_resolve_a_doubt() {
    let doubt = || [requested(), started(1), in_doubt(1, InDoubtCause::Timeout)];
    given(doubt())
        .when(operator_resolves(Resolution::Accepted))
        .then([resolution(1, Resolution::Accepted)])
        .is(Lifecycle::Sent);
    let g = given(doubt())
        .when(operator_resolves(Resolution::NotAccepted))
        .then([resolution(1, Resolution::NotAccepted)])
        .maybe_sent(false);
    assert_eq!(readiness(g.communication(), at(0)), Readiness::Ready);
    given(doubt())
        .when(operator_resolves(Resolution::Unknown))
        .then([resolution(1, Resolution::Unknown)])
        .maybe_sent(true);
}

#[test]
fn a_resolution_respects_a_cancellation_and_the_attempt_limit() {
    let doubted = in_doubt(1, InDoubtCause::Timeout);
    given([requested(), started(1), doubted.clone(), cancellation()])
        .when(operator_resolves(Resolution::NotAccepted))
        .then([resolution(1, Resolution::NotAccepted), cancelled()]);
    given([requested(), started(1), doubted.clone(), cancellation()])
        .when(operator_resolves(Resolution::Unknown))
        .then([resolution(1, Resolution::Unknown), failed(FailReason::Cancelled, true)]);
    let once = requested_with(|request| request.max_attempts = 1);
    given([once, started(1), doubted])
        .when(operator_resolves(Resolution::NotAccepted))
        .then([resolution(1, Resolution::NotAccepted), dead(DeadLetterReason::RetriesExhausted, false)]);
}

#[test]
fn only_a_doubt_can_be_resolved() {
    given([requested()]).when(operator_resolves(Resolution::Accepted)).then_rejected(Rejection::NotInDoubt);
    given([requested(), started(1), accepted(1)])
        .when(operator_resolves(Resolution::Accepted))
        .then_rejected(Rejection::NotInDoubt);
}

#[test]
fn a_query_resolves_a_doubt() {
    let resolution = |outcome, id: Option<&str>| CommunicationEvent::DeliveryAttemptResolved {
        attempt: 1,
        outcome,
        by: ResolvedBy::Query,
        provider_message_id: id.map(str::to_owned),
    };
    let resolve_by_query = |outcome, id: Option<&str>| Command::ResolveInDoubt {
        outcome,
        by: ResolvedBy::Query,
        provider_message_id: id.map(str::to_owned),
    };
    let doubt = || [requested(), started(1), in_doubt(1, InDoubtCause::Timeout)];
    let g = given(doubt())
        .when(resolve_by_query(Resolution::Accepted, Some("SM1")))
        .then([resolution(Resolution::Accepted, Some("SM1"))])
        .is(Lifecycle::Sent);
    assert_eq!(g.communication().provider_message_id.as_deref(), Some("SM1"));
    given(doubt())
        .when(resolve_by_query(Resolution::NotAccepted, None))
        .then([resolution(Resolution::NotAccepted, None)])
        .maybe_sent(false);
}

#[test]
fn an_attempt_whose_worker_has_ended_is_in_doubt_before_its_lease_ends() {
    let evidence_until = at(5_000 + policy::EVIDENCE_WAIT_MS);
    let end = || Command::EndLease { now: at(5_000) };
    given([requested(), started(1)]).when(end()).then([CommunicationEvent::DeliveryAttemptInDoubt {
        attempt: 1,
        cause: InDoubtCause::LeaseExpired,
        evidence_until,
    }]);
    given([requested()]).when(end()).then([]);
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)]).when(end()).then([]);
}
