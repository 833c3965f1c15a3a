use events::{Channel, MessageType, Mode, Priority, Recipient, RecipientType};

use super::*;
use crate::status::{Status, status};

const T0: i64 = 1_000_000_000_000;
const LEASE: i64 = 35_000;

fn at(ms: i64) -> Timestamp {
    Timestamp(T0 + ms)
}

fn request() -> CommunicationRequest {
    CommunicationRequest {
        channel: Channel::Email,
        kind: MessageType::Invoice,
        priority: Priority::Normal,
        source: Source::Api,
        recipient: Recipient { kind: RecipientType::Customer, id: None },
        contact_hash: "hash".into(),
        template: None,
        locale: None,
        attachments: vec![],
        entity: None,
        scheduled_at: None,
        expires_at: at(72 * 3_600_000),
        quiet_hours: None,
        in_doubt: InDoubtPolicy::Resend,
        max_attempts: 5,
        campaign: None,
        rule: None,
        resend_of: None,
        fallback: None,
        fallback_of: None,
        retention: None,
        via: None,
        request_hash: "body-1".into(),
        requested_by: "billing".into(),
        mode: Mode::Live,
    }
}

fn requested() -> CommunicationEvent {
    CommunicationEvent::CommunicationRequested(Box::new(request()))
}

fn requested_with(change: impl FnOnce(&mut CommunicationRequest)) -> CommunicationEvent {
    let mut request = request();
    change(&mut request);
    CommunicationEvent::CommunicationRequested(Box::new(request))
}

fn scheduled(ms: i64) -> CommunicationEvent {
    requested_with(|request| request.scheduled_at = Some(at(ms)))
}

fn holding() -> CommunicationEvent {
    requested_with(|request| request.in_doubt = InDoubtPolicy::Hold)
}

fn started(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptStarted {
        attempt,
        config: "sendgrid".into(),
        provider: "sendgrid".into(),
        idempotency_key: None,
        lease_until: at(LEASE),
    }
}

fn accepted(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptAccepted {
        attempt,
        provider_message_id: "sg-1".into(),
        segments: None,
        cost_micros: None,
        latency_ms: 12,
    }
}

fn refused(attempt: u16, class: RefusalClass, code: &str, counted: bool, retry: Option<i64>) -> CommunicationEvent {
    let retry_at = retry.map(at);
    CommunicationEvent::DeliveryAttemptRefused { attempt, class, code: code.into(), counted, retry_at, failover: false }
}

fn refused_here(attempt: u16, class: RefusalClass, counted: bool) -> CommunicationEvent {
    let retry_at = Some(at(policy::FAILOVER_DELAY_MS));
    CommunicationEvent::DeliveryAttemptRefused { attempt, class, code: "x".into(), counted, retry_at, failover: true }
}

fn transient(attempt: u16) -> CommunicationEvent {
    refused(attempt, RefusalClass::Transient, "x", true, Some(0))
}

fn in_doubt(attempt: u16, cause: InDoubtCause) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptInDoubt { attempt, cause, evidence_until: at(policy::EVIDENCE_WAIT_MS) }
}

fn unknown(attempt: u16) -> CommunicationEvent {
    resolved(attempt, Resolution::Unknown, ResolvedBy::Policy)
}

fn proven(attempt: u16) -> CommunicationEvent {
    resolved(attempt, Resolution::Accepted, ResolvedBy::Callback)
}

fn reported(attempt: u16, fact: ReportedStatus) -> CommunicationEvent {
    CommunicationEvent::DeliveryReported {
        attempt: Some(attempt),
        fact,
        provider_event_id: None,
        provider_at: at(5),
        code: None,
    }
}

fn failed(reason: FailReason, maybe_sent: bool) -> CommunicationEvent {
    CommunicationEvent::CommunicationFailed { reason, maybe_sent }
}

fn dead(reason: DeadLetterReason, maybe_sent: bool) -> CommunicationEvent {
    CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent }
}

fn cancelled() -> CommunicationEvent {
    CommunicationEvent::CommunicationCancelled { by: "billing".into(), reason: CancelReason::Requested }
}

fn cancellation() -> CommunicationEvent {
    CommunicationEvent::CancellationRequested { by: "billing".into(), reason: CancelReason::Requested }
}

fn begin(ms: i64) -> Command {
    let lease_until = at(ms + LEASE);
    Command::BeginAttempt { now: at(ms), lease_until, config: "sendgrid".into(), provider: "sendgrid".into() }
}

fn advance_to(ms: i64) -> Command {
    Command::ApplyDeadlines { now: at(ms) }
}

/// The middle of the jitter, so that waits are the ladder's own.
fn outcome(attempt: u16, outcome: AttemptOutcome) -> Command {
    Command::RecordOutcome { attempt, now: at(0), chance: 200, outcome, failover: false }
}

fn no(class: RefusalClass, code: &str, retry_after_ms: Option<i64>) -> AttemptOutcome {
    AttemptOutcome::Refused { class, code: code.into(), retry_after_ms }
}

fn yes() -> AttemptOutcome {
    let (segments, cost_micros) = (None, None);
    AttemptOutcome::Accepted { provider_message_id: "sg-1".into(), segments, cost_micros, latency_ms: 12 }
}

fn says(attempt: u16, fact: ReportedStatus) -> Command {
    let (event_id, code) = (None, None);
    Command::Report(vec![DeliveryReport { attempt: Some(attempt), fact, event_id, at: at(5), code }])
}

fn cancel_it() -> Command {
    Command::Cancel { by: "billing".into(), reason: CancelReason::Requested }
}

struct Given(State);
struct When(State, Result<Vec<CommunicationEvent>, Rejection>);

fn given<const N: usize>(events: [CommunicationEvent; N]) -> Given {
    Given(events.iter().fold(State::default(), evolve))
}

impl Given {
    fn when(self, command: Command) -> When {
        let decided = decide(&self.0, command);
        When(self.0, decided)
    }

    fn communication(&self) -> &Communication {
        self.0.requested().expect("requested")
    }

    fn is(self, lifecycle: Lifecycle) -> Self {
        assert_eq!(self.communication().lifecycle, lifecycle);
        self
    }

    fn shows(self, expected: Status) -> Self {
        assert_eq!(status(self.communication()), expected);
        self
    }

    fn maybe_sent(self, expected: bool) -> Self {
        assert_eq!(self.communication().maybe_sent, expected);
        self
    }
}

impl When {
    fn then<const N: usize>(self, expected: [CommunicationEvent; N]) -> Given {
        let events = self.1.expect("a decision");
        assert_eq!(events, expected);
        Given(events.iter().fold(self.0, evolve))
    }

    fn then_rejected(self, expected: Rejection) {
        assert_eq!(self.1, Err(expected));
    }
}

#[test]
fn a_request_begins_the_stream() {
    given([]).when(Command::Request(Box::new(request()))).then([requested()]).is(Lifecycle::Pending);
}

#[test]
fn the_same_request_again_changes_nothing() {
    given([requested()]).when(Command::Request(Box::new(request()))).then([]);
}

#[test]
fn one_key_is_for_one_body() {
    let other = CommunicationRequest { request_hash: "body-2".into(), ..request() };
    given([requested()]).when(Command::Request(Box::new(other))).then_rejected(Rejection::IdempotencyKeyReused);
}

#[test]
fn nothing_can_be_asked_of_what_was_never_requested() {
    for command in [begin(0), advance_to(0), cancel_it(), says(1, ReportedStatus::Sent), outcome(1, yes())] {
        given([]).when(command).then_rejected(Rejection::NotRequested);
    }
}

#[test]
fn a_due_communication_is_attempted() {
    given([requested()]).when(begin(0)).then([started(1)]).shows(Status::Sending);
}

#[test]
fn two_workers_cannot_hold_one_attempt() {
    given([requested(), started(1)]).when(begin(LEASE - 1)).then_rejected(Rejection::AttemptInFlight(at(LEASE)));
}

#[test]
fn nothing_is_sent_before_its_time() {
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
    };
    given([scheduled(60_000)]).when(begin(60_000)).then([start]);
}

#[test]
fn nothing_is_attempted_after_the_end() {
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
fn one_acceptance_is_recorded_once() {
    given([requested(), started(1), accepted(1)]).when(outcome(1, yes())).then([]);
}

#[test]
fn an_outcome_needs_its_attempt() {
    given([requested()]).when(outcome(1, yes())).then_rejected(Rejection::UnknownAttempt);
    given([requested(), started(1)]).when(outcome(2, yes())).then_rejected(Rejection::UnknownAttempt);
}

#[test]
fn counted_refusals_climb_the_ladder_and_end_in_a_dead_letter() {
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
fn waiting_for_the_provider_burns_no_attempt() {
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
fn an_unreachable_provider_counts() {
    given([requested(), started(1)]).when(outcome(1, no(RefusalClass::Unavailable, "connect", None))).then([refused(
        1,
        RefusalClass::Unavailable,
        "connect",
        true,
        Some(60_000),
    )]);
}

#[test]
fn a_permanent_refusal_ends_it_at_once() {
    given([requested(), started(1)])
        .when(outcome(1, no(RefusalClass::Permanent, "21211", None)))
        .then([refused(1, RefusalClass::Permanent, "21211", true, None), failed(FailReason::Permanent, false)])
        .shows(Status::Failed);
}

#[test]
fn no_retry_is_promised_for_after_the_expiry() {
    let soon = requested_with(|request| request.expires_at = at(30_000));
    given([soon, started(1)])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, None), dead(DeadLetterReason::Expired, false)])
        .shows(Status::Expired);
}

#[test]
fn a_message_past_its_time_expires_instead_of_being_sent() {
    let soon = requested_with(|request| request.expires_at = at(30_000));
    given([soon.clone()]).when(advance_to(29_999)).then([]);
    given([soon]).when(advance_to(30_000)).then([dead(DeadLetterReason::Expired, false)]).shows(Status::Expired);
}

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
fn evidence_settles_a_doubt_without_a_second_send() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(says(1, ReportedStatus::Delivered))
        .then([reported(1, ReportedStatus::Delivered), proven(1)])
        .is(Lifecycle::Sent)
        .shows(Status::Delivered)
        .maybe_sent(false)
        .when(begin(policy::EVIDENCE_WAIT_MS))
        .then_rejected(Rejection::Finished);
}

#[test]
fn even_bad_news_proves_that_the_provider_had_it() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout)])
        .when(says(1, ReportedStatus::Undelivered))
        .then([reported(1, ReportedStatus::Undelivered), proven(1)])
        .is(Lifecycle::Sent)
        .shows(Status::Failed);
}

#[test]
fn evidence_that_came_before_the_doubt_settles_it_too() {
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
fn a_late_answer_still_ends_its_doubt() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)])
        .when(outcome(1, yes()))
        .then([accepted(1)])
        .is(Lifecycle::Sent);
    let g = given([requested(), started(1), in_doubt(1, InDoubtCause::LeaseExpired)])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, Some(60_000))]);
    assert_eq!(g.communication().counted_attempts, 1, "the doubt was counted already");
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
fn proof_of_an_earlier_attempt_stops_the_next() {
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1)])
        .when(says(1, ReportedStatus::Delivered))
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

#[test]
fn late_evidence_lifts_what_was_given_up() {
    for end in [failed(FailReason::InDoubt, true), dead(DeadLetterReason::RetriesExhausted, true)] {
        let g = given([holding(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1), end])
            .when(says(1, ReportedStatus::Delivered))
            .then([reported(1, ReportedStatus::Delivered)])
            .is(Lifecycle::Sent)
            .shows(Status::Delivered);
        assert!(g.communication().late_evidence);
    }
}

#[test]
fn a_cancel_before_the_first_attempt_wins() {
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
fn a_cancel_between_definite_refusals_wins() {
    given([requested(), started(1), transient(1)]).when(cancel_it()).then([cancelled()]);
}

#[test]
fn a_cancel_in_flight_waits_for_the_honest_result() {
    given([requested(), started(1)]).when(cancel_it()).then([cancellation()]).shows(Status::Sending);
    given([requested(), started(1), cancellation()]).when(cancel_it()).then([]);
    given([requested(), started(1), cancellation()]).when(outcome(1, yes())).then([accepted(1)]).shows(Status::Sent);
    given([requested(), started(1), cancellation()])
        .when(outcome(1, no(RefusalClass::Transient, "x", None)))
        .then([refused(1, RefusalClass::Transient, "x", true, None), cancelled()]);
}

#[test]
fn what_may_have_been_sent_is_never_cancelled() {
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
fn what_was_sent_cannot_be_cancelled() {
    given([requested(), started(1), accepted(1)]).when(cancel_it()).then_rejected(Rejection::AlreadyAccepted);
    given([requested(), failed(FailReason::Permanent, false)]).when(cancel_it()).then_rejected(Rejection::Finished);
}

#[test]
fn changes_are_for_before_the_first_attempt() {
    let later = || Command::Change { schedule: Some((at(90_000), at(99_000))), content: None };
    let change = || Command::Change { schedule: None, content: Some("body-9".into()) };
    let moved = CommunicationEvent::CommunicationRescheduled { scheduled_at: at(90_000), expires_at: at(99_000) };
    let changed = CommunicationEvent::CommunicationContentChanged { content: "body-9".into() };
    given([scheduled(60_000)])
        .when(later())
        .then([moved])
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
fn suppression_ends_it_unless_it_may_have_been_sent() {
    let suppress = || Command::Suppress(SuppressReason::SuppressionList);
    let suppressed = CommunicationEvent::CommunicationSuppressed { reason: SuppressReason::SuppressionList };
    given([requested()]).when(suppress()).then([suppressed]).shows(Status::Suppressed);
    given([requested(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1)])
        .when(suppress())
        .then([failed(FailReason::Cancelled, true)]);
    given([requested(), started(1)]).when(suppress()).then([]);
}

#[test]
fn what_cannot_be_rendered_fails_without_an_attempt() {
    given([requested()])
        .when(Command::FailPermanently(FailReason::Unrenderable))
        .then([failed(FailReason::Unrenderable, false)]);
    given([requested(), started(1)]).when(Command::FailPermanently(FailReason::Unrenderable)).then([]);
}

#[test]
fn a_poison_message_becomes_a_dead_letter_and_says_if_it_may_have_been_sent() {
    let poison = || Command::DeadLetter(DeadLetterReason::Poison);
    given([requested()]).when(poison()).then([dead(DeadLetterReason::Poison, false)]);
    given([requested(), started(1)]).when(poison()).then([dead(DeadLetterReason::Poison, true)]).maybe_sent(true);
    given([requested(), started(1), accepted(1)]).when(poison()).then([]);
}

#[test]
fn a_fact_is_news_once() {
    given([requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)])
        .when(says(1, ReportedStatus::Delivered))
        .then([]);
    let earlier =
        DeliveryReport { attempt: Some(1), fact: ReportedStatus::Delivered, event_id: None, at: at(1), code: None };
    let event = CommunicationEvent::DeliveryReported {
        attempt: Some(1),
        fact: ReportedStatus::Delivered,
        provider_event_id: None,
        provider_at: at(1),
        code: None,
    };
    let g = given([requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)])
        .when(Command::Report(vec![earlier]))
        .then([event]);
    assert_eq!(g.communication().evidence[&ReportedStatus::Delivered].at, at(1));
}

#[test]
fn that_the_provider_has_it_is_no_news_after_its_own_answer() {
    given([requested(), started(1), accepted(1)]).when(says(1, ReportedStatus::Accepted)).then([]);
    given([requested(), started(1)])
        .when(says(1, ReportedStatus::Accepted))
        .then([reported(1, ReportedStatus::Accepted)]);
}

#[test]
fn a_report_needs_an_attempt() {
    given([requested()]).when(says(1, ReportedStatus::Delivered)).then_rejected(Rejection::UnknownAttempt);
    given([requested(), started(1)]).when(says(2, ReportedStatus::Delivered)).then_rejected(Rejection::UnknownAttempt);
}

#[test]
fn an_unknown_status_is_kept_and_never_applied() {
    let odd = |code: &str| DeliveryReport {
        attempt: Some(1),
        fact: ReportedStatus::Unknown,
        event_id: None,
        at: at(5),
        code: Some(code.into()),
    };
    let event = CommunicationEvent::DeliveryReported {
        attempt: Some(1),
        fact: ReportedStatus::Unknown,
        provider_event_id: None,
        provider_at: at(5),
        code: Some("odd".into()),
    };
    let delivered = [requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)];
    given(delivered).when(Command::Report(vec![odd("odd"), odd("odd")])).then([event]).shows(Status::Delivered);
}

#[test]
fn every_order_of_the_same_facts_shows_the_same_status() {
    let facts = [
        ReportedStatus::Accepted,
        ReportedStatus::Deferred,
        ReportedStatus::Delivered,
        ReportedStatus::Opened,
        ReportedStatus::Complained,
    ];
    fn orders(facts: &[ReportedStatus]) -> Vec<Vec<ReportedStatus>> {
        if facts.is_empty() {
            return vec![vec![]];
        }
        (0..facts.len())
            .flat_map(|i| {
                let mut rest = facts.to_vec();
                let first = rest.remove(i);
                orders(&rest).into_iter().map(move |mut order| {
                    order.insert(0, first);
                    order
                })
            })
            .collect()
    }
    let all = orders(&facts);
    assert_eq!(all.len(), 120);
    for order in all {
        for place in 0..=order.len() {
            let mut events = vec![requested(), started(1)];
            events.extend(order.iter().map(|fact| reported(1, *fact)));
            events.insert(2 + place, accepted(1));
            let state = events.iter().fold(State::default(), evolve);
            let communication = state.requested().expect("requested");
            assert_eq!(status(communication), Status::Opened, "{order:?}");
            assert_eq!(communication.lifecycle, Lifecycle::Sent);
        }
    }
}

#[test]
fn the_status_never_goes_backwards() {
    for (facts, expected) in [
        (&[ReportedStatus::Clicked, ReportedStatus::Delivered][..], Status::Clicked),
        (&[ReportedStatus::Delivered, ReportedStatus::Undelivered], Status::Delivered),
        (&[ReportedStatus::Delivered, ReportedStatus::Bounced], Status::Bounced),
        (&[ReportedStatus::Delivered, ReportedStatus::Complained], Status::Delivered),
        (&[ReportedStatus::Dropped], Status::Dropped),
        (&[ReportedStatus::Opened, ReportedStatus::Read], Status::Read),
        (&[ReportedStatus::Deferred], Status::Sent),
    ] {
        let mut events = vec![requested(), started(1), accepted(1)];
        events.extend(facts.iter().map(|fact| reported(1, *fact)));
        let state = events.iter().fold(State::default(), evolve);
        assert_eq!(status(state.requested().expect("requested")), expected, "{facts:?}");
    }
}

#[test]
fn an_unfinished_stream_has_a_timer_and_a_finished_one_has_none() {
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

#[test]
fn a_retried_dead_letter_starts_afresh() {
    let retry = CommunicationEvent::RetryRequested { by: "operator".into(), expires_at: at(99_000), retry_at: None };
    let g = given([requested(), started(1), transient(1), dead(DeadLetterReason::RetriesExhausted, false), retry]);
    assert_eq!((g.communication().counted_attempts, g.communication().expires_at), (0, at(99_000)));
    assert_eq!(readiness(g.communication(), at(0)), Readiness::Ready);
}

fn operator_says(outcome: Resolution) -> Command {
    Command::ResolveInDoubt { outcome, by: ResolvedBy::Operator, provider_message_id: None }
}

fn settled(attempt: u16, outcome: Resolution) -> CommunicationEvent {
    resolved(attempt, outcome, ResolvedBy::Operator)
}

#[test]
fn an_operator_can_settle_a_doubt() {
    let doubt = || [requested(), started(1), in_doubt(1, InDoubtCause::Timeout)];
    given(doubt())
        .when(operator_says(Resolution::Accepted))
        .then([settled(1, Resolution::Accepted)])
        .is(Lifecycle::Sent);
    let g = given(doubt())
        .when(operator_says(Resolution::NotAccepted))
        .then([settled(1, Resolution::NotAccepted)])
        .maybe_sent(false);
    assert_eq!(readiness(g.communication(), at(0)), Readiness::Ready);
    given(doubt()).when(operator_says(Resolution::Unknown)).then([settled(1, Resolution::Unknown)]).maybe_sent(true);
}

#[test]
fn an_operators_word_keeps_a_cancellation_and_the_limit_of_attempts() {
    let doubted = in_doubt(1, InDoubtCause::Timeout);
    given([requested(), started(1), doubted.clone(), cancellation()])
        .when(operator_says(Resolution::NotAccepted))
        .then([settled(1, Resolution::NotAccepted), cancelled()]);
    given([requested(), started(1), doubted.clone(), cancellation()])
        .when(operator_says(Resolution::Unknown))
        .then([settled(1, Resolution::Unknown), failed(FailReason::Cancelled, true)]);
    let once = requested_with(|request| request.max_attempts = 1);
    given([once, started(1), doubted])
        .when(operator_says(Resolution::NotAccepted))
        .then([settled(1, Resolution::NotAccepted), dead(DeadLetterReason::RetriesExhausted, false)]);
}

#[test]
fn only_a_doubt_can_be_settled() {
    given([requested()]).when(operator_says(Resolution::Accepted)).then_rejected(Rejection::NotInDoubt);
    given([requested(), started(1), accepted(1)])
        .when(operator_says(Resolution::Accepted))
        .then_rejected(Rejection::NotInDoubt);
}

#[test]
fn only_what_was_given_up_is_tried_again() {
    let again = || Command::Retry { by: "operator".into(), now: at(0), at: None };
    let expires_at = at(72 * 3_600_000);
    let retried = CommunicationEvent::RetryRequested { by: "operator".into(), expires_at, retry_at: None };
    given([requested(), started(1), transient(1), dead(DeadLetterReason::RetriesExhausted, false)])
        .when(again())
        .then([retried.clone()])
        .when(begin(0))
        .then([started(2)]);
    given([holding(), started(1), in_doubt(1, InDoubtCause::Timeout), unknown(1), failed(FailReason::InDoubt, true)])
        .when(again())
        .then([retried])
        .maybe_sent(true);
    given([requested()]).when(again()).then_rejected(Rejection::NotDeadLettered);
    given([requested(), started(1), accepted(1)]).when(again()).then_rejected(Rejection::AlreadyAccepted);
    given([requested(), cancelled()]).when(again()).then_rejected(Rejection::NotDeadLettered);
    given([requested(), started(1), failed(FailReason::Permanent, false)])
        .when(again())
        .then_rejected(Rejection::NotDeadLettered);
}

#[test]
fn what_is_redriven_waits_for_its_turn() {
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

fn quiet_until(ms: i64) -> Command {
    Command::Defer { until: at(ms), reason: DeferReason::QuietHours }
}

fn deferred(ms: i64) -> CommunicationEvent {
    CommunicationEvent::CommunicationDeferred { until: at(ms), reason: DeferReason::QuietHours }
}

#[test]
fn quiet_hours_hold_and_release() {
    let g = given([requested()]).when(quiet_until(9_000)).then([deferred(9_000)]);
    assert_eq!(readiness(g.communication(), at(8_999)), Readiness::NotBefore(at(9_000)));
    assert_eq!(readiness(g.communication(), at(9_000)), Readiness::Ready);
    given([requested(), deferred(9_000)]).when(quiet_until(9_000)).then([]);
    let g = given([requested(), started(1), transient(1)]).when(quiet_until(9_000)).then([deferred(9_000)]);
    assert_eq!(readiness(g.communication(), at(8_999)), Readiness::NotBefore(at(9_000)));
    given([requested(), started(1)]).when(quiet_until(9_000)).then([]);
}

#[test]
fn another_provider_is_tried_at_once_for_what_is_not_the_messages_fault() {
    for (class, counted) in [
        (RefusalClass::Transient, true),
        (RefusalClass::Unavailable, true),
        (RefusalClass::Auth, false),
        (RefusalClass::Balance, false),
    ] {
        let outcome = AttemptOutcome::Refused { class, code: "x".into(), retry_after_ms: None };
        let g = given([requested(), started(1)])
            .when(Command::RecordOutcome { attempt: 1, now: at(0), chance: 200, outcome, failover: true })
            .then([refused_here(1, class, counted)]);
        assert_eq!(g.communication().refusing_configs.len(), 1);
    }
    let outcome =
        AttemptOutcome::Refused { class: RefusalClass::Throttled, code: "x".into(), retry_after_ms: Some(5_000) };
    let g = given([requested(), started(1)])
        .when(Command::RecordOutcome { attempt: 1, now: at(0), chance: 200, outcome, failover: true })
        .then([refused(1, RefusalClass::Throttled, "x", false, Some(5_000))]);
    assert!(g.communication().refusing_configs.is_empty(), "too fast is our own fault");
}

#[test]
fn a_provider_that_is_asked_settles_a_doubt() {
    let settled = |outcome, id: Option<&str>| CommunicationEvent::DeliveryAttemptResolved {
        attempt: 1,
        outcome,
        by: ResolvedBy::Query,
        provider_message_id: id.map(str::to_owned),
    };
    let asked = |outcome, id: Option<&str>| Command::ResolveInDoubt {
        outcome,
        by: ResolvedBy::Query,
        provider_message_id: id.map(str::to_owned),
    };
    let doubt = || [requested(), started(1), in_doubt(1, InDoubtCause::Timeout)];
    let g = given(doubt())
        .when(asked(Resolution::Accepted, Some("SM1")))
        .then([settled(Resolution::Accepted, Some("SM1"))])
        .is(Lifecycle::Sent);
    assert_eq!(g.communication().provider_message_id.as_deref(), Some("SM1"));
    given(doubt())
        .when(asked(Resolution::NotAccepted, None))
        .then([settled(Resolution::NotAccepted, None)])
        .maybe_sent(false);
}

#[test]
fn a_dead_letter_that_a_worker_may_still_hold_is_not_tried_before_its_lease_ends() {
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
fn a_dead_letter_that_was_scheduled_keeps_its_time() {
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

const AFTER: i64 = 1_800_000;

/// By SMS where the email does not reach `unless`, at the latest after half an hour.
fn with_fallback(after_ms: Option<i64>, unless: FallbackCondition) -> CommunicationEvent {
    let step =
        |channel, after_ms| FallbackStep { channel, contact_hash: "other".into(), template: None, after_ms, unless };
    let steps = vec![step(Channel::Sms, after_ms), step(Channel::Whatsapp, None)];
    requested_with(|request| request.fallback = Some(Fallback { from: at(0), steps }))
}

fn or_sms() -> CommunicationEvent {
    with_fallback(Some(AFTER), FallbackCondition::Delivered)
}

fn goes_on(ms: i64) -> Command {
    Command::TriggerFallback { now: at(ms) }
}

fn triggered(reason: FallbackTrigger) -> CommunicationEvent {
    CommunicationEvent::FallbackTriggered { channel: Channel::Sms, reason }
}

#[test]
fn what_failed_for_good_goes_on_at_once_by_the_next_channel() {
    use {FailReason as F, SuppressReason as S};
    let suppressed = |reason| CommunicationEvent::CommunicationSuppressed { reason };
    for end in [
        failed(F::Permanent, false),
        failed(F::NoProvider, false),
        failed(F::Unrenderable, false),
        dead(DeadLetterReason::RetriesExhausted, true),
        suppressed(S::SuppressionList),
        suppressed(S::ChannelDisabled),
        suppressed(S::TypeDisabled),
    ] {
        let g = given([with_fallback(None, FallbackCondition::Delivered), end]);
        assert_eq!(readiness(g.communication(), at(0)), Readiness::FallbackDue);
        g.when(goes_on(0)).then([triggered(FallbackTrigger::NotSent)]);
    }
    let sent = [with_fallback(None, FallbackCondition::Delivered), started(1), accepted(1)];
    for fact in [ReportedStatus::Bounced, ReportedStatus::Undelivered, ReportedStatus::Dropped] {
        let [a, b, c] = sent.clone();
        given([a, b, c, reported(1, fact)]).when(goes_on(0)).then([triggered(FallbackTrigger::NotDelivered)]);
    }
    given(sent).when(goes_on(AFTER)).then([]);
}

#[test]
fn what_nobody_is_to_send_has_no_next_channel() {
    use SuppressReason as S;
    let suppressed = |reason| CommunicationEvent::CommunicationSuppressed { reason };
    for end in [
        cancelled(),
        failed(FailReason::Cancelled, true),
        dead(DeadLetterReason::Poison, false),
        dead(DeadLetterReason::Expired, false),
        suppressed(S::OptedOut),
        suppressed(S::DoNotContact),
        suppressed(S::Erased),
        suppressed(S::Settled),
        CommunicationEvent::CommunicationErased { by: "ada".into() },
    ] {
        let g = given([or_sms(), end]);
        assert_eq!(g.communication().fallback_due_at(), None);
        g.when(goes_on(AFTER)).then([]);
    }
}

#[test]
fn what_was_not_seen_to_arrive_in_time_goes_on() {
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    let g = given([or_sms(), started(1), accepted(1)]);
    assert_eq!(wake(&g.0, at(0), None), Some(at(AFTER)));
    assert_eq!(readiness(g.communication(), at(AFTER - 1)), Readiness::Finished);
    let g = g.when(goes_on(AFTER)).then([late.clone()]);
    assert_eq!(readiness(g.communication(), at(AFTER)), Readiness::FallbackRequestPending);
    assert_eq!(wake(&g.0, at(AFTER), None), Some(at(AFTER + policy::REPAIR_DELAY_MS)));
    let next = CommunicationId::generate(at(0), 1);
    let over = CommunicationEvent::FallbackRequested { communication: next };
    let g = g.when(Command::RecordFallbackRequested(next)).then([over]);
    assert_eq!((g.communication().is_complete(), wake(&g.0, at(AFTER), None)), (true, None));
    g.when(Command::RecordFallbackRequested(next)).then([]);
    // What has not been sent by then is not sent any more.
    let fell_back =
        |event: fn(String, CancelReason) -> CommunicationEvent| event("fallback".into(), CancelReason::FellBack);
    let stopped = fell_back(|by, reason| CommunicationEvent::CommunicationCancelled { by, reason });
    given([or_sms()]).when(goes_on(AFTER)).then([late.clone(), stopped]).is(Lifecycle::Cancelled);
    let no_more = fell_back(|by, reason| CommunicationEvent::CancellationRequested { by, reason });
    given([or_sms(), started(1)]).when(goes_on(AFTER)).then([late, no_more]);
}

#[test]
fn what_arrived_or_was_read_does_not_go_on() {
    let proof = [
        (FallbackCondition::Delivered, ReportedStatus::Delivered, true),
        (FallbackCondition::Delivered, ReportedStatus::Opened, true),
        (FallbackCondition::Delivered, ReportedStatus::Sent, false),
        (FallbackCondition::Read, ReportedStatus::Delivered, false),
        (FallbackCondition::Read, ReportedStatus::Read, true),
        (FallbackCondition::Read, ReportedStatus::Clicked, true),
    ];
    for (unless, fact, reached) in proof {
        let g = given([with_fallback(Some(AFTER), unless), started(1), accepted(1), reported(1, fact)]);
        assert_eq!(g.communication().fallback_due_at().is_none(), reached, "{unless:?} {fact:?}");
    }
    given([
        or_sms(),
        started(1),
        accepted(1),
        reported(1, ReportedStatus::Delivered),
        reported(1, ReportedStatus::Bounced),
    ])
    .when(goes_on(0))
    .then([triggered(FallbackTrigger::NotDelivered)]);
}

#[test]
fn a_doubt_that_is_held_goes_on_only_after_its_time() {
    let g = given([or_sms(), started(1), in_doubt(1, InDoubtCause::Timeout), failed(FailReason::InDoubt, true)]);
    assert_eq!(g.communication().fallback_due_at(), Some(at(AFTER)));
    let [a, b, c] = [with_fallback(None, FallbackCondition::Delivered), started(1), failed(FailReason::InDoubt, true)];
    assert_eq!(given([a, b, c]).communication().fallback_due_at(), None);
}

#[test]
fn cancelling_ends_the_chain_too() {
    given([or_sms(), started(1), accepted(1)]).when(cancel_it()).then([cancellation()]).when(goes_on(AFTER)).then([]);
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    given([or_sms(), started(1), accepted(1), late]).when(cancel_it()).then_rejected(Rejection::AlreadyAccepted);
}

#[test]
fn a_chain_expires_as_a_whole() {
    let day = 72 * 3_600_000;
    let expired = CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Expired };
    given([or_sms(), started(1), accepted(1), reported(1, ReportedStatus::Bounced)])
        .when(goes_on(day))
        .then([expired])
        .when(goes_on(day))
        .then([]);
    let poison = CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Poison };
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    let buried = || Command::DeadLetter(DeadLetterReason::Poison);
    let g = given([or_sms(), started(1), accepted(1), late]).when(buried()).then([poison]);
    assert_eq!(wake(&g.0, at(AFTER), None), None);
    g.when(buried()).then([]);
}

#[test]
fn the_next_in_the_chain_has_the_rest_of_it() {
    let g = given([or_sms(), started(1), failed(FailReason::Permanent, false)]);
    let id = CommunicationId::generate(at(0), 1);
    let next = g.communication().fallback_request(id, at(9)).expect("a step");
    assert_eq!((next.channel, next.source, next.fallback_of), (Channel::Sms, Source::Fallback, Some(id)));
    assert_eq!((next.contact_hash.as_str(), next.expires_at), ("other", g.communication().expires_at));
    let rest = next.fallback.clone().expect("one more");
    assert_eq!((rest.from, rest.steps.len(), rest.steps[0].channel), (at(9), 1, Channel::Whatsapp));
    let last = given([CommunicationEvent::CommunicationRequested(Box::new(next))]);
    let last = last.communication().fallback_request(id, at(9)).expect("a step");
    assert_eq!((last.channel, last.fallback), (Channel::Whatsapp, None));
}
