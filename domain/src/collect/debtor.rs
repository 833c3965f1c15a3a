//! What one customer has agreed about reminders.

use events::{DebtorEvent, LadderStep, Mode, Recipient, RecordedEvent, StreamKind};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateId, Erasure};
use crate::invoice::Hold;

/// How many notices of a customer are remembered. More than a day allows cannot be.
const MAX_NOTICES: usize = 50;

/// The stream of a customer. `None` for one without an id.
pub fn key_of(tenant: &events::TenantId, customer: &Recipient) -> Option<AggregateId<DebtorState>> {
    let id = customer.id.as_ref()?;
    Some(AggregateId::new(tenant, format!("{}:{id}", customer.kind.as_str())))
}

/// A notice that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentNotice {
    pub mode: Mode,
    pub day: String,
    pub notice: String,
}

/// The state of a customer's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DebtorState {
    pub revision: u32,
    pub is_excluded: bool,
    pub time_zone: Option<String>,
    pub ladder: Option<Vec<LadderStep>>,
    pub hold: Option<Hold>,
    /// The last notices, oldest first.
    pub notices: Vec<SentNotice>,
}

/// A command to a customer's stream. Values have already been validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Change {
        /// The revision that the change is based on.
        expected: Option<u32>,
        is_excluded: bool,
        time_zone: Option<String>,
        ladder: Option<Vec<LadderStep>>,
    },
    Pause {
        until: Option<String>,
        by: String,
    },
    Resume {
        by: String,
    },
    Promise {
        on: String,
        by: String,
    },
    RecordNotice(SentNotice),
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the customer's rules have changed: the newest revision is {0}")]
    Changed(u32),
}

impl Aggregate for DebtorState {
    const KIND: StreamKind = StreamKind::DEBTOR;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = DebtorEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<DebtorEvent>, Rejection> {
        let event = match command {
            Command::Change { expected: Some(expected), .. } if expected != self.revision => {
                return Err(Rejection::Changed(self.revision));
            }
            Command::Change { is_excluded: excluded, time_zone, ladder, .. } => {
                let is_same = (excluded, &time_zone, &ladder) == (self.is_excluded, &self.time_zone, &self.ladder);
                let revision = self.revision + 1;
                (!is_same).then_some(DebtorEvent::DebtorChanged { revision, excluded, time_zone, ladder })
            }
            Command::Pause { until, by } => {
                let is_same = self.hold == Some(Hold::Paused { until: until.clone() });
                (!is_same).then_some(DebtorEvent::DebtorPaused { until, by })
            }
            Command::Resume { by } => self.hold.is_some().then_some(DebtorEvent::DebtorResumed { by }),
            Command::Promise { on, by } => {
                let is_same = self.hold == Some(Hold::Promised { on: on.clone() });
                (!is_same).then_some(DebtorEvent::DebtorPromised { on, by })
            }
            Command::RecordNotice(notice) => {
                let is_known = self.notices.contains(&notice);
                let SentNotice { mode, day, notice } = notice;
                (!is_known).then_some(DebtorEvent::NoticeIssued { mode, day, notice })
            }
        };
        Ok(event.into_iter().collect())
    }

    fn evolve(mut self, record: &RecordedEvent<DebtorEvent>) -> Self {
        match record.event.clone() {
            DebtorEvent::DebtorChanged { revision, excluded, time_zone, ladder } => {
                (self.revision, self.is_excluded) = (revision, excluded);
                (self.time_zone, self.ladder) = (time_zone, ladder);
            }
            DebtorEvent::DebtorPaused { until, .. } => self.hold = Some(Hold::Paused { until }),
            DebtorEvent::DebtorResumed { .. } => self.hold = None,
            DebtorEvent::DebtorPromised { on, .. } => self.hold = Some(Hold::Promised { on }),
            DebtorEvent::NoticeIssued { mode, day, notice } => {
                self.notices.push(SentNotice { mode, day, notice });
                if MAX_NOTICES < self.notices.len() {
                    self.notices.remove(0);
                }
            }
        }
        self
    }

    fn is_optional(command: &Command) -> bool {
        matches!(command, Command::Change { .. } | Command::Promise { .. })
    }
}
