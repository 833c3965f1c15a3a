//! Explains a communication: each step with a code, a plain sentence and the inputs of the decision at that time.

use events::{
    CommunicationEvent, CommunicationRequest, DeadLetterReason, DeferReason, FailReason, FallbackAbandonReason,
    FallbackTrigger, InDoubtCause, InDoubtPolicy, RecordedEvent, RefusalClass, Resolution, ResolvedBy, SuppressReason,
    Timestamp,
};

use crate::communication::{Communication, FallbackState, Lifecycle, State, When, evolve};
use crate::policy;

/// One step: what happened and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplanationStep {
    pub at: Timestamp,
    /// A stable code for programs, such as `accepted`, `refused.throttled`, `failed.in_doubt`.
    pub code: String,
    pub text: String,
    /// The inputs of the decision, as they were then.
    pub inputs: Vec<(&'static str, String)>,
}

/// Explains all steps, with a summary. Returns `None` if the stream does not begin with a request.
pub fn explain(records: &[RecordedEvent]) -> Option<(String, Vec<ExplanationStep>)> {
    let mut state = State::default();
    let mut steps = Vec::with_capacity(records.len());
    for record in records {
        state = evolve(state, &record.event);
        steps.push(step(state.requested().ok()?, record));
    }
    Some((summary(state.requested().ok()?), steps))
}

/// Formats a time in UTC, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn summary(c: &Communication) -> String {
    let attempts = match c.attempts {
        1 => "one attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let text = match &c.lifecycle {
        Lifecycle::Pending => match c.due_at {
            Some(due) => format!("It is scheduled for {}.", time(due)),
            None => "It is queued and will be sent as soon as a worker is free.".to_owned(),
        },
        Lifecycle::Sending { lease_until, .. } => {
            format!("It is being sent. Without a result by {} the attempt is in doubt.", time(*lease_until))
        }
        Lifecycle::RetryWait { until: When::Now } => "It is retried at once.".to_owned(),
        Lifecycle::RetryWait { until: When::At(at) } => format!("It is retried at {}.", time(*at)),
        Lifecycle::InDoubt { evidence_until, .. } => {
            let then = match c.request.in_doubt {
                InDoubtPolicy::Resend => "it is sent again",
                InDoubtPolicy::Hold => "it is held",
            };
            format!(
                "It is unknown whether the provider accepted it. A callback is awaited until {}. Without one {then}.",
                time(*evidence_until)
            )
        }
        Lifecycle::Sent if c.late_evidence => {
            "It had failed, but then the provider proved that it was sent.".to_owned()
        }
        Lifecycle::Sent => format!("The provider accepted it after {attempts}."),
        Lifecycle::Failed(reason) => format!("It failed after {attempts}: {}.", failed(*reason)),
        Lifecycle::DeadLettered(reason) => {
            format!("It was given up after {attempts}: {}.", dead_letter_reason(*reason))
        }
        Lifecycle::Cancelled if matches!(c.fallback_state, FallbackState::NotTriggered) => {
            "It was cancelled before anything was sent.".to_owned()
        }
        Lifecycle::Cancelled => "It was not sent in time.".to_owned(),
        Lifecycle::Suppressed(reason) => format!("It was not sent: {}.", suppressed(*reason)),
    };
    let text = match (c.fallback_state, c.fallback_due_at()) {
        (FallbackState::Requested(next), _) => format!("{text} Its fallback is {next}."),
        (_, Some(When::At(at))) => {
            format!("{text} The fallback to the next channel is due at {}, unless it is delivered.", time(at))
        }
        (_, Some(When::Now)) => format!("{text} The fallback to the next channel is due now."),
        _ => text,
    };
    if c.maybe_sent && !c.is_proven_sent() {
        format!("{text} It may have arrived, because an attempt ended without a definite answer.")
    } else {
        text
    }
}

fn step(updated: &Communication, record: &RecordedEvent) -> ExplanationStep {
    let (code, text, inputs) = describe_event(updated, record);
    ExplanationStep { at: record.meta.at, code, text, inputs }
}

/// Code, text and inputs.
type EventDescription = (String, String, Vec<(&'static str, String)>);

fn describe_event(c: &Communication, record: &RecordedEvent) -> EventDescription {
    let provider = || c.provider.clone().unwrap_or_else(|| "the provider".to_owned());
    // The id of the configuration says more than the provider's name if there are several.
    let config_id = || c.last_config_id.clone().unwrap_or_else(provider);
    let plain = |code: &str, text: String| (code.to_owned(), text, Vec::new());
    match &record.event {
        CommunicationEvent::CommunicationRequested(request) => requested(request, &record.meta.actor),
        CommunicationEvent::CommunicationRescheduled { scheduled_at, expires_at } => (
            "rescheduled".to_owned(),
            format!("{} moved it to {}.", record.meta.actor, time(*scheduled_at)),
            vec![("expiresAt", time(*expires_at))],
        ),
        CommunicationEvent::CommunicationContentChanged { .. } => {
            plain("content_changed", format!("{} changed its content.", record.meta.actor))
        }
        CommunicationEvent::CommunicationSuppressed { reason } => {
            (format!("suppressed.{}", reason.as_str()), format!("It is not sent: {}.", suppressed(*reason)), Vec::new())
        }
        CommunicationEvent::CommunicationDeferred { until, reason } => (
            format!("deferred.{}", reason.as_str()),
            match reason {
                DeferReason::QuietHours => {
                    format!("It is held until {}, the end of the recipient's quiet hours.", time(*until))
                }
                DeferReason::MissingFile => format!(
                    "It is held because one of its files is missing. The file is looked for again at {}.",
                    time(*until)
                ),
            },
            Vec::new(),
        ),
        CommunicationEvent::DeliveryAttemptStarted { attempt, provider, config, lease_until, .. } => (
            "attempt".to_owned(),
            format!(
                "Attempt {attempt} began with {config}. No other worker can begin one before {}.",
                time(*lease_until)
            ),
            vec![("provider", provider.clone()), ("config", config.clone()), ("leaseUntil", time(*lease_until))],
        ),
        CommunicationEvent::DeliveryAttemptAccepted { attempt, provider_message_id, latency_ms, .. } => (
            "taken".to_owned(),
            format!("{} accepted attempt {attempt} after {latency_ms} ms as {provider_message_id}.", config_id()),
            vec![("providerMessageId", provider_message_id.clone()), ("latencyMs", latency_ms.to_string())],
        ),
        CommunicationEvent::DeliveryAttemptRefused { attempt, class, code, counted, retry_at, failover } => {
            let next = match retry_at {
                Some(_) if *failover => "Another provider of the channel is tried at once.".to_owned(),
                Some(at) => format!(
                    "The next attempt is due at {}: {}",
                    time(*at),
                    describe_wait(*class, *counted, c.counted_attempts)
                ),
                None => "There is no next attempt.".to_owned(),
            };
            (
                format!("refused.{}", class.as_str()),
                format!("{} refused attempt {attempt} ({code}): {}. {next}", config_id(), refusal(*class)),
                vec![
                    ("code", code.clone()),
                    ("config", config_id()),
                    ("failover", failover.to_string()),
                    ("counted", counted.to_string()),
                    ("attemptsCounted", c.counted_attempts.to_string()),
                    ("maxAttempts", c.request.max_attempts.to_string()),
                ],
            )
        }
        CommunicationEvent::DeliveryAttemptInDoubt { attempt, cause, evidence_until } => (
            format!("in_doubt.{}", cause.as_str()),
            format!(
                "It is unknown whether attempt {attempt} was accepted: {}. A callback is awaited until {}.",
                in_doubt_cause(*cause),
                time(*evidence_until)
            ),
            vec![("evidenceUntil", time(*evidence_until)), ("policy", c.request.in_doubt.as_str().to_owned())],
        ),
        CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, by, .. } => (
            format!("resolved.{}.{}", outcome.as_str(), by.as_str()),
            format!("The doubt about attempt {attempt} ended: {}.", resolution(*outcome, *by, &record.meta.actor)),
            vec![("policy", c.request.in_doubt.as_str().to_owned())],
        ),
        CommunicationEvent::DeliveryReported { fact, code, provider_at, .. } => (
            format!("reported.{}", fact.as_str()),
            match code {
                Some(code) => format!("{} reported it {} ({code}).", provider(), fact.as_str()),
                None => format!("{} reported it {}.", provider(), fact.as_str()),
            },
            vec![("providerAt", time(*provider_at))],
        ),
        CommunicationEvent::CancellationRequested { by, .. } => plain(
            "cancellation_requested",
            format!("{by} cancelled it while an attempt was open. No further attempt follows."),
        ),
        CommunicationEvent::CommunicationCancelled { by, .. } => {
            plain("cancelled", format!("{by} cancelled it before anything was sent."))
        }
        CommunicationEvent::CommunicationFailed { reason, maybe_sent } => (
            format!("failed.{}", reason.as_str()),
            format!("It failed: {}.", failed(*reason)),
            vec![("maybeSent", maybe_sent.to_string())],
        ),
        CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent } => (
            format!("dead_lettered.{}", reason.as_str()),
            format!("It was given up: {}.", dead_letter_reason(*reason)),
            vec![
                ("maybeSent", maybe_sent.to_string()),
                ("attemptsCounted", c.counted_attempts.to_string()),
                ("maxAttempts", c.request.max_attempts.to_string()),
                ("expiresAt", time(c.expires_at)),
            ],
        ),
        CommunicationEvent::RetryRequested { by, expires_at, retry_at } => (
            "retry_requested".to_owned(),
            match retry_at {
                Some(at) => format!("{by} asked for a retry at {}. Attempts are counted from zero.", time(*at)),
                None => format!("{by} asked for a retry. Attempts are counted from zero."),
            },
            vec![("expiresAt", time(*expires_at))],
        ),
        CommunicationEvent::CommunicationErased { by } => plain("erased", format!("{by} erased its personal data.")),
        CommunicationEvent::FallbackTriggered { channel, reason } => (
            format!("fallback.{}", reason.as_str()),
            format!("It falls back to {}: {}.", channel.as_str(), fallback_trigger(*reason)),
            vec![("channel", channel.as_str().to_owned())],
        ),
        CommunicationEvent::FallbackRequested { communication } => (
            "fallback.requested".to_owned(),
            format!("The fallback is {communication}."),
            vec![("communication", communication.to_string())],
        ),
        CommunicationEvent::FallbackAbandoned { reason } => plain(
            &format!("fallback.abandoned.{}", reason.as_str()),
            format!("There is no fallback: {}.", abandoned(*reason)),
        ),
    }
}

fn requested(request: &CommunicationRequest, actor: &str) -> EventDescription {
    let when = match request.scheduled_at {
        Some(at) => format!("not before {}", time(at)),
        None => "at once".to_owned(),
    };
    let (by, until) = (request.channel.as_str(), time(request.expires_at));
    let schedule = actor.strip_prefix("schedule:");
    let text = match request.fallback_of {
        Some(other) => format!("It is the fallback of {other}, by {by}, and expires at {until}."),
        None => {
            let requester = match schedule {
                Some(id) => format!("The schedule {id} of {}", request.requested_by),
                None => request.requested_by.clone(),
            };
            format!("{requester} requested it by {by}, to be sent {when}. It expires at {until}.")
        }
    };
    let mut inputs = vec![
        ("type", request.kind.as_str().to_owned()),
        ("priority", request.priority.as_str().to_owned()),
        ("mode", request.mode.as_str().to_owned()),
        ("inDoubt", request.in_doubt.as_str().to_owned()),
        ("maxAttempts", request.max_attempts.to_string()),
    ];
    let text = match &request.without_document {
        Some(why) => format!("{text} It has no document: {}.", without_document(why)),
        None => text,
    };
    inputs.extend(request.without_document.iter().map(|why| ("withoutDocument", why.clone())));
    inputs.extend(request.template.as_ref().map(|t| ("template", format!("{} v{}", t.id, t.version))));
    inputs.extend(schedule.map(|id| ("schedule", id.to_owned())));
    inputs.extend(request.resend_of.map(|id| ("resendOf", id.to_string())));
    inputs.extend(request.fallback_of.map(|id| ("fallbackOf", id.to_string())));
    let steps = request.fallback.iter().flat_map(|fallback| &fallback.steps);
    inputs.extend(steps.map(|step| ("fallback", step.channel.as_str().to_owned())));
    ("accepted".to_owned(), text, inputs)
}

fn without_document(why: &str) -> &str {
    match why {
        "no_document" => "there was neither a document nor lines to print",
        "no_glyph" => "a character of the invoice has no glyph in our fonts",
        "too_many_lines" => "the invoice has too many lines to print",
        "unknown_attachment" => "there is no uploaded file of this id",
        "not_uploaded" => "the file of this id was not uploaded yet",
        "refused" => "the uploaded file differed from its announcement",
        "not_public" => "its address is not a public https address",
        other => other,
    }
}

fn fallback_trigger(reason: FallbackTrigger) -> &'static str {
    match reason {
        FallbackTrigger::NotSent => "it could not be sent by this channel",
        FallbackTrigger::NotDelivered => "the provider reported that it was not delivered",
        FallbackTrigger::NotDeliveredInTime => "delivery was not reported in time",
        FallbackTrigger::NotReadInTime => "it was not reported as read in time",
    }
}

fn abandoned(reason: FallbackAbandonReason) -> &'static str {
    match reason {
        FallbackAbandonReason::Expired => "the message expired first",
        FallbackAbandonReason::Poison => "its hint crashed the handler repeatedly",
    }
}

fn describe_wait(class: RefusalClass, counted: bool, count: u16) -> String {
    match class {
        RefusalClass::Auth | RefusalClass::Balance => {
            "such messages are held for 15 minutes, and an alert was raised.".to_owned()
        }
        _ if counted => {
            let step = usize::from(count.max(1) - 1).min(policy::RETRY_DELAYS_MS.len() - 1);
            format!("the delay after {count} counted attempts is {} s ± 20 %.", policy::RETRY_DELAYS_MS[step] / 1_000)
        }
        _ => "the provider asked us to wait, and such an attempt does not count.".to_owned(),
    }
}

fn refusal(class: RefusalClass) -> &'static str {
    match class {
        RefusalClass::Transient => "the provider failed",
        RefusalClass::Throttled => "we were too fast",
        RefusalClass::Unavailable => "the provider could not be reached or was down",
        RefusalClass::Permanent => "the provider will never accept this message",
        RefusalClass::Auth => "the provider rejects our credentials or sender",
        RefusalClass::Balance => "the account is empty",
    }
}

fn in_doubt_cause(cause: InDoubtCause) -> &'static str {
    match cause {
        InDoubtCause::Timeout => "no answer arrived in time",
        InDoubtCause::ConnectionLost => "the connection was lost before the answer",
        InDoubtCause::ServerError => "the answer was an error that can also follow acceptance",
        InDoubtCause::LeaseExpired => "the worker stopped before it recorded a result",
    }
}

fn resolution(outcome: Resolution, by: ResolvedBy, actor: &str) -> String {
    let who = match by {
        ResolvedBy::Callback => "a callback".to_owned(),
        ResolvedBy::Query => "a query".to_owned(),
        ResolvedBy::Operator => actor.to_owned(),
        ResolvedBy::Policy => return "no evidence arrived, so the policy decides".to_owned(),
    };
    match outcome {
        Resolution::Accepted => format!("{who} says that it was accepted"),
        Resolution::NotAccepted => format!("{who} says that it was not accepted"),
        Resolution::Unknown => format!("{who} could not find out either"),
    }
}

fn failed(reason: FailReason) -> &'static str {
    match reason {
        FailReason::Permanent => "the provider will never accept it",
        FailReason::MissingFile => "one of its files is missing",
        FailReason::Unrenderable => "it cannot be rendered with its variables",
        FailReason::Cancelled => {
            "it was cancelled, or its recipient opted out, after an attempt with an unknown result"
        }
        FailReason::InDoubt => "it is unknown whether it was accepted, and this type is not sent twice",
        FailReason::NoProvider => "no provider serves its channel in this mode",
    }
}

fn dead_letter_reason(reason: DeadLetterReason) -> &'static str {
    match reason {
        DeadLetterReason::RetriesExhausted => "all attempts are used up",
        DeadLetterReason::Expired => "it expired before it could be sent",
        DeadLetterReason::Poison => "its hint crashed the handler repeatedly",
    }
}

/// Why a rule forbids sending a message.
pub fn suppressed(reason: SuppressReason) -> &'static str {
    match reason {
        SuppressReason::OptedOut => "the recipient opted out",
        SuppressReason::ChannelDisabled => "the recipient does not want this channel",
        SuppressReason::TypeDisabled => "the recipient does not want this type",
        SuppressReason::SuppressionList => {
            "the address is on the suppression list, for a bounce, a complaint or an opt-out"
        }
        SuppressReason::DoNotContact => "the recipient is not to be contacted",
        SuppressReason::Erased => "its content was erased, or is past its retention",
        SuppressReason::Settled => "the matter that it is about has been settled",
        SuppressReason::CollectionPaused => "the invoices are void, disputed or paused, or their payment is promised",
        SuppressReason::SpendCapReached => "this fallback step would have passed the tenant's spend cap of the day",
    }
}
