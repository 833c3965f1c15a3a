//! The process of a communication, which requests its fallback. Delivery is separate.

use events::{CommunicationId, CommunicationRequest, StreamId, Timestamp};

use super::{Command, Readiness, State, readiness};
use crate::ports::CommunicationKey;
use crate::process::{Process, Step};

/// Requests the fallback. Its content was accepted with this communication.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFallback {
    pub id: CommunicationId,
    pub request: Box<CommunicationRequest>,
}

impl Process for State {
    type Effect = RequestFallback;

    fn next(&self, id: &StreamId, now: Timestamp) -> Step<Command, RequestFallback> {
        let State::Requested(communication) = self else { return Step::Done };
        match readiness(communication, now) {
            Readiness::FallbackDue => Step::Do(Command::TriggerFallback { now }),
            Readiness::FallbackRequestPending => {
                let Some(key) = CommunicationKey::from_stream(id) else { return Step::Done };
                let next = CommunicationId::for_fallback_of(&key.tenant, key.id);
                let recorded = Step::Do(Command::RecordFallbackRequested(next));
                match communication.fallback_request(key.id, now) {
                    Some(request) => {
                        let effect = RequestFallback { id: next, request: Box::new(request) };
                        Step::Emit { effect, then: Box::new(recorded) }
                    }
                    None => recorded,
                }
            }
            // The deliver function handles these.
            Readiness::Ready | Readiness::NotBefore(_) | Readiness::DeadlineReached(_) | Readiness::Finished => {
                Step::Done
            }
        }
    }
}
