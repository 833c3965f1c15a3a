//! Runs a schedule: the occurrences that are due send their messages. The communication that an occurrence creates is
//! the record that it was handled, because its id is derived from the schedule and the nominal time.

use async_trait::async_trait;
use domain::aggregate::AggregateId;
use domain::communication;
use domain::ports::{CommunicationKey, Principal};
use domain::schedule::{Command, MAX_WINDOW_MS, Missed, Occurrence, RunOccurrences, Schedule, ScheduleState, plan};
use events::{MissedReason, Role, Source, StreamId, TenantId, Timestamp};
use futures_util::future::BoxFuture;

use super::message::{expire_message, message_of};
use crate::app::App;
use crate::caller::Caller;
use crate::execute::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use crate::messages::{self, IdempotencyKey, MessageError, NewMessage};
use crate::process::{self, Perform, ProcessError};

const DAY_MS: i64 = 24 * 3_600_000;
/// How far back occurrences without a message are looked for, step by step, until one that has a message is found.
const LOOK_BACK_MS: [i64; 3] = [2 * DAY_MS, MAX_WINDOW_MS + DAY_MS, 50 * DAY_MS];

/// Runs one schedule: handles the occurrences that are due.
pub fn run<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let executor = app.executor(&context);
        let key = AggregateId::<ScheduleState>::new(&id.tenant, &id.id);
        process::run(&executor, &key, &ScheduleRun { app, executor, key: &key, tenant: &id.tenant }).await
    })
}

struct ScheduleRun<'a> {
    app: &'a App,
    executor: CommandExecutor<'a>,
    key: &'a AggregateId<ScheduleState>,
    tenant: &'a TenantId,
}

/// The idempotency key of an occurrence's message. It is derived from the nominal time and not from the instant, which
/// an update of the time zone database can change.
pub(super) fn occurrence_key(schedule: &str, occurrence: &Occurrence) -> IdempotencyKey {
    IdempotencyKey::derived(&["schedule", schedule, &occurrence.nominal.to_string()])
}

/// The caller that a schedule sends as: with its author's mode and scope, and with the permission to send only.
pub(super) fn sender(tenant: &TenantId, schedule: &Schedule) -> Caller {
    let author = schedule.author.clone();
    let principal = Principal {
        tenant: tenant.clone(),
        actor: author.actor,
        mode: author.mode,
        role: Role::Sender,
        channels: author.channels,
        expires_at: None,
        team: author.team,
        is_user: false,
    };
    Caller { on_behalf: Some(format!("schedule:{}", schedule.id)), ..Caller::new(principal) }
}

impl ScheduleRun<'_> {
    /// The occurrences without a message, oldest first. Occurrences are handled in their order, so all before one that
    /// has a message have been handled.
    async fn due(&self, schedule: &Schedule, caller: &Caller, now: Timestamp) -> Result<Vec<Occurrence>, ProcessError> {
        let Some(recurrence) = schedule.recurrence() else { return Ok(Vec::new()) };
        let mut due = Vec::new();
        for look_back_ms in LOOK_BACK_MS {
            let after = (now + -look_back_ms).max(schedule.handled_until);
            let mut occurrences: Vec<Occurrence> = recurrence.iter(after, now).collect();
            // Those after this one were found to have no message.
            let known = occurrences.len() - due.len();
            let first = self.first_without(schedule, caller, &occurrences[..known]).await?;
            due = occurrences.split_off(first);
            if first > 0 || after == schedule.handled_until {
                break;
            }
        }
        Ok(due)
    }

    /// The index of the first of these occurrences that has no message. The usual case takes two lookups: the last one
    /// has none, and the one before it has one. Otherwise the steps backward double, and the last step is bisected.
    async fn first_without(
        &self,
        schedule: &Schedule,
        caller: &Caller,
        occurrences: &[Occurrence],
    ) -> Result<usize, ProcessError> {
        let (mut handled, mut without, mut step) = (0, occurrences.len(), 1);
        while handled < without {
            let index = without.saturating_sub(step).max(handled);
            if self.exists(schedule, caller, &occurrences[index]).await? {
                handled = index + 1;
                break;
            }
            (without, step) = (index, step * 2);
        }
        while handled < without {
            let middle = handled + (without - handled) / 2;
            if self.exists(schedule, caller, &occurrences[middle]).await? {
                handled = middle + 1;
            } else {
                without = middle;
            }
        }
        Ok(without)
    }

    async fn exists(
        &self,
        schedule: &Schedule,
        caller: &Caller,
        occurrence: &Occurrence,
    ) -> Result<bool, ProcessError> {
        let id = messages::id_of(caller, &occurrence_key(&schedule.id, occurrence));
        let key = CommunicationKey { tenant: self.tenant.clone(), id };
        Ok(self.app.store.read(&key.stream_id()).await?.version > 0)
    }

    /// Sends the message of one occurrence. Returns the code of a refusal.
    async fn send(
        &self,
        caller: &Caller,
        message: &NewMessage,
        idempotency_key: IdempotencyKey,
    ) -> Result<Option<&'static str>, ProcessError> {
        let message =
            NewMessage { source: Some(Source::Schedule), idempotency_key: Some(idempotency_key), ..message.clone() };
        match messages::send(self.app, caller, &message).await {
            Ok(_) => Ok(None),
            // The message was changed after this occurrence had been sent.
            Err(MessageError::Execute(ExecuteError::Rejected(communication::Rejection::IdempotencyKeyReused))) => {
                Ok(None)
            }
            Err(error) => error.refusal().map(Some),
        }
    }

    /// Whether the message of the schedule is still the one that this run has read.
    async fn is_current(&self, schedule: &Schedule) -> Result<bool, ProcessError> {
        let state = self.executor.load(self.key).await?.state;
        Ok(state.schedule.is_none_or(|now| now.message.content == schedule.message.content))
    }

    async fn record(&self, missed: Missed) -> Result<Loaded<ScheduleState>, ProcessError> {
        tracing::warn!(count = missed.count, reason = missed.reason.as_str(), "occurrences of a schedule were missed");
        Ok(self.executor.execute(self.key, Command::RecordMissed(missed)).await?)
    }
}

#[async_trait]
impl Perform<ScheduleState> for ScheduleRun<'_> {
    /// What was missed is recorded before anything is sent: after a crash, occurrences before one that was sent are not
    /// looked at again.
    async fn perform(
        &self,
        _: &Loaded<ScheduleState>,
        RunOccurrences { schedule }: RunOccurrences,
    ) -> Result<Option<Loaded<ScheduleState>>, ProcessError> {
        let now = self.app.host.now();
        let caller = sender(self.tenant, &schedule);
        let due = self.due(&schedule, &caller, now).await?;
        let is_last = schedule.recurrence().is_some_and(|recurrence| recurrence.next_after(now).is_none());
        if due.is_empty() && !is_last {
            return Ok(None);
        }
        let message = message_of(&self.app.tenant_ports, self.tenant, &schedule).await?;
        if message.is_none() && !self.is_current(&schedule).await? {
            // A change has replaced the message, and set the timer to run again.
            return Ok(None);
        }
        let plan = plan(due, schedule.catch_up, now);
        let mut after = None;
        for missed in plan.missed {
            after = Some(self.record(missed).await?);
        }
        for occurrence in plan.sent {
            let refusal = match &message {
                Some(stored) => self.send(&caller, &stored.message, occurrence_key(&schedule.id, &occurrence)).await?,
                None => Some("erased"),
            };
            if let Some(code) = refusal {
                let nominal = occurrence.nominal.to_string();
                let missed = Missed {
                    from: nominal.clone(),
                    through: nominal,
                    through_at: occurrence.at,
                    count: 1,
                    reason: MissedReason::Refused,
                    code: Some(code.to_owned()),
                };
                after = Some(self.record(missed).await?);
            }
        }
        if let Some(stored) = message.filter(|_| is_last) {
            let until = self.app.retain_until(stored.message.retention, None);
            expire_message(&self.app.tenant_ports, self.tenant, &schedule, &stored, until).await?;
        }
        Ok(after)
    }
}
