//! Use cases of a tenant's settings of collections: when customers are reminded, and whether they are.

use domain::access::{Permission, Reach};
use domain::collect::{Calendar, CollectionsState, SettingsCommand, SettingsRejection};
use domain::invoice::{Command, InvoiceRow, idle_range};
use domain::ports::{StoreError, ViewRow, ViewScope};
use events::{CollectionCause, CollectionSettings, Mode, TenantId, Timestamp};
use futures_util::future::join_all;

use super::checks;
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::ExecuteError;
use crate::invoices::{self, collections_of, settings_stream};
use crate::views;

/// Number of invoices that are adopted concurrently.
const MAX_CONCURRENT: usize = 16;
/// Maximum number of invoices that one request adopts.
const MAX_ADOPTED: usize = 500;

/// Why a use case of collections had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CollectionsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Execute(#[from] ExecuteError<SettingsRejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The day in a tenant's own zone, such as `2027-01-20`.
pub fn today(settings: &CollectionSettings, now: Timestamp) -> String {
    let local = Calendar::new(settings, [None, None]).and_then(|calendar| calendar.local(now));
    local.map(|local| local.date().to_string()).unwrap_or_default()
}

/// The settings, and whether collections are on.
///
/// # Errors
///
/// [`CollectionsError`]
pub async fn get(app: &App, caller: &Caller) -> Result<CollectionsState, CollectionsError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    Ok(collections_of(app, &caller.principal.tenant).await?)
}

async fn execute(app: &App, caller: &Caller, command: SettingsCommand) -> Result<CollectionsState, CollectionsError> {
    let stream = settings_stream(&caller.principal.tenant);
    Ok(app.executor(&caller.context()).execute(&stream, command).await?.state)
}

/// Changes the settings. Invoices follow them when their timers are due.
///
/// # Errors
///
/// [`CollectionsError::Execute`]: they have changed since `expected`.
pub async fn change(
    app: &App,
    caller: &Caller,
    expected: u32,
    settings: CollectionSettings,
) -> Result<CollectionsState, CollectionsError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    execute(app, caller, SettingsCommand::Change { expected: Some(expected), settings: Box::new(settings) }).await
}

/// The result of switching collections on.
#[derive(Debug, Clone)]
pub struct Enabled {
    pub state: CollectionsState,
    /// Number of open invoices whose reminders have begun.
    pub adopted: usize,
    /// Whether there are more. Repeat the request to adopt them.
    pub has_more: bool,
}

/// Switches collections on from today, and adopts the open invoices that are not due before. A repetition goes on with
/// those that are left.
///
/// # Errors
///
/// [`CollectionsError`]
pub async fn enable(app: &App, caller: &Caller) -> Result<Enabled, CollectionsError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    let settings = collections_of(app, &caller.principal.tenant).await?.settings();
    let from = today(&settings, app.host.now());
    checks::register(&*app.tenant_ports.documents, &caller.principal.tenant).await?;
    let state = execute(app, caller, SettingsCommand::Enable { from }).await?;
    let (mut adopted, mut has_more) = (0, false);
    for mode in Mode::ALL {
        let most = MAX_ADOPTED - adopted;
        let (more, is_cut) = adopt(app, caller, *mode, state.enabled_from.as_deref().unwrap_or_default(), most).await?;
        adopted += more;
        has_more |= is_cut;
    }
    Ok(Enabled { state, adopted, has_more })
}

/// Lets the reminders of open invoices begin. Returns how many there were, and whether there are more than `most`.
async fn adopt(
    app: &App,
    caller: &Caller,
    mode: Mode,
    from: &str,
    most: usize,
) -> Result<(usize, bool), CollectionsError> {
    let tenant = &caller.principal.tenant;
    let scope = ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode };
    let is_due_later = |row: &InvoiceRow| row.due_on.as_deref().is_some_and(|due| from <= due);
    let (mut adopted, mut after) = (0, None::<String>);
    while adopted < most {
        let size = MAX_CONCURRENT.min(most - adopted);
        let page = views::list(&*app.views, &scope, vec![idle_range()], after.as_deref(), size, is_due_later).await?;
        let begun = join_all(page.rows.iter().map(|row| begin(app, caller, tenant, &row.id, from))).await;
        adopted += begun.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().filter(|begun| *begun).count();
        after = page.next;
        if after.is_none() {
            return Ok((adopted, false));
        }
    }
    Ok((adopted, true))
}

async fn begin(app: &App, caller: &Caller, tenant: &TenantId, id: &str, from: &str) -> Result<bool, StoreError> {
    let command = Command::BeginCollection { from: from.to_owned(), cause: CollectionCause::Adoption };
    match invoices::execute(app, &caller.context(), &invoices::stream(tenant, id), command).await {
        Ok(begun) => Ok(begun.appended > 0),
        Err(ExecuteError::Store(error)) => Err(error),
        Err(error) => {
            tracing::warn!(invoice = id, %error, "the reminders of an invoice have not begun");
            Ok(false)
        }
    }
}

/// Switches collections off. Invoices notice it when their timers are due, and messages when they are sent.
///
/// # Errors
///
/// [`CollectionsError`]
pub async fn disable(app: &App, caller: &Caller) -> Result<CollectionsState, CollectionsError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    execute(app, caller, SettingsCommand::Disable).await
}
