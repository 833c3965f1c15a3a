//! Decides on commands. The answer to each is a list of new events or a rejection.

use events::{
    CancelReason, CommunicationEvent, CommunicationRequest, DeadLetterReason, DeferReason, FailReason,
    FallbackAbandonReason, InDoubtCause, InDoubtPolicy, RefusalClass, ReportedStatus, Resolution, ResolvedBy,
    SuppressReason, Timestamp,
};

use super::evolve::{apply, is_provider_fault, unknown_status_code};
use super::readiness::{Deadline, Readiness, readiness};
use super::{AttemptOutcome, Command, Communication, DeliveryReport, FallbackState, Lifecycle, Rejection, State};
use crate::policy;

/// Maximum number of recorded reports of one status. A repeated report is recorded only if its time is earlier.
const MAX_REPORTS: u8 = 3;

/// Maximum number of unknown statuses recorded for one communication.
const MAX_UNKNOWN: usize = 10;

/// Decides what `command` changes. An empty list means that nothing changes.
///
/// # Errors
///
/// [`Rejection`] if the command can no longer, or not yet, be carried out.
pub fn decide(state: &State, command: Command) -> Result<Vec<CommunicationEvent>, Rejection> {
    if let Command::Request(request) = command {
        return accept_request(state, request);
    }
    let communication = state.requested()?;
    match command {
        Command::Request(_) => Ok(Vec::new()),
        Command::Change { schedule, content } => change(communication, schedule, content),
        Command::ApplyDeadlines { now } => Ok(apply_deadlines(communication, now)),
        Command::EndLease { now } => Ok(end_lease(communication, now)),
        Command::BeginAttempt { now, lease_until, config, provider, about } => {
            begin_attempt(communication, now, lease_until, (config, provider), about)
        }
        Command::RecordOutcome { attempt, now, chance, outcome, failover } => {
            record_outcome(communication, attempt, now, chance, outcome, failover)
        }
        Command::Report(reports) => report(communication, reports),
        Command::Suppress(reason) => Ok(suppress(communication, reason)),
        Command::Defer { until, reason } => Ok(defer(communication, until, reason)),
        Command::FailPermanently(reason) => Ok(fail_permanently(communication, reason)),
        Command::Cancel { by, reason } => cancel(communication, by, reason),
        Command::DeadLetter(reason) => Ok(dead_letter(communication, reason)),
        Command::ResolveInDoubt { outcome, by, provider_message_id } => {
            resolve(communication, outcome, by, provider_message_id)
        }
        Command::Erase { by } => {
            Ok(if communication.erased { Vec::new() } else { vec![CommunicationEvent::CommunicationErased { by }] })
        }
        Command::Retry { by, now, at } => retry(communication, by, now, at),
        Command::TriggerFallback { now } => Ok(trigger_fallback(communication, now)),
        Command::RecordFallbackRequested(next) => Ok(match communication.fallback_state {
            FallbackState::Triggered(_) => vec![CommunicationEvent::FallbackRequested { communication: next }],
            FallbackState::NotTriggered | FallbackState::Requested(_) | FallbackState::Abandoned(_) => Vec::new(),
        }),
    }
}

fn accept_request(state: &State, request: Box<CommunicationRequest>) -> Result<Vec<CommunicationEvent>, Rejection> {
    match state {
        State::NotRequested => Ok(vec![CommunicationEvent::CommunicationRequested(request)]),
        State::Requested(earlier) if earlier.request.request_hash == request.request_hash => Ok(Vec::new()),
        State::Requested(_) => Err(Rejection::IdempotencyKeyReused),
    }
}

fn change(
    communication: &Communication,
    schedule: Option<(Timestamp, Timestamp)>,
    content: Option<String>,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    ensure_not_attempted(communication)?;
    let current = (communication.due_at, communication.expires_at);
    let moved = schedule.filter(|(at, expires_at)| (Some(*at), *expires_at) != current);
    let moved = moved
        .map(|(scheduled_at, expires_at)| CommunicationEvent::CommunicationRescheduled { scheduled_at, expires_at });
    let content = content.filter(|content| *content != communication.content_id);
    let changed = content.map(|content| CommunicationEvent::CommunicationContentChanged { content });
    let events: Vec<CommunicationEvent> = moved.into_iter().chain(changed).collect();
    if policy::MAX_CHANGES < communication.changes.saturating_add(events.len() as u16) {
        return Err(Rejection::TooManyChanges);
    }
    Ok(events)
}

fn ensure_not_attempted(communication: &Communication) -> Result<(), Rejection> {
    match communication.lifecycle {
        Lifecycle::Pending if communication.attempts == 0 => Ok(()),
        Lifecycle::Pending
        | Lifecycle::Sending { .. }
        | Lifecycle::RetryWait { .. }
        | Lifecycle::InDoubt { .. }
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_) => Err(Rejection::AlreadyAttempted),
        Lifecycle::Sent => Err(Rejection::AlreadyAccepted),
        Lifecycle::Cancelled | Lifecycle::Suppressed(_) => Err(Rejection::Finished),
    }
}

fn apply_deadlines(communication: &Communication, now: Timestamp) -> Vec<CommunicationEvent> {
    let Readiness::DeadlineReached(deadline) = readiness(communication, now) else { return Vec::new() };
    match deadline {
        Deadline::Lease { attempt } => mark_in_doubt(communication, attempt, now, InDoubtCause::LeaseExpired),
        Deadline::Evidence { attempt } => resolve_by_policy(communication, attempt),
        Deadline::Expiry => dead_letter(communication, DeadLetterReason::Expired),
    }
}

fn end_lease(communication: &Communication, now: Timestamp) -> Vec<CommunicationEvent> {
    match communication.lifecycle {
        Lifecycle::Sending { attempt, .. } => mark_in_doubt(communication, attempt, now, InDoubtCause::LeaseExpired),
        Lifecycle::Pending
        | Lifecycle::RetryWait { .. }
        | Lifecycle::InDoubt { .. }
        | Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => Vec::new(),
    }
}

/// Marks the attempt in doubt. A callback that arrived earlier resolves the doubt at once.
fn mark_in_doubt(
    communication: &Communication,
    attempt: u16,
    now: Timestamp,
    cause: InDoubtCause,
) -> Vec<CommunicationEvent> {
    let evidence_until = now + policy::EVIDENCE_WAIT_MS;
    let doubt = CommunicationEvent::DeliveryAttemptInDoubt { attempt, cause, evidence_until };
    if communication.has_evidence_for(attempt) {
        vec![doubt, resolved(attempt, Resolution::Accepted, ResolvedBy::Callback)]
    } else {
        vec![doubt]
    }
}

pub(super) fn resolved(attempt: u16, outcome: Resolution, by: ResolvedBy) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, by, provider_message_id: None }
}

/// Without evidence the policy decides whether the message is sent again or held. It may have arrived.
fn resolve_by_policy(communication: &Communication, attempt: u16) -> Vec<CommunicationEvent> {
    let mut events = vec![resolved(attempt, Resolution::Unknown, ResolvedBy::Policy)];
    if communication.is_proven_sent() {
        return events;
    }
    let held = communication.cancellation.is_none() && communication.request.in_doubt == InDoubtPolicy::Hold;
    events.extend(if held {
        Some(CommunicationEvent::CommunicationFailed { reason: FailReason::InDoubt, maybe_sent: true })
    } else {
        terminal_event(communication, true)
    });
    events
}

fn begin_attempt(
    communication: &Communication,
    now: Timestamp,
    lease_until: Timestamp,
    (config, provider): (String, String),
    about: Vec<String>,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    match (readiness(communication, now), &communication.lifecycle) {
        (Readiness::Ready, _) => Ok(vec![CommunicationEvent::DeliveryAttemptStarted {
            attempt: communication.attempts + 1,
            config,
            provider,
            idempotency_key: None,
            lease_until,
            about,
        }]),
        (Readiness::NotBefore(until), Lifecycle::Sending { .. }) => Err(Rejection::AttemptInFlight(until)),
        (Readiness::NotBefore(until), _) => Err(Rejection::NotDue(until)),
        // The deadline must be applied first.
        (Readiness::DeadlineReached(_), _) => Err(Rejection::NotDue(now)),
        (Readiness::Finished | Readiness::FallbackDue | Readiness::FallbackRequestPending, _) => {
            Err(Rejection::Finished)
        }
    }
}

fn record_outcome(
    communication: &Communication,
    attempt: u16,
    now: Timestamp,
    chance: u64,
    outcome: AttemptOutcome,
    failover: bool,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    if attempt == 0 || communication.attempts < attempt {
        return Err(Rejection::UnknownAttempt);
    }
    let sending = matches!(communication.lifecycle, Lifecycle::Sending { attempt: a, .. } if a == attempt);
    let doubted = matches!(communication.lifecycle, Lifecycle::InDoubt { attempt: a, .. } if a == attempt);
    match outcome {
        AttemptOutcome::Accepted { .. } if communication.accepted.contains(&attempt) => Ok(Vec::new()),
        AttemptOutcome::Accepted { provider_message_id, segments, cost, latency_ms } => {
            Ok(vec![CommunicationEvent::DeliveryAttemptAccepted {
                attempt,
                provider_message_id,
                segments,
                cost_micros: cost.as_ref().map(|cost| cost.cost.micros),
                cost_is_estimate: cost.as_ref().is_some_and(|cost| cost.is_estimate),
                currency: cost.map(|cost| cost.cost.currency),
                latency_ms,
            }])
        }
        AttemptOutcome::Refused { class, code, retry_after_ms } if sending || doubted => {
            let refusal = Refusal { attempt, class, code, retry_after_ms, counted_already: doubted, failover };
            Ok(record_refusal(communication, refusal, now, chance))
        }
        AttemptOutcome::InDoubt(cause) if sending => Ok(mark_in_doubt(communication, attempt, now, cause)),
        // The lease ended before the answer arrived, so the doubt is already recorded or resolved.
        AttemptOutcome::Refused { .. } | AttemptOutcome::InDoubt(_) => Ok(Vec::new()),
    }
}

struct Refusal {
    attempt: u16,
    class: RefusalClass,
    code: String,
    retry_after_ms: Option<i64>,
    /// Whether the attempt was already counted when it became in doubt.
    counted_already: bool,
    failover: bool,
}

fn record_refusal(c: &Communication, refusal: Refusal, now: Timestamp, chance: u64) -> Vec<CommunicationEvent> {
    let Refusal { attempt, class, code, retry_after_ms, counted_already, failover } = refusal;
    let failover = failover && is_provider_fault(class);
    let counted = match class {
        RefusalClass::Transient | RefusalClass::Permanent => true,
        RefusalClass::Unavailable => retry_after_ms.is_none(),
        RefusalClass::Throttled | RefusalClass::Auth | RefusalClass::Balance => false,
    };
    let count = c.counted_attempts + u16::from(counted && !counted_already);
    let wait_ms = match class {
        _ if failover => policy::FAILOVER_DELAY_MS,
        RefusalClass::Auth | RefusalClass::Balance => policy::ACCOUNT_HOLD_MS,
        _ if counted => policy::backoff_ms(count, chance),
        _ => policy::retry_after_ms(retry_after_ms),
    };
    let retry_at = now + wait_ms;
    let maybe_sent = c.maybe_sent;
    let end = if c.is_proven_sent() {
        None
    } else if c.cancellation.is_some() {
        terminal_event(c, maybe_sent)
    } else if class == RefusalClass::Permanent {
        Some(CommunicationEvent::CommunicationFailed { reason: FailReason::Permanent, maybe_sent })
    } else if counted && u16::from(c.request.max_attempts) <= count {
        let reason = DeadLetterReason::RetriesExhausted;
        Some(CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent })
    } else if c.expires_at <= retry_at {
        let reason = DeadLetterReason::Expired;
        Some(CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent })
    } else {
        None
    };
    let retry_at = Some(retry_at).filter(|_| end.is_none() && !c.is_proven_sent());
    let failover = failover && retry_at.is_some();
    let refused = CommunicationEvent::DeliveryAttemptRefused { attempt, class, code, counted, retry_at, failover };
    std::iter::once(refused).chain(end).collect()
}

/// Records reports that are new. The first one about an attempt in doubt resolves the doubt.
fn report(communication: &Communication, reports: Vec<DeliveryReport>) -> Result<Vec<CommunicationEvent>, Rejection> {
    let mut events = Vec::new();
    let mut updated = communication.clone();
    for DeliveryReport { attempt, fact, event_id, at, code } in reports {
        if communication.attempts < attempt.unwrap_or(1) {
            return Err(Rejection::UnknownAttempt);
        }
        let is_new = match (fact, updated.evidence.get(&fact)) {
            (ReportedStatus::Unknown, _) => {
                updated.unknown.len() < MAX_UNKNOWN && !updated.unknown.contains(unknown_status_code(&code))
            }
            // The attempt is already recorded as accepted.
            (ReportedStatus::Accepted, None) => attempt.is_none_or(|attempt| !updated.accepted.contains(&attempt)),
            (_, None) => true,
            (_, Some(evidence)) => at < evidence.at && evidence.reports < MAX_REPORTS,
        };
        if !is_new {
            continue;
        }
        let event =
            CommunicationEvent::DeliveryReported { attempt, fact, provider_event_id: event_id, provider_at: at, code };
        apply(&mut updated, &event);
        events.push(event);
        if let Lifecycle::InDoubt { attempt: open, .. } = updated.lifecycle
            && updated.has_evidence_for(open)
        {
            let event = resolved(open, Resolution::Accepted, ResolvedBy::Callback);
            apply(&mut updated, &event);
            events.push(event);
        }
    }
    Ok(events)
}

fn suppress(communication: &Communication, reason: SuppressReason) -> Vec<CommunicationEvent> {
    if !communication.waits_for_attempt() {
        return Vec::new();
    }
    vec![if communication.is_definitely_unsent() {
        CommunicationEvent::CommunicationSuppressed { reason }
    } else {
        let reason = FailReason::Cancelled;
        CommunicationEvent::CommunicationFailed { reason, maybe_sent: communication.maybe_sent }
    }]
}

fn defer(communication: &Communication, until: Timestamp, reason: DeferReason) -> Vec<CommunicationEvent> {
    let held_until = match communication.lifecycle {
        Lifecycle::Pending => communication.due_at,
        Lifecycle::RetryWait { until } => until.at(),
        Lifecycle::Sending { .. }
        | Lifecycle::InDoubt { .. }
        | Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => return Vec::new(),
    };
    if held_until.is_some_and(|held_until| until <= held_until) {
        Vec::new()
    } else {
        vec![CommunicationEvent::CommunicationDeferred { until, reason }]
    }
}

fn fail_permanently(communication: &Communication, reason: FailReason) -> Vec<CommunicationEvent> {
    if communication.waits_for_attempt() {
        vec![CommunicationEvent::CommunicationFailed { reason, maybe_sent: communication.maybe_sent }]
    } else {
        Vec::new()
    }
}

fn cancel(
    communication: &Communication,
    by: String,
    reason: CancelReason,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    let refusal = match communication.lifecycle {
        Lifecycle::Pending | Lifecycle::RetryWait { .. } if communication.is_definitely_unsent() => {
            return Ok(vec![CommunicationEvent::CommunicationCancelled { by, reason }]);
        }
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => {
            return Ok(vec![
                CommunicationEvent::CancellationRequested { by, reason },
                CommunicationEvent::CommunicationFailed {
                    reason: FailReason::Cancelled,
                    maybe_sent: communication.maybe_sent,
                },
            ]);
        }
        Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. } if communication.cancellation.is_some() => {
            return Ok(Vec::new());
        }
        Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. } => {
            return Ok(vec![CommunicationEvent::CancellationRequested { by, reason }]);
        }
        Lifecycle::Cancelled => return Ok(Vec::new()),
        Lifecycle::Sent => Rejection::AlreadyAccepted,
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) | Lifecycle::Suppressed(_) => Rejection::Finished,
    };
    // The message itself cannot be taken back, but its fallback can still be prevented.
    if communication.fallback_due().is_some() && reason != CancelReason::FellBack {
        Ok(vec![CommunicationEvent::CancellationRequested { by, reason }])
    } else {
        Err(refusal)
    }
}

fn dead_letter(communication: &Communication, reason: DeadLetterReason) -> Vec<CommunicationEvent> {
    if !communication.is_finished() {
        let is_open = matches!(communication.lifecycle, Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. });
        let maybe_sent = communication.maybe_sent || is_open;
        vec![CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent }]
    } else if communication.fallback_due_at().is_some() {
        vec![CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Poison }]
    } else {
        Vec::new()
    }
}

fn resolve(
    communication: &Communication,
    outcome: Resolution,
    by: ResolvedBy,
    provider_message_id: Option<String>,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    let Lifecycle::InDoubt { attempt, .. } = communication.lifecycle else { return Err(Rejection::NotInDoubt) };
    let resolved = CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, by, provider_message_id };
    let maybe_sent = communication.maybe_sent || outcome == Resolution::Unknown;
    let is_unsent = outcome != Resolution::Accepted && !communication.is_proven_sent();
    let end = is_unsent.then(|| terminal_event(communication, maybe_sent)).flatten();
    Ok(std::iter::once(resolved).chain(end).collect())
}

/// The event that ends the communication instead of another attempt, because it was cancelled or no attempts are left.
fn terminal_event(communication: &Communication, maybe_sent: bool) -> Option<CommunicationEvent> {
    let exhausted = u16::from(communication.request.max_attempts) <= communication.counted_attempts;
    match &communication.cancellation {
        Some(_) if maybe_sent => {
            Some(CommunicationEvent::CommunicationFailed { reason: FailReason::Cancelled, maybe_sent })
        }
        Some((by, reason)) => Some(CommunicationEvent::CommunicationCancelled { by: by.clone(), reason: *reason }),
        None if exhausted => {
            let reason = DeadLetterReason::RetriesExhausted;
            Some(CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent })
        }
        None => None,
    }
}

fn retry(
    communication: &Communication,
    by: String,
    now: Timestamp,
    retry_at: Option<Timestamp>,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    if communication.is_dead_letter() {
        let still_to_come = |at: Option<Timestamp>| at.filter(|at| now < *at);
        let retry_at = retry_at.max(still_to_come(communication.held_until)).max(still_to_come(communication.due_at));
        let expires_at = policy::default_expiry(communication.request.kind, retry_at.unwrap_or(now));
        Ok(vec![CommunicationEvent::RetryRequested { by, expires_at, retry_at }])
    } else if communication.lifecycle == Lifecycle::Sent {
        Err(Rejection::AlreadyAccepted)
    } else {
        Err(Rejection::NotDeadLettered)
    }
}

/// Triggers the fallback if it is due, and stops further attempts by this channel.
fn trigger_fallback(communication: &Communication, now: Timestamp) -> Vec<CommunicationEvent> {
    let Some((step, reason)) = communication.due_fallback(now) else { return Vec::new() };
    if communication.expires_at <= now {
        return vec![CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Expired }];
    }
    let triggered = CommunicationEvent::FallbackTriggered { channel: step.channel, reason };
    let stopped = cancel(communication, "fallback".to_owned(), CancelReason::FellBack).unwrap_or_default();
    std::iter::once(triggered).chain(stopped).collect()
}
