//! Requests, changes, cancellations, suppression and quiet hours.

use super::*;

#[test]
fn a_request_begins_the_stream() {
    given([]).when(Command::Request(Box::new(request()))).then([requested()]).is(Lifecycle::Pending);
}

#[test]
fn a_repeated_request_changes_nothing() {
    given([requested()]).when(Command::Request(Box::new(request()))).then([]);
}

#[test]
fn an_idempotency_key_with_another_body_is_rejected() {
    let other = CommunicationRequest { request_hash: "body-2".into(), ..request() };
    given([requested()]).when(Command::Request(Box::new(other))).then_rejected(Rejection::IdempotencyKeyReused);
}

#[test]
fn commands_before_the_request_are_rejected() {
    for command in [begin(0), advance_to(0), cancel_it(), report(1, ReportedStatus::Sent), outcome(1, yes())] {
        given([]).when(command).then_rejected(Rejection::NotRequested);
    }
}

#[test]
fn a_cancellation_before_the_first_attempt_takes_effect() {
    for first in [requested(), scheduled(60_000)] {
        given([first])
            .when(cancel_it())
            .then([cancelled()])
            .shows(Status::Cancelled)
            .when(begin(60_000))
            .then_rejected(Rejection::Finished);
    }
    given([requested(), cancelled()]).when(cancel_it()).then([]);
}

#[test]
fn a_cancellation_between_refusals_takes_effect() {
    given([requested(), started(1), transient(1)]).when(cancel_it()).then([cancelled()]);
}

#[test]
fn a_cancellation_waits_for_the_result_of_an_open_attempt() {
    given([requested(), started(1)]).when(cancel_it()).then([cancellation()]).shows(Status::Sending);
    given([requested(), started(1), cancellation()]).when(cancel_it()).then([]);
    given([requested(), started(1), cancellation()]).when(outcome(1, yes())).then([accepted(1)]).shows(Status::Sent);
    given([requested(), started(1), cancellation()])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, None), cancelled()]);
}

#[test]
fn a_message_that_may_have_been_sent_is_never_cancelled() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), cancellation()])
        .when(advance_to(policy::EVIDENCE_WAIT_MS))
        .then([unknown(1), failed(FailReason::Cancelled, true)]);
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1)])
        .when(cancel_it())
        .then([cancellation(), failed(FailReason::Cancelled, true)]);
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1), started(2), cancellation()])
        .when(outcome(2, no(RefusalClass::Transient, "x", None)))
        .then([refused(2, RefusalClass::Transient, "x", true, None), failed(FailReason::Cancelled, true)]);
}

#[test]
fn a_sent_message_cannot_be_cancelled() {
    given([requested(), started(1), accepted(1)]).when(cancel_it()).then_rejected(Rejection::AlreadyAccepted);
    given([requested(), failed(FailReason::Permanent, false)]).when(cancel_it()).then_rejected(Rejection::Finished);
}

#[test]
fn a_message_can_be_changed_until_the_first_attempt() {
    let later = || Command::Change { schedule: Some((at(90_000), at(99_000))), content: None };
    let change = || Command::Change { schedule: None, content: Some("body-9".into()) };
    let rescheduled = CommunicationEvent::CommunicationRescheduled { scheduled_at: at(90_000), expires_at: at(99_000) };
    let changed = CommunicationEvent::CommunicationContentChanged { content: "body-9".into() };
    given([scheduled(60_000)])
        .when(later())
        .then([rescheduled])
        .when(begin(60_000))
        .then_rejected(Rejection::NotDue(at(90_000)));
    let g = given([requested()]).when(change()).then([changed]);
    assert_eq!(g.communication().content_id, "body-9");
    g.when(change()).then([]);
    for command in [later, change] as [fn() -> Command; 2] {
        given([requested(), started(1)]).when(command()).then_rejected(Rejection::AlreadyAttempted);
        given([requested(), started(1), accepted(1)]).when(command()).then_rejected(Rejection::AlreadyAccepted);
        given([requested(), cancelled()]).when(command()).then_rejected(Rejection::Finished);
    }
}

#[test]
fn suppression_ends_a_message_that_was_not_sent() {
    let suppress = || Command::Suppress(SuppressReason::SuppressionList);
    let suppressed = CommunicationEvent::CommunicationSuppressed { reason: SuppressReason::SuppressionList };
    given([requested()]).when(suppress()).then([suppressed]).shows(Status::Suppressed);
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1)])
        .when(suppress())
        .then([failed(FailReason::Cancelled, true)]);
    given([requested(), started(1)]).when(suppress()).then([]);
}

#[test]
fn an_unrenderable_message_fails_without_an_attempt() {
    given([requested()])
        .when(Command::FailPermanently(FailReason::Unrenderable))
        .then([failed(FailReason::Unrenderable, false)]);
    given([requested(), started(1)]).when(Command::FailPermanently(FailReason::Unrenderable)).then([]);
}

fn quiet_until(ms: i64) -> Command {
    Command::Defer { until: at(ms), reason: DeferReason::QuietHours }
}

fn deferred(ms: i64) -> CommunicationEvent {
    CommunicationEvent::CommunicationDeferred { until: at(ms), reason: DeferReason::QuietHours }
}

#[test]
fn urgent_messages_are_never_held_in_quiet_hours() {
    let at_night = Timestamp(0);
    let quiet = events::QuietHours { start: "23:00".into(), end: "08:00".into(), time_zone: "UTC".into() };
    let mut request = CommunicationRequest { quiet_hours: Some(quiet), ..request() };
    request.priority = Priority::Normal;
    assert_eq!(crate::quiet_hours::release_time(&request, at_night), Some(Timestamp(8 * 3_600_000)));
    request.priority = Priority::Urgent;
    assert_eq!(crate::quiet_hours::release_time(&request, at_night), None);
}

#[test]
fn quiet_hours_hold_a_message_and_release_it() {
    let g = given([requested()]).when(quiet_until(9_000)).then([deferred(9_000)]);
    assert_eq!(readiness(g.communication(), at(8_999)), Readiness::NotBefore(at(9_000)));
    assert_eq!(readiness(g.communication(), at(9_000)), Readiness::Ready);
    given([requested(), deferred(9_000)]).when(quiet_until(9_000)).then([]);
    let g = given([requested(), started(1), transient(1)]).when(quiet_until(9_000)).then([deferred(9_000)]);
    assert_eq!(readiness(g.communication(), at(8_999)), Readiness::NotBefore(at(9_000)));
    given([requested(), started(1)]).when(quiet_until(9_000)).then([]);
}

#[test]
fn a_message_can_be_changed_a_limited_number_of_times() {
    const MAX: usize = policy::MAX_CHANGES as usize;
    let change = |ms| Command::Change { schedule: Some((at(ms), at(90_000_000))), content: None };
    let moved = |ms| CommunicationEvent::CommunicationRescheduled { scheduled_at: at(ms), expires_at: at(90_000_000) };
    let event = |n: usize| if n == 0 { requested() } else { moved(n as i64) };
    given(std::array::from_fn::<_, MAX, _>(event)).when(change(5_000)).then([moved(5_000)]);
    let full = || given(std::array::from_fn::<_, { MAX + 1 }, _>(event));
    full().when(change(5_000)).then_rejected(Rejection::TooManyChanges);
    full().when(change(MAX as i64)).then([]);
    assert!(full().when(cancel_it()).1.is_ok(), "it can still be cancelled");
}
