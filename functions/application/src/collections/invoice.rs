//! Looks at an invoice whose timer is due: its next reminder joins a notice, or the timer moves on.

use domain::aggregate::{Aggregate, AggregateId, AggregateKey};
use domain::collect::{
    GATHER_LATE_MS, MAX_INVOICES, Next, NoticeCommand, NoticeRejection, next, notice_key, notice_name,
};
use domain::invoice::{Command, InvoiceState, StepOutcome};
use domain::ports::StoreError;
use events::{NoticeGrouping, NoticeInvoice, StepPostponeReason, StreamId, TenantId, Timestamp};
use futures_util::future::BoxFuture;
use jiff::civil::Date;

use super::Rules;
use crate::app::App;
use crate::execute::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use crate::hint;
use crate::process::ProcessError;

/// The most steps of one invocation. An invoice that needs more is looked at again by its timer.
const MAX_STEPS: usize = 20;
/// How long after a notice closes its invoices look at it, in milliseconds, in case it did not tell them.
const NOTICE_MS: i64 = 60_000;

/// Looks at one invoice.
pub fn run<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let key = AggregateId::<InvoiceState>::new(&id.tenant, &id.id);
        let run = InvoiceRun { app, executor: app.executor(&context), key: &key, tenant: &id.tenant };
        let mut loaded = run.executor.load(&key).await?;
        for _ in 0..MAX_STEPS {
            match run.step(loaded).await? {
                Some(after) => loaded = after,
                None => return Ok(()),
            }
        }
        Err(ProcessError::Endless)
    })
}

pub(super) struct InvoiceRun<'a> {
    pub app: &'a App,
    pub executor: CommandExecutor<'a>,
    pub key: &'a AggregateId<InvoiceState>,
    pub tenant: &'a TenantId,
}

impl InvoiceRun<'_> {
    /// One step. Returns `None` when there is nothing more to do now.
    async fn step(&self, loaded: Loaded<InvoiceState>) -> Result<Option<Loaded<InvoiceState>>, ProcessError> {
        if loaded.wake.is_none() {
            return Ok(None);
        }
        let rules = Rules::load(self.app, self.tenant, loaded.state.facts.customer()).await?;
        if let Some((record, notice)) = loaded.state.triggered() {
            let (joined, notice) = (self.joined(record.round, &record.step), notice.to_owned());
            return self.join(loaded, &rules, joined, notice).await;
        }
        let now = self.app.host.now();
        match next(&loaded.state, &rules.collections, &rules.settings, &rules.debtor, now) {
            Next::Rest(reason) => match reason.end() {
                Some(end) => self.execute(loaded, Command::EndCollection(end)).await,
                None => Ok(None),
            },
            Next::Wait { at, .. } => self.wait(&loaded, at).await,
            Next::Skip(skipped) => self.skip(loaded, skipped).await.map(Some),
            Next::Postpone { step, until, reason } => {
                let (round, until) = (loaded.state.round, until.to_string());
                self.execute(loaded, Command::Postpone { round, step, until, reason }).await
            }
            Next::Do { step, day, skipped, .. } => {
                let loaded = self.skip(loaded, skipped).await?;
                self.trigger(loaded, &rules, step.id, day).await
            }
        }
    }

    async fn execute(
        &self,
        loaded: Loaded<InvoiceState>,
        command: Command,
    ) -> Result<Option<Loaded<InvoiceState>>, ProcessError> {
        let done = self.executor.execute_loaded(self.key, loaded, command).await?;
        Ok(Some(done))
    }

    async fn skip(
        &self,
        mut loaded: Loaded<InvoiceState>,
        skipped: Vec<domain::collect::Skipped>,
    ) -> Result<Loaded<InvoiceState>, ProcessError> {
        for (step, reason) in skipped {
            let round = loaded.state.round;
            loaded = self.executor.execute_loaded(self.key, loaded, Command::Skip { round, step, reason }).await?;
        }
        Ok(loaded)
    }

    /// There is nothing more to do before this time.
    async fn wait(
        &self,
        loaded: &Loaded<InvoiceState>,
        at: Timestamp,
    ) -> Result<Option<Loaded<InvoiceState>>, ProcessError> {
        self.executor.wait_until(self.key, loaded, at).await?;
        Ok(None)
    }

    /// The notice that a step of this day joins: the first one that is still open, or that the step is in.
    pub async fn open_notice(
        &self,
        rules: &Rules,
        state: &InvoiceState,
        joined: &NoticeInvoice,
        day: Date,
    ) -> Result<Option<String>, StoreError> {
        let Some(mode) = state.reference.as_ref().map(|reference| reference.mode) else { return Ok(None) };
        let addressee = addressee(state, &self.key.stream_id());
        for slot in 0..rules.settings.max_per_day {
            let name = notice_name(self.tenant, mode, &addressee, &day.to_string(), slot);
            let notice = self.executor.load(&notice_key(self.tenant, &name)).await?.state.notice;
            let may_join = notice.is_none_or(|notice| {
                let is_in = notice.joined.iter().any(|(known, _)| known == joined);
                is_in || (notice.closed.is_none() && notice.joined.len() < most_invoices(rules))
            });
            if may_join {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn trigger(
        &self,
        loaded: Loaded<InvoiceState>,
        rules: &Rules,
        step: String,
        day: Date,
    ) -> Result<Option<Loaded<InvoiceState>>, ProcessError> {
        let joined = self.joined(loaded.state.round, &step);
        let command = match self.open_notice(rules, &loaded.state, &joined, day).await? {
            Some(notice) => Command::Trigger { step, day: day.to_string(), notice },
            None => postpone(rules, &loaded.state, step, day),
        };
        self.execute(loaded, command).await
    }

    pub fn joined(&self, round: u32, step: &str) -> NoticeInvoice {
        NoticeInvoice { invoice: self.key.stream_id().id, round, step: step.to_owned() }
    }

    /// Joins the notice, and waits until it has told the customer.
    async fn join(
        &self,
        loaded: Loaded<InvoiceState>,
        rules: &Rules,
        joined: NoticeInvoice,
        notice: String,
    ) -> Result<Option<Loaded<InvoiceState>>, ProcessError> {
        let Some(reference) = loaded.state.reference.clone() else { return Ok(None) };
        let now = self.app.host.now();
        let Some((day, due_at)) = loaded.state.triggered_day().and_then(|day| rules.day(&loaded.state, day)) else {
            // The day cannot be read by this version. The timer tries again.
            return self.wait(&loaded, now + NOTICE_MS).await;
        };
        let due_at = if now < due_at { due_at } else { now + GATHER_LATE_MS };
        let step = joined.step.clone();
        let key = notice_key(self.tenant, &notice);
        let command = NoticeCommand::Join {
            mode: reference.mode,
            customer: loaded.state.facts.customer().cloned(),
            day: day.to_string(),
            due_at,
            joined,
            reference,
            most: most_invoices(rules),
        };
        match self.executor.execute(&key, command).await {
            Ok(joined) => {
                let closes_at = joined.state.notice.as_ref().map_or(due_at, |notice| notice.due_at);
                if joined.appended > 0 {
                    hint::try_send(&*self.app.queue, &*self.app.host, &key, joined.state.queue(), closes_at).await;
                }
                self.wait(&loaded, closes_at.max(now) + NOTICE_MS).await
            }
            // It was closed, or full, between the look at it and now.
            Err(ExecuteError::Rejected(NoticeRejection::Closed | NoticeRejection::Full)) => {
                self.trigger(loaded, rules, step, day).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whom a notice is for: the customer, or the invoice of a customer without an id.
fn addressee(state: &InvoiceState, id: &StreamId) -> String {
    let customer = state.facts.customer().and_then(|customer| Some((customer.kind, customer.id.as_ref()?)));
    customer.map_or_else(|| id.id.clone(), |(kind, customer)| format!("{}:{customer}", kind.as_str()))
}

/// The most invoices of one notice.
fn most_invoices(rules: &Rules) -> usize {
    match rules.settings.grouping {
        NoticeGrouping::Customer => MAX_INVOICES,
        NoticeGrouping::None => 1,
    }
}

/// The step waits for the next allowed day, because the customer has as many notices as a day allows.
fn postpone(rules: &Rules, state: &InvoiceState, step: String, day: Date) -> Command {
    let until = rules.calendar(Some(state)).and_then(|calendar| calendar.allowed_after(day)).unwrap_or(day);
    let (round, reason) = (state.round, StepPostponeReason::MaxPerDay);
    Command::Postpone { round, step, until: until.to_string(), reason }
}

/// Whether a step still belongs to a notice.
pub(super) fn belongs_to(state: &InvoiceState, joined: &NoticeInvoice, notice: &str) -> bool {
    let record = state.steps.iter().find(|record| record.round == joined.round && record.step == joined.step);
    record.is_some_and(
        |record| matches!(&record.outcome, StepOutcome::Triggered { notice: joined, .. } if joined == notice),
    )
}
