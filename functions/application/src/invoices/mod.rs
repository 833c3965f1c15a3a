//! Use cases of invoices: what other systems tell about them.

mod attribution;
mod erasure;
mod settled;
mod statistics;
mod use_cases;

use domain::aggregate::{Aggregate, AggregateId};
use domain::collect::{CollectionsState, SETTINGS_STREAM};
use domain::invoice::{Command, InvoiceState, Rejection, key_of};
use domain::ports::StoreError;
use events::{InvoiceEvent, InvoiceRef, TenantId};

use crate::app::App;
use crate::execute::{CommandContext, ExecuteError, Loaded};
use crate::hint;

pub use erasure::{CustomerInvoices, MAX_EXPORTED, erase, of_customer};
pub use statistics::{BusinessStatistics, statistics};
pub use use_cases::{
    ExplainedInvoice, FoundInvoice, InvoiceDecision, InvoiceError, InvoiceName, ShownLink, decide, find, history, list,
};
pub(crate) use use_cases::{explain, find_named};

/// The stream of a tenant's settings of collections.
pub fn settings_stream(tenant: &TenantId) -> AggregateId<CollectionsState> {
    AggregateId::new(tenant, SETTINGS_STREAM)
}

/// A tenant's settings of collections.
///
/// # Errors
///
/// [`StoreError`]
pub async fn collections_of(app: &App, tenant: &TenantId) -> Result<CollectionsState, StoreError> {
    Ok(crate::execute::load(&*app.store, &settings_stream(tenant)).await?.state)
}

/// Records facts about an invoice. What is known already changes nothing, and their order does not matter. If
/// collections are on, the reminders of an invoice begin with the fact that makes it collectible.
///
/// # Errors
///
/// [`ExecuteError`]
pub async fn record(
    app: &App,
    context: &CommandContext,
    tenant: &TenantId,
    reference: &InvoiceRef,
    facts: Vec<InvoiceEvent>,
) -> Result<Loaded<InvoiceState>, ExecuteError<Rejection>> {
    let collections = collections_of(app, tenant).await?;
    record_by(app, context, tenant, reference, facts, &collections).await
}

/// As [`record`], for a caller that has read the settings of collections.
///
/// # Errors
///
/// [`ExecuteError`]
pub async fn record_by(
    app: &App,
    context: &CommandContext,
    tenant: &TenantId,
    reference: &InvoiceRef,
    facts: Vec<InvoiceEvent>,
    collections: &CollectionsState,
) -> Result<Loaded<InvoiceState>, ExecuteError<Rejection>> {
    let (key, payments) = (key_of(tenant, reference), attribution::payments_of(&facts));
    let collect_from = collections.enabled_from.clone();
    let command = Command::Record { reference: reference.clone(), facts, collect_from };
    let mut loaded = execute(app, context, &key, command).await?;
    if loaded.appended > 0 {
        settled::cancel_reminders(app, context, tenant, &loaded.state).await;
    }
    // Facts that are told again are looked at again, so that a payment is attributed although the process ended after
    // recording it.
    let days = collections.settings().attribution_days;
    for payment in payments {
        if !attribution::is_open(&loaded.state, &payment) {
            continue;
        }
        if let Some(command) = attribution::decide(app, tenant, payment, &loaded.state, days).await? {
            let appended = loaded.appended;
            loaded = execute(app, context, &key, command).await?;
            loaded.appended += appended;
        }
    }
    Ok(loaded)
}

/// Executes a command on an invoice, and looks at once at what follows for its reminders.
///
/// # Errors
///
/// [`ExecuteError`]
pub async fn execute(
    app: &App,
    context: &CommandContext,
    key: &AggregateId<InvoiceState>,
    command: Command,
) -> Result<Loaded<InvoiceState>, ExecuteError<Rejection>> {
    let loaded = app.executor(context).execute(key, command).await?;
    if loaded.appended > 0 && loaded.wake.is_some() {
        hint::try_send(&*app.queue, &*app.host, key, loaded.state.queue(), app.host.now()).await;
    }
    Ok(loaded)
}

/// The stream of an invoice by its id.
pub fn stream(tenant: &TenantId, id: &str) -> AggregateId<InvoiceState> {
    AggregateId::new(tenant, id)
}

/// An invoice by its id.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load(app: &App, tenant: &TenantId, id: &str) -> Result<InvoiceState, StoreError> {
    Ok(crate::execute::load(&*app.store, &stream(tenant, id)).await?.state)
}
