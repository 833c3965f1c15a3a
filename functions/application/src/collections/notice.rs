//! Runs a notice: closes it when it is due, sends its messages, and tells its invoices.

use domain::aggregate::{AggregateId, AggregateKey};
use domain::collect::{
    Closed, DebtorCommand, Notice, NoticeCommand, NoticeRejection, NoticeState, SentNotice, debtor_key, parse_day,
};
use domain::invoice::{Command, InvoiceState};
use events::{LadderStep, NoticeDrop, NoticeInvoice, StepPostponeReason, StepSkipReason, StreamId, TenantId};
use futures_util::future::BoxFuture;

use super::Rules;
use super::invoice::belongs_to;
use super::words::{Sending, send};
use crate::app::App;
use crate::execute::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use crate::invoices;
use crate::process::ProcessError;

/// The most steps of one invocation. A notice that needs more goes on by its timer.
const MAX_STEPS: usize = 10;

/// Runs one notice until it waits or is done.
pub fn run<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let key = AggregateId::<NoticeState>::new(&id.tenant, &id.id);
        let run = NoticeRun { app, context: &context, executor: app.executor(&context), key: &key, tenant: &id.tenant };
        for _ in 0..MAX_STEPS {
            let loaded = run.executor.load(&key).await?;
            if !run.step(loaded).await? {
                return Ok(());
            }
        }
        Err(ProcessError::Endless)
    })
}

struct NoticeRun<'a> {
    app: &'a App,
    context: &'a CommandContext,
    executor: CommandExecutor<'a>,
    key: &'a AggregateId<NoticeState>,
    tenant: &'a TenantId,
}

impl NoticeRun<'_> {
    /// One step. Returns whether there may be more to do.
    async fn step(&self, loaded: Loaded<NoticeState>) -> Result<bool, ProcessError> {
        let Some(notice) = loaded.state.notice.clone().filter(|notice| !notice.is_done) else { return Ok(false) };
        match notice.closed.clone() {
            None if self.app.host.now() < notice.due_at => {
                self.executor.wait_until(self.key, &loaded, notice.due_at).await?;
                Ok(false)
            }
            None => {
                let closed = self.close(&notice).await?;
                match self.executor.execute_loaded(self.key, loaded, NoticeCommand::Close(closed)).await {
                    // Another invoice joined while this was decided.
                    Ok(_) | Err(ExecuteError::Rejected(NoticeRejection::Moved)) => Ok(true),
                    Err(error) => Err(error.into()),
                }
            }
            Some(closed) => {
                self.finish(loaded, &notice, closed).await?;
                Ok(false)
            }
        }
    }

    /// Decides which of the invoices the notice speaks of, from what they are now.
    async fn close(&self, notice: &Notice) -> Result<Closed, ProcessError> {
        let rules = Rules::load(self.app, self.tenant, notice.customer.as_ref()).await?;
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (joined, _) in &notice.joined {
            let state = invoices::load(self.app, self.tenant, &joined.invoice).await?;
            match self.drop_of(&rules, notice, joined, &state) {
                Some(drop) => dropped.push((joined.clone(), drop)),
                None => kept.push(joined.clone()),
            }
        }
        // The highest step decides about template and channels.
        let ladder = rules.debtor.ladder.as_ref().unwrap_or(&rules.settings.ladder);
        let is_kept = |step: &&LadderStep| kept.iter().any(|joined: &NoticeInvoice| joined.step == step.id);
        let step = ladder.iter().filter(is_kept).max_by_key(|step| step.after_days).cloned();
        // Without its step, which was removed meanwhile, a notice has no channel.
        if step.is_none() {
            let without = kept.drain(..).map(|joined| (joined, NoticeDrop::Skipped(StepSkipReason::Superseded)));
            dropped.extend(without);
        }
        Ok(Closed { kept, dropped, step })
    }

    /// Why an invoice is left out. `None` if it is not.
    fn drop_of(
        &self,
        rules: &Rules,
        notice: &Notice,
        joined: &NoticeInvoice,
        state: &InvoiceState,
    ) -> Option<NoticeDrop> {
        let skipped = |reason| Some(NoticeDrop::Skipped(reason));
        if !belongs_to(state, joined, &self.key.stream_id().id) {
            return skipped(StepSkipReason::Superseded);
        }
        if state.facts.amounts().is_some_and(|amounts| amounts.owed == 0) {
            return skipped(StepSkipReason::Settled);
        }
        let is_off = rules.collections.enabled_from.is_none() || rules.debtor.is_excluded;
        if !state.is_collectible() || state.is_held() || is_off {
            return skipped(StepSkipReason::NotCollectible);
        }
        let holds = [&state.hold, &rules.debtor.hold].into_iter().flatten();
        let held_through = |hold: &domain::invoice::Hold| hold.through().and_then(parse_day);
        let (day, calendar) = (parse_day(&notice.day)?, rules.calendar(Some(state))?);
        let held = holds.map(|hold| held_through(hold).unwrap_or(day)).max().filter(|through| day <= *through);
        // A notice that is closed after its day says nothing. Its steps are decided again.
        let is_over = calendar.end_of(day)? <= self.app.host.now();
        let until = calendar.allowed_after(held.or(is_over.then_some(day))?)?.to_string();
        Some(NoticeDrop::Postponed { until, reason: StepPostponeReason::NoticeClosed })
    }

    /// Sends the messages, tells the invoices and the customer's stream, and ends. Each part can be repeated.
    async fn finish(&self, loaded: Loaded<NoticeState>, notice: &Notice, closed: Closed) -> Result<(), ProcessError> {
        let Closed { kept, dropped, step } = closed;
        for (joined, drop) in dropped {
            let (round, step) = (joined.round, joined.step.clone());
            let command = match drop {
                NoticeDrop::Skipped(reason) => Command::Skip { round, step, reason },
                NoticeDrop::Postponed { until, reason } => Command::Postpone { round, step, until, reason },
            };
            self.tell(&joined, command).await?;
        }
        let sending = match step.filter(|_| !kept.is_empty()) {
            Some(step) => send(self.app, self.tenant, &self.key.stream_id().id, notice, &kept, &step).await?,
            None => Sending::default(),
        };
        let communications: Vec<_> = sending.messages.iter().map(|message| message.communication).collect();
        for joined in &kept {
            let (round, step) = (joined.round, joined.step.clone());
            let command = match sending.refused {
                Some((reason, _)) if communications.is_empty() => Command::Skip { round, step, reason },
                _ => {
                    let (notice, communications) = (self.key.stream_id().id, communications.clone());
                    Command::Issue { round, step, notice, communications }
                }
            };
            self.tell(joined, command).await?;
        }
        if !communications.is_empty() {
            self.record_notice(notice).await?;
        }
        let Sending { messages, refused } = sending;
        let refused = refused.map(|(_, code)| code);
        self.executor.execute_loaded(self.key, loaded, NoticeCommand::Finish { messages, refused }).await?;
        Ok(())
    }

    /// Tells an invoice what became of its step, if it still waits for this notice.
    async fn tell(&self, joined: &NoticeInvoice, command: Command) -> Result<(), ProcessError> {
        let key = invoices::stream(self.tenant, &joined.invoice);
        let state = self.executor.load(&key).await?.state;
        if belongs_to(&state, joined, &self.key.stream_id().id) {
            invoices::execute(self.app, self.context, &key, command).await?;
        }
        Ok(())
    }

    async fn record_notice(&self, notice: &Notice) -> Result<(), ProcessError> {
        let Some(key) = notice.customer.as_ref().and_then(|customer| debtor_key(self.tenant, customer)) else {
            return Ok(());
        };
        let (mode, day, notice) = (notice.mode, notice.day.clone(), self.key.stream_id().id);
        self.executor.execute(&key, DebtorCommand::RecordNotice(SentNotice { mode, day, notice })).await?;
        Ok(())
    }
}
