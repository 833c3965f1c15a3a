//! What a communication makes happen beside its delivery: the communication by the next channel.

use events::{CommunicationId, CommunicationRequest, StreamId, Timestamp};

use super::{Command, Readiness, State, readiness};
use crate::ports::CommunicationKey;
use crate::process::{Process, Step};

/// The communication by the next channel. Its content was accepted with this one.
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
            // Its delivery is not this process.
            Readiness::Ready | Readiness::NotBefore(_) | Readiness::DeadlineReached(_) | Readiness::Finished => {
                Step::Done
            }
        }
    }
}
