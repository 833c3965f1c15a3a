use events::{CommunicationEvent, DeadLetterReason, Priority, RecordedEvent, StreamId, StreamKind, Timestamp};

use super::{Command, Communication, Rejection, State, audit_attempts, decide, evolve, wake};
use crate::aggregate::{Aggregate, AggregateKey, Erasure, Violation};
use crate::ports::{CommunicationKey, QueueId};

impl Aggregate for State {
    const KIND: StreamKind = StreamKind::COMMUNICATION;
    const ERASURE: Erasure = Erasure::VaultDocuments;
    /// A communication has 5 to 20 events of 200 to 500 bytes, so it rolls over only after very many retries.
    const ROLL_OVER_BYTES: usize = 100 * 1024;
    const SNAPSHOT_VERSION: u16 = 2;

    type Event = CommunicationEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<CommunicationEvent>, Rejection> {
        decide(self, command)
    }

    fn evolve(self, record: &RecordedEvent) -> State {
        evolve(self, &record.event)
    }

    fn wake(&self, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
        wake(self, now, current)
    }

    fn is_complete(&self) -> bool {
        self.requested().is_ok_and(Communication::is_complete)
    }

    fn audit(&self, records: &[RecordedEvent]) -> Vec<Violation> {
        if self.requested().is_err() {
            return vec![Violation { invariant: "I5", what: "the stream does not begin with a request".to_owned() }];
        }
        let overlapping = audit_attempts(records).overlapping;
        let violation =
            |attempt| Violation { invariant: "I4", what: format!("attempt {attempt} began while another was open") };
        overlapping.map(violation).into_iter().collect()
    }

    fn dead_letter() -> Option<Command> {
        Some(Command::DeadLetter(DeadLetterReason::Poison))
    }

    fn is_optional(command: &Command) -> bool {
        matches!(command, Command::Change { .. })
    }

    fn after_restart(now: Timestamp) -> Option<Command> {
        Some(Command::EndLease { now })
    }

    fn queue(&self) -> QueueId {
        match self {
            State::NotRequested => QueueId::Process,
            State::Requested(communication) => {
                let request = &communication.request;
                let is_high_priority = matches!(request.priority, Priority::High | Priority::Urgent);
                QueueId::Delivery { channel: request.channel, is_high_priority }
            }
        }
    }
}

impl AggregateKey for CommunicationKey {
    type Aggregate = State;

    fn stream_id(&self) -> StreamId {
        CommunicationKey::stream_id(self)
    }
}
