//! Use cases of recurring schedules.

mod erasure;
mod message;
mod run;

use domain::access::{Permission, Reach};
use domain::aggregate::{Aggregate, AggregateId, AggregateKey};
use domain::communication_view::targets;
use domain::data_subject;
use domain::ports::{CommunicationKey, Listed, StoreError};
use domain::schedule::{
    Command, Fate, Fault, FaultCode, Occurrence, PastOccurrence, Recurrence, Rejection, Schedule, ScheduleState,
    ScheduleStatus, past_occurrences, recurrence_input,
};
use domain::status::{Status, status};
use events::{
    CatchUp, CommunicationId, RecordedEvent, ScheduleAuthor, ScheduleEndReason, ScheduleEvent, ScheduleTiming,
    ScheduledMessage, TenantId, Timestamp,
};

use futures_util::future::try_join_all;

pub use erasure::{ErasedSchedules, erase, of_subject};
pub use message::{StoredMessage, message_of};
use message::{content_name, delete_messages, has_hash, message_key};
pub use run::run;

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::document;
use crate::execute::{self, ExecuteError, Loaded};
use crate::hash::hash_of;
use crate::hint;
use crate::messages::{self, Composed, IdempotencyKey, MessageError};
use crate::process::ProcessError;

/// Maximum number of schedules that have ended in a list.
pub const MAX_ENDED: usize = 500;

/// Why a use case of schedules had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such schedule")]
    NotFound,
    /// The schedule has faults.
    #[error("the schedule is not valid")]
    Invalid(Faults),
    /// The message is refused.
    #[error(transparent)]
    Message(MessageError),
    #[error("the idempotency key belongs to another schedule")]
    IdempotencyKeyReused,
    /// Occurrences that were due could not be handled before the change.
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that is wrong with a schedule, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub timing: Vec<Fault>,
    pub message: Vec<messages::Fault>,
}

/// A schedule to be created.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    pub name: String,
    pub timing: ScheduleTiming,
    /// Whether the caller gave the start. Otherwise it is the day of the request, which a retry may make a day later.
    pub is_start_given: bool,
    pub message: StoredMessage,
    pub catch_up: CatchUp,
    /// The same key creates the same schedule, once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A change of a schedule. What is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct ScheduleChange {
    /// The revision that the change is based on. It is rejected if there is a newer one.
    pub expected: Option<u32>,
    pub name: Option<String>,
    pub timing: Option<ScheduleTiming>,
    pub message: Option<StoredMessage>,
    pub catch_up: Option<CatchUp>,
}

fn stream(tenant: &TenantId, id: &str) -> AggregateId<ScheduleState> {
    AggregateId::new(tenant, id)
}

fn author(caller: &Caller) -> ScheduleAuthor {
    let principal = &caller.principal;
    ScheduleAuthor {
        actor: principal.actor.clone(),
        mode: principal.mode,
        channels: principal.channels.clone(),
        team: principal.team.clone(),
    }
}

/// Reads a timing, and checks that it still occurs.
///
/// # Errors
///
/// Everything that is wrong with it, field by field.
fn check_timing(timing: &ScheduleTiming, now: Timestamp) -> Result<Recurrence, Vec<Fault>> {
    let recurrence = Recurrence::parse(recurrence_input(timing))?;
    if recurrence.next_after(now).is_none() {
        let message = "every occurrence is in the past".to_owned();
        return Err(vec![Fault { field: "start".to_owned(), code: FaultCode::Never, message }]);
    }
    Ok(recurrence)
}

/// The next occurrences of a timing that is not saved.
///
/// # Errors
///
/// [`ScheduleError::Invalid`] with everything that is wrong.
pub fn preview(
    caller: &Caller,
    timing: &ScheduleTiming,
    now: Timestamp,
    count: usize,
) -> Result<Vec<Occurrence>, ScheduleError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let invalid = |timing| ScheduleError::Invalid(Faults { timing, message: Vec::new() });
    Ok(check_timing(timing, now).map_err(invalid)?.preview(now, count))
}

/// Checks what is given of a schedule. Nothing is stored. Returns the message as it would be sent.
///
/// # Errors
///
/// [`ScheduleError::Invalid`] with everything that is wrong.
pub async fn check(
    app: &App,
    caller: &Caller,
    timing: Option<&ScheduleTiming>,
    message: Option<&StoredMessage>,
) -> Result<Option<Composed>, ScheduleError> {
    let timing = timing.and_then(|timing| check_timing(timing, app.host.now()).err()).unwrap_or_default();
    let composed = match message {
        Some(stored) => messages::check(app, caller, &stored.message).await.map(Some),
        None => Ok(None),
    };
    match composed {
        Ok(composed) if timing.is_empty() => Ok(composed),
        Err(MessageError::Invalid(message)) => Err(ScheduleError::Invalid(Faults { timing, message })),
        Err(error) if timing.is_empty() => Err(ScheduleError::Message(error)),
        Ok(_) | Err(_) => Err(ScheduleError::Invalid(Faults { timing, message: Vec::new() })),
    }
}

/// Stores a message that was checked. Returns its description for the event.
async fn store_message(
    app: &App,
    caller: &Caller,
    id: &str,
    stored: &StoredMessage,
    composed: Composed,
) -> Result<ScheduledMessage, ScheduleError> {
    let content = content_name(&stored.hash()?, app.host.random());
    let request = composed.request;
    let targets = targets(&request);
    let recipient = request.recipient;
    let addresses = targets.iter().map(|target| data_subject::of_address(&target.contact_hash));
    let stored =
        StoredMessage { subjects: addresses.chain(data_subject::of_recipient(&recipient)).collect(), ..stored.clone() };
    let body = document::encode(&stored)?;
    let key = message_key(&caller.principal.tenant, id, &content);
    app.tenant_ports.documents.put_document(&key, &body, None).await?;
    Ok(ScheduledMessage {
        content,
        channel: Some(request.channel),
        kind: Some(request.kind),
        recipient: Some(recipient),
        contact_hash: Some(request.contact_hash),
        fallback: targets.into_iter().skip(1).collect(),
    })
}

/// Sends the hint of a schedule that occurs soon, best effort. The sweep finds later occurrences.
async fn send_hint(app: &App, key: &AggregateId<ScheduleState>, loaded: &Loaded<ScheduleState>) {
    let Some(due) = loaded.wake else { return };
    hint::try_send(&*app.queue, &*app.host, key, loaded.state.queue(), due).await;
}

async fn execute(app: &App, caller: &Caller, id: &str, command: Command) -> Result<Schedule, ScheduleError> {
    let key = stream(&caller.principal.tenant, id);
    let done = app.executor(&caller.context()).execute(&key, command).await;
    let loaded = done.map_err(|error| match error {
        ExecuteError::Rejected(Rejection::Unknown) => ScheduleError::NotFound,
        error => ScheduleError::Execute(error),
    })?;
    send_hint(app, &key, &loaded).await;
    loaded.state.schedule.ok_or(ScheduleError::NotFound)
}

/// Executes a command whose message is in the vault already. Afterwards it deletes the message that the schedule does
/// not use: this one if the command failed, or else the one that it replaced.
async fn execute_with_message(
    app: &App,
    caller: &Caller,
    id: &str,
    command: Command,
    content: &str,
    replaced: Option<&str>,
) -> Result<Schedule, ScheduleError> {
    let done = execute(app, caller, id, command).await;
    let unused = match &done {
        Ok(schedule) if is_deleted(schedule) => {
            delete_messages(&app.tenant_ports, &caller.principal.tenant, id).await?;
            None
        }
        Ok(schedule) if schedule.message.content == content => replaced,
        Ok(_) | Err(ScheduleError::NotFound | ScheduleError::Execute(ExecuteError::Rejected(_))) => Some(content),
        // The event may have been appended, so neither message is deleted.
        Err(_) => None,
    };
    if let Some(unused) = unused {
        let key = message_key(&caller.principal.tenant, id, unused);
        if let Err(error) = app.tenant_ports.documents.delete_document(&key).await {
            tracing::warn!(schedule = id, %error, "a message that is not used was not deleted; an erasure still finds it");
        }
    }
    done
}

/// Whether the schedule was deleted, and its message with it.
fn is_deleted(schedule: &Schedule) -> bool {
    matches!(schedule.status, ScheduleStatus::Ended(ScheduleEndReason::Deleted | ScheduleEndReason::Erased))
}

/// The tenant's schedules of the caller's mode that have not ended.
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Schedule>, ScheduleError> {
    list_streams(app, caller, Listed::Current).await
}

/// The schedules that have ended, the last one to end first, at most [`MAX_ENDED`].
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn list_ended(app: &App, caller: &Caller) -> Result<Vec<Schedule>, ScheduleError> {
    let mut schedules = list_streams(app, caller, Listed::Ever).await?;
    schedules.retain(|schedule| matches!(schedule.status, ScheduleStatus::Ended(_)));
    schedules.sort_by_key(|schedule| std::cmp::Reverse(schedule.updated_at));
    schedules.truncate(MAX_ENDED);
    Ok(schedules)
}

async fn list_streams(app: &App, caller: &Caller, listed: Listed) -> Result<Vec<Schedule>, ScheduleError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let states = execute::list_streams::<ScheduleState>(&*app.store, &caller.principal.tenant, listed).await?;
    let schedules = states.into_iter().filter_map(|(_, state)| state.schedule);
    Ok(schedules.filter(|schedule| is_visible(caller, schedule)).collect())
}

async fn load(app: &App, caller: &Caller, id: &str) -> Result<Loaded<ScheduleState>, ScheduleError> {
    let loaded = execute::load(&*app.store, &stream(&caller.principal.tenant, id)).await?;
    let is_visible = |schedule: &Schedule| is_visible(caller, schedule);
    if loaded.state.schedule.as_ref().is_some_and(is_visible) { Ok(loaded) } else { Err(ScheduleError::NotFound) }
}

/// Whether a schedule has the caller's mode, and sends where the caller may send.
fn is_visible(caller: &Caller, schedule: &Schedule) -> bool {
    schedule.author.mode == caller.principal.mode && caller.includes(&message::targets(&schedule.message))
}

async fn load_schedule(app: &App, caller: &Caller, id: &str) -> Result<Schedule, ScheduleError> {
    load(app, caller, id).await?.state.schedule.ok_or(ScheduleError::NotFound)
}

/// One schedule, also one that has ended, and its timer.
///
/// # Errors
///
/// [`ScheduleError::NotFound`]: also for one of the other mode.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<(Schedule, Option<Timestamp>), ScheduleError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let loaded = load(app, caller, id).await?;
    Ok((loaded.state.schedule.ok_or(ScheduleError::NotFound)?, loaded.wake))
}

/// The complete history of a schedule, in order.
///
/// # Errors
///
/// As [`find`].
pub async fn history(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<(Schedule, Vec<RecordedEvent<ScheduleEvent>>), ScheduleError> {
    let (schedule, _) = find(app, caller, id).await?;
    let records = execute::history(&*app.store, &stream(&caller.principal.tenant, id)).await?;
    Ok((schedule, records))
}

/// A schedule, and whether an earlier request created it with the same idempotency key.
#[derive(Debug, Clone)]
pub struct Created {
    pub schedule: Schedule,
    pub is_replay: bool,
}

/// # Errors
///
/// [`ScheduleError`]
pub async fn create(app: &App, caller: &Caller, new: NewSchedule) -> Result<Created, ScheduleError> {
    caller.authorise(Permission::Automate, Reach::Scoped)?;
    let tenant = &caller.principal.tenant;
    let id = match &new.idempotency_key {
        Some(key) => format!("sch_{}", &hash_of(&(tenant, caller.principal.mode, key))?[..16]),
        None => format!("sch_{:016x}", app.host.random() as u64),
    };
    if let Some(schedule) = replay(app, caller, &id, &new).await? {
        return Ok(Created { schedule, is_replay: true });
    }
    let composed = check(app, caller, Some(&new.timing), Some(&new.message)).await?;
    let others = list(app, caller).await?.len();
    let Some(composed) = composed else { return Err(ScheduleError::NotFound) };
    let message = Box::new(store_message(app, caller, &id, &new.message, composed).await?);
    let content = message.content.clone();
    let command = Command::Create {
        id: id.clone(),
        name: new.name.clone(),
        timing: new.timing.clone(),
        message,
        catch_up: new.catch_up,
        author: author(caller),
        others,
    };
    let schedule = execute_with_message(app, caller, &id, command, &content, None).await?;
    if schedule.message.content == content {
        return Ok(Created { schedule, is_replay: false });
    }
    // Another request with the same key was faster.
    let schedule = replay(app, caller, &id, &new).await?.ok_or(ScheduleError::NotFound)?;
    Ok(Created { schedule, is_replay: true })
}

/// The schedule that an earlier request with the same idempotency key created, as it is now.
async fn replay(app: &App, caller: &Caller, id: &str, new: &NewSchedule) -> Result<Option<Schedule>, ScheduleError> {
    if new.idempotency_key.is_none() {
        return Ok(None);
    }
    let key = stream(&caller.principal.tenant, id);
    let loaded = execute::load(&*app.store, &key).await?;
    let Some(schedule) = loaded.state.schedule.clone() else { return Ok(None) };
    let records = execute::history_of(&*app.store, &key, &loaded).await?;
    let hash = new.message.hash()?;
    let is_same = records.first().is_some_and(|record| match &record.event {
        ScheduleEvent::ScheduleCreated { name, timing, message, catch_up, .. } => {
            let start = if new.is_start_given { &new.timing.start } else { &timing.start };
            *name == new.name
                && *timing == ScheduleTiming { start: start.clone(), ..new.timing.clone() }
                && has_hash(&message.content, &hash)
                && *catch_up == new.catch_up
        }
        _ => false,
    });
    if is_same { Ok(Some(schedule)) } else { Err(ScheduleError::IdempotencyKeyReused) }
}

/// Handles the occurrences that are due before a change or a pause, which would drop them. Returns the time up to which
/// all occurrences were handled.
async fn handle_due(app: &App, caller: &Caller, id: &str) -> Result<Timestamp, ScheduleError> {
    let now = app.host.now();
    run(app, &stream(&caller.principal.tenant, id).stream_id()).await?;
    Ok(now)
}

/// # Errors
///
/// [`ScheduleError`]
pub async fn change(app: &App, caller: &Caller, id: &str, change: ScheduleChange) -> Result<Schedule, ScheduleError> {
    caller.authorise(Permission::Automate, Reach::Scoped)?;
    let current = load_schedule(app, caller, id).await?;
    let composed = check(app, caller, change.timing.as_ref(), change.message.as_ref()).await?;
    let message = match (&change.message, composed) {
        (Some(stored), Some(composed)) if !has_hash(&current.message.content, &stored.hash()?) => {
            Some(Box::new(store_message(app, caller, id, stored, composed).await?))
        }
        _ => None,
    };
    // Whoever gives the message is responsible for it.
    let author = if message.is_some() { author(caller) } else { current.author };
    let content = message.as_ref().map(|message| message.content.clone());
    let ScheduleChange { expected, name, timing, catch_up, .. } = change;
    let from = handle_due(app, caller, id).await?;
    let command = Command::Change { name, timing, message, catch_up, author, from }.at_revision(expected);
    match content {
        Some(content) => execute_with_message(app, caller, id, command, &content, Some(&current.message.content)).await,
        None => execute(app, caller, id, command).await,
    }
}

/// Pauses a schedule until `until`, or until it is resumed.
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn pause(
    app: &App,
    caller: &Caller,
    id: &str,
    expected: Option<u32>,
    until: Option<Timestamp>,
    reason: Option<String>,
) -> Result<Schedule, ScheduleError> {
    caller.authorise(Permission::Automate, Reach::Scoped)?;
    load_schedule(app, caller, id).await?;
    let from = Some(handle_due(app, caller, id).await?);
    execute(app, caller, id, Command::Pause { from, until, reason }.at_revision(expected)).await
}

/// # Errors
///
/// [`ScheduleError`]
pub async fn resume(app: &App, caller: &Caller, id: &str, expected: Option<u32>) -> Result<Schedule, ScheduleError> {
    caller.authorise(Permission::Automate, Reach::Scoped)?;
    load_schedule(app, caller, id).await?;
    execute(app, caller, id, Command::Resume.at_revision(expected)).await
}

/// An occurrence whose time has come, and its message.
#[derive(Debug, Clone)]
pub struct HandledOccurrence {
    pub past: PastOccurrence,
    /// `None` until it is sent, and if it is not.
    pub communication: Option<(CommunicationId, Status)>,
}

/// The newest occurrences whose time has come, newest first.
///
/// # Errors
///
/// As [`find`].
pub async fn occurrences(
    app: &App,
    caller: &Caller,
    id: &str,
    limit: usize,
) -> Result<Vec<HandledOccurrence>, ScheduleError> {
    let (schedule, records) = history(app, caller, id).await?;
    let sender = run::sender(&caller.principal.tenant, &schedule);
    let has_ended = matches!(schedule.status, ScheduleStatus::Ended(_));
    let handled = past_occurrences(&records, app.host.now(), limit).into_iter().map(async |past| {
        let id = messages::id_of(&sender, &run::occurrence_key(&schedule.id, &past.occurrence));
        let key = CommunicationKey { tenant: caller.principal.tenant.clone(), id };
        let loaded = execute::load(&*app.store, &key).await?;
        let communication = loaded.state.requested().ok().map(|communication| (id, status(communication)));
        let is_unsent = communication.is_none() && past.fate == Fate::Sends;
        let fate = if is_unsent && has_ended { Fate::Ended } else { past.fate };
        Ok(HandledOccurrence { past: PastOccurrence { fate, ..past }, communication })
    });
    try_join_all(handled).await
}

/// Ends a schedule and deletes its message from the vault. Its history stays.
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn delete(app: &App, caller: &Caller, id: &str, expected: Option<u32>) -> Result<(), ScheduleError> {
    caller.authorise(Permission::Automate, Reach::Scoped)?;
    load_schedule(app, caller, id).await?;
    end(app, caller, id, Command::End(ScheduleEndReason::Deleted).at_revision(expected)).await
}

/// The schedule ends before its message is deleted: a crash between the two is repaired by a retry.
async fn end(app: &App, caller: &Caller, id: &str, end: Command) -> Result<(), ScheduleError> {
    execute(app, caller, id, end).await?;
    Ok(delete_messages(&app.tenant_ports, &caller.principal.tenant, id).await?)
}
