//! One communication: what may happen next, given what has happened.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    CancelReason, CommunicationEvent, CommunicationId, CommunicationRequest, DeadLetterReason, DeferReason, FailReason,
    Fallback, FallbackAbandonReason, FallbackCondition, FallbackStep, FallbackTrigger, InDoubtCause, InDoubtPolicy,
    RefusalClass, ReportedStatus, Resolution, ResolvedBy, Source, SuppressReason, Timestamp,
};

use serde::{Deserialize, Serialize};

use crate::policy;

#[cfg(test)]
mod tests;

/// The domain's "no".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such communication.
    #[error("the communication was never requested")]
    NotRequested,
    /// The idempotency key was used with another body.
    #[error("the idempotency key belongs to another request")]
    IdempotencyKeyReused,
    /// Two workers were shown the same message. The later one stops.
    #[error("another worker holds the attempt until {}", .0.0)]
    AttemptInFlight(Timestamp),
    /// It is waiting for its time.
    #[error("not due before {}", .0.0)]
    NotDue(Timestamp),
    /// It has ended; a repeated queue message asks for nothing.
    #[error("the communication has ended")]
    Finished,
    /// The provider has it: it cannot be taken back or changed.
    #[error("the provider has already accepted it")]
    AlreadyAccepted,
    /// Changes are for before the first attempt.
    #[error("an attempt was already made")]
    AlreadyAttempted,
    /// There is no doubt to settle.
    #[error("no attempt is in doubt")]
    NotInDoubt,
    /// Only what was given up is tried again.
    #[error("it was not given up")]
    NotDeadLettered,
    /// A report about an attempt that was never made.
    #[error("no such attempt was made")]
    UnknownAttempt,
}

/// What is asked of a communication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Request(Box<CommunicationRequest>),
    /// Another time (and expiry), other words, or both.
    Change {
        schedule: Option<(Timestamp, Timestamp)>,
        content: Option<String>,
    },
    /// Lets time have its effect: leases and doubts end, messages expire.
    ApplyDeadlines {
        now: Timestamp,
    },
    BeginAttempt {
        now: Timestamp,
        lease_until: Timestamp,
        config: String,
        provider: String,
    },
    RecordOutcome {
        attempt: u16,
        now: Timestamp,
        chance: u64,
        outcome: AttemptOutcome,
        /// Another provider, which has not refused it yet, may be tried at once.
        failover: bool,
    },
    /// What the provider called back, any number, in any order.
    Report(Vec<DeliveryReport>),
    Suppress(SuppressReason),
    /// Held until a time that a user should see.
    Defer {
        until: Timestamp,
        reason: DeferReason,
    },
    /// It can never be rendered.
    FailPermanently(FailReason),
    Cancel {
        by: String,
        reason: CancelReason,
    },
    /// The queue gave it up: it crashed its consumer too often.
    DeadLetter(DeadLetterReason),
    /// The provider's own records were looked at, by an operator or by asking it.
    ResolveInDoubt {
        outcome: Resolution,
        by: ResolvedBy,
        provider_message_id: Option<String>,
    },
    /// A dead letter, or what failed in doubt, is tried again, not before `at`.
    /// Its personal data is about to be deleted.
    Erase {
        by: String,
    },
    Retry {
        by: String,
        now: Timestamp,
        at: Option<Timestamp>,
    },
    /// The next channel has its turn, if that is due.
    TriggerFallback {
        now: Timestamp,
    },
    /// The communication by that channel is there.
    RecordFallbackRequested(CommunicationId),
}

/// How an attempt ended, as the provider's adapter understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    Accepted { provider_message_id: String, segments: Option<u16>, cost_micros: Option<i64>, latency_ms: u32 },
    Refused { class: RefusalClass, code: String, retry_after_ms: Option<i64> },
    InDoubt(InDoubtCause),
}

/// One fact from a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// The attempt that the provider echoed; none when it echoes nothing.
    pub attempt: Option<u16>,
    pub fact: ReportedStatus,
    pub event_id: Option<String>,
    pub at: Timestamp,
    pub code: Option<String>,
}

/// Where our own commands have brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// Not yet attempted: scheduled or queued.
    Pending,
    Sending {
        attempt: u16,
        lease_until: Timestamp,
    },
    RetryWait {
        until: Timestamp,
    },
    InDoubt {
        attempt: u16,
        evidence_until: Timestamp,
    },
    Sent,
    Failed(FailReason),
    DeadLettered(DeadLetterReason),
    Cancelled,
    Suppressed(SuppressReason),
}

impl Lifecycle {
    /// The name in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Lifecycle::Pending => "queued",
            Lifecycle::Sending { .. } => "sending",
            Lifecycle::RetryWait { .. } => "retry_wait",
            Lifecycle::InDoubt { .. } => "in_doubt",
            Lifecycle::Sent => "sent",
            Lifecycle::Failed(_) => "failed",
            Lifecycle::DeadLettered(_) => "dead_lettered",
            Lifecycle::Cancelled => "cancelled",
            Lifecycle::Suppressed(_) => "suppressed",
        }
    }
}

/// Where a communication stands with the channel after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackState {
    /// Its own; another follows if it fails, where one was asked for.
    NotTriggered,
    /// The next channel's communication is to be requested.
    Triggered(FallbackTrigger),
    /// The next channel's.
    Requested(CommunicationId),
    Abandoned(FallbackAbandonReason),
}

/// A fact and the earliest time it was reported for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    pub at: Timestamp,
    pub attempt: Option<u16>,
    reports: u8,
}

/// Everything decided and reported so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Communication {
    pub request: CommunicationRequest,
    /// Names the content in the vault.
    pub content_id: String,
    /// Not before; none means at once.
    pub due_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub lifecycle: Lifecycle,
    /// Attempts started.
    pub attempts: u16,
    /// Attempts that count against the limit.
    pub counted_attempts: u16,
    pub provider: Option<String>,
    /// The provider configuration of the last attempt.
    pub last_config_id: Option<String>,
    /// Configurations whose trouble, not the message's, made them refuse it.
    pub refusing_configs: BTreeSet<String>,
    pub provider_message_id: Option<String>,
    pub cancellation: Option<(String, CancelReason)>,
    /// An attempt ended without a definite answer: it may have arrived. Never forgotten.
    pub maybe_sent: bool,
    /// A provider proved us wrong after we had given up.
    pub late_evidence: bool,
    pub evidence: BTreeMap<ReportedStatus, Evidence>,
    pub erased: bool,
    pub fallback_state: FallbackState,
    /// Given up while a worker may still be at it: not before this is it tried again.
    held_until: Option<Timestamp>,
    accepted: BTreeSet<u16>,
    unknown: BTreeSet<String>,
}

impl Communication {
    /// A provider has it, by its own answer or by what it reported.
    pub fn is_proven_sent(&self) -> bool {
        !self.accepted.is_empty() || self.evidence.keys().any(|fact| proves_sent(*fact))
    }

    /// No timer, no attempt, no wait is open.
    pub fn is_finished(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Pending
            | Lifecycle::Sending { .. }
            | Lifecycle::RetryWait { .. }
            | Lifecycle::InDoubt { .. } => false,
            Lifecycle::Sent
            | Lifecycle::Failed(_)
            | Lifecycle::DeadLettered(_)
            | Lifecycle::Cancelled
            | Lifecycle::Suppressed(_) => true,
        }
    }

    /// It has ended, and no other channel has its turn after it.
    pub fn is_complete(&self) -> bool {
        self.is_finished() && self.fallback_due_at().is_none()
    }

    /// What the next channel is asked for, in place of this one, which is `id`.
    pub fn fallback_request(&self, id: CommunicationId, now: Timestamp) -> Option<CommunicationRequest> {
        let mut steps = self.request.fallback.iter().flat_map(|fallback| &fallback.steps).cloned();
        let FallbackStep { channel, contact_hash, template, .. } = steps.next()?;
        let steps: Vec<FallbackStep> = steps.collect();
        Some(CommunicationRequest {
            channel,
            source: Source::Fallback,
            contact_hash,
            template,
            scheduled_at: None,
            expires_at: self.expires_at,
            resend_of: None,
            fallback: (!steps.is_empty()).then_some(Fallback { from: now, steps }),
            fallback_of: Some(id),
            via: None,
            ..self.request.clone()
        })
    }

    /// A dead letter: given up, and [`Command::Retry`] takes it up again.
    pub fn is_dead_letter(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::DeadLettered(_) | Lifecycle::Failed(FailReason::InDoubt))
    }

    fn next_fallback_step(&self) -> Option<&FallbackStep> {
        self.request.fallback.as_ref()?.steps.first()
    }

    /// When the next channel has its turn, and why; none where none is to have it by what is known now.
    fn fallback_due(&self) -> Option<(Timestamp, FallbackTrigger)> {
        let fallback = self.request.fallback.as_ref()?;
        let step = self.next_fallback_step()?;
        let is_off = self.fallback_state != FallbackState::NotTriggered || self.cancellation.is_some() || self.erased;
        if is_off || self.meets_condition(step.unless) {
            return None;
        }
        let came_back = [ReportedStatus::Bounced, ReportedStatus::Undelivered, ReportedStatus::Dropped]
            .iter()
            .any(|f| self.evidence.contains_key(f));
        let failed = match self.lifecycle {
            // Nobody is to write to them, or they themselves do not want it.
            Lifecycle::Cancelled
            | Lifecycle::Suppressed(
                SuppressReason::OptedOut
                | SuppressReason::DoNotContact
                | SuppressReason::Erased
                | SuppressReason::Settled,
            )
            | Lifecycle::Failed(FailReason::Cancelled)
            | Lifecycle::DeadLettered(DeadLetterReason::Poison | DeadLetterReason::Expired) => return None,
            Lifecycle::Suppressed(
                SuppressReason::ChannelDisabled | SuppressReason::TypeDisabled | SuppressReason::SuppressionList,
            )
            | Lifecycle::Failed(FailReason::Permanent | FailReason::Unrenderable | FailReason::NoProvider)
            | Lifecycle::DeadLettered(DeadLetterReason::RetriesExhausted) => Some(FallbackTrigger::NotSent),
            Lifecycle::Sent if came_back => Some(FallbackTrigger::NotDelivered),
            // Silence is better than a duplicate, unless a time was given.
            Lifecycle::Failed(FailReason::InDoubt)
            | Lifecycle::Pending
            | Lifecycle::Sending { .. }
            | Lifecycle::RetryWait { .. }
            | Lifecycle::InDoubt { .. }
            | Lifecycle::Sent => None,
        };
        let in_time = || {
            let at = self.due_at.unwrap_or(fallback.from) + step.after_ms?;
            let reason = match step.unless {
                FallbackCondition::Delivered => FallbackTrigger::NotDeliveredInTime,
                FallbackCondition::Read => FallbackTrigger::NotReadInTime,
            };
            Some((at, reason))
        };
        // What is too old to be worth sending is that by every channel.
        let in_time = || in_time().filter(|(at, _)| *at < self.expires_at);
        failed.map(|reason| (Timestamp(0), reason)).or_else(in_time)
    }

    fn meets_condition(&self, wanted: FallbackCondition) -> bool {
        let seen = |fact| self.evidence.contains_key(&fact);
        let read = seen(ReportedStatus::Opened) || seen(ReportedStatus::Read) || seen(ReportedStatus::Clicked);
        match wanted {
            FallbackCondition::Delivered => read || (seen(ReportedStatus::Delivered) && !seen(ReportedStatus::Bounced)),
            FallbackCondition::Read => read,
        }
    }

    /// When the channel after it needs to be looked at; none where nothing follows.
    pub fn fallback_due_at(&self) -> Option<Timestamp> {
        match self.fallback_state {
            FallbackState::Triggered(_) => Some(Timestamp(0)),
            FallbackState::NotTriggered | FallbackState::Requested(_) | FallbackState::Abandoned(_) => {
                self.fallback_due().map(|(at, _)| at)
            }
        }
    }

    /// Nothing is known that a provider may have been given.
    fn is_definitely_unsent(&self) -> bool {
        !self.maybe_sent && !self.is_proven_sent()
    }

    fn has_evidence_for(&self, attempt: u16) -> bool {
        let about = |seen: &Evidence| seen.attempt.map_or(self.attempts == 1, |a| a == attempt);
        self.evidence.values().any(about)
    }

    /// The given-up lifecycles that proof undoes, and the waits that it ends.
    fn apply_proof_of_sending(&mut self) {
        match self.lifecycle {
            Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) => {
                self.late_evidence = true;
                self.lifecycle = Lifecycle::Sent;
            }
            Lifecycle::Pending | Lifecycle::RetryWait { .. } => self.lifecycle = Lifecycle::Sent,
            Lifecycle::Sending { .. }
            | Lifecycle::InDoubt { .. }
            | Lifecycle::Sent
            | Lifecycle::Cancelled
            | Lifecycle::Suppressed(_) => (),
        }
    }
}

/// A stream, folded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    NotRequested,
    Requested(Box<Communication>),
}

impl State {
    /// # Errors
    ///
    /// [`Rejection::NotRequested`]: the stream is empty.
    pub fn requested(&self) -> Result<&Communication, Rejection> {
        match self {
            State::NotRequested => Err(Rejection::NotRequested),
            State::Requested(communication) => Ok(communication),
        }
    }
}

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotBefore(Timestamp),
    /// A lease or a doubt has ended, or the message expired: [`Command::ApplyDeadlines`] comes first.
    DeadlineReached,
    /// [`Command::TriggerFallback`] comes first.
    FallbackDue,
    /// The next channel's communication is to be requested, then [`Command::RecordFallbackRequested`].
    FallbackRequestPending,
    Finished,
}

/// Whether an attempt may begin at `now`.
pub fn readiness(communication: &Communication, now: Timestamp) -> Readiness {
    match (communication.fallback_state, communication.fallback_due()) {
        (FallbackState::Triggered(_), _) => return Readiness::FallbackRequestPending,
        (_, Some((at, _))) if at <= now => return Readiness::FallbackDue,
        _ => (),
    }
    let wait = match communication.lifecycle {
        Lifecycle::Pending | Lifecycle::RetryWait { .. } if communication.expires_at <= now => {
            return Readiness::DeadlineReached;
        }
        Lifecycle::Pending => communication.due_at,
        Lifecycle::RetryWait { until } => Some(until),
        Lifecycle::Sending { lease_until: end, .. } | Lifecycle::InDoubt { evidence_until: end, .. } => {
            return if end <= now { Readiness::DeadlineReached } else { Readiness::NotBefore(end) };
        }
        Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => return Readiness::Finished,
    };
    match wait.filter(|until| now < *until) {
        Some(until) => Readiness::NotBefore(until),
        None => Readiness::Ready,
    }
}

/// When the stream must be looked at again; none when it has ended.
///
/// `current` is the timer already set. An attempt keeps it when it fires within a minute of the lease's end: that spares
/// two index writes for each delivery, and an early look is harmless.
pub fn wake(state: &State, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
    let State::Requested(communication) = state else { return None };
    let next = communication.fallback_due_at().map(|at| if now < at { at } else { now + policy::REPAIR_DELAY_MS });
    let own = delivery_wake(communication, now, current);
    own.into_iter().chain(next).min()
}

fn delivery_wake(communication: &Communication, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
    let due = match communication.lifecycle {
        Lifecycle::Pending => communication.due_at.unwrap_or(now),
        Lifecycle::RetryWait { until } => until,
        Lifecycle::InDoubt { evidence_until, .. } => evidence_until,
        Lifecycle::Sending { lease_until, .. } => {
            let kept = current.filter(|at| now < *at && at.millis_since(lease_until) <= policy::REPAIR_DELAY_MS);
            return Some(kept.unwrap_or(lease_until));
        }
        Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => return None,
    };
    Some(if now < due { due } else { now + policy::REPAIR_DELAY_MS })
}

/// Answers `command` with what happens next. An empty list means "already so".
///
/// # Errors
///
/// [`Rejection`]: what is asked cannot be done any more, or not yet.
pub fn decide(state: &State, command: Command) -> Result<Vec<CommunicationEvent>, Rejection> {
    if let Command::Request(request) = command {
        return accept_request(state, request);
    }
    let communication = state.requested()?;
    match command {
        Command::Request(_) => Ok(Vec::new()),
        Command::Change { schedule, content } => change(communication, schedule, content),
        Command::ApplyDeadlines { now } => Ok(advance(communication, now)),
        Command::BeginAttempt { now, lease_until, config, provider } => {
            begin_attempt(communication, now, lease_until, config, provider)
        }
        Command::RecordOutcome { attempt, now, chance, outcome, failover } => {
            record_outcome(communication, attempt, now, chance, outcome, failover)
        }
        Command::Report(reports) => report(communication, reports),
        Command::Suppress(reason) => Ok(suppress(communication, reason)),
        Command::Defer { until, reason } => Ok(defer(communication, until, reason)),
        Command::FailPermanently(reason) => Ok(abandon(communication, reason)),
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

/// The next channel has its turn, and this one none any more.
fn trigger_fallback(communication: &Communication, now: Timestamp) -> Vec<CommunicationEvent> {
    let (Readiness::FallbackDue, Some((_, reason))) = (readiness(communication, now), communication.fallback_due())
    else {
        return Vec::new();
    };
    if communication.expires_at <= now {
        return vec![CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Expired }];
    }
    let triggered = communication
        .next_fallback_step()
        .map(|step| CommunicationEvent::FallbackTriggered { channel: step.channel, reason });
    let stopped = cancel(communication, "fallback".to_owned(), CancelReason::FellBack).unwrap_or_default();
    triggered.into_iter().chain(stopped).collect()
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
    let now_is = (communication.due_at, communication.expires_at);
    let moved = schedule.filter(|(at, expires_at)| (Some(*at), *expires_at) != now_is);
    let moved = moved
        .map(|(scheduled_at, expires_at)| CommunicationEvent::CommunicationRescheduled { scheduled_at, expires_at });
    let content = content.filter(|content| *content != communication.content_id);
    let changed = content.map(|content| CommunicationEvent::CommunicationContentChanged { content });
    Ok(moved.into_iter().chain(changed).collect())
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

fn advance(communication: &Communication, now: Timestamp) -> Vec<CommunicationEvent> {
    if readiness(communication, now) != Readiness::DeadlineReached {
        return Vec::new();
    }
    match communication.lifecycle {
        Lifecycle::Sending { attempt, .. } => mark_in_doubt(communication, attempt, now, InDoubtCause::LeaseExpired),
        Lifecycle::InDoubt { attempt, .. } => resolve_by_policy(communication, attempt),
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => dead_letter(communication, DeadLetterReason::Expired),
        Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => Vec::new(),
    }
}

/// In doubt, unless a callback that came first has already settled it.
fn mark_in_doubt(
    communication: &Communication,
    attempt: u16,
    now: Timestamp,
    cause: InDoubtCause,
) -> Vec<CommunicationEvent> {
    let evidence_until = now + policy::EVIDENCE_WAIT_MS;
    let doubt = CommunicationEvent::DeliveryAttemptInDoubt { attempt, cause, evidence_until };
    match communication.has_evidence_for(attempt) {
        true => vec![doubt, resolved(attempt, Resolution::Accepted, ResolvedBy::Callback)],
        false => vec![doubt],
    }
}

fn resolved(attempt: u16, outcome: Resolution, by: ResolvedBy) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, by, provider_message_id: None }
}

/// No evidence came: send again or stop, as the message type wants it. It may have arrived.
fn resolve_by_policy(communication: &Communication, attempt: u16) -> Vec<CommunicationEvent> {
    let mut events = vec![resolved(attempt, Resolution::Unknown, ResolvedBy::Policy)];
    if communication.is_proven_sent() {
        return events;
    }
    let held = communication.cancellation.is_none() && communication.request.in_doubt == InDoubtPolicy::Hold;
    events.extend(match held {
        true => Some(CommunicationEvent::CommunicationFailed { reason: FailReason::InDoubt, maybe_sent: true }),
        false => terminal_event(communication, true),
    });
    events
}

fn begin_attempt(
    communication: &Communication,
    now: Timestamp,
    lease_until: Timestamp,
    config: String,
    provider: String,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    match (readiness(communication, now), &communication.lifecycle) {
        (Readiness::Ready, _) => Ok(vec![CommunicationEvent::DeliveryAttemptStarted {
            attempt: communication.attempts + 1,
            config,
            provider,
            idempotency_key: None,
            lease_until,
        }]),
        (Readiness::NotBefore(until), Lifecycle::Sending { .. }) => Err(Rejection::AttemptInFlight(until)),
        (Readiness::NotBefore(until), _) => Err(Rejection::NotDue(until)),
        // Time has to have its effect first.
        (Readiness::DeadlineReached, _) => Err(Rejection::NotDue(now)),
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
        AttemptOutcome::Accepted { provider_message_id, segments, cost_micros, latency_ms } => {
            Ok(vec![CommunicationEvent::DeliveryAttemptAccepted {
                attempt,
                provider_message_id,
                segments,
                cost_micros,
                latency_ms,
            }])
        }
        AttemptOutcome::Refused { class, code, retry_after_ms } if sending || doubted => {
            let refusal = Refusal { attempt, class, code, retry_after_ms, counted_already: doubted, failover };
            Ok(record_refusal(communication, refusal, now, chance))
        }
        AttemptOutcome::InDoubt(cause) if sending => Ok(mark_in_doubt(communication, attempt, now, cause)),
        // The lease ended before the answer came: the doubt is already recorded or settled.
        AttemptOutcome::Refused { .. } | AttemptOutcome::InDoubt(_) => Ok(Vec::new()),
    }
}

struct Refusal {
    attempt: u16,
    class: RefusalClass,
    code: String,
    retry_after_ms: Option<i64>,
    /// The doubt it ends was counted when it began.
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

/// It says nothing about the message: another provider may take it.
fn is_provider_fault(class: RefusalClass) -> bool {
    match class {
        RefusalClass::Transient | RefusalClass::Unavailable | RefusalClass::Auth | RefusalClass::Balance => true,
        RefusalClass::Throttled | RefusalClass::Permanent => false,
    }
}

/// Facts new to us become events; the first one about an attempt in doubt settles it.
fn report(communication: &Communication, reports: Vec<DeliveryReport>) -> Result<Vec<CommunicationEvent>, Rejection> {
    let mut events = Vec::new();
    let mut after = communication.clone();
    for DeliveryReport { attempt, fact, event_id, at, code } in reports {
        if communication.attempts < attempt.unwrap_or(1) {
            return Err(Rejection::UnknownAttempt);
        }
        let news = match (fact, after.evidence.get(&fact)) {
            (ReportedStatus::Unknown, _) => {
                after.unknown.len() < MAX_UNKNOWN && !after.unknown.contains(unknown_status_code(&code))
            }
            // Our own record already says that the provider has it.
            (ReportedStatus::Accepted, None) => attempt.is_none_or(|attempt| !after.accepted.contains(&attempt)),
            (_, None) => true,
            (_, Some(seen)) => at < seen.at && seen.reports < MAX_REPORTS,
        };
        if !news {
            continue;
        }
        let event =
            CommunicationEvent::DeliveryReported { attempt, fact, provider_event_id: event_id, provider_at: at, code };
        apply(&mut after, &event);
        events.push(event);
        if let Lifecycle::InDoubt { attempt: open, .. } = after.lifecycle
            && after.has_evidence_for(open)
        {
            let event = resolved(open, Resolution::Accepted, ResolvedBy::Callback);
            apply(&mut after, &event);
            events.push(event);
        }
    }
    Ok(events)
}

/// Earlier times of one fact that are still worth an event.
const MAX_REPORTS: u8 = 3;
/// Unknown statuses kept for one communication.
const MAX_UNKNOWN: usize = 10;

fn unknown_status_code(code: &Option<String>) -> &str {
    code.as_deref().unwrap_or("")
}

fn suppress(communication: &Communication, reason: SuppressReason) -> Vec<CommunicationEvent> {
    match communication.lifecycle {
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => {
            vec![match communication.is_definitely_unsent() {
                true => CommunicationEvent::CommunicationSuppressed { reason },
                false => {
                    let reason = FailReason::Cancelled;
                    CommunicationEvent::CommunicationFailed { reason, maybe_sent: communication.maybe_sent }
                }
            }]
        }
        _ => Vec::new(),
    }
}

fn defer(communication: &Communication, until: Timestamp, reason: DeferReason) -> Vec<CommunicationEvent> {
    let held = match communication.lifecycle {
        Lifecycle::Pending => communication.due_at,
        Lifecycle::RetryWait { until } => Some(until),
        _ => return Vec::new(),
    };
    match held.is_some_and(|held| until <= held) {
        true => Vec::new(),
        false => vec![CommunicationEvent::CommunicationDeferred { until, reason }],
    }
}

fn abandon(communication: &Communication, reason: FailReason) -> Vec<CommunicationEvent> {
    match communication.lifecycle {
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => {
            vec![CommunicationEvent::CommunicationFailed { reason, maybe_sent: communication.maybe_sent }]
        }
        _ => Vec::new(),
    }
}

fn cancel(
    communication: &Communication,
    by: String,
    reason: CancelReason,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    match communication.lifecycle {
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => Ok(match communication.is_definitely_unsent() {
            true => vec![CommunicationEvent::CommunicationCancelled { by, reason }],
            false => vec![
                CommunicationEvent::CancellationRequested { by, reason },
                CommunicationEvent::CommunicationFailed {
                    reason: FailReason::Cancelled,
                    maybe_sent: communication.maybe_sent,
                },
            ],
        }),
        Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. } => {
            let asked = communication.cancellation.is_some();
            Ok(if asked { vec![] } else { vec![CommunicationEvent::CancellationRequested { by, reason }] })
        }
        Lifecycle::Cancelled => Ok(Vec::new()),
        // It cannot be taken back, but the next channel need not have its turn.
        _ if communication.fallback_due().is_some() && reason != CancelReason::FellBack => {
            Ok(vec![CommunicationEvent::CancellationRequested { by, reason }])
        }
        Lifecycle::Sent => Err(Rejection::AlreadyAccepted),
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) | Lifecycle::Suppressed(_) => Err(Rejection::Finished),
    }
}

fn dead_letter(communication: &Communication, reason: DeadLetterReason) -> Vec<CommunicationEvent> {
    let open = matches!(communication.lifecycle, Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. });
    match communication.is_finished() {
        true if communication.fallback_due_at().is_some() => {
            vec![CommunicationEvent::FallbackAbandoned { reason: FallbackAbandonReason::Poison }]
        }
        true => Vec::new(),
        false => {
            let maybe_sent = communication.maybe_sent || open;
            vec![CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent }]
        }
    }
}

fn resolve(
    communication: &Communication,
    outcome: Resolution,
    by: ResolvedBy,
    provider_message_id: Option<String>,
) -> Result<Vec<CommunicationEvent>, Rejection> {
    let Lifecycle::InDoubt { attempt, .. } = communication.lifecycle else { return Err(Rejection::NotInDoubt) };
    let settled = CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, by, provider_message_id };
    let maybe_sent = communication.maybe_sent || outcome == Resolution::Unknown;
    let open = outcome != Resolution::Accepted && !communication.is_proven_sent();
    let end = open.then(|| terminal_event(communication, maybe_sent)).flatten();
    Ok(std::iter::once(settled).chain(end).collect())
}

/// What ends it where another attempt would follow: a cancellation asked for, or no attempts left.
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
    match communication.lifecycle {
        _ if communication.is_dead_letter() => {
            let later = |at: Option<Timestamp>| at.filter(|at| now < *at);
            let retry_at = retry_at.max(later(communication.held_until)).max(later(communication.due_at));
            let expires_at = policy::default_expiry(communication.request.kind, retry_at.unwrap_or(now));
            Ok(vec![CommunicationEvent::RetryRequested { by, expires_at, retry_at }])
        }
        Lifecycle::Sent => Err(Rejection::AlreadyAccepted),
        _ => Err(Rejection::NotDeadLettered),
    }
}

/// Proof that a provider took it on its way, whatever became of it after.
fn proves_sent(fact: ReportedStatus) -> bool {
    match fact {
        ReportedStatus::Accepted
        | ReportedStatus::Sent
        | ReportedStatus::Deferred
        | ReportedStatus::Delivered
        | ReportedStatus::Bounced
        | ReportedStatus::Opened
        | ReportedStatus::Clicked
        | ReportedStatus::Read
        | ReportedStatus::Complained
        | ReportedStatus::Unsubscribed => true,
        ReportedStatus::Undelivered | ReportedStatus::Dropped | ReportedStatus::Unknown => false,
    }
}

/// Folds one fact into the state. Cannot fail: what happened has happened.
pub fn evolve(state: State, event: &CommunicationEvent) -> State {
    match (state, event) {
        (State::NotRequested, CommunicationEvent::CommunicationRequested(request)) => {
            State::Requested(Box::new(Communication {
                content_id: request.request_hash.clone(),
                due_at: request.scheduled_at,
                expires_at: request.expires_at,
                request: (**request).clone(),
                lifecycle: Lifecycle::Pending,
                attempts: 0,
                counted_attempts: 0,
                provider: None,
                last_config_id: None,
                refusing_configs: BTreeSet::new(),
                provider_message_id: None,
                cancellation: None,
                maybe_sent: false,
                late_evidence: false,
                evidence: BTreeMap::new(),
                erased: false,
                fallback_state: FallbackState::NotTriggered,
                held_until: None,
                accepted: BTreeSet::new(),
                unknown: BTreeSet::new(),
            }))
        }
        (State::Requested(mut communication), event) => {
            apply(&mut communication, event);
            State::Requested(communication)
        }
        (State::NotRequested, _) => State::NotRequested,
    }
}

fn apply(c: &mut Communication, event: &CommunicationEvent) {
    match event {
        CommunicationEvent::CommunicationRequested(_) => (),
        CommunicationEvent::CommunicationRescheduled { scheduled_at, expires_at } => {
            c.due_at = Some(*scheduled_at);
            c.expires_at = *expires_at;
        }
        CommunicationEvent::CommunicationContentChanged { content } => c.content_id.clone_from(content),
        CommunicationEvent::CommunicationSuppressed { reason } => c.lifecycle = Lifecycle::Suppressed(*reason),
        CommunicationEvent::CommunicationDeferred { until, .. } => match &mut c.lifecycle {
            Lifecycle::RetryWait { until: retry_at } => *retry_at = *until,
            _ => c.due_at = Some(*until),
        },
        CommunicationEvent::DeliveryAttemptStarted { attempt, config, provider, lease_until, .. } => {
            c.attempts = *attempt;
            c.provider = Some(provider.clone());
            c.last_config_id = Some(config.clone());
            let lease_until = *lease_until;
            c.lifecycle = Lifecycle::Sending { attempt: *attempt, lease_until };
        }
        CommunicationEvent::DeliveryAttemptAccepted { attempt, provider_message_id, .. } => {
            c.accepted.insert(*attempt);
            c.provider_message_id = Some(provider_message_id.clone());
            end_open_attempt(c, *attempt, Lifecycle::Sent);
            c.apply_proof_of_sending();
        }
        CommunicationEvent::DeliveryAttemptRefused { attempt, class, counted, retry_at, .. } => {
            if is_provider_fault(*class) {
                c.refusing_configs.extend(c.last_config_id.clone());
            }
            let doubted = matches!(c.lifecycle, Lifecycle::InDoubt { .. });
            c.counted_attempts += u16::from(*counted && !doubted);
            let until = retry_at.unwrap_or(Timestamp(0));
            let sent = c.is_proven_sent();
            end_open_attempt(c, *attempt, if sent { Lifecycle::Sent } else { Lifecycle::RetryWait { until } });
        }
        CommunicationEvent::DeliveryAttemptInDoubt { attempt, evidence_until, .. } => {
            c.counted_attempts += 1;
            let evidence_until = *evidence_until;
            end_open_attempt(c, *attempt, Lifecycle::InDoubt { attempt: *attempt, evidence_until });
        }
        CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, provider_message_id, .. } => {
            if provider_message_id.is_some() {
                c.provider_message_id.clone_from(provider_message_id);
            }
            match outcome {
                Resolution::Accepted => {
                    c.accepted.insert(*attempt);
                }
                Resolution::Unknown => c.maybe_sent = true,
                Resolution::NotAccepted => (),
            }
            let sent = c.is_proven_sent();
            let retry = Lifecycle::RetryWait { until: Timestamp(0) };
            end_open_attempt(c, *attempt, if sent { Lifecycle::Sent } else { retry });
        }
        CommunicationEvent::DeliveryReported { attempt, fact, provider_at, code, .. } => {
            if *fact == ReportedStatus::Unknown {
                c.unknown.insert(unknown_status_code(code).to_owned());
            }
            let first = Evidence { at: *provider_at, attempt: *attempt, reports: 0 };
            let seen = c.evidence.entry(*fact).or_insert(first);
            seen.at = seen.at.min(*provider_at);
            seen.reports = seen.reports.saturating_add(1);
            if proves_sent(*fact) {
                c.apply_proof_of_sending();
            }
        }
        CommunicationEvent::CancellationRequested { by, reason } => {
            c.cancellation = Some((by.clone(), *reason));
        }
        CommunicationEvent::CommunicationCancelled { .. } => c.lifecycle = Lifecycle::Cancelled,
        CommunicationEvent::CommunicationFailed { reason, maybe_sent } => {
            c.maybe_sent |= maybe_sent;
            c.lifecycle = Lifecycle::Failed(*reason);
        }
        CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent } => {
            c.maybe_sent |= maybe_sent;
            if let Lifecycle::Sending { lease_until, .. } = c.lifecycle {
                c.held_until = Some(lease_until);
            }
            c.lifecycle = Lifecycle::DeadLettered(*reason);
        }
        CommunicationEvent::RetryRequested { expires_at, retry_at, .. } => {
            c.expires_at = *expires_at;
            c.counted_attempts = 0;
            c.refusing_configs.clear();
            c.lifecycle = Lifecycle::RetryWait { until: retry_at.unwrap_or(Timestamp(0)) };
        }
        CommunicationEvent::CommunicationErased { .. } => c.erased = true,
        CommunicationEvent::FallbackTriggered { reason, .. } => c.fallback_state = FallbackState::Triggered(*reason),
        CommunicationEvent::FallbackRequested { communication } => {
            c.fallback_state = FallbackState::Requested(*communication)
        }
        CommunicationEvent::FallbackAbandoned { reason } => c.fallback_state = FallbackState::Abandoned(*reason),
    }
}

/// Moves on only if `attempt` is the one still open.
fn end_open_attempt(c: &mut Communication, attempt: u16, next: Lifecycle) {
    match c.lifecycle {
        Lifecycle::Sending { attempt: open, .. } | Lifecycle::InDoubt { attempt: open, .. } if open == attempt => {
            c.lifecycle = next;
        }
        _ => (),
    }
}
