//! In: a scheduled event every hour. Out: the timers of invoices as they should be, and a record of what was found for
//! each tenant with collections on.
//! May touch: streams of invoices, whose timers it sets; views and documents; alerts.
//! Never: sends anything or decides about a reminder, because the handler of the timer's hint does.

pub mod config;

use std::collections::HashMap;
use std::sync::Arc;

use application::collections::checks::{Check, Findings, last_statement, load_check, registered, store_check};
use application::execute::{self, CommandContext, CommandExecutor, Loaded};
use application::invoices::{settings_stream, stream};
use application::views;
use domain::aggregate::Aggregate;
use domain::business_event::{BusinessEventFilter, BusinessEventRow, PARKED};
use domain::collect::{CollectionsState, DebtorState, Next, add_days, debtor_key, next, parse_day};
use domain::invoice::{InvoiceRow, InvoiceState, collected_by_due};
use domain::policy::MAX_REPAIR_DELAY_MS;
use domain::ports::{AlertSink, ClockAndRng, DocumentStore, EventStore, StoreError, ViewRow, ViewScope, ViewStore};
use events::{CollectionSettings, Mode, TenantId, Timestamp};
use futures_util::stream::{self as streams, StreamExt};

/// Number of rows that are read at once.
const PAGE: usize = 200;
/// Number of streams that are read side by side.
const MAX_CONCURRENT: usize = 32;
/// A timer that is later than it should be by less than this waits for a hint that was sent, in milliseconds.
const HINT_MS: i64 = MAX_REPAIR_DELAY_MS + 5 * 60_000;
/// A timer that is overdue by more than this is not served, in milliseconds.
const OVERDUE_MS: i64 = 2 * 3_600_000;
/// How many days before its due day an invoice can have a reminder, and one more for the zone.
const DAYS_AHEAD: i64 = 31;
/// An invoice that is named by no statement of this long is unconfirmed, in milliseconds: a statement can come in
/// several parts.
const STATEMENT_MS: i64 = 24 * 3_600_000;
/// Maximum number of pages of parked events that are counted.
const MAX_PARKED_PAGES: usize = 10;
/// The share of lost timers that raises an alert, in percent, and the least number of them.
const MAX_LOST_PERCENT: u64 = 1;
const MIN_LOST: u64 = 5;

/// The ports of the function.
#[derive(Clone)]
pub struct ReconcileHandler {
    pub store: Arc<dyn EventStore>,
    pub views: Arc<dyn ViewStore>,
    pub documents: Arc<dyn DocumentStore>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
}

/// What one run did, over all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    pub tenants: u64,
    pub looked: u64,
    pub repaired: u64,
    pub lost: u64,
    /// False if the deadline passed before every tenant was looked at.
    pub is_complete: bool,
}

/// What is wrong with the timer of an invoice.
enum Repair {
    /// There is none, or it is not served.
    Lost(Timestamp),
    /// The settings, a zone, or what was agreed with the customer has changed since it was set.
    Moved(Timestamp),
}

/// The rules of one tenant.
struct Tenant<'a> {
    of: (&'a TenantId, Mode),
    collections: &'a CollectionsState,
    settings: &'a CollectionSettings,
    debtors: HashMap<String, DebtorState>,
    statements: HashMap<String, Option<Timestamp>>,
}

impl ReconcileHandler {
    /// Looks at every tenant that has collections on. Stops at `deadline`; the next run goes on there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: not every tenant was looked at.
    pub async fn run(&self, deadline: Option<Timestamp>) -> Result<Report, StoreError> {
        let (mut report, mut before) = (Report { is_complete: true, ..Report::default() }, None::<String>);
        loop {
            let (tenants, next) = registered(&*self.documents, before.as_deref(), self.host.now()).await?;
            for tenant in &tenants {
                let state = execute::load(&*self.store, &settings_stream(tenant)).await?.state;
                if state.enabled_from.is_none() {
                    continue;
                }
                report.tenants += 1;
                for mode in Mode::ALL {
                    if self.is_over(deadline) {
                        report.is_complete = false;
                        return Ok(report);
                    }
                    let findings = self.check((tenant, *mode), &state, deadline).await?;
                    report.looked += findings.looked;
                    report.repaired += findings.repaired;
                    report.lost += findings.lost;
                }
            }
            before = next;
            if before.is_none() {
                break;
            }
        }
        self.raise_alert(&report).await?;
        Ok(report)
    }

    fn is_over(&self, deadline: Option<Timestamp>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.host.now())
    }

    /// A change of the settings moves many timers. Timers that are lost are a fault.
    async fn raise_alert(&self, report: &Report) -> Result<(), StoreError> {
        let Report { looked, lost, .. } = *report;
        if lost < MIN_LOST || lost * 100 <= looked * MAX_LOST_PERCENT {
            return Ok(());
        }
        let text = format!("{lost} of {looked} invoices had no timer, or one that was not served. They have one now.");
        self.alerts.raise("Tidings collections: timers were lost", &text).await
    }

    /// Looks at one tenant, and records what was found.
    async fn check(
        &self,
        of: (&TenantId, Mode),
        collections: &CollectionsState,
        deadline: Option<Timestamp>,
    ) -> Result<Findings, StoreError> {
        let documents = &*self.documents;
        let mut check = load_check(documents, of, self.host.now()).await?;
        let settings = collections.settings();
        let (debtors, statements) = (HashMap::new(), HashMap::new());
        let mut tenant = Tenant { of, collections, settings: &settings, debtors, statements };
        let today = parse_day(&application::collections::today(&settings, self.host.now())).unwrap_or_default();
        let last_day = add_days(today, DAYS_AHEAD).unwrap_or(today).to_string();
        let mut range = collected_by_due(&last_day);
        let mut findings = Findings::default();
        if let Some((next, found)) = check.unfinished.take() {
            (range.before, findings) = (next, found);
        }
        let scope = ViewScope { view: InvoiceRow::VIEW, tenant: of.0.clone(), mode: of.1 };
        loop {
            let page = views::page::<InvoiceRow>(&*self.views, &scope, &range, PAGE).await?;
            self.look(&mut tenant, page.rows, &mut findings).await?;
            let Some(next) = page.next else { break };
            if self.is_over(deadline) {
                let unfinished = Some((next, findings.clone()));
                store_check(documents, of, &Check { unfinished, ..check }).await?;
                return Ok(findings);
            }
            range.before = next;
            tokio::task::yield_now().await;
        }
        (findings.parked, findings.oldest_parked_at) = self.parked(of).await?;
        let (looked, repaired, lost) = (findings.looked, findings.repaired, findings.lost);
        tracing::info!(tenant = %of.0, mode = of.1.as_str(), looked, repaired, lost, metric = "Reconciled", "collections");
        let check = Check { at: Some(self.host.now()), findings: findings.clone(), unfinished: None };
        store_check(documents, of, &check).await?;
        Ok(findings)
    }

    /// Looks at one page of invoices, and sets the timers that should be others.
    async fn look(
        &self,
        tenant: &mut Tenant<'_>,
        rows: Vec<InvoiceRow>,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let (store, of) = (&*self.store, tenant.of);
        let load = async |row: InvoiceRow| Ok((execute::load(store, &stream(of.0, &row.id)).await?, row));
        let loaded: Vec<Result<(Loaded<InvoiceState>, InvoiceRow), StoreError>> =
            streams::iter(rows.into_iter().map(load)).buffered(MAX_CONCURRENT).collect().await;
        for loaded in loaded {
            let (loaded, row) = loaded?;
            // The view may be behind the stream.
            if loaded.state.is_complete() {
                continue;
            }
            findings.looked += 1;
            if loaded.state.facts.amounts().is_some_and(|amounts| amounts.disagreement.is_some()) {
                findings.disagreements.add(&row.id);
            }
            if self.is_unconfirmed(tenant, &loaded.state, &row.namespace).await? {
                findings.unconfirmed.add(&row.id);
            }
            let repair = self.repair(tenant, &loaded).await?;
            let Some(at) = repair.as_ref().map(|repair| match repair {
                Repair::Lost(at) | Repair::Moved(at) => *at,
            }) else {
                continue;
            };
            let context = CommandContext::function("reconcile");
            let executor = CommandExecutor { store, host: &*self.host, origin: &context };
            if executor.restore_timer(&stream(of.0, &row.id), &loaded, at).await? {
                findings.repaired += 1;
                findings.lost += u64::from(matches!(repair, Some(Repair::Lost(_))));
            }
        }
        Ok(())
    }

    /// Decides again on an invoice, and compares its timer with the result.
    async fn repair(
        &self,
        tenant: &mut Tenant<'_>,
        loaded: &Loaded<InvoiceState>,
    ) -> Result<Option<Repair>, StoreError> {
        let now = self.host.now();
        let Some(wake) = loaded.wake.filter(|wake| now.millis_since(*wake) <= OVERDUE_MS) else {
            return Ok(Some(Repair::Lost(now)));
        };
        // A step that is under way has a timer of its own.
        if loaded.state.triggered().is_some() {
            return Ok(None);
        }
        let customer = loaded.state.facts.customer();
        let debtor = match customer.and_then(|customer| Some((debtor_key(tenant.of.0, customer)?, customer))) {
            Some((key, customer)) => {
                let name = format!("{}:{}", customer.kind.as_str(), customer.id.as_deref().unwrap_or_default());
                if !tenant.debtors.contains_key(&name) {
                    let state = execute::load(&*self.store, &key).await?.state;
                    tenant.debtors.insert(name.clone(), state);
                }
                tenant.debtors.get(&name).cloned().unwrap_or_default()
            }
            None => DebtorState::default(),
        };
        let wanted = match next(&loaded.state, tenant.collections, tenant.settings, &debtor, now) {
            Next::Wait { at, .. } => Some(at.max(now)),
            Next::Do { .. } | Next::Skip(_) | Next::Postpone { .. } => Some(now),
            // Its reminders end when its timer is due.
            Next::Rest(_) => None,
        };
        Ok(wanted.filter(|wanted| *wanted + HINT_MS < wake).map(Repair::Moved))
    }

    /// Whether the source has stated its open invoices, and this one was not among them.
    async fn is_unconfirmed(
        &self,
        tenant: &mut Tenant<'_>,
        state: &InvoiceState,
        namespace: &str,
    ) -> Result<bool, StoreError> {
        if !tenant.statements.contains_key(namespace) {
            let found = last_statement(&*self.documents, tenant.of, namespace, self.host.now()).await?;
            tenant.statements.insert(namespace.to_owned(), found);
        }
        let Some(Some(as_of)) = tenant.statements.get(namespace) else { return Ok(false) };
        let since = *as_of - STATEMENT_MS;
        let is_known_since = state.first_seen_at.is_some_and(|seen| seen < since);
        Ok(is_known_since && state.facts.stated_at().is_none_or(|stated| stated < since))
    }

    /// The number of parked events, and when the oldest of them was received.
    async fn parked(&self, (tenant, mode): (&TenantId, Mode)) -> Result<(u64, Option<Timestamp>), StoreError> {
        let scope = ViewScope { view: BusinessEventRow::VIEW, tenant: tenant.clone(), mode };
        let filter = BusinessEventFilter { status: Some(PARKED.to_owned()), ..BusinessEventFilter::default() };
        let (mut range, mut count, mut oldest) = (filter.range(), 0, None);
        for _ in 0..MAX_PARKED_PAGES {
            let page = views::page::<BusinessEventRow>(&*self.views, &scope, &range, PAGE).await?;
            count += page.rows.len() as u64;
            oldest = page.rows.last().map(|row| row.received_at).or(oldest);
            match page.next {
                Some(next) => range.before = next,
                None => break,
            }
        }
        Ok((count, oldest))
    }
}
