//! The stream of a recurring schedule, which is created, changed, paused, resumed and ended.

use events::{
    CatchUp, MissedReason, RecordedEvent, ScheduleAuthor, ScheduleEndReason, ScheduleEvent, ScheduleTiming,
    ScheduledMessage, StreamId, StreamKind, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Recurrence, RecurrenceInput, When};
use crate::aggregate::{Aggregate, Erasure};
use crate::ports::QueueId;
use crate::process::{Process, Step};

/// Maximum number of schedules of one tenant and mode that have not ended.
pub const MAX_SCHEDULES: usize = 500;

/// Whether a schedule occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScheduleStatus {
    Active,
    Paused { until: Option<Timestamp> },
    Ended(ScheduleEndReason),
}

impl ScheduleStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ScheduleStatus::Active => "active",
            ScheduleStatus::Paused { .. } => "paused",
            ScheduleStatus::Ended(_) => "ended",
        }
    }
}

/// The current state of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub id: String,
    pub name: String,
    pub timing: ScheduleTiming,
    pub message: ScheduledMessage,
    pub catch_up: CatchUp,
    /// The author, whose scope its messages are sent with.
    pub author: ScheduleAuthor,
    pub revision: u32,
    pub status: ScheduleStatus,
    /// Occurrences up to this time are not considered, because they precede the creation, a resumption or a change of
    /// times, or were recorded as missed.
    pub handled_until: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
}

impl Schedule {
    /// The recurrence. Returns `None` if this version cannot parse a timing that another version accepted.
    pub fn recurrence(&self) -> Option<Recurrence> {
        Recurrence::parse(recurrence_input(&self.timing)).ok()
    }
}

/// Converts the timing of an event to the input of the recurrence engine.
pub fn recurrence_input(timing: &ScheduleTiming) -> RecurrenceInput {
    let ScheduleTiming { cron, rrule, time, time_zone, start, end, exceptions, additions, clamp_to_month_end } =
        timing.clone();
    let when = match (cron, rrule) {
        (Some(cron), _) => When::Cron(cron),
        (None, rrule) => When::Rrule(rrule.unwrap_or_default()),
    };
    RecurrenceInput { when, time, time_zone, start, end, exceptions, additions, clamp_to_month_end }
}

/// The state of a schedule's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScheduleState {
    /// `None` before it is created.
    pub schedule: Option<Schedule>,
}

/// A command to a schedule. Its timing has already been validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create {
        id: String,
        name: String,
        timing: ScheduleTiming,
        message: Box<ScheduledMessage>,
        catch_up: CatchUp,
        author: ScheduleAuthor,
        /// The number of schedules that the tenant already has.
        others: usize,
    },
    /// Changes the schedule. Fields that are `None` do not change.
    Change {
        name: Option<String>,
        timing: Option<ScheduleTiming>,
        message: Option<Box<ScheduledMessage>>,
        catch_up: Option<CatchUp>,
        author: ScheduleAuthor,
        /// Occurrences up to this time were handled by the caller.
        from: Timestamp,
    },
    Pause {
        /// Occurrences up to this time were handled by the caller. `None` means that they could not be handled.
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        reason: Option<String>,
    },
    Resume,
    /// Decides a command only if this is the newest revision.
    AtRevision(u32, Box<Command>),
    RecordMissed(Missed),
    End(ScheduleEndReason),
}

/// Occurrences that sent no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    pub from: String,
    pub through: String,
    pub through_at: Timestamp,
    pub count: u32,
    pub reason: MissedReason,
    pub code: Option<String>,
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such schedule")]
    Unknown,
    #[error("the tenant already has {MAX_SCHEDULES} schedules")]
    TooMany,
    #[error("the schedule has changed: the newest revision is {0}")]
    Changed(u32),
    #[error("the schedule has ended")]
    Ended,
}

/// The effect of a schedule: occurrences that are due send their messages. After the last one, the stored message gets
/// an expiry.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOccurrences {
    pub schedule: Box<Schedule>,
}

impl Command {
    /// Requires the newest revision to be `expected`, if that is given.
    pub fn at_revision(self, expected: Option<u32>) -> Command {
        match expected {
            Some(expected) => Command::AtRevision(expected, Box::new(self)),
            None => self,
        }
    }
}

impl ScheduleState {
    fn live(&self) -> Result<&Schedule, Rejection> {
        let schedule = self.schedule.as_ref().ok_or(Rejection::Unknown)?;
        if matches!(schedule.status, ScheduleStatus::Ended(_)) { Err(Rejection::Ended) } else { Ok(schedule) }
    }

    fn create(&self, command: Command) -> Result<Vec<ScheduleEvent>, Rejection> {
        let Command::Create { id: schedule, name, timing, message, catch_up, author, others } = command else {
            return Ok(Vec::new());
        };
        if self.schedule.is_some() {
            return Ok(Vec::new());
        }
        if MAX_SCHEDULES <= others {
            return Err(Rejection::TooMany);
        }
        Ok(vec![ScheduleEvent::ScheduleCreated { schedule, name, timing, message: *message, catch_up, author }])
    }

    fn change(&self, command: Command) -> Result<Vec<ScheduleEvent>, Rejection> {
        let Command::Change { name, timing, message, catch_up, author, from } = command else {
            return Ok(Vec::new());
        };
        let current = self.live()?;
        let name = name.filter(|name| *name != current.name);
        let timing = timing.filter(|timing| *timing != current.timing);
        let message = message.map(|message| *message).filter(|message| *message != current.message);
        let catch_up = catch_up.filter(|catch_up| *catch_up != current.catch_up);
        if name.is_none() && timing.is_none() && message.is_none() && catch_up.is_none() {
            return Ok(Vec::new());
        }
        let (schedule, revision) = (current.id.clone(), current.revision + 1);
        Ok(vec![ScheduleEvent::ScheduleChanged { schedule, revision, name, timing, message, catch_up, author, from }])
    }
}

impl Aggregate for ScheduleState {
    const KIND: StreamKind = StreamKind::SCHEDULE;
    const ERASURE: Erasure = Erasure::VaultDocuments;

    type Event = ScheduleEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<ScheduleEvent>, Rejection> {
        match command {
            Command::Create { .. } => self.create(command),
            Command::Change { .. } => self.change(command),
            Command::Pause { from, until, reason } => {
                let current = self.live()?;
                let is_unchanged = current.status == ScheduleStatus::Paused { until } && reason.is_none();
                let (schedule, from) = (current.id.clone(), from.unwrap_or(current.handled_until));
                Ok(if is_unchanged {
                    Vec::new()
                } else {
                    vec![ScheduleEvent::SchedulePaused { schedule, from, until, reason }]
                })
            }
            Command::Resume => {
                let current = self.live()?;
                let schedule = current.id.clone();
                let is_active = current.status == ScheduleStatus::Active;
                Ok(if is_active { Vec::new() } else { vec![ScheduleEvent::ScheduleResumed { schedule }] })
            }
            Command::AtRevision(expected, command) => {
                let newest = self.schedule.as_ref().ok_or(Rejection::Unknown)?.revision;
                if newest == expected { self.decide(*command) } else { Err(Rejection::Changed(newest)) }
            }
            Command::RecordMissed(Missed { from, through, through_at, count, reason, code }) => {
                let current = self.live()?;
                let schedule = current.id.clone();
                let is_known = through_at <= current.handled_until;
                let missed =
                    ScheduleEvent::OccurrencesMissed { schedule, from, through, through_at, count, reason, code };
                Ok(if is_known { Vec::new() } else { vec![missed] })
            }
            Command::End(reason) => match self.live() {
                Ok(current) => Ok(vec![ScheduleEvent::ScheduleEnded { schedule: current.id.clone(), reason }]),
                Err(Rejection::Ended) => Ok(Vec::new()),
                Err(rejection) => Err(rejection),
            },
        }
    }

    fn evolve(mut self, record: &RecordedEvent<ScheduleEvent>) -> Self {
        let at = record.meta.at;
        if let ScheduleEvent::ScheduleCreated { schedule, name, timing, message, catch_up, author } = &record.event {
            self.schedule = Some(Schedule {
                id: schedule.clone(),
                name: name.clone(),
                timing: timing.clone(),
                message: message.clone(),
                catch_up: *catch_up,
                author: author.clone(),
                revision: 1,
                status: ScheduleStatus::Active,
                handled_until: at,
                created_at: at,
                created_by: record.meta.actor.clone(),
                updated_at: at,
            });
        }
        let Some(schedule) = &mut self.schedule else { return self };
        schedule.updated_at = at;
        match record.event.clone() {
            ScheduleEvent::ScheduleCreated { .. } => (),
            ScheduleEvent::ScheduleChanged { revision, name, timing, message, catch_up, author, from, .. } => {
                schedule.revision = revision;
                schedule.author = author;
                schedule.name = name.unwrap_or_else(|| schedule.name.clone());
                schedule.message = message.unwrap_or_else(|| schedule.message.clone());
                schedule.catch_up = catch_up.unwrap_or(schedule.catch_up);
                if let Some(timing) = timing {
                    schedule.timing = timing;
                    schedule.handled_until = schedule.handled_until.max(from);
                }
            }
            ScheduleEvent::SchedulePaused { until, .. } => schedule.status = ScheduleStatus::Paused { until },
            ScheduleEvent::ScheduleResumed { .. } => {
                // The pause ends at its own time, not when the end is noticed. Occurrences in between are caught up.
                let resumed_at = match schedule.status {
                    ScheduleStatus::Paused { until: Some(until) } => until.min(at),
                    _ => at,
                };
                schedule.status = ScheduleStatus::Active;
                schedule.handled_until = schedule.handled_until.max(resumed_at);
            }
            ScheduleEvent::OccurrencesMissed { through_at, .. } => {
                schedule.handled_until = schedule.handled_until.max(through_at);
            }
            ScheduleEvent::ScheduleEnded { reason, .. } => schedule.status = ScheduleStatus::Ended(reason),
        }
        self
    }

    fn wake(&self, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref()?;
        match schedule.status {
            ScheduleStatus::Paused { until } => until,
            ScheduleStatus::Ended(_) => None,
            ScheduleStatus::Active => {
                let next = schedule.recurrence().and_then(|recurrence| recurrence.next_after(now));
                let next = next.map_or(now, |next| next.at);
                // The current timer may be for an occurrence that has not been handled yet, so it is kept. But it is
                // moved by a millisecond, so that a run that read the stream before this append cannot replace it with
                // a timer of the old timing.
                let kept = current.filter(|current| *current <= next);
                Some(kept.map_or(next, |kept| kept + 1))
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.schedule.as_ref().is_none_or(|schedule| match schedule.status {
            ScheduleStatus::Active | ScheduleStatus::Paused { until: Some(_) } => false,
            ScheduleStatus::Paused { until: None } | ScheduleStatus::Ended(_) => true,
        })
    }

    fn dead_letter() -> Option<Command> {
        Some(Command::Pause { from: None, until: None, reason: Some("poison".to_owned()) })
    }

    fn is_listed(&self) -> bool {
        self.live().is_ok()
    }

    fn queue(&self) -> QueueId {
        QueueId::Process
    }
}

impl Process for ScheduleState {
    type Effect = RunOccurrences;

    fn next(&self, _: &StreamId, now: Timestamp) -> Step<Command, RunOccurrences> {
        let Some(schedule) = &self.schedule else { return Step::Done };
        match schedule.status {
            ScheduleStatus::Ended(_) | ScheduleStatus::Paused { until: None } => Step::Done,
            ScheduleStatus::Paused { until: Some(until) } if now < until => Step::Wait(until),
            ScheduleStatus::Paused { .. } => Step::Do(Command::Resume),
            ScheduleStatus::Active => {
                let Some(recurrence) = schedule.recurrence() else { return Step::Done };
                let is_due = recurrence.iter(schedule.handled_until, now).next().is_some();
                let next = recurrence.next_after(now);
                // The effect is also needed after the last occurrence, to let the stored message expire.
                let is_needed = is_due || next.is_none();
                let rest = match next {
                    Some(next) => Step::Wait(next.at),
                    None => Step::Do(Command::End(ScheduleEndReason::Finished)),
                };
                if is_needed {
                    let schedule = Box::new(schedule.clone());
                    Step::Emit { effect: RunOccurrences { schedule }, then: Box::new(rest) }
                } else {
                    rest
                }
            }
        }
    }
}
