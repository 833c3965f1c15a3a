//! Use cases of customers who owe something: what was agreed with each about reminders.

use domain::access::{Permission, Reach};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::collect::{DebtorCommand, DebtorRejection, DebtorState, debtor_key};
use domain::invoice::{InvoiceRow, customer_range};
use domain::ports::{QueueId, StoreError, ViewRow, ViewScope};
use events::{Mode, Recipient};
use futures_util::future::join_all;

use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::{hint, invoices, views};

/// Maximum number of invoices of a customer that are looked at again at once. The others follow by their timers.
const MAX_HINTS: usize = 200;

/// Why a use case of a customer had no effect.
#[derive(Debug, thiserror::Error)]
pub enum DebtorError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A customer without an id has no agreement.
    #[error("there is no such customer")]
    NotFound,
    #[error(transparent)]
    Execute(#[from] ExecuteError<DebtorRejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn stream(caller: &Caller, customer: &Recipient) -> Result<AggregateId<DebtorState>, DebtorError> {
    debtor_key(&caller.principal.tenant, customer).ok_or(DebtorError::NotFound)
}

/// What was agreed with a customer.
///
/// # Errors
///
/// [`DebtorError`]
pub async fn get(app: &App, caller: &Caller, customer: &Recipient) -> Result<DebtorState, DebtorError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    Ok(execute::load(&*app.store, &stream(caller, customer)?).await?.state)
}

/// Changes what was agreed with a customer. Their open invoices are looked at again.
///
/// # Errors
///
/// [`DebtorError`]
pub async fn change(
    app: &App,
    caller: &Caller,
    customer: &Recipient,
    command: DebtorCommand,
) -> Result<DebtorState, DebtorError> {
    let (permission, act) = match command {
        DebtorCommand::Change { .. } => (Permission::Automate, "change"),
        DebtorCommand::Pause { .. } => (Permission::Send, "pause"),
        DebtorCommand::Resume { .. } => (Permission::Send, "resume"),
        DebtorCommand::Promise { .. } | DebtorCommand::RecordNotice(_) => (Permission::Send, "promise"),
    };
    caller.authorise(permission, Reach::Everything)?;
    let key = stream(caller, customer)?;
    let customer_id = key.stream_id().id;
    actions::record(app, caller, &Action::DebtorChanged { customer: customer_id, act: act.to_owned() }).await?;
    let changed = app.executor(&caller.context()).execute(&key, command).await?;
    if changed.appended > 0 {
        look_again(app, caller, customer).await?;
    }
    Ok(changed.state)
}

/// Sends hints for the customer's open invoices, best effort: each has a timer.
async fn look_again(app: &App, caller: &Caller, customer: &Recipient) -> Result<(), StoreError> {
    let Some(range) = customer_range(customer) else { return Ok(()) };
    let tenant = &caller.principal.tenant;
    for mode in Mode::ALL {
        let scope = ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode: *mode };
        let page = views::list(&*app.views, &scope, vec![range.clone()], None, MAX_HINTS, InvoiceRow::is_open).await?;
        let keys: Vec<_> = page.rows.iter().map(|row| invoices::stream(tenant, &row.id)).collect();
        let now = app.host.now();
        join_all(keys.iter().map(|key| hint::try_send(&*app.queue, &*app.host, key, QueueId::Process, now))).await;
    }
    Ok(())
}
