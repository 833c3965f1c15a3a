//! Backfills: confirmed by a person, run by their timers, some invoices each day.

use domain::access::{Permission, Reach};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::collect::{
    BACKFILL_PAGE, Backfill, BackfillCommand, BackfillRejection, BackfillState, SettingsCommand, SettingsRejection,
    Start, backfill_key, backfill_name, differs, start,
};
use domain::invoice::{Command, InvoiceRow, InvoiceState, idle_by_due};
use domain::ports::{QueueId, StoreError, ViewRow, ViewScope};
use events::{
    BackfillEndReason, BackfillPlan, BackfillSteps, CollectionCause, CollectionSettings, Mode, StreamId, TenantId,
    Timestamp,
};
use futures_util::future::{BoxFuture, join_all};

use super::Rules;
use super::preview::{PreviewError, count, stored, tenant_calendar};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, CommandContext, CommandExecutor, ExecuteError, Loaded};
use crate::hash::hash_of;
use crate::hint;
use crate::invoices::{self, collections_of, settings_stream};
use crate::process::ProcessError;
use crate::views;

/// The most steps of one invocation, two for each page. A backfill that needs more is started again by its timer.
const MAX_STEPS: usize = 40;
/// Number of invoices whose reminders begin side by side. After these, a backfill that was stopped is noticed.
const MAX_CONCURRENT: usize = 10;
/// How long a backfill waits when nothing else says when it can go on, in milliseconds.
const RETRY_MS: i64 = 3_600_000;
/// How often a confirmation begins again because something has changed meanwhile.
const MAX_CONFLICTS: usize = 5;

/// Why a use case of backfills had no effect.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such backfill")]
    NotFound,
    #[error("collections are off")]
    CollectionsOff,
    /// The preview is older than an hour, of the other mode, or the settings have changed since.
    #[error("the preview has expired, or the settings have changed since")]
    PreviewExpired,
    /// What would be sent is not what was confirmed.
    #[error("{0}")]
    CountDiffers(String),
    /// Another one is under way.
    #[error("the backfill {0} is under way")]
    UnderWay(String),
    #[error("more invoices than a preview can have are due since then")]
    TooMany,
    #[error(transparent)]
    Execute(#[from] ExecuteError<BackfillRejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PreviewError> for BackfillError {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Forbidden(forbidden) => BackfillError::Forbidden(forbidden),
            PreviewError::TooMany => BackfillError::TooMany,
            PreviewError::Store(error) => BackfillError::Store(error),
        }
    }
}

/// What a person confirms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBackfill {
    pub preview: String,
    pub steps: BackfillSteps,
    pub per_day: u32,
    /// The number of messages in the preview.
    pub confirmed_messages: u64,
}

/// A backfill with its id.
pub struct FoundBackfill {
    pub id: String,
    pub backfill: Backfill,
}

fn found(key: &AggregateId<BackfillState>, loaded: Loaded<BackfillState>) -> Result<FoundBackfill, BackfillError> {
    let backfill = loaded.state.backfill.ok_or(BackfillError::NotFound)?;
    Ok(FoundBackfill { id: key.stream_id().id, backfill })
}

/// Begins a backfill, if the number that a person confirms is that of the preview, and what would be sent now is much
/// the same. Repeating it changes nothing.
///
/// # Errors
///
/// [`BackfillError`]
pub async fn confirm(app: &App, caller: &Caller, new: NewBackfill) -> Result<FoundBackfill, BackfillError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    for _ in 0..MAX_CONFLICTS {
        if let Some(confirmed) = try_confirm(app, caller, &new).await? {
            return Ok(confirmed);
        }
    }
    Err(ExecuteError::Contended.into())
}

/// Returns `None` if the settings, the claim or the backfill have changed meanwhile.
async fn try_confirm(app: &App, caller: &Caller, new: &NewBackfill) -> Result<Option<FoundBackfill>, BackfillError> {
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let key = backfill_key(tenant, &backfill_name(tenant, &new.preview));
    let loaded = execute::load(&*app.store, &key).await?;
    if let Some(known) = &loaded.state.backfill {
        let BackfillPlan { steps, per_day, messages, .. } = known.plan;
        let is_same = (steps, per_day, messages) == (new.steps, new.per_day, new.confirmed_messages);
        return match is_same && known.plan.mode == mode {
            true => found(&key, loaded).map(Some),
            false => Err(ExecuteError::Rejected(BackfillRejection::ConfirmedOtherwise).into()),
        };
    }
    let preview = stored(app, tenant, &new.preview).await?.filter(|preview| preview.mode == mode);
    let preview = preview.ok_or(BackfillError::PreviewExpired)?;
    let settings = settings_stream(tenant);
    let read = execute::load(&*app.store, &settings).await?;
    let collections = &read.state;
    if collections.enabled_from.is_none() {
        return Err(BackfillError::CollectionsOff);
    }
    if hash_of(&collections.settings())? != preview.settings {
        return Err(BackfillError::PreviewExpired);
    }
    if new.confirmed_messages != preview.messages {
        return Err(BackfillError::CountDiffers(format!(
            "confirmMessages is {}, and the preview has {} messages",
            new.confirmed_messages, preview.messages
        )));
    }
    none_under_way(app, tenant, mode).await?;
    let days = (preview.due_from.as_str(), preview.due_before.as_str());
    let now = count(app, (tenant, mode), collections, days).await?.total;
    let counts = (now.invoices, now.message_count());
    if differs(preview.invoices, counts.0) || differs(preview.messages, counts.1) {
        return Err(BackfillError::CountDiffers(format!(
            "the preview has {} messages about {} invoices, and now there would be {} about {}",
            preview.messages, preview.invoices, counts.1, counts.0
        )));
    }
    let plan = BackfillPlan {
        mode,
        due_from: preview.due_from,
        due_before: preview.due_before,
        steps: new.steps,
        per_day: new.per_day,
        invoices: preview.invoices,
        messages: preview.messages,
    };
    let (context, backfill) = (caller.context(), key.stream_id().id);
    let executor = app.executor(&context);
    // A backfill is confirmed only if nobody takes its claim over.
    let claim = SettingsCommand::ClaimBackfill { mode, backfill, over: collections.backfills.get(&mode).cloned() };
    let Some(claimed) = executor.try_execute(&settings, &read, claim).await.map_err(of_claim)? else { return Ok(None) };
    // The one that had the claim before can no longer be confirmed, but may have been just now.
    none_under_way(app, tenant, mode).await?;
    let confirm = BackfillCommand::Confirm { plan, by: caller.actor().name() };
    let unmoved = [(settings.stream_id(), claimed.version)];
    let Some(confirmed) = executor.try_execute_if(&key, &loaded, confirm, &unmoved).await? else { return Ok(None) };
    hint::try_send(&*app.queue, &*app.host, &key, QueueId::Process, app.host.now()).await;
    found(&key, confirmed).map(Some)
}

/// Refuses a backfill while another one of the mode is under way.
async fn none_under_way(app: &App, tenant: &TenantId, mode: Mode) -> Result<(), BackfillError> {
    let running = execute::list::<BackfillState>(&*app.store, tenant).await?;
    let is_other = |state: &BackfillState| state.backfill.as_ref().is_some_and(|other| other.plan.mode == mode);
    match running.into_iter().find(|(_, state)| is_other(state)) {
        Some((id, _)) => Err(BackfillError::UnderWay(id)),
        None => Ok(()),
    }
}

/// Why a claim had no effect.
fn of_claim(error: ExecuteError<SettingsRejection>) -> BackfillError {
    match error {
        ExecuteError::Rejected(SettingsRejection::BackfillClaimed(id)) => BackfillError::UnderWay(id),
        other => other.map_rejection(|_| BackfillRejection::ConfirmedOtherwise).into(),
    }
}

/// Stops a backfill. Invoices whose reminders have begun go on.
///
/// # Errors
///
/// [`BackfillError`]
pub async fn stop(app: &App, caller: &Caller, id: &str) -> Result<FoundBackfill, BackfillError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    let key = backfill_key(&caller.principal.tenant, id);
    let known = execute::load(&*app.store, &key).await?;
    let is_own = |backfill: &Backfill| backfill.plan.mode == caller.principal.mode;
    if !known.state.backfill.as_ref().is_some_and(is_own) {
        return Err(BackfillError::NotFound);
    }
    let end = BackfillCommand::End { reason: BackfillEndReason::Stopped, by: caller.actor().name() };
    found(&key, app.executor(&caller.context()).execute(&key, end).await?)
}

/// Runs one backfill until it waits or ends.
pub fn run<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let key = AggregateId::<BackfillState>::new(&id.tenant, &id.id);
        let run =
            BackfillRun { app, context: &context, executor: app.executor(&context), key: &key, tenant: &id.tenant };
        let mut loaded = run.executor.load(&key).await?;
        for _ in 0..MAX_STEPS {
            match run.step(loaded).await? {
                Some(after) => loaded = after,
                None => return Ok(()),
            }
        }
        Ok(())
    })
}

struct BackfillRun<'a> {
    app: &'a App,
    context: &'a CommandContext,
    executor: CommandExecutor<'a>,
    key: &'a AggregateId<BackfillState>,
    tenant: &'a TenantId,
}

/// When a backfill can go on: now, on this day, or later.
enum Turn {
    Now(String),
    At(Timestamp),
}

/// Invoices are planned for a day while their reminders can still leave on it.
fn turn(settings: &CollectionSettings, backfill: &Backfill, now: Timestamp) -> Option<Turn> {
    let calendar = tenant_calendar(settings)?;
    let today = calendar.local(now)?.date();
    let is_open = calendar.allowed_from(today)? == today && now < calendar.end_of(today)?;
    if is_open && backfill.left_on(&today.to_string()) > 0 {
        return Some(Turn::Now(today.to_string()));
    }
    Some(Turn::At(calendar.beginning_of(calendar.allowed_after(today)?)?))
}

impl BackfillRun<'_> {
    /// One step. Returns `None` when there is nothing more to do now.
    async fn step(&self, loaded: Loaded<BackfillState>) -> Result<Option<Loaded<BackfillState>>, ProcessError> {
        let Some(backfill) = loaded.state.backfill.clone().filter(|backfill| backfill.ended.is_none()) else {
            return Ok(None);
        };
        let collections = collections_of(self.app, self.tenant).await?;
        if collections.enabled_from.is_none() {
            return self.end(loaded, BackfillEndReason::CollectionsOff).await;
        }
        if !backfill.page.is_empty() {
            let Some(begun) = self.begin_page(&loaded, &backfill).await? else { return Ok(None) };
            return self.execute(loaded, BackfillCommand::FinishPage { begun }).await;
        }
        if backfill.is_walked {
            return self.end(loaded, BackfillEndReason::Completed).await;
        }
        let now = self.app.host.now();
        match turn(&collections.settings(), &backfill, now).unwrap_or(Turn::At(now + RETRY_MS)) {
            Turn::Now(day) => self.plan_page(loaded, &backfill, day).await,
            Turn::At(at) => {
                self.executor.wait_until(self.key, &loaded, at).await?;
                Ok(None)
            }
        }
    }

    async fn execute(
        &self,
        loaded: Loaded<BackfillState>,
        command: BackfillCommand,
    ) -> Result<Option<Loaded<BackfillState>>, ProcessError> {
        match self.executor.execute_loaded(self.key, loaded, command).await {
            Ok(after) => Ok(Some(after)),
            // Another worker, or a person, was first.
            Err(ExecuteError::Rejected(
                BackfillRejection::Ended | BackfillRejection::PageUnderWay | BackfillRejection::DayFull,
            )) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn end(
        &self,
        loaded: Loaded<BackfillState>,
        reason: BackfillEndReason,
    ) -> Result<Option<Loaded<BackfillState>>, ProcessError> {
        let by = self.context.actor.clone();
        self.executor.execute_loaded(self.key, loaded, BackfillCommand::End { reason, by }).await?;
        Ok(None)
    }

    /// Plans the next invoices before anything is done with them, so that no crash lets a day have more.
    async fn plan_page(
        &self,
        loaded: Loaded<BackfillState>,
        backfill: &Backfill,
        day: String,
    ) -> Result<Option<Loaded<BackfillState>>, ProcessError> {
        let mut range = idle_by_due(&backfill.plan.due_from, &backfill.plan.due_before);
        range.before = backfill.next.clone().unwrap_or(range.before);
        let scope = ViewScope { view: InvoiceRow::VIEW, tenant: self.tenant.clone(), mode: backfill.plan.mode };
        let size = BACKFILL_PAGE.min(backfill.left_on(&day));
        let page = views::page::<InvoiceRow>(&*self.app.views, &scope, &range, size).await?;
        let invoices: Vec<String> = page.rows.into_iter().map(|row| row.id).collect();
        if invoices.is_empty() {
            return self.end(loaded, BackfillEndReason::Completed).await;
        }
        self.execute(loaded, BackfillCommand::PlanPage { day, invoices, next: page.next }).await
    }

    /// Lets the reminders of the planned invoices begin. Returns how many have begun, or `None` if the backfill was
    /// stopped meanwhile.
    async fn begin_page(
        &self,
        loaded: &Loaded<BackfillState>,
        backfill: &Backfill,
    ) -> Result<Option<u32>, ProcessError> {
        let mut begun = 0;
        for invoices in backfill.page.chunks(MAX_CONCURRENT) {
            if self.executor.load(self.key).await?.version != loaded.version {
                return Ok(None);
            }
            let results = join_all(invoices.iter().map(|invoice| self.begin(backfill, invoice))).await;
            for result in results {
                begun += u32::from(result?);
            }
        }
        Ok(Some(begun))
    }

    /// Decides by what the invoice, the customer and the settings are now. Returns whether its reminders have begun.
    async fn begin(&self, backfill: &Backfill, invoice: &str) -> Result<bool, ProcessError> {
        let key = invoices::stream(self.tenant, invoice);
        let state = self.executor.load(&key).await?.state;
        let cause = cause_of(backfill.plan.steps);
        if let Some(collection) = &state.collection {
            return Ok(collection.cause == cause && backfill.confirmed_at <= collection.at);
        }
        let is_due = |due: &str| backfill.plan.due_from.as_str() <= due && due < backfill.plan.due_before.as_str();
        if !state.facts.due_on().is_some_and(is_due) || !state.is_collectible() || is_other_mode(&state, backfill) {
            return Ok(false);
        }
        let Rules { collections, settings, debtor } =
            Rules::load(self.app, self.tenant, state.facts.customer()).await?;
        let Some(from) = collections.enabled_from.clone() else { return Ok(false) };
        if let Start::LeftOut(_) = start(&state, &collections, &settings, &debtor, cause, self.app.host.now()) {
            return Ok(false);
        }
        let command = Command::BeginCollection { from, cause };
        match invoices::execute(self.app, self.context, &key, command).await {
            Ok(after) => Ok(after.appended > 0),
            Err(ExecuteError::Rejected(_) | ExecuteError::StreamFull) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_other_mode(state: &InvoiceState, backfill: &Backfill) -> bool {
    state.reference.as_ref().is_none_or(|reference| reference.mode != backfill.plan.mode)
}

fn cause_of(steps: BackfillSteps) -> CollectionCause {
    match steps {
        BackfillSteps::Current => CollectionCause::Backfill,
        BackfillSteps::None => CollectionCause::BackfillLater,
    }
}
