//! The fallback to the next channel.

use super::*;

const AFTER: i64 = 1_800_000;

/// A request with a fallback by SMS, unless `unless` is reported within `after_ms`, and then by WhatsApp.
fn with_fallback(after_ms: Option<i64>, unless: FallbackCondition) -> CommunicationEvent {
    let step =
        |channel, after_ms| FallbackStep { channel, contact_hash: "other".into(), template: None, after_ms, unless };
    let steps = vec![step(Channel::Sms, after_ms), step(Channel::Whatsapp, None)];
    requested_with(|request| request.fallback = Some(Fallback { from: at(0), steps }))
}

fn or_sms() -> CommunicationEvent {
    with_fallback(Some(AFTER), FallbackCondition::Delivered)
}

fn trigger_fallback_at(ms: i64) -> Command {
    Command::TriggerFallback { now: at(ms) }
}

fn triggered(reason: FallbackTrigger) -> CommunicationEvent {
    CommunicationEvent::FallbackTriggered { channel: Channel::Sms, reason }
}

#[test]
fn a_final_failure_triggers_the_fallback_at_once() {
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
        g.when(trigger_fallback_at(0)).then([triggered(FallbackTrigger::NotSent)]);
    }
    let sent = [with_fallback(None, FallbackCondition::Delivered), started(1), accepted(1)];
    for fact in [ReportedStatus::Bounced, ReportedStatus::Undelivered, ReportedStatus::Dropped] {
        let [a, b, c] = sent.clone();
        given([a, b, c, reported(1, fact)])
            .when(trigger_fallback_at(0))
            .then([triggered(FallbackTrigger::NotDelivered)]);
    }
    given(sent).when(trigger_fallback_at(AFTER)).then([]);
}

#[test]
fn a_message_that_must_not_be_sent_has_no_fallback() {
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
        g.when(trigger_fallback_at(AFTER)).then([]);
    }
}

#[test]
fn a_missing_report_triggers_the_fallback() {
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    let g = given([or_sms(), started(1), accepted(1)]);
    assert_eq!(wake(&g.0, at(0), None), Some(at(AFTER)));
    assert_eq!(readiness(g.communication(), at(AFTER - 1)), Readiness::Finished);
    let g = g.when(trigger_fallback_at(AFTER)).then([late.clone()]);
    assert_eq!(readiness(g.communication(), at(AFTER)), Readiness::FallbackRequestPending);
    assert_eq!(wake(&g.0, at(AFTER), None), Some(at(AFTER + policy::REPAIR_DELAY_MS)));
    let next = CommunicationId::generate(at(0), 1);
    let requested = CommunicationEvent::FallbackRequested { communication: next };
    let g = g.when(Command::RecordFallbackRequested(next)).then([requested]);
    assert_eq!((g.communication().is_complete(), wake(&g.0, at(AFTER), None)), (true, None));
    g.when(Command::RecordFallbackRequested(next)).then([]);
    // A message that has not been sent by then is cancelled.
    let fell_back =
        |event: fn(String, CancelReason) -> CommunicationEvent| event("fallback".into(), CancelReason::FellBack);
    let stopped = fell_back(|by, reason| CommunicationEvent::CommunicationCancelled { by, reason });
    given([or_sms()]).when(trigger_fallback_at(AFTER)).then([late.clone(), stopped]).is(Lifecycle::Cancelled);
    let no_more = fell_back(|by, reason| CommunicationEvent::CancellationRequested { by, reason });
    given([or_sms(), started(1)]).when(trigger_fallback_at(AFTER)).then([late, no_more]);
}

#[test]
fn a_delivered_or_read_message_has_no_fallback() {
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
    .when(trigger_fallback_at(0))
    .then([triggered(FallbackTrigger::NotDelivered)]);
}

#[test]
fn a_held_doubt_falls_back_only_at_the_fallbacks_time() {
    let g = given([or_sms(), started(1), in_doubt(1, InDoubtCause::Timeout), failed(FailReason::InDoubt, true)]);
    assert_eq!(g.communication().fallback_due_at(), Some(When::At(at(AFTER))));
    let [a, b, c] = [with_fallback(None, FallbackCondition::Delivered), started(1), failed(FailReason::InDoubt, true)];
    assert_eq!(given([a, b, c]).communication().fallback_due_at(), None);
}

#[test]
fn a_cancellation_prevents_the_fallback() {
    given([or_sms(), started(1), accepted(1)])
        .when(cancel_it())
        .then([cancellation()])
        .when(trigger_fallback_at(AFTER))
        .then([]);
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    given([or_sms(), started(1), accepted(1), late]).when(cancel_it()).then_rejected(Rejection::AlreadyAccepted);
}

#[test]
fn an_expired_message_has_no_fallback() {
    let day = 72 * 3_600_000;
    let expired = CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Expired };
    given([or_sms(), started(1), accepted(1), reported(1, ReportedStatus::Bounced)])
        .when(trigger_fallback_at(day))
        .then([expired])
        .when(trigger_fallback_at(day))
        .then([]);
    let poison = CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Poison };
    let late = triggered(FallbackTrigger::NotDeliveredInTime);
    let dead_lettered = || Command::DeadLetter(DeadLetterReason::Poison);
    let g = given([or_sms(), started(1), accepted(1), late]).when(dead_lettered()).then([poison]);
    assert_eq!(wake(&g.0, at(AFTER), None), None);
    g.when(dead_lettered()).then([]);
}

#[test]
fn the_fallback_request_carries_the_remaining_steps() {
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
