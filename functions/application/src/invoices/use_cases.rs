//! Use cases of invoices for the people who look after them.

use domain::access::{Permission, Reach};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::business_event::{BusinessEventFilter, BusinessEventRow};
use domain::collect::Explanation;
use domain::invoice::{
    Command, InvoiceFilter, InvoiceRow, InvoiceState, NewestLink, Rejection, is_stream_name, key_of, source_range,
};
use domain::payment_link::{self, PaymentLink, PaymentLinkStatus};
use domain::ports::{StoreError, ViewRow, ViewScope};
use events::{FactSource, InvoiceEvent, InvoiceRef, Mode, RecordedEvent, TenantId};

use super::{collections_of, execute, stream};
use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::collections::{Rules, today};
use crate::execute::{self as streams, ExecuteError, Loaded};
use crate::views::{self, RowPage};

/// The most systems that can have an invoice of the same id before a request has to name one of them.
const MAX_NAMESAKES: usize = 10;

/// Number of parked events that are named when an invoice is not found.
const MAX_PARKED: usize = 5;

/// Why a use case of invoices had no effect.
#[derive(Debug, thiserror::Error)]
pub enum InvoiceError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such invoice. These parked events mention it.
    #[error("there is no such invoice")]
    NotFound(Vec<String>),
    /// Several systems have an invoice of this id: these ones.
    #[error("several systems have an invoice of this id")]
    Ambiguous(Vec<String>),
    #[error("collections are off")]
    CollectionsOff,
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a request names an invoice: by its id here, or by its id in the system that issued it.
#[derive(Debug, Clone)]
pub struct InvoiceName {
    pub id: String,
    /// The system. `None` if only one has an invoice of this id.
    pub namespace: Option<String>,
}

/// What a person decides about an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvoiceDecision {
    Pause { until: Option<String> },
    Resume,
    Promise { on: String, amount: Option<i64> },
    Dispute { is_resolved: bool },
    Restart,
}

impl InvoiceDecision {
    fn name(&self) -> &'static str {
        match self {
            InvoiceDecision::Pause { .. } => "pause",
            InvoiceDecision::Resume => "resume",
            InvoiceDecision::Promise { .. } => "promise",
            InvoiceDecision::Dispute { is_resolved: false } => "dispute",
            InvoiceDecision::Dispute { is_resolved: true } => "dispute_resolved",
            InvoiceDecision::Restart => "restart",
        }
    }
}

/// An invoice, from its stream.
pub struct FoundInvoice {
    pub key: AggregateId<InvoiceState>,
    pub reference: InvoiceRef,
    pub loaded: Loaded<InvoiceState>,
}

/// A payment link, and what it can be used for now.
pub struct ShownLink {
    pub id: String,
    pub link: PaymentLink,
    pub status: PaymentLinkStatus,
}

/// An invoice, and what happens next to its reminders.
pub struct ExplainedInvoice {
    pub found: FoundInvoice,
    pub explanation: Explanation,
    /// Its newest payment link.
    pub link: Option<ShownLink>,
    /// The day in the tenant's zone, by which it is overdue.
    pub today: String,
}

fn scope(tenant: &TenantId, mode: Mode) -> ViewScope {
    ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode }
}

/// The stream that a request names.
async fn resolve(app: &App, caller: &Caller, name: &InvoiceName) -> Result<AggregateId<InvoiceState>, InvoiceError> {
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    if let Some(namespace) = &name.namespace {
        let (namespace, id) = (namespace.clone(), name.id.clone());
        return Ok(key_of(tenant, &InvoiceRef { mode, namespace, id }));
    }
    if is_stream_name(&name.id) {
        return Ok(stream(tenant, &name.id));
    }
    let range = vec![source_range(&name.id)];
    let page =
        views::list(&*app.views, &scope(tenant, mode), range, None, MAX_NAMESAKES, |_: &InvoiceRow| true).await?;
    match page.rows.as_slice() {
        [] => Err(InvoiceError::NotFound(Vec::new())),
        [one] => Ok(stream(tenant, &one.id)),
        several => Err(InvoiceError::Ambiguous(several.iter().map(|row| row.namespace.clone()).collect())),
    }
}

/// The invoice of the caller's mode that a request names.
///
/// # Errors
///
/// [`InvoiceError`]
pub(crate) async fn find_named(app: &App, caller: &Caller, name: &InvoiceName) -> Result<FoundInvoice, InvoiceError> {
    match find_stream(app, caller, name).await {
        Err(InvoiceError::NotFound(_)) => Err(InvoiceError::NotFound(parked_about(app, caller, &name.id).await?)),
        found => found,
    }
}

/// The newest parked events that mention an invoice, for a caller who may see events.
async fn parked_about(app: &App, caller: &Caller, id: &str) -> Result<Vec<String>, StoreError> {
    if caller.authorise(Permission::View, Reach::Tenant).is_err() {
        return Ok(Vec::new());
    }
    let (tenant, mode) = (caller.principal.tenant.clone(), caller.principal.mode);
    let scope = ViewScope { view: BusinessEventRow::VIEW, tenant, mode };
    let (status, mentions) = (Some("parked".to_owned()), Some(id.to_owned()));
    let filter = BusinessEventFilter { status, mentions, ..BusinessEventFilter::default() };
    let matches = |row: &BusinessEventRow| filter.matches(row);
    let page = views::list(&*app.views, &scope, vec![filter.range()], None, MAX_PARKED, matches).await?;
    Ok(page.rows.into_iter().map(|row| row.id).collect())
}

async fn find_stream(app: &App, caller: &Caller, name: &InvoiceName) -> Result<FoundInvoice, InvoiceError> {
    let key = resolve(app, caller, name).await?;
    let loaded = streams::load(&*app.store, &key).await?;
    let reference = loaded.state.reference.clone().filter(|reference| reference.mode == caller.principal.mode);
    Ok(FoundInvoice { key, reference: reference.ok_or(InvoiceError::NotFound(Vec::new()))?, loaded })
}

/// One invoice of the caller's mode, with what happens next to its reminders.
///
/// # Errors
///
/// [`InvoiceError`]
pub async fn find(app: &App, caller: &Caller, name: &InvoiceName) -> Result<ExplainedInvoice, InvoiceError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let found = find_named(app, caller, name).await?;
    let rules = Rules::load(app, &caller.principal.tenant, found.loaded.state.facts.customer()).await?;
    Ok(explain(app, caller, &rules, found).await?)
}

/// Its newest link.
async fn newest_link(app: &App, caller: &Caller, found: &FoundInvoice) -> Result<Option<ShownLink>, StoreError> {
    let Some(NewestLink { id, .. }) = &found.loaded.state.link else { return Ok(None) };
    let link = streams::load(&*app.store, &payment_link::key_of(&caller.principal.tenant, id)).await?.state.link;
    Ok(link.map(|link| {
        let status = link.status(&found.loaded.state, app.host.now()).unwrap_or(PaymentLinkStatus::Revoked);
        ShownLink { id: id.clone(), link, status }
    }))
}

/// Why reminders of an invoice are sent, or are not.
pub(crate) async fn explain(
    app: &App,
    caller: &Caller,
    Rules { collections, settings, debtor }: &Rules,
    found: FoundInvoice,
) -> Result<ExplainedInvoice, StoreError> {
    let link = newest_link(app, caller, &found).await?;
    let now = app.host.now();
    let explanation = domain::collect::explain(&found.loaded.state, collections, settings, debtor, now);
    Ok(ExplainedInvoice { found, explanation, link, today: today(settings, now) })
}

/// The complete history of an invoice, in order.
///
/// # Errors
///
/// [`InvoiceError`]
pub async fn history(
    app: &App,
    caller: &Caller,
    name: &InvoiceName,
) -> Result<(FoundInvoice, Vec<RecordedEvent<InvoiceEvent>>), InvoiceError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let found = find_named(app, caller, name).await?;
    let records = streams::history_of(&*app.store, &found.key, &found.loaded).await?;
    Ok((found, records))
}

/// One page of invoices of the caller's mode, the newest first. Also returns the day in the tenant's zone, by which
/// they are overdue.
///
/// # Errors
///
/// [`InvoiceError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &InvoiceFilter,
    after: Option<&str>,
    size: usize,
) -> Result<(RowPage<InvoiceRow>, String), InvoiceError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let tenant = &caller.principal.tenant;
    let today = today(&collections_of(app, tenant).await?.settings(), app.host.now());
    let matches = |row: &InvoiceRow| filter.matches(row, &today);
    let scope = scope(tenant, caller.principal.mode);
    let page = views::list(&*app.views, &scope, filter.ranges(), after, size, matches).await?;
    Ok((page, today))
}

/// Carries out what a person decided. Its reminders are looked at again.
///
/// # Errors
///
/// [`InvoiceError`]
pub async fn decide(
    app: &App,
    caller: &Caller,
    name: &InvoiceName,
    decision: InvoiceDecision,
) -> Result<ExplainedInvoice, InvoiceError> {
    caller.authorise(Permission::Send, Reach::Everything)?;
    let found = find_named(app, caller, name).await?;
    let by = caller.actor().name();
    let rules = Rules::load(app, &caller.principal.tenant, found.loaded.state.facts.customer()).await?;
    let enabled_from = rules.collections.enabled_from.clone();
    let is_disputed = found.loaded.state.facts.is_disputed();
    let act = decision.name().to_owned();
    let command = match decision {
        InvoiceDecision::Pause { until } => Command::Pause { until, by },
        InvoiceDecision::Resume => Command::Resume { by },
        InvoiceDecision::Promise { on, amount } => Command::Promise { on, amount, by },
        InvoiceDecision::Restart => Command::Restart { from: enabled_from.ok_or(InvoiceError::CollectionsOff)?, by },
        InvoiceDecision::Dispute { is_resolved } => {
            let event = format!("req_{:016x}", app.host.random() as u64);
            let source = FactSource { event, occurred_at: app.host.now(), revision: None };
            let fact = match (is_resolved, is_disputed) {
                (true, true) => Some(InvoiceEvent::DisputeResolved { source }),
                (false, false) => Some(InvoiceEvent::InvoiceDisputed { source }),
                (true, false) | (false, true) => None,
            };
            let (reference, facts) = (found.reference.clone(), fact.into_iter().collect());
            Command::Record { reference, facts, collect_from: enabled_from }
        }
    };
    let invoice = found.key.stream_id().id;
    actions::record(app, caller, &Action::InvoiceChanged { invoice, act }).await?;
    let loaded = execute(app, &caller.context(), &found.key, command).await?;
    let found = FoundInvoice { loaded, ..found };
    Ok(explain(app, caller, &rules, found).await?)
}
