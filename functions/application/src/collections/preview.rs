//! What a backfill would send, before it is confirmed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::access::{Permission, Reach};
use domain::business_event::{Contact, KnownPerson};
use domain::collect::{
    BUCKETS, Calendar, CollectionsState, DebtorState, MAX_INVOICES, Start, add_days, bucket_of, debtor_key, parse_day,
    start,
};
use domain::invoice::{InvoiceRow, InvoiceState, idle_by_due};
use domain::ports::{DocumentKey, ProviderConfig, StoreError, ViewRow, ViewScope};
use events::{
    Channel, CollectionCause, CollectionSettings, LadderStep, MessageType, Mode, NoticeGrouping, Recipient, StepMode,
    TenantId, Timestamp,
};
use futures_util::stream::{self, StreamExt};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::words::channels;
use crate::app::App;
use crate::business_events::persons;
use crate::caller::{Caller, Forbidden};
use crate::hash::hash_of;
use crate::invoices::{self, collections_of};
use crate::{document, execute, provider_status, views};

/// How many days back invoices can be taken up.
pub const MAX_DAYS_BACK: i64 = 400;
/// Maximum number of invoices of one preview.
const MAX_PREVIEWED: usize = 100_000;
/// Number of rows that are read at once.
const PAGE: usize = 500;
/// Number of streams that are read side by side.
const MAX_CONCURRENT: usize = 64;
/// Number of the oldest invoices that a preview lists.
const OLDEST: usize = 10;
/// How long a preview can be confirmed, in milliseconds.
const VALID_MS: i64 = 3_600_000;
const COLLECTION: &str = "backfill-previews";

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There are more invoices than one preview can have.
    #[error("more than {MAX_PREVIEWED} invoices are due since then")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The numbers of a group of invoices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviewGroup {
    pub invoices: u64,
    pub customers: u64,
    /// What is owed, in minor units by currency.
    pub owed: BTreeMap<String, i64>,
    /// The messages that are sent first. A message about several invoices is counted with the most overdue one.
    pub messages: BTreeMap<Channel, u64>,
    /// The messages that may follow them, such as an SMS after an email that was not read.
    pub follow_ups: BTreeMap<Channel, u64>,
    /// What the first messages cost by the price lists, in millionths by currency.
    pub cost_micros: BTreeMap<String, i64>,
    /// How many of the first messages have no price.
    pub unpriced: u64,
    /// Invoices of which nothing is sent at first, by the code of the reason.
    pub skipped: BTreeMap<String, u64>,
}

impl PreviewGroup {
    /// How many messages are sent first.
    pub fn message_count(&self) -> u64 {
        self.messages.values().sum()
    }
}

/// One of the oldest invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldInvoice {
    pub row: InvoiceRow,
    pub days_overdue: i64,
}

/// What a backfill would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub id: String,
    pub expires_at: Timestamp,
    pub due_from: String,
    /// The day in the tenant's zone. Invoices that are due then or later are not taken up.
    pub due_before: String,
    pub is_enabled: bool,
    pub total: PreviewGroup,
    /// The same for each of [`BUCKETS`].
    pub buckets: [PreviewGroup; BUCKETS.len()],
    pub oldest: Vec<OldInvoice>,
}

/// What is remembered of a preview, to compare it with a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredPreview {
    pub mode: Mode,
    pub due_from: String,
    pub due_before: String,
    /// The hash of the settings that decide what is sent.
    pub settings: String,
    pub invoices: u64,
    pub messages: u64,
}

fn preview_key(tenant: &TenantId, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: COLLECTION, name: id.to_owned() }
}

/// A preview that has not expired.
pub(super) async fn stored(app: &App, tenant: &TenantId, id: &str) -> Result<Option<StoredPreview>, StoreError> {
    let found = app.tenant_ports.documents.get_document(&preview_key(tenant, id), app.host.now()).await?;
    found.as_deref().map(document::decode).transpose()
}

/// The days that a preview can begin at, by the tenant's zone: the first and the last.
pub fn preview_days(settings: &CollectionSettings, now: Timestamp) -> (Date, Date) {
    let today = parse_day(&super::today(settings, now)).unwrap_or_default();
    (add_days(today, -MAX_DAYS_BACK).unwrap_or(today), today)
}

/// Counts what a backfill of the invoices that are due since a day would send. Nothing is sent. The result can be
/// confirmed within an hour.
///
/// # Errors
///
/// [`PreviewError`]
pub async fn preview(app: &App, caller: &Caller, due_from: Date) -> Result<Preview, PreviewError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let collections = collections_of(app, tenant).await?;
    let now = app.host.now();
    let due_before = super::today(&collections.settings(), now);
    let (id, expires_at) = (format!("prv_{:032x}", app.host.random()), now + VALID_MS);
    let counted = count(app, (tenant, mode), &collections, (&due_from.to_string(), &due_before)).await?;
    let stored = StoredPreview {
        mode,
        due_from: due_from.to_string(),
        due_before: due_before.clone(),
        settings: hash_of(&collections.settings())?,
        invoices: counted.total.invoices,
        messages: counted.total.message_count(),
    };
    let body = document::encode(&stored)?;
    app.tenant_ports.documents.put_document(&preview_key(tenant, &id), &body, Some(expires_at)).await?;
    let Counted { total, buckets, oldest } = counted;
    let is_enabled = collections.enabled_from.is_some();
    Ok(Preview { id, expires_at, due_from: due_from.to_string(), due_before, is_enabled, total, buckets, oldest })
}

/// The numbers of a preview.
pub(super) struct Counted {
    pub total: PreviewGroup,
    pub buckets: [PreviewGroup; BUCKETS.len()],
    pub oldest: Vec<OldInvoice>,
}

/// An invoice whose reminders would begin with a step.
struct Due {
    bucket: usize,
    step: LadderStep,
}

struct Count<'a> {
    app: &'a App,
    tenant: &'a TenantId,
    mode: Mode,
    /// As if collections were on.
    collections: CollectionsState,
    settings: CollectionSettings,
    today: Date,
    debtors: HashMap<String, DebtorState>,
    counted: Counted,
    /// The customers of each bucket.
    customers: [BTreeSet<String>; BUCKETS.len()],
    /// What each customer is told about, or each invoice of a customer without an id.
    due: BTreeMap<String, (Option<Recipient>, Vec<Due>)>,
}

fn name_of(customer: Option<&Recipient>) -> Option<String> {
    let customer = customer?;
    Some(format!("{}:{}", customer.kind.as_str(), customer.id.as_ref()?))
}

/// Counts what a backfill of the invoices that are due from one day to another would send now.
pub(super) async fn count(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    collections: &CollectionsState,
    (due_from, due_before): (&str, &str),
) -> Result<Counted, PreviewError> {
    let settings = collections.settings();
    let enabled_from = collections.enabled_from.clone().unwrap_or_else(|| due_before.to_owned());
    let mut count = Count {
        app,
        tenant,
        mode,
        collections: CollectionsState { enabled_from: Some(enabled_from), ..collections.clone() },
        settings,
        today: parse_day(due_before).unwrap_or_default(),
        debtors: HashMap::new(),
        counted: Counted { total: PreviewGroup::default(), buckets: Default::default(), oldest: Vec::new() },
        customers: Default::default(),
        due: BTreeMap::new(),
    };
    let scope = ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode };
    let mut range = idle_by_due(due_from, due_before);
    loop {
        let page = views::page::<InvoiceRow>(&*app.views, &scope, &range, PAGE).await?;
        count.page(page.rows).await?;
        let Some(next) = page.next else { break };
        if MAX_PREVIEWED <= count.counted.total.invoices as usize {
            return Err(PreviewError::TooMany);
        }
        range.before = next;
        // A store in the same process answers without waiting, and other tasks need their turn.
        tokio::task::yield_now().await;
    }
    count.finish().await
}

impl Count<'_> {
    async fn page(&mut self, rows: Vec<InvoiceRow>) -> Result<(), PreviewError> {
        let (app, tenant) = (self.app, self.tenant);
        let load = async |row: InvoiceRow| Ok((invoices::load(app, tenant, &row.id).await?, row));
        let loaded: Vec<Result<_, StoreError>> =
            stream::iter(rows.into_iter().map(load)).buffered(MAX_CONCURRENT).collect().await;
        let loaded = loaded.into_iter().collect::<Result<Vec<(InvoiceState, InvoiceRow)>, _>>()?;
        self.load_debtors(&loaded).await?;
        loaded.into_iter().for_each(|(state, row)| self.invoice(&state, row));
        Ok(())
    }

    async fn load_debtors(&mut self, loaded: &[(InvoiceState, InvoiceRow)]) -> Result<(), StoreError> {
        let named = loaded.iter().filter_map(|(state, _)| {
            let customer = state.facts.customer()?;
            Some((name_of(Some(customer))?, debtor_key(self.tenant, customer)?))
        });
        let missing: HashMap<String, _> = named.filter(|(name, _)| !self.debtors.contains_key(name)).collect();
        let store = &*self.app.store;
        let load = async |(name, key)| Ok((name, execute::load(store, &key).await?.state));
        let found: Vec<Result<_, StoreError>> =
            stream::iter(missing.into_iter().map(load)).buffer_unordered(MAX_CONCURRENT).collect().await;
        for found in found {
            let (name, state) = found?;
            self.debtors.insert(name, state);
        }
        Ok(())
    }

    fn invoice(&mut self, state: &InvoiceState, row: InvoiceRow) {
        let Some(due_on) = state.facts.due_on().and_then(parse_day) else { return };
        let days_overdue = i64::from((self.today - due_on).get_days());
        // The view may be behind the stream.
        if state.collection.is_some() || !state.is_collectible() || days_overdue < 1 {
            return;
        }
        let (bucket, customer) = (bucket_of(days_overdue), state.facts.customer());
        let name = name_of(customer);
        let none = DebtorState::default();
        let debtor = name.as_ref().and_then(|name| self.debtors.get(name)).unwrap_or(&none);
        let now = self.app.host.now();
        let start = start(state, &self.collections, &self.settings, debtor, CollectionCause::Backfill, now);
        let owed = state.facts.amounts().map_or(0, |amounts| amounts.owed);
        let currency = state.facts.terms().currency.unwrap_or_default();
        for group in [&mut self.counted.total, &mut self.counted.buckets[bucket]] {
            group.invoices += 1;
            let sum = group.owed.entry(currency.clone()).or_default();
            *sum = sum.saturating_add(owed);
        }
        let addressee = name.clone().unwrap_or_else(|| row.id.clone());
        self.customers[bucket].insert(addressee.clone());
        match start {
            Start::Step(step) => {
                let key = if self.settings.grouping == NoticeGrouping::None { row.id.clone() } else { addressee };
                let due = self.due.entry(key).or_insert_with(|| (customer.cloned(), Vec::new()));
                due.1.push(Due { bucket, step: *step });
            }
            Start::Waits(reason) => self.skip(bucket, reason, 1),
            Start::LeftOut(reason) => self.skip(bucket, reason.as_str(), 1),
        }
        // Rows come with the latest due day first.
        self.counted.oldest.insert(0, OldInvoice { row, days_overdue });
        self.counted.oldest.truncate(OLDEST);
    }

    fn skip(&mut self, bucket: usize, reason: &str, count: u64) {
        for group in [&mut self.counted.total, &mut self.counted.buckets[bucket]] {
            *group.skipped.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// Counts the messages, once all invoices are known.
    async fn finish(mut self) -> Result<Counted, PreviewError> {
        let directory = self.app.directory.channels(&self.app.tenant_ports, self.tenant).await?;
        let configs = provider_status::configs_for(self.app, self.mode, &directory);
        let configs: Vec<ProviderConfig> =
            configs.into_iter().filter(|config| !directory.disabled.contains(&config.id)).collect();
        let due = std::mem::take(&mut self.due);
        let (app, of) = (self.app, (self.tenant, self.mode));
        let known = async |(customer, due): (Option<Recipient>, Vec<Due>)| {
            let person = match customer {
                Some(Recipient { kind, id }) => {
                    persons::known(app, of, kind, &Contact { id, ..Contact::default() }).await?
                }
                None => KnownPerson::default(),
            };
            Ok::<_, StoreError>((person, due))
        };
        let mut people = stream::iter(due.into_values().map(known)).buffer_unordered(MAX_CONCURRENT);
        while let Some(found) = people.next().await {
            let (person, mut due) = found?;
            due.sort_by_key(|due| std::cmp::Reverse(due.step.after_days));
            for notice in due.chunks(MAX_INVOICES) {
                self.notice(&person, notice, &configs);
            }
        }
        for (group, customers) in self.counted.buckets.iter_mut().zip(&self.customers) {
            group.customers = customers.len() as u64;
        }
        let all: BTreeSet<&String> = self.customers.iter().flatten().collect();
        self.counted.total.customers = all.len() as u64;
        Ok(self.counted)
    }

    /// One message about some invoices, the highest step first.
    fn notice(&mut self, person: &KnownPerson, notice: &[Due], configs: &[ProviderConfig]) {
        let Some(Due { bucket, step }) = notice.first() else { return };
        let reachable = channels(person, step);
        let refused = |channel| person.preferences.refuses(channel, MessageType::CollectionNotice);
        let (first, follow_ups) = match step.mode {
            StepMode::All => reachable.split_at(reachable.len()),
            StepMode::Escalate => reachable.split_at(reachable.len().min(1)),
        };
        if first.is_empty() {
            notice.iter().for_each(|due| self.skip(due.bucket, "no_contact", 1));
            return;
        }
        if first.iter().all(|(channel, _)| refused(*channel).is_some()) {
            notice.iter().for_each(|due| self.skip(due.bucket, "opted_out", 1));
            return;
        }
        for group in [&mut self.counted.total, &mut self.counted.buckets[*bucket]] {
            for (channel, to) in first.iter().filter(|(channel, _)| refused(*channel).is_none()) {
                *group.messages.entry(*channel).or_default() += 1;
                let config = configs.iter().find(|config| config.channel == *channel);
                match config.and_then(|config| config.estimate_cost(to, Some(1))) {
                    Some(cost) => *group.cost_micros.entry(cost.currency).or_default() += cost.micros,
                    None => group.unpriced += 1,
                }
            }
            for (channel, _) in follow_ups {
                *group.follow_ups.entry(*channel).or_default() += 1;
            }
        }
    }
}

/// The calendar of the tenant's own zone. `None` if this version cannot read the settings.
pub(super) fn tenant_calendar(settings: &CollectionSettings) -> Option<Calendar<'_>> {
    Calendar::new(settings, [None, None])
}
