//! What happens to the invoices of one run: the facts that their source tells, and what people decide.

use domain::aggregate::AggregateKey;
use domain::collect::{DebtorCommand, SettingsCommand, defaults};
use domain::invoice::{Command, key_of};
use events::{
    BackfillSteps, CollectionSettings, FactSource, InvoiceEvent, InvoiceRef, InvoiceStatus, InvoiceTerms, LadderStep,
    Mode, NoticeGrouping, Recipient, RecipientType, StreamId, TenantId, Timestamp, Weekday,
};
use jiff::civil::{Date, date};
use tests::rng::SeededRng;

use crate::T0;
use crate::world::TENANTS;

pub const DAY_MS: i64 = 24 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;
/// 8 March 2027, a Monday: clocks go forward on the 14th in New York and on the 28th in Berlin, and back on 4 April in
/// Sydney.
pub const START: i64 = T0 + 52 * DAY_MS;
const FIRST_DAY: Date = date(2027, 3, 8);
/// People and the source of the facts act during this time.
pub const ACT_MS: i64 = 42 * DAY_MS;
pub const CUSTOMERS: usize = 4;
const INVOICES: usize = 10;
/// The number of timers that are lost.
const LOSSES: usize = 4;
/// The most facts and decisions about one invoice that come just as a function works on it.
const MAX_INTERRUPTIONS: usize = 4;

/// Something that arrives from outside.
#[derive(Debug, Clone)]
pub enum Act {
    Record {
        invoice: usize,
        fact: InvoiceEvent,
    },
    Decide {
        invoice: usize,
        command: Command,
    },
    Debtor {
        customer: usize,
        command: DebtorCommand,
    },
    Settings {
        tenant: usize,
        command: SettingsCommand,
    },
    /// A person has a customer reminded by a step.
    Remind {
        invoice: usize,
        step: &'static str,
    },
    Backfill {
        tenant: usize,
        steps: BackfillSteps,
        per_day: u32,
    },
    StopBackfill {
        tenant: usize,
    },
    Link {
        invoice: usize,
        act: LinkAct,
    },
}

/// What people do with the links of an invoice.
#[derive(Debug, Clone)]
pub enum LinkAct {
    Issue { valid_ms: Option<i64> },
    Open { times: u64 },
    Use { payment: String },
    Revoke,
}

pub struct Invoice {
    pub customer: usize,
    pub reference: InvoiceRef,
    total: i64,
    /// Everything that happened to it, in the order in which it happened.
    pub facts: Vec<InvoiceEvent>,
    interruptions: usize,
}

pub struct Plan {
    pub invoices: Vec<Invoice>,
    pub acts: Vec<(i64, Act)>,
    /// The times during which the functions are down.
    pub outages: Vec<(i64, i64)>,
    /// When a fault loses the timer of an invoice.
    pub losses: Vec<(i64, usize)>,
}

pub fn tenant_of(customer: usize) -> TenantId {
    TENANTS[customer % 2].1.parse().expect("a tenant")
}

pub fn customer_id(customer: usize) -> String {
    format!("c{customer}")
}

pub fn recipient(customer: usize) -> Recipient {
    Recipient { kind: RecipientType::Customer, id: Some(customer_id(customer)) }
}

fn day(days: i64) -> String {
    domain::collect::add_days(FIRST_DAY, days).expect("a day").to_string()
}

/// The day at a time, give or take the zone.
fn day_at(at: i64, days_later: i64) -> String {
    day((at - START) / DAY_MS + days_later)
}

fn person() -> String {
    "person".to_owned()
}

impl Invoice {
    pub fn stream(&self) -> StreamId {
        key_of(&tenant_of(self.customer), &self.reference).stream_id()
    }

    /// A source for the next fact.
    fn source(&self, at: i64) -> FactSource {
        let event = format!("evt-{}-{}", self.reference.id, self.facts.len());
        FactSource { event, occurred_at: Timestamp(at), revision: None }
    }

    fn payment(&self, at: i64, amount: i64, currency: &str) -> InvoiceEvent {
        InvoiceEvent::PaymentRecorded {
            payment: format!("pay-{}", self.facts.len()),
            amount,
            currency: currency.to_owned(),
            received_at: Timestamp(at),
            link: None,
            source: self.source(at),
        }
    }

    /// The reversal of the last payment, if there is one.
    fn reversal(&self, at: i64) -> Option<InvoiceEvent> {
        self.facts.iter().rev().find_map(|fact| match fact {
            InvoiceEvent::PaymentRecorded { payment, amount, .. } => Some(InvoiceEvent::PaymentReversed {
                refund: format!("refund-{}", self.facts.len()),
                payment: payment.clone(),
                amount: *amount,
                source: self.source(at),
            }),
            _ => None,
        })
    }
}

impl Invoice {
    /// The failure of the last payment, if there is one.
    fn failure(&self, at: i64) -> Option<InvoiceEvent> {
        self.facts.iter().rev().find_map(|fact| match fact {
            InvoiceEvent::PaymentRecorded { payment, .. } => {
                Some(InvoiceEvent::PaymentFailed { payment: payment.clone(), source: self.source(at) })
            }
            _ => None,
        })
    }
}

impl Plan {
    pub fn new(rng: &mut SeededRng) -> Plan {
        let mut plan = Plan { invoices: Vec::new(), acts: Vec::new(), outages: Vec::new(), losses: Vec::new() };
        (0..2).for_each(|tenant| plan.settings(rng, tenant));
        (0..CUSTOMERS).for_each(|customer| plan.customer(rng, customer));
        (0..INVOICES).for_each(|n| plan.invoice(rng, n));
        for longest in [2 * HOUR_MS, 30 * HOUR_MS, 100 * HOUR_MS] {
            let from = START + rng.below(ACT_MS as u64) as i64;
            plan.outages.push((from, from + rng.below(longest as u64) as i64));
        }
        for invoice in 0..INVOICES {
            while rng.percent(40) {
                let (at, step) = (START + rng.below(ACT_MS as u64) as i64, ["d1", "d7", "d30"][rng.below(3) as usize]);
                plan.acts.push((at, Act::Remind { invoice, step }));
            }
        }
        (0..2).for_each(|tenant| plan.backfill(rng, tenant));
        for _ in 0..LOSSES {
            plan.losses.push((START + rng.below(ACT_MS as u64) as i64, rng.below(INVOICES as u64) as usize));
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan
    }

    fn settings(&mut self, rng: &mut SeededRng, tenant: usize) {
        let mut settings = defaults();
        change_settings(rng, &mut settings);
        let mut act = |at: i64, command| self.acts.push((at, Act::Settings { tenant, command }));
        let change = |settings: &CollectionSettings| SettingsCommand::Change {
            expected: None,
            settings: Box::new(settings.clone()),
        };
        act(START, change(&settings));
        let enabled = START + 1_000 + rng.below(2) as i64 * rng.below(3 * DAY_MS as u64) as i64;
        act(enabled, SettingsCommand::Enable { from: day_at(enabled, 0) });
        for _ in 0..rng.below(3) {
            change_settings(rng, &mut settings);
            act(START + rng.below(ACT_MS as u64) as i64, change(&settings));
        }
        if rng.percent(20) {
            let off = enabled + rng.below(30 * DAY_MS as u64) as i64;
            act(off, SettingsCommand::Disable);
            let on = off + rng.below(2 * DAY_MS as u64) as i64;
            act(on, SettingsCommand::Enable { from: day_at(on, 0) });
        }
    }

    /// Most tenants take up what is older, some twice, and some stop it.
    fn backfill(&mut self, rng: &mut SeededRng, tenant: usize) {
        for _ in 0..rng.below(3) {
            let at = START + rng.below(25 * DAY_MS as u64) as i64;
            let steps = if rng.percent(75) { BackfillSteps::Current } else { BackfillSteps::None };
            let per_day = 1 + rng.below(2) as u32;
            // Several people may do it at once.
            for _ in 0..1 + rng.below(4) {
                self.acts.push((at, Act::Backfill { tenant, steps, per_day }));
            }
            if rng.percent(30) {
                self.acts.push((at + rng.below(2 * DAY_MS as u64) as i64, Act::StopBackfill { tenant }));
            }
        }
    }

    fn customer(&mut self, rng: &mut SeededRng, customer: usize) {
        let zones = [Some("America/New_York"), Some("Europe/Berlin"), Some("Australia/Sydney"), None];
        let mut act = |at: i64, command| self.acts.push((at, Act::Debtor { customer, command }));
        let change = |zone: Option<&str>, is_excluded| DebtorCommand::Change {
            expected: None,
            is_excluded,
            time_zone: zone.map(str::to_owned),
            ladder: None,
        };
        act(START, change(zones[rng.below(4) as usize], false));
        if rng.percent(30) {
            let at = START + rng.below(ACT_MS as u64) as i64;
            act(at, change(zones[rng.below(4) as usize], rng.percent(10)));
        }
        if rng.percent(40) {
            let at = START + rng.below(ACT_MS as u64) as i64;
            act(at, debtor_hold(rng, at));
            act(at + rng.below(6 * DAY_MS as u64) as i64, DebtorCommand::Resume { by: person() });
        }
    }

    fn invoice(&mut self, rng: &mut SeededRng, n: usize) {
        // Some invoices of one customer are due on the same day, and some before collections are switched on.
        let due = [-40, -20, -9, -1, 1, 3, 3, 4, 5, 8, 12][rng.below(11) as usize];
        let total = 20_000 + rng.below(70_000) as i64;
        let reference = InvoiceRef { mode: Mode::Live, namespace: "flowpos".to_owned(), id: n.to_string() };
        let customer = n % CUSTOMERS;
        self.invoices.push(Invoice { customer, reference, total, facts: Vec::new(), interruptions: 0 });
        let issued = START + 2_000 + rng.below(2) as i64 * rng.below(8 * DAY_MS as u64) as i64;
        let terms = InvoiceTerms {
            number: Some(format!("INV-{n}")),
            customer: Some(recipient(customer)),
            currency: Some("EUR".to_owned()),
            total: Some(total),
            due_on: Some(day(due)),
            status: Some(InvoiceStatus::Issued),
            ..InvoiceTerms::default()
        };
        self.tell(rng, n, issued, |invoice| {
            Some(InvoiceEvent::InvoiceIssued { terms, source: invoice.source(issued) })
        });
        let mut at = issued;
        for _ in 0..rng.below(6) {
            at += rng.below(12 * DAY_MS as u64) as i64;
            if at < START + ACT_MS {
                self.happen(rng, n, at);
            }
        }
        if rng.percent(30) {
            let at = issued + rng.below(30 * DAY_MS as u64) as i64;
            self.acts.push((at, Act::Decide { invoice: n, command: Command::Restart { from: day(0), by: person() } }));
        }
    }

    /// Something happens to an invoice.
    fn happen(&mut self, rng: &mut SeededRng, n: usize, at: i64) {
        let later = at + HOUR_MS + rng.below(4 * DAY_MS as u64) as i64;
        let total = self.invoices[n].total;
        match rng.below(14) {
            0..4 => {
                let amount = total / (3 + rng.below(20) as i64);
                self.tell(rng, n, at, |invoice| Some(invoice.payment(at, amount, "EUR")));
            }
            4..6 => {
                self.tell(rng, n, at, |invoice| Some(invoice.payment(at, total, "EUR")));
                if rng.percent(70) {
                    let fails = rng.percent(40);
                    self.tell(
                        rng,
                        n,
                        later,
                        |invoice| {
                            if fails { invoice.failure(later) } else { invoice.reversal(later) }
                        },
                    );
                }
            }
            6 => self.tell(rng, n, at, |invoice| invoice.reversal(at)),
            7 => {
                self.tell(rng, n, at, |invoice| Some(InvoiceEvent::InvoiceDisputed { source: invoice.source(at) }));
                let resolved = |invoice: &Invoice| InvoiceEvent::DisputeResolved { source: invoice.source(later) };
                self.tell(rng, n, later, |invoice| Some(resolved(invoice)));
            }
            8 => {
                self.tell(rng, n, at, |invoice| Some(InvoiceEvent::InvoiceVoided { source: invoice.source(at) }));
                if rng.percent(70) {
                    let source = |invoice: &Invoice| invoice.source(later);
                    self.tell(rng, n, later, |invoice| {
                        Some(InvoiceEvent::InvoiceReinstated { source: source(invoice) })
                    });
                }
            }
            9 => {
                let balance = rng.below(total as u64) as i64;
                self.tell(rng, n, at, |invoice| {
                    Some(InvoiceEvent::BalanceStated { balance, source: invoice.source(at) })
                });
            }
            10 => {
                let terms =
                    InvoiceTerms { due_on: Some(day_at(at, rng.below(12) as i64 - 4)), ..InvoiceTerms::default() };
                self.tell(rng, n, at, |invoice| {
                    Some(InvoiceEvent::InvoiceChanged { terms, source: invoice.source(at) })
                });
            }
            11 if rng.percent(20) => self.tell(rng, n, at, |invoice| Some(invoice.payment(at, 100, "USD"))),
            _ => {
                let command = match rng.below(3) {
                    0 => Command::Pause { until: Some(day_at(at, rng.below(4) as i64)), by: person() },
                    1 => Command::Pause { until: None, by: person() },
                    _ => Command::Promise { on: day_at(at, rng.below(4) as i64), amount: None, by: person() },
                };
                self.acts.push((at, Act::Decide { invoice: n, command }));
                self.acts.push((later, Act::Decide { invoice: n, command: Command::Resume { by: person() } }));
            }
        }
    }

    /// A fact happens at this time. It arrives later, once or several times.
    fn tell(&mut self, rng: &mut SeededRng, n: usize, at: i64, fact: impl FnOnce(&Invoice) -> Option<InvoiceEvent>) {
        let Some(fact) = fact(&self.invoices[n]) else { return };
        self.invoices[n].facts.push(fact.clone());
        for _ in 0..1 + rng.below(3) / 2 {
            let longest = [5_000, 5_000, 2 * HOUR_MS, 2 * DAY_MS][rng.below(4) as usize];
            let arrives = at + rng.below(longest as u64) as i64;
            self.acts.push((arrives, Act::Record { invoice: n, fact: fact.clone() }));
        }
    }

    /// Something happens to an invoice just as a function works on it. What arrives now is first in the acts.
    pub fn interrupt(&mut self, rng: &mut SeededRng, n: usize, now: i64) {
        if MAX_INTERRUPTIONS <= self.invoices[n].interruptions {
            return;
        }
        self.invoices[n].interruptions += 1;
        let before = self.acts.len();
        if rng.percent(10) {
            let customer = self.invoices[n].customer;
            self.acts.push((now, Act::Debtor { customer, command: debtor_hold(rng, now) }));
            let command = DebtorCommand::Resume { by: person() };
            self.acts.push((now + DAY_MS, Act::Debtor { customer, command }));
        } else {
            self.happen(rng, n, now);
        }
        // The first one arrives at once.
        self.acts[before..].iter_mut().take(1).for_each(|(at, _)| *at = now);
    }
}

fn debtor_hold(rng: &mut SeededRng, at: i64) -> DebtorCommand {
    match rng.below(3) {
        0 => DebtorCommand::Pause { until: None, by: person() },
        1 => DebtorCommand::Pause { until: Some(day_at(at, rng.below(5) as i64)), by: person() },
        _ => DebtorCommand::Promise { on: day_at(at, rng.below(5) as i64), by: person() },
    }
}

fn change_settings(rng: &mut SeededRng, settings: &mut CollectionSettings) {
    settings.time = ["09:00", "09:00", "08:30", "10:15"][rng.below(4) as usize].to_owned();
    settings.until = ["18:00", "18:00", "12:00"][rng.below(3) as usize].to_owned();
    settings.time_zone =
        ["America/Mexico_City", "Asia/Kolkata", "UTC", "Australia/Sydney"][rng.below(4) as usize].to_owned();
    settings.days = if rng.percent(50) { Weekday::ALL.to_vec() } else { Weekday::ALL[..5].to_vec() };
    settings.holidays = if rng.percent(50) { vec![day(10), day(11)] } else { Vec::new() };
    settings.grouping = if rng.percent(20) { NoticeGrouping::None } else { NoticeGrouping::Customer };
    settings.max_per_day = 1 + u8::from(rng.percent(25));
    settings.min_days_between = if rng.percent(25) { 2 } else { 0 };
    settings.ladder = defaults().ladder;
    if rng.percent(30) {
        settings.ladder[1].after_days = 5;
        let more = LadderStep { id: "d14".to_owned(), after_days: 14, ..settings.ladder[1].clone() };
        settings.ladder.insert(2, more);
    }
}
