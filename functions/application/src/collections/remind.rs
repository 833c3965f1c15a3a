//! A reminder that a person asks for. It takes the way of every reminder, so nothing is claimed after a payment.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateKey;
use domain::collect::{ReminderRefusal, remind_on};
use domain::invoice::{Command, Rejection};
use domain::ports::StoreError;

use super::Rules;
use super::invoice::InvoiceRun;
use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::ExecuteError;
use crate::invoices::{self, ExplainedInvoice, FoundInvoice, InvoiceError, InvoiceName};

/// Why a customer was not reminded.
#[derive(Debug, thiserror::Error)]
pub enum ReminderError {
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    #[error("the customer is not reminded: {}", .0.as_str())]
    Refused(ReminderRefusal),
}

impl From<Forbidden> for ReminderError {
    fn from(forbidden: Forbidden) -> Self {
        ReminderError::Invoice(forbidden.into())
    }
}

impl From<StoreError> for ReminderError {
    fn from(error: StoreError) -> Self {
        ReminderError::Invoice(error.into())
    }
}

/// Has a customer reminded of an invoice by a step of the ladder: today, or on the next day that allows it. The step joins
/// a notice, which says what is owed when it leaves. Repeating it changes nothing while the step is under way.
///
/// # Errors
///
/// [`ReminderError`]
pub async fn remind(
    app: &App,
    caller: &Caller,
    name: &InvoiceName,
    step: &str,
) -> Result<ExplainedInvoice, ReminderError> {
    caller.authorise(Permission::Send, Reach::Everything)?;
    let found = invoices::find_named(app, caller, name).await?;
    let tenant = &caller.principal.tenant;
    let rules = Rules::load(app, tenant, found.loaded.state.facts.customer()).await?;
    let (state, now) = (&found.loaded.state, app.host.now());
    let day = remind_on(state, &rules.collections, &rules.settings, &rules.debtor, step, now);
    let Some(day) = day.map_err(ReminderError::Refused)? else {
        return Ok(invoices::explain(app, caller, &rules, found).await?);
    };
    let context = caller.context();
    let run = InvoiceRun { app, executor: app.executor(&context), key: &found.key, tenant };
    let joined = run.joined(state.round, step);
    let Some(notice) = run.open_notice(&rules, state, &joined, day).await? else {
        return Err(ReminderError::Refused(ReminderRefusal::MaxPerDay));
    };
    let invoice = found.key.stream_id().id;
    actions::record(app, caller, &Action::InvoiceChanged { invoice, act: "remind".to_owned() }).await?;
    let command = Command::Trigger { step: step.to_owned(), day: day.to_string(), notice };
    match invoices::execute(app, &context, &found.key, command).await {
        Ok(loaded) => Ok(invoices::explain(app, caller, &rules, FoundInvoice { loaded, ..found }).await?),
        Err(ExecuteError::Rejected(Rejection::StepDone)) => Err(ReminderError::Refused(ReminderRefusal::StepDone)),
        Err(error) => Err(InvoiceError::from(error).into()),
    }
}
