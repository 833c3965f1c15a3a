//! The rules of one communication, in the form: given these events, when this command, then these events.

mod attempts;
mod audit;
mod dead_letters;
mod doubt;
mod fallback;
mod reports;
mod requests;
mod timers;

use events::{
    Channel, CommunicationEvent, Fallback, FallbackAbandonReason, FallbackCondition, FallbackStep, FallbackTrigger,
    InDoubtPolicy, MessageType, Mode, Priority, Recipient, RecipientType, Source,
};

use super::decide::resolved;
use super::*;
use crate::policy;
use crate::status::{Status, status};

const T0: i64 = 1_000_000_000_000;
const LEASE: i64 = 35_000;

fn at(ms: i64) -> Timestamp {
    Timestamp(T0 + ms)
}

pub(crate) fn request() -> CommunicationRequest {
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
        on_missing_file: None,
        max_attempts: 5,
        campaign: None,
        rule: None,
        resend_of: None,
        fallback: None,
        fallback_of: None,
        retention: None,
        via: None,
        request_hash: "body-1".into(),
        unless_settled: Vec::new(),
        without_document: None,
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
        about: Vec::new(),
    }
}

fn accepted(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptAccepted {
        attempt,
        provider_message_id: "sg-1".into(),
        segments: None,
        cost_micros: None,
        currency: None,
        cost_is_estimate: false,
        latency_ms: 12,
    }
}

fn refused(attempt: u16, class: RefusalClass, code: &str, counted: bool, retry: Option<i64>) -> CommunicationEvent {
    let retry_at = retry.map(at);
    CommunicationEvent::DeliveryAttemptRefused { attempt, class, code: code.into(), counted, retry_at, failover: false }
}

fn refused_with_failover(attempt: u16, class: RefusalClass, counted: bool) -> CommunicationEvent {
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
    Command::BeginAttempt {
        now: at(ms),
        lease_until,
        config: "sendgrid".into(),
        provider: "sendgrid".into(),
        about: Vec::new(),
    }
}

fn advance_to(ms: i64) -> Command {
    Command::ApplyDeadlines { now: at(ms) }
}

/// Records an outcome without jitter, so that the waits are exactly the retry delays.
fn outcome(attempt: u16, outcome: AttemptOutcome) -> Command {
    Command::RecordOutcome { attempt, now: at(0), chance: 200, outcome, failover: false }
}

fn no(class: RefusalClass, code: &str, retry_after_ms: Option<i64>) -> AttemptOutcome {
    AttemptOutcome::Refused { class, code: code.into(), retry_after_ms }
}

fn yes() -> AttemptOutcome {
    let (segments, cost) = (None, None);
    AttemptOutcome::Accepted { provider_message_id: "sg-1".into(), segments, cost, latency_ms: 12 }
}

fn report(attempt: u16, fact: ReportedStatus) -> Command {
    let (event_id, code) = (None, None);
    Command::Report(vec![DeliveryReport { attempt: Some(attempt), fact, event_id, at: at(5), code }])
}

fn cancel_it() -> Command {
    Command::Cancel { by: "billing".into(), reason: CancelReason::Requested }
}

struct Given(State);

struct Decided(State, Result<Vec<CommunicationEvent>, Rejection>);

fn given<const N: usize>(events: [CommunicationEvent; N]) -> Given {
    Given(events.iter().fold(State::default(), evolve))
}

impl Given {
    fn when(self, command: Command) -> Decided {
        let decided = decide(&self.0, command);
        Decided(self.0, decided)
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

impl Decided {
    fn then<const N: usize>(self, expected: [CommunicationEvent; N]) -> Given {
        let events = self.1.expect("a decision");
        assert_eq!(events, expected);
        Given(events.iter().fold(self.0, evolve))
    }

    fn then_rejected(self, expected: Rejection) {
        assert_eq!(self.1, Err(expected));
    }
}
