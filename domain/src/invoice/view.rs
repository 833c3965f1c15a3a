//! The view of invoices: one row each, for lists, counters and the walks over those that are open.

use std::collections::BTreeMap;

use events::{
    CollectionEndReason, InvoiceEvent, InvoiceKind, InvoiceSending, InvoiceStatus, Mode, Recipient, RecordedEvent,
    StreamId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Ended, Hold, InvoiceState, StepOutcome};
use crate::aggregate::fold;
use crate::ports::{RowIndex, RowRange, ViewRow, time_prefix};
use crate::projection::Projection;
use crate::stats::Counters;

events::string_enum!(
    /// Where an invoice stands.
    InvoiceStage {
        /// A fact about it came before it was issued.
        Unissued = "unissued",
        /// It is not one that is collected, such as a draft or one without a due date.
        NotCollectible = "not_collectible",
        /// Something is owed, and its reminders have not begun.
        Open = "open",
        /// Its reminders have begun.
        Collecting = "collecting",
        Paused = "paused",
        Promised = "promised",
        /// Every step of the ladder is over, and something is still owed.
        LadderOver = "ladder_over",
        Disputed = "disputed",
        Settled = "settled",
        Voided = "voided",
        WrittenOff = "written_off",
        Erased = "erased",
    }
);

impl InvoiceState {
    pub fn stage(&self) -> InvoiceStage {
        let amounts = self.facts.amounts();
        match (self.facts.ended(), &self.hold) {
            _ if self.is_erased => InvoiceStage::Erased,
            (Some(Ended::Voided), _) => InvoiceStage::Voided,
            (Some(Ended::WrittenOff), _) => InvoiceStage::WrittenOff,
            _ if amounts.is_none() => InvoiceStage::Unissued,
            _ if amounts.is_some_and(|amounts| amounts.owed == 0) => InvoiceStage::Settled,
            _ if self.facts.is_disputed() => InvoiceStage::Disputed,
            _ if !self.is_collectible() => InvoiceStage::NotCollectible,
            (None, Some(Hold::Paused { .. })) => InvoiceStage::Paused,
            (None, Some(Hold::Promised { .. })) => InvoiceStage::Promised,
            (None, None) if self.collection.is_some() => InvoiceStage::Collecting,
            (None, None) if self.has_finished_ladder() => InvoiceStage::LadderOver,
            (None, None) => InvoiceStage::Open,
        }
    }

    fn has_finished_ladder(&self) -> bool {
        self.collection_end == Some(CollectionEndReason::LadderOver)
    }

    /// Whether its reminders can begin.
    fn is_idle(&self) -> bool {
        self.is_collectible() && self.collection.is_none() && !self.has_finished_ladder()
    }
}

/// The step of the ladder that was decided on last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastStep {
    pub step: String,
    /// `triggered`, `issued`, `skipped` or `postponed`.
    pub outcome: String,
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl StepOutcome {
    /// The name in the API, and the reason if it has one.
    pub fn name_and_reason(&self) -> (&'static str, Option<&'static str>) {
        match self {
            StepOutcome::Triggered { .. } => ("triggered", None),
            StepOutcome::Issued { .. } => ("issued", None),
            StepOutcome::Skipped(reason) => ("skipped", Some(reason.as_str())),
            StepOutcome::Postponed { reason, .. } => ("postponed", Some(reason.as_str())),
        }
    }
}

/// The row of one invoice. It names its customer by a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceRow {
    pub id: String,
    /// The stream's version up to which it was projected.
    pub position: u64,
    pub namespace: String,
    /// The id in the system that issued it.
    pub source_id: String,
    pub number: Option<String>,
    pub kind: InvoiceKind,
    pub customer: Option<Recipient>,
    pub stage: InvoiceStage,
    /// The state in the system that issued it.
    pub status: Option<InvoiceStatus>,
    pub currency: Option<String>,
    /// Amounts are in minor units. `None` before it is issued.
    pub total: Option<i64>,
    pub owed: Option<i64>,
    /// What payments and the stated balance come to, if they differ.
    pub disagreement: Option<(i64, i64)>,
    pub issued_on: Option<String>,
    pub due_on: Option<String>,
    pub last_step: Option<LastStep>,
    /// Whether its reminders can begin, and have not.
    pub is_idle: bool,
    /// Whether its reminders have begun and go on, so that its stream has a timer.
    #[serde(default)]
    pub is_collected: bool,
    #[serde(default)]
    pub outcome: Outcome,
    pub first_seen_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What sending and reminding came to, for the statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it was sent.
    pub sent: Option<InvoiceSending>,
    /// Number of steps of the ladder that were issued.
    pub issued: u64,
    /// Number of steps that were skipped, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Payments that followed a notice: how long after it in milliseconds, and how much.
    pub attributed: Vec<(i64, i64)>,
}

impl Outcome {
    fn of(state: &InvoiceState) -> Outcome {
        let mut outcome = Outcome { sent: state.sent.as_ref().map(|(_, how)| *how), ..Outcome::default() };
        for record in &state.steps {
            match &record.outcome {
                StepOutcome::Issued { .. } => outcome.issued += 1,
                StepOutcome::Skipped(reason) => *outcome.skipped.entry(reason.as_str().to_owned()).or_default() += 1,
                StepOutcome::Triggered { .. } | StepOutcome::Postponed { .. } => (),
            }
        }
        let attributed = state.facts.payments().filter_map(|(id, payment)| {
            let currency = state.facts.currency();
            let is_own = currency.is_none_or(|currency| currency == payment.currency);
            let is_counted = is_own && state.facts.failed_at(id).is_none();
            let attribution = state.attributed.get(id).filter(|_| is_counted)?;
            Some((attribution.after_ms, payment.amount))
        });
        outcome.attributed = attributed.collect();
        outcome
    }

    fn count(&self, is_settled: bool, currency: Option<&str>, counters: &mut Counters) {
        let mut add = |name: String, amount: i64| {
            if amount != 0 {
                *counters.entry(name).or_default() += amount;
            }
        };
        self.sent.iter().for_each(|how| add(format!("sent.{}", how.as_str()), 1));
        add("steps.issued".to_owned(), self.issued as i64);
        for (reason, count) in &self.skipped {
            add(format!("skipped.{reason}"), *count as i64);
        }
        for (after_ms, amount) in &self.attributed {
            add(format!("after_notice.{}", day_bucket(*after_ms)), 1);
            currency.iter().for_each(|currency| add(format!("collected.{currency}"), *amount));
        }
        add("settled_after_notice".to_owned(), i64::from(is_settled && !self.attributed.is_empty()));
    }
}

/// Upper bounds of days from a notice to a payment. Longer times are counted in the last one.
const BUCKET_DAYS: [i64; 6] = [1, 3, 7, 14, 30, 90];

fn day_bucket(after_ms: i64) -> i64 {
    let days = after_ms.max(0).div_euclid(86_400_000) + 1;
    *BUCKET_DAYS.iter().find(|end| days <= **end).unwrap_or(&BUCKET_DAYS[BUCKET_DAYS.len() - 1])
}

impl InvoiceRow {
    /// Returns `None` for an invoice of which nothing is known.
    pub fn new(id: &str, position: u64, state: &InvoiceState, updated_at: Timestamp) -> Option<InvoiceRow> {
        let reference = state.reference.clone()?;
        let (terms, amounts) = (state.facts.terms(), state.facts.amounts());
        let last_step = state.steps.iter().max_by_key(|record| record.at).map(|record| {
            let (outcome, reason) = record.outcome.name_and_reason();
            let reason = reason.map(str::to_owned);
            LastStep { step: record.step.clone(), outcome: outcome.to_owned(), reason, at: record.at }
        });
        Some(InvoiceRow {
            id: id.to_owned(),
            position,
            namespace: reference.namespace,
            source_id: reference.id,
            number: terms.number,
            kind: state.facts.kind(),
            customer: terms.customer,
            stage: state.stage(),
            status: terms.status,
            currency: terms.currency,
            total: terms.total,
            owed: amounts.map(|amounts| amounts.owed),
            disagreement: amounts.and_then(|amounts| amounts.disagreement),
            issued_on: terms.issued_on,
            due_on: terms.due_on,
            last_step,
            is_idle: state.is_idle(),
            is_collected: state.is_collected(),
            outcome: Outcome::of(state),
            first_seen_at: state.first_seen_at?,
            updated_at,
        })
    }

    /// Whether customers can still be asked to pay it.
    pub fn is_open(&self) -> bool {
        match self.stage {
            InvoiceStage::Open
            | InvoiceStage::Collecting
            | InvoiceStage::Paused
            | InvoiceStage::Promised
            | InvoiceStage::LadderOver => true,
            InvoiceStage::Unissued
            | InvoiceStage::NotCollectible
            | InvoiceStage::Disputed
            | InvoiceStage::Settled
            | InvoiceStage::Voided
            | InvoiceStage::WrittenOff
            | InvoiceStage::Erased => false,
        }
    }

    pub fn is_overdue(&self, today: &str) -> bool {
        self.is_open() && self.due_on.as_deref().is_some_and(|due| due < today)
    }
}

impl Projection for InvoiceState {
    type Row = InvoiceRow;

    fn project(id: &StreamId, records: &[RecordedEvent<InvoiceEvent>]) -> Option<(Mode, InvoiceRow)> {
        let state = fold(InvoiceState::default(), records);
        let mode = state.reference.as_ref()?.mode;
        Some((mode, InvoiceRow::new(&id.id, records.len() as u64, &state, records.last()?.meta.at)?))
    }
}

const OPEN: &str = "open";
const IDLE: &str = "idle";
const COLLECTED: &str = "collected";

fn of_customer(customer: &Recipient) -> Option<(RowIndex, String)> {
    let id = customer.id.as_ref()?;
    Some((RowIndex::Recipient, format!("{}#{id}", customer.kind.as_str())))
}

fn of_source(id: &str) -> (RowIndex, String) {
    (RowIndex::Entity, format!("invoice#{id}"))
}

impl ViewRow for InvoiceRow {
    const VIEW: &'static str = "invoice";

    fn key(&self) -> String {
        format!("{}#{}", time_prefix(self.first_seen_at), self.id)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        self.first_seen_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Invoices that are open are in the index of what needs attention. Those whose reminders have not begun are
    /// listed there by themselves.
    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        let open = self.is_open().then(|| (RowIndex::DeadLetters, if self.is_idle { IDLE } else { OPEN }.to_owned()));
        let customer = self.customer.as_ref().and_then(of_customer);
        let by_due = match (self.is_idle, self.is_collected) {
            (true, _) => Some(IDLE),
            (false, true) => Some(COLLECTED),
            (false, false) => None,
        };
        let by_due = by_due.map(|value| (RowIndex::Due, value.to_owned()));
        open.into_iter().chain(customer).chain(by_due).chain([of_source(&self.source_id)]).collect()
    }

    fn due(&self) -> Option<String> {
        self.due_on.clone()
    }

    fn counters(&self) -> Counters {
        let mut counters = Counters::from([("total".to_owned(), 1), (format!("stage.{}", self.stage.as_str()), 1)]);
        if let (true, Some(owed), Some(currency)) = (self.is_open(), self.owed, &self.currency) {
            counters.insert(format!("owed.{currency}"), owed);
        }
        if self.disagreement.is_some() {
            counters.insert("disagreement".to_owned(), 1);
        }
        let is_settled = self.stage == InvoiceStage::Settled;
        self.outcome.count(is_settled, self.currency.as_deref(), &mut counters);
        counters
    }
}

/// Which invoices to list. `None` means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct InvoiceFilter {
    pub stage: Option<InvoiceStage>,
    pub is_overdue: Option<bool>,
    pub customer: Option<Recipient>,
    pub number: Option<String>,
    /// Days, both included.
    pub due_from: Option<String>,
    pub due_to: Option<String>,
    /// Whether payments and the stated balance differ.
    pub disagrees: Option<bool>,
}

fn whole(index: Option<(RowIndex, String)>) -> RowRange {
    // Keys consist of digits, `#`, lower-case letters and `_`, so `~` sorts after all of them.
    RowRange { index, from: "0".to_owned(), before: "~".to_owned() }
}

/// The rows of one customer. `None` for a customer without an id.
pub fn customer_range(customer: &Recipient) -> Option<RowRange> {
    Some(whole(Some(of_customer(customer)?)))
}

/// The rows that have this id in the system that issued them.
pub fn source_range(id: &str) -> RowRange {
    whole(Some(of_source(id)))
}

/// The rows of open invoices whose reminders have not begun.
pub fn idle_range() -> RowRange {
    whole(Some((RowIndex::DeadLetters, IDLE.to_owned())))
}

/// The rows of open invoices whose reminders have not begun and that are due on a day from `from` to the one before
/// `before`, the latest first.
pub fn idle_by_due(from: &str, before: &str) -> RowRange {
    RowRange { index: Some((RowIndex::Due, IDLE.to_owned())), from: from.to_owned(), before: before.to_owned() }
}

/// The rows of invoices whose reminders have begun, due before a day, the latest first.
pub fn collected_by_due(before: &str) -> RowRange {
    RowRange { index: Some((RowIndex::Due, COLLECTED.to_owned())), from: "0".to_owned(), before: before.to_owned() }
}

impl InvoiceFilter {
    /// The rows that have to be examined. No row is in two of the ranges.
    pub fn ranges(&self) -> Vec<RowRange> {
        if let Some(range) = self.customer.as_ref().and_then(customer_range) {
            return vec![range];
        }
        match self.is_overdue {
            Some(true) => [IDLE, OPEN].map(|of| whole(Some((RowIndex::DeadLetters, of.to_owned())))).to_vec(),
            Some(false) | None => vec![whole(None)],
        }
    }

    /// `today` is the day in the tenant's zone.
    pub fn matches(&self, row: &InvoiceRow, today: &str) -> bool {
        let due = row.due_on.as_deref();
        self.stage.is_none_or(|stage| stage == row.stage)
            && self.is_overdue.is_none_or(|is_overdue| is_overdue == row.is_overdue(today))
            && self.customer.as_ref().is_none_or(|customer| row.customer.as_ref() == Some(customer))
            && self.number.as_ref().is_none_or(|number| row.number.as_ref() == Some(number))
            && self.due_from.as_deref().is_none_or(|from| due.is_some_and(|due| from <= due))
            && self.due_to.as_deref().is_none_or(|to| due.is_some_and(|due| due <= to))
            && self.disagrees.is_none_or(|disagrees| disagrees == row.disagreement.is_some())
    }
}
