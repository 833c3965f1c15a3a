//! Folds events into the state.

use std::collections::{BTreeMap, BTreeSet};

use events::{CommunicationEvent, RefusalClass, ReportedStatus, Resolution};

use super::state::proves_sent;
use super::{Communication, Evidence, FallbackState, Lifecycle, State, When};

/// Folds one event into the state. It cannot fail, because the event has already happened.
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
                changes: 0,
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

pub(super) fn apply(c: &mut Communication, event: &CommunicationEvent) {
    match event {
        CommunicationEvent::CommunicationRequested(_) => (),
        CommunicationEvent::CommunicationRescheduled { scheduled_at, expires_at } => {
            c.due_at = Some(*scheduled_at);
            c.expires_at = *expires_at;
            c.changes = c.changes.saturating_add(1);
        }
        CommunicationEvent::CommunicationContentChanged { content } => {
            c.content_id.clone_from(content);
            c.changes = c.changes.saturating_add(1);
        }
        CommunicationEvent::CommunicationSuppressed { reason } => c.lifecycle = Lifecycle::Suppressed(*reason),
        CommunicationEvent::CommunicationDeferred { until, .. } => {
            if let Lifecycle::RetryWait { until: retry_at } = &mut c.lifecycle {
                *retry_at = When::At(*until);
            } else {
                c.due_at = Some(*until);
            }
        }
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
            let until = (*retry_at).into();
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
            let retry = Lifecycle::RetryWait { until: When::Now };
            end_open_attempt(c, *attempt, if sent { Lifecycle::Sent } else { retry });
        }
        CommunicationEvent::DeliveryReported { attempt, fact, provider_at, code, .. } => {
            if *fact == ReportedStatus::Unknown {
                c.unknown.insert(unknown_status_code(code).to_owned());
            }
            let first = Evidence { at: *provider_at, attempt: *attempt, reports: 0 };
            let evidence = c.evidence.entry(*fact).or_insert(first);
            evidence.at = evidence.at.min(*provider_at);
            evidence.reports = evidence.reports.saturating_add(1);
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
            c.lifecycle = Lifecycle::RetryWait { until: (*retry_at).into() };
        }
        CommunicationEvent::CommunicationErased { .. } => c.erased = true,
        CommunicationEvent::FallbackTriggered { reason, .. } => c.fallback_state = FallbackState::Triggered(*reason),
        CommunicationEvent::FallbackRequested { communication } => {
            c.fallback_state = FallbackState::Requested(*communication)
        }
        CommunicationEvent::FallbackAbandoned { reason } => c.fallback_state = FallbackState::Abandoned(*reason),
    }
}

/// Ends the attempt, if it is the one still open.
fn end_open_attempt(c: &mut Communication, attempt: u16, next: Lifecycle) {
    if let Lifecycle::Sending { attempt: open, .. } | Lifecycle::InDoubt { attempt: open, .. } = c.lifecycle
        && open == attempt
    {
        c.lifecycle = next;
    }
}

/// Whether the refusal is about the provider rather than the message, so that another provider may accept it.
pub(super) fn is_provider_fault(class: RefusalClass) -> bool {
    match class {
        RefusalClass::Transient | RefusalClass::Unavailable | RefusalClass::Auth | RefusalClass::Balance => true,
        RefusalClass::Throttled | RefusalClass::Permanent => false,
    }
}

pub(super) fn unknown_status_code(code: &Option<String>) -> &str {
    code.as_deref().unwrap_or("")
}
