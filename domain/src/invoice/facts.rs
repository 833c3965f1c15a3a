//! What is known of an invoice. The facts are folded in such a way that their order does not matter.

use std::collections::BTreeMap;

use events::{
    FactSource, InvoiceDocument, InvoiceEvent, InvoiceKind, InvoiceStatus, InvoiceTerms, Recipient, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What decides between two facts about the same thing: when they happened, then the source's revision, then the event's
/// id. A revision only decides between facts of one time, because statements, payments and what people decide have none
/// and could not be compared with facts that have one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FactOrder(Timestamp, Option<u64>, String);

impl From<&FactSource> for FactOrder {
    fn from(source: &FactSource) -> FactOrder {
        FactOrder(source.occurred_at, source.revision, source.event.clone())
    }
}

/// A value that each fact about it can replace. The fact with the greatest order applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register<T>(Option<(FactOrder, T)>);

impl<T> Default for Register<T> {
    fn default() -> Self {
        Register(None)
    }
}

impl<T> Register<T> {
    fn set(&mut self, source: &FactSource, value: T) {
        let order = FactOrder::from(source);
        if self.0.as_ref().is_none_or(|(current, _)| *current < order) {
            self.0 = Some((order, value));
        }
    }

    fn set_some(&mut self, source: &FactSource, value: Option<T>) {
        if let Some(value) = value {
            self.set(source, value);
        }
    }

    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, value)| value)
    }

    /// Whether its fact applies after that of another register.
    fn is_after<U>(&self, other: &Register<U>) -> bool {
        let order = |register: Option<&FactOrder>| register.cloned();
        order(other.0.as_ref().map(|(order, _)| order)) < order(self.0.as_ref().map(|(order, _)| order))
    }

    /// When its fact happened.
    fn occurred_at(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|(FactOrder(at, ..), _)| *at)
    }
}

/// A payment for the invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub amount: i64,
    pub currency: String,
    pub received_at: Timestamp,
    /// The payment link it came by.
    pub link: Option<String>,
    occurred_at: Timestamp,
}

/// A payment that was refunded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversal {
    pub payment: String,
    pub amount: i64,
    occurred_at: Timestamp,
}

/// What the source last said that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StatedBalance {
    amount: i64,
    at: Timestamp,
}

/// What is known of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Whether it was issued. A payment can come first.
    pub is_issued: bool,
    number: Register<String>,
    kind: Register<InvoiceKind>,
    customer: Register<Recipient>,
    currency: Register<String>,
    total: Register<i64>,
    issued_on: Register<String>,
    due_on: Register<String>,
    status: Register<InvoiceStatus>,
    document: Register<InvoiceDocument>,
    business_name: Register<String>,
    time_zone: Register<String>,
    balance: Register<StatedBalance>,
    /// Whether it is void or written off, and which of them.
    ended: Register<Option<Ended>>,
    is_disputed: Register<bool>,
    payments: BTreeMap<String, Register<Payment>>,
    reversals: BTreeMap<String, Register<Reversal>>,
    /// The payments that failed, recorded or not.
    failures: BTreeMap<String, Register<()>>,
}

/// Why nothing is expected to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    Voided,
    WrittenOff,
}

/// The amounts of an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    pub total: i64,
    /// What is owed, at least 0. Where payments and the stated balance disagree, it is the smaller amount, because a
    /// missing reminder does less harm than a wrong one.
    pub owed: i64,
    /// What was paid, less what was reversed.
    pub paid: i64,
    /// The amounts that payments and the stated balance come to, if they differ.
    pub disagreement: Option<(i64, i64)>,
}

impl Facts {
    /// Folds one fact. What is decided about reminders is no fact.
    pub(super) fn apply(&mut self, event: &InvoiceEvent) {
        match event {
            InvoiceEvent::InvoiceIssued { terms, source } => {
                self.is_issued = true;
                self.apply_terms(terms, source);
            }
            InvoiceEvent::InvoiceChanged { terms, source } => self.apply_terms(terms, source),
            InvoiceEvent::BalanceStated { balance, source } => {
                self.balance.set(source, StatedBalance { amount: *balance, at: source.occurred_at });
            }
            InvoiceEvent::PaymentRecorded { payment, amount, currency, received_at, link, source } => {
                let (currency, link, occurred_at) = (currency.clone(), link.clone(), source.occurred_at);
                let recorded = Payment { amount: *amount, currency, received_at: *received_at, link, occurred_at };
                self.payments.entry(payment.clone()).or_default().set(source, recorded);
            }
            InvoiceEvent::PaymentReversed { refund, payment, amount, source } => {
                let (payment, occurred_at) = (payment.clone(), source.occurred_at);
                let reversal = Reversal { payment, amount: *amount, occurred_at };
                self.reversals.entry(refund.clone()).or_default().set(source, reversal);
            }
            InvoiceEvent::PaymentFailed { payment, source } => {
                self.failures.entry(payment.clone()).or_default().set(source, ());
            }
            InvoiceEvent::InvoiceVoided { source } => self.ended.set(source, Some(Ended::Voided)),
            InvoiceEvent::InvoiceWrittenOff { source } => self.ended.set(source, Some(Ended::WrittenOff)),
            InvoiceEvent::InvoiceReinstated { source } => self.ended.set(source, None),
            InvoiceEvent::InvoiceDisputed { source } => self.is_disputed.set(source, true),
            InvoiceEvent::DisputeResolved { source } => self.is_disputed.set(source, false),
            InvoiceEvent::InvoiceErased { .. } => self.document = Register::default(),
            InvoiceEvent::InvoiceFirstSeen { .. }
            | InvoiceEvent::CollectionPaused { .. }
            | InvoiceEvent::CollectionResumed { .. }
            | InvoiceEvent::PaymentPromised { .. }
            | InvoiceEvent::CollectionBegun { .. }
            | InvoiceEvent::CollectionEnded { .. }
            | InvoiceEvent::CollectionRestarted { .. }
            | InvoiceEvent::InvoiceSent { .. }
            | InvoiceEvent::InvoiceSendingRequested { .. }
            | InvoiceEvent::InvoiceSendingEnded { .. }
            | InvoiceEvent::PaymentLinkAdded { .. }
            | InvoiceEvent::ReminderStepTriggered { .. }
            | InvoiceEvent::ReminderStepIssued { .. }
            | InvoiceEvent::ReminderStepSkipped { .. }
            | InvoiceEvent::ReminderStepPostponed { .. }
            | InvoiceEvent::PaymentAttributed { .. } => (),
        }
    }

    fn apply_terms(&mut self, terms: &InvoiceTerms, source: &FactSource) {
        let terms = terms.clone();
        let InvoiceTerms { number, kind, customer, currency, total, issued_on, due_on, status, .. } = terms;
        let InvoiceTerms { document, business_name, time_zone, .. } = terms;
        self.number.set_some(source, number);
        self.kind.set_some(source, kind);
        self.customer.set_some(source, customer);
        self.currency.set_some(source, currency);
        self.total.set_some(source, total);
        self.issued_on.set_some(source, issued_on);
        self.due_on.set_some(source, due_on);
        self.status.set_some(source, status);
        self.document.set_some(source, document);
        self.business_name.set_some(source, business_name);
        self.time_zone.set_some(source, time_zone);
    }

    /// What the invoice says now.
    pub fn terms(&self) -> InvoiceTerms {
        InvoiceTerms {
            number: self.number.get().cloned(),
            kind: self.kind.get().copied(),
            customer: self.customer.get().cloned(),
            currency: self.currency.get().cloned(),
            total: self.total.get().copied(),
            issued_on: self.issued_on.get().cloned(),
            due_on: self.due_on.get().cloned(),
            status: self.status.get().copied(),
            document: self.document.get().cloned(),
            business_name: self.business_name.get().cloned(),
            time_zone: self.time_zone.get().cloned(),
        }
    }

    pub fn due_on(&self) -> Option<&str> {
        self.due_on.get().map(String::as_str)
    }

    /// The customer's time zone, by its IANA name.
    pub fn time_zone(&self) -> Option<&str> {
        self.time_zone.get().map(String::as_str)
    }

    pub fn status(&self) -> Option<InvoiceStatus> {
        self.status.get().copied()
    }

    pub fn kind(&self) -> InvoiceKind {
        self.kind.get().copied().unwrap_or(InvoiceKind::Invoice)
    }

    /// The currency of the invoice, by ISO 4217.
    pub fn currency(&self) -> Option<&str> {
        self.currency.get().map(String::as_str)
    }

    pub fn customer(&self) -> Option<&Recipient> {
        self.customer.get()
    }

    pub fn ended(&self) -> Option<Ended> {
        self.ended.get().copied().flatten()
    }

    pub fn is_disputed(&self) -> bool {
        self.is_disputed.get().copied().unwrap_or(false)
    }

    /// The payments, by their ids.
    pub fn payments(&self) -> impl Iterator<Item = (&str, &Payment)> {
        self.payments.iter().filter_map(|(id, payment)| Some((id.as_str(), payment.get()?)))
    }

    /// When the source last stated what is owed.
    pub fn stated_at(&self) -> Option<Timestamp> {
        self.balance.get().map(|stated| stated.at)
    }

    /// The number of payments, reversals and failures.
    pub(super) fn entries(&self) -> usize {
        self.payments.len() + self.reversals.len() + self.failures.len()
    }

    /// The payments that failed and were not recorded again later, by their ids, and when they failed.
    pub fn failed_payments(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.failures.keys().filter_map(|id| Some((id.as_str(), self.failed_at(id)?)))
    }

    /// When a payment failed. `None` if it has not, or was recorded again later.
    pub fn failed_at(&self, payment: &str) -> Option<Timestamp> {
        let failure = self.failures.get(payment)?;
        let is_recorded_later = self.payments.get(payment).is_some_and(|payment| payment.is_after(failure));
        failure.occurred_at().filter(|_| !is_recorded_later)
    }

    /// The document of what the invoice says now. `None` if it has changed since the document was made.
    pub fn current_document(&self) -> Option<&InvoiceDocument> {
        let made = self.document.occurred_at()?;
        let said = [self.number.occurred_at(), self.total.occurred_at(), self.currency.occurred_at()];
        self.document.get().filter(|_| said.into_iter().flatten().all(|said| said <= made))
    }

    fn reversals(&self) -> impl Iterator<Item = &Reversal> {
        self.reversals.values().filter_map(Register::get)
    }

    /// Whether a payment is in another currency than the invoice. It counts nothing, and a person has to look at it.
    pub fn has_foreign_payment(&self) -> bool {
        let currency = self.currency.get();
        currency.is_some_and(|currency| self.payments().any(|(_, payment)| payment.currency != *currency))
    }

    /// What was refunded of a payment, at most all of it. What is not known to have been paid cannot be refunded, so that
    /// never more is owed than the invoice says.
    fn refunded(&self, id: &str, payment: &Payment, counts: impl Fn(Timestamp) -> bool) -> i64 {
        let refunds = self.reversals().filter(|reversal| reversal.payment == id && counts(reversal.occurred_at));
        refunds.fold(0_i64, |sum, refund| sum.saturating_add(refund.amount)).min(payment.amount)
    }

    /// What is left of a payment after its refunds, which a failure takes back.
    fn left_of(&self, id: &str, payment: &Payment) -> i64 {
        payment.amount - self.refunded(id, payment, |_| true)
    }

    /// The amounts. `None` before the invoice is issued.
    pub fn amounts(&self) -> Option<Amounts> {
        let total = self.total.get().copied().filter(|_| self.is_issued)?;
        let counts = |payment: &Payment| self.currency.get().is_none_or(|currency| payment.currency == *currency);
        let net_since = |since: Option<Timestamp>| -> i64 {
            let is_later = |at: Timestamp| since.is_none_or(|since| since < at);
            self.payments().filter(|(_, payment)| counts(payment)).fold(0, |net, (id, payment)| {
                let paid = if is_later(payment.occurred_at) { payment.amount } else { 0 };
                let refunded = self.refunded(id, payment, |_| true) - self.refunded(id, payment, |at| !is_later(at));
                let failed = if self.failed_at(id).is_some_and(is_later) { self.left_of(id, payment) } else { 0 };
                net.saturating_add(paid).saturating_sub(refunded).saturating_sub(failed)
            })
        };
        let paid = net_since(None);
        let by_payments = total.saturating_sub(paid).clamp(0, total.max(0));
        let stated = self.balance.get();
        let by_balance = stated.map(|stated| stated.amount.saturating_sub(net_since(Some(stated.at))).max(0));
        let owed = by_balance.map_or(by_payments, |by_balance| by_balance.min(by_payments));
        let disagreement = by_balance.filter(|balance| *balance != by_payments).map(|balance| (by_payments, balance));
        Some(Amounts { total, owed, paid, disagreement })
    }
}
