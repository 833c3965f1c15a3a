//! The stream of one business event.

use events::{
    ActOutcome, BusinessEventEvent, DataFault, EventClassification, IntakeChannel, Mode, ParkReason, RecordedEvent,
    StreamId, StreamKind, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};
use crate::process::{Process, Step};

/// How often handling an event is tried before it is parked, or what it waits for is given up.
pub const MAX_TRIES: u8 = 8;
/// The waits between these tries, in minutes: together about a day.
const RETRY_MINUTES: [i64; MAX_TRIES as usize - 1] = [1, 5, 15, 60, 180, 360, 820];

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventStatus {
    /// It will be handled, now or at its next try.
    Received,
    Handled,
    /// Nothing handles events of its type.
    Unhandled,
    Parked(ParkReason),
    Discarded,
}

impl EventStatus {
    /// The names in the API.
    pub const NAMES: [&'static str; 5] = ["received", "handled", "unhandled", "parked", "discarded"];

    pub fn as_str(self) -> &'static str {
        match self {
            EventStatus::Received => "received",
            EventStatus::Handled => "handled",
            EventStatus::Unhandled => "unhandled",
            EventStatus::Parked(_) => "parked",
            EventStatus::Discarded => "discarded",
        }
    }
}

/// An event as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub source: String,
    /// The id that the source gave it.
    pub event_id: String,
    pub occurred_at: Timestamp,
    pub body_hash: String,
    pub via: IntakeChannel,
    pub mode: Mode,
    pub classification: EventClassification,
}

/// The current state of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusinessEvent {
    pub received: Received,
    pub received_at: Timestamp,
    pub updated_at: Timestamp,
    pub status: EventStatus,
    /// The outcome of the newest try.
    pub acts: Vec<ActOutcome>,
    pub faults: Vec<DataFault>,
    pub detail: Option<String>,
    /// Tries that did not complete since it was received or replayed.
    pub tries: u8,
    pub retry_at: Option<Timestamp>,
    pub is_erased: bool,
}

impl BusinessEvent {
    /// When the next try is made if this one does not complete. Returns `None` if it is the last.
    pub fn next_try(&self, now: Timestamp) -> Option<Timestamp> {
        RETRY_MINUTES.get(usize::from(self.tries)).map(|minutes| now + minutes * 60_000)
    }
}

/// The state of a business event's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BusinessEventState {
    /// `None` before it arrived.
    pub event: Option<Box<BusinessEvent>>,
}

/// A command to a business event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Receive(Box<Received>),
    /// Receives an event that must not be handled.
    ReceiveParked(Box<Received>, ParkReason, Vec<DataFault>),
    Handle(Vec<ActOutcome>),
    Defer {
        acts: Vec<ActOutcome>,
        until: Timestamp,
        reason: String,
    },
    Ignore,
    Park {
        reason: ParkReason,
        faults: Vec<DataFault>,
    },
    Replay {
        by: String,
        classification: EventClassification,
    },
    Discard {
        by: String,
        reason: Option<String>,
    },
    Erase {
        by: String,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such event")]
    Unknown,
    #[error("another event of this source has the same id")]
    IdReused,
    #[error("the event is {0}, so it cannot be replayed or discarded")]
    NotPossible(&'static str),
    #[error("the data of the event has been erased")]
    Erased,
}

/// The effect of an event: what it asks for is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct HandleEvent {
    pub event: Box<BusinessEvent>,
}

impl BusinessEventState {
    fn known(&self) -> Result<&BusinessEvent, Rejection> {
        self.event.as_deref().ok_or(Rejection::Unknown)
    }

    fn receive(
        &self,
        received: Received,
        park: Option<(ParkReason, Vec<DataFault>)>,
    ) -> Result<Vec<BusinessEventEvent>, Rejection> {
        if let Some(known) = &self.event {
            let is_same = known.received.body_hash == received.body_hash;
            return if is_same { Ok(Vec::new()) } else { Err(Rejection::IdReused) };
        }
        let Received { source, event_id, occurred_at, body_hash, via, mode, classification } = received;
        let received = BusinessEventEvent::BusinessEventReceived {
            source,
            event_id,
            occurred_at,
            body_hash,
            via,
            mode,
            classification,
        };
        let parked = park.map(|(reason, faults)| parked(reason, faults));
        Ok([received].into_iter().chain(parked).collect())
    }

    /// The events of a try, which end it only while it waits to be handled.
    fn end_try(&self, event: BusinessEventEvent) -> Result<Vec<BusinessEventEvent>, Rejection> {
        let waits = self.known()?.status == EventStatus::Received;
        Ok(if waits { vec![event] } else { Vec::new() })
    }
}

fn parked(reason: ParkReason, faults: Vec<DataFault>) -> BusinessEventEvent {
    BusinessEventEvent::BusinessEventParked { reason, faults, detail: None }
}

impl Aggregate for BusinessEventState {
    const KIND: StreamKind = StreamKind::BUSINESS_EVENT;
    const ERASURE: Erasure = Erasure::VaultDocuments;

    type Event = BusinessEventEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<BusinessEventEvent>, Rejection> {
        match command {
            Command::Receive(received) => self.receive(*received, None),
            Command::ReceiveParked(received, reason, faults) => self.receive(*received, Some((reason, faults))),
            Command::Handle(acts) => self.end_try(BusinessEventEvent::BusinessEventHandled { acts }),
            Command::Defer { acts, until, reason } => {
                self.end_try(BusinessEventEvent::BusinessEventDeferred { acts, until, reason })
            }
            Command::Ignore => self.end_try(BusinessEventEvent::BusinessEventUnhandled {}),
            Command::Park { reason, faults } => self.end_try(parked(reason, faults)),
            Command::Replay { by, classification } => {
                let event = self.known()?;
                match event.status {
                    _ if event.is_erased => Err(Rejection::Erased),
                    EventStatus::Received => Ok(Vec::new()),
                    EventStatus::Handled => Err(Rejection::NotPossible("handled")),
                    EventStatus::Unhandled | EventStatus::Parked(_) | EventStatus::Discarded => {
                        Ok(vec![BusinessEventEvent::BusinessEventReplayed { by, classification }])
                    }
                }
            }
            Command::Discard { by, reason } => match self.known()?.status {
                EventStatus::Discarded => Ok(Vec::new()),
                EventStatus::Handled => Err(Rejection::NotPossible("handled")),
                EventStatus::Received | EventStatus::Unhandled | EventStatus::Parked(_) => {
                    Ok(vec![BusinessEventEvent::BusinessEventDiscarded { by, reason }])
                }
            },
            Command::Erase { by } => {
                let is_erased = self.known()?.is_erased;
                Ok(if is_erased { Vec::new() } else { vec![BusinessEventEvent::BusinessEventErased { by }] })
            }
        }
    }

    fn evolve(mut self, record: &RecordedEvent<BusinessEventEvent>) -> Self {
        let at = record.meta.at;
        if let BusinessEventEvent::BusinessEventReceived {
            source,
            event_id,
            occurred_at,
            body_hash,
            via,
            mode,
            classification,
        } = record.event.clone()
        {
            let received = Received { source, event_id, occurred_at, body_hash, via, mode, classification };
            self.event = Some(Box::new(BusinessEvent {
                received,
                received_at: at,
                updated_at: at,
                status: EventStatus::Received,
                acts: Vec::new(),
                faults: Vec::new(),
                detail: None,
                tries: 0,
                retry_at: None,
                is_erased: false,
            }));
        }
        let Some(event) = &mut self.event else { return self };
        event.updated_at = at;
        match record.event.clone() {
            BusinessEventEvent::BusinessEventReceived { .. } => (),
            BusinessEventEvent::BusinessEventHandled { acts } => {
                (event.status, event.acts, event.retry_at) = (EventStatus::Handled, acts, None);
            }
            BusinessEventEvent::BusinessEventDeferred { acts, until, reason: _ } => {
                (event.acts, event.retry_at) = (acts, Some(until));
                event.tries = event.tries.saturating_add(1);
            }
            BusinessEventEvent::BusinessEventUnhandled {} => {
                (event.status, event.retry_at) = (EventStatus::Unhandled, None);
            }
            BusinessEventEvent::BusinessEventParked { reason, faults, detail } => {
                (event.status, event.retry_at) = (EventStatus::Parked(reason), None);
                (event.faults, event.detail) = (faults, detail);
            }
            BusinessEventEvent::BusinessEventReplayed { classification, .. } => {
                event.received.classification = classification;
                (event.status, event.tries, event.retry_at) = (EventStatus::Received, 0, None);
                (event.faults, event.detail) = (Vec::new(), None);
            }
            BusinessEventEvent::BusinessEventDiscarded { .. } => {
                (event.status, event.retry_at) = (EventStatus::Discarded, None);
            }
            BusinessEventEvent::BusinessEventErased { .. } => {
                event.is_erased = true;
                if event.status == EventStatus::Received {
                    (event.status, event.retry_at) = (EventStatus::Parked(ParkReason::Erased), None);
                }
            }
        }
        self
    }

    fn wake(&self, now: Timestamp, _: Option<Timestamp>) -> Option<Timestamp> {
        let event = self.event.as_deref().filter(|event| event.status == EventStatus::Received)?;
        Some(event.retry_at.unwrap_or(now))
    }

    fn is_complete(&self) -> bool {
        self.event.as_deref().is_none_or(|event| event.status != EventStatus::Received)
    }

    fn dead_letter() -> Option<Command> {
        Some(Command::Park { reason: ParkReason::HandlerFailed, faults: Vec::new() })
    }
}

impl Process for BusinessEventState {
    type Effect = HandleEvent;

    /// Handling the event appends its outcome, so nothing follows it.
    fn next(&self, _: &StreamId, now: Timestamp) -> Step<Command, HandleEvent> {
        match &self.event {
            Some(event) if event.status == EventStatus::Received => match event.retry_at.filter(|at| now < *at) {
                Some(until) => Step::Wait(until),
                None => Step::Emit { effect: HandleEvent { event: event.clone() }, then: Box::new(Step::Done) },
            },
            _ => Step::Done,
        }
    }
}
