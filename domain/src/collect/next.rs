//! What happens next to the reminders of one invoice.

use std::collections::BTreeMap;

use events::{
    CollectionCause, CollectionEndReason, CollectionSettings, InvoiceKind, LadderStep, StepPostponeReason,
    StepSkipReason, Timestamp,
};
use jiff::civil::Date;

use super::calendar::{Calendar, add_days, parse_day};
use super::debtor::DebtorState;
use super::settings::CollectionsState;
use crate::invoice::{Hold, InvoiceState, StepOutcome};

/// Why there are no reminders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestReason {
    /// Collections are off.
    Off,
    /// Its reminders have not begun: it was due before collections were switched on, or none were asked for.
    NotBegun,
    Settled,
    Voided,
    WrittenOff,
    Disputed,
    /// A person paused it, without a date.
    Paused,
    /// It has no due date, too little is owed, it is a draft, or a payment is in another currency.
    NotCollectible,
    /// The customer is never reminded.
    Excluded,
    LadderOver,
    Erased,
}

impl RestReason {
    /// The code in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            RestReason::Off => "collections_off",
            RestReason::NotBegun => "before_collections",
            RestReason::Settled => "settled",
            RestReason::Voided => "voided",
            RestReason::WrittenOff => "written_off",
            RestReason::Disputed => "disputed",
            RestReason::Paused => "paused",
            RestReason::NotCollectible => "not_collectible",
            RestReason::Excluded => "excluded",
            RestReason::LadderOver => "ladder_over",
            RestReason::Erased => "erased",
        }
    }

    /// How reminders that had begun end for this reason. `None` if the invoice itself shows it.
    pub fn end(self) -> Option<CollectionEndReason> {
        match self {
            RestReason::Off => Some(CollectionEndReason::SwitchedOff),
            RestReason::NotCollectible | RestReason::Excluded => Some(CollectionEndReason::NotCollectible),
            RestReason::LadderOver => Some(CollectionEndReason::LadderOver),
            RestReason::NotBegun
            | RestReason::Settled
            | RestReason::Voided
            | RestReason::WrittenOff
            | RestReason::Disputed
            | RestReason::Paused
            | RestReason::Erased => None,
        }
    }
}

/// What a reminder waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    NotOverdue,
    Promise,
    Paused,
    /// The time of day at which reminders leave.
    NextDay,
    /// The step that is under way.
    Triggered,
}

impl WaitReason {
    /// The code in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitReason::NotOverdue => "not_overdue",
            WaitReason::Promise => "promise_until",
            WaitReason::Paused => "paused",
            WaitReason::NextDay => "next_day",
            WaitReason::Triggered => "triggered",
        }
    }
}

/// A step that sends nothing, and why.
pub type Skipped = (String, StepSkipReason);

/// What happens next to the reminders of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until a fact or a setting changes.
    Rest(RestReason),
    /// Nothing before this time.
    Wait {
        at: Timestamp,
        reason: WaitReason,
    },
    /// The step joins a notice of this day, which leaves at `due_at`. Others are skipped for it.
    Do {
        step: Box<LadderStep>,
        day: Date,
        due_at: Timestamp,
        skipped: Vec<Skipped>,
    },
    /// Steps that will not be sent.
    Skip(Vec<Skipped>),
    Postpone {
        step: String,
        until: Date,
        reason: StepPostponeReason,
    },
}

/// A step that was not done, with its day.
struct Candidate<'a> {
    step: &'a LadderStep,
    /// The day on which it is due.
    day: Date,
    due_at: Timestamp,
}

struct Decision<'a> {
    invoice: &'a InvoiceState,
    settings: &'a CollectionSettings,
    debtor: &'a DebtorState,
    calendar: Calendar<'a>,
    now: Timestamp,
    today: Date,
}

/// Decides on the reminders of an invoice. `settings` are the tenant's, and `debtor` is what its customer has agreed.
pub fn next(
    invoice: &InvoiceState,
    collections: &CollectionsState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    now: Timestamp,
) -> Next {
    if let Some(reason) = rest(invoice, collections, settings, debtor) {
        return Next::Rest(reason);
    }
    let decide = || {
        let calendar = Calendar::new(settings, [debtor.time_zone.as_deref(), invoice.facts.time_zone()])?;
        let today = calendar.local(now)?.date();
        Decision { invoice, settings, debtor, calendar, now, today }.next()
    };
    // Only settings or dates that this version cannot read lead nowhere.
    decide().unwrap_or(Next::Rest(RestReason::NotCollectible))
}

/// The days of the steps that were not decided on yet. `None` if its reminders have not begun.
pub(super) fn steps_to_come(
    invoice: &InvoiceState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    now: Timestamp,
) -> Option<BTreeMap<String, Date>> {
    let calendar = Calendar::new(settings, [debtor.time_zone.as_deref(), invoice.facts.time_zone()])?;
    let today = calendar.local(now)?.date();
    let decision = Decision { invoice, settings, debtor, calendar, now, today };
    let (candidates, _) = decision.candidates()?;
    Some(candidates.into_iter().map(|candidate| (candidate.step.id.clone(), candidate.day)).collect())
}

/// The step that an invoice whose reminders begin now has reached, if it is still to be sent.
pub(super) fn current_step(
    invoice: &InvoiceState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    now: Timestamp,
) -> Option<LadderStep> {
    let calendar = Calendar::new(settings, [debtor.time_zone.as_deref(), invoice.facts.time_zone()])?;
    let today = calendar.local(now)?.date();
    let due_on = parse_day(invoice.facts.due_on()?)?;
    let decision = Decision { invoice, settings, debtor, calendar, now, today };
    let (candidates, _) = decision.candidates()?;
    let was_due = |step: &LadderStep| {
        let planned = decision.calendar.allowed_from(add_days(due_on, i64::from(step.after_days))?)?;
        Some(decision.calendar.start_of(planned)? < now)
    };
    let reached = candidates.into_iter().filter(|candidate| was_due(candidate.step) == Some(true));
    reached.max_by_key(|candidate| candidate.step.after_days).map(|candidate| candidate.step.clone())
}

/// Why there are no reminders. `None` if there may be.
pub(super) fn rest(
    invoice: &InvoiceState,
    collections: &CollectionsState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
) -> Option<RestReason> {
    use crate::invoice::Ended;
    let facts = &invoice.facts;
    let amounts = facts.amounts();
    if invoice.is_erased {
        return Some(RestReason::Erased);
    }
    match facts.ended() {
        Some(Ended::Voided) => return Some(RestReason::Voided),
        Some(Ended::WrittenOff) => return Some(RestReason::WrittenOff),
        None => (),
    }
    if amounts.is_some_and(|amounts| amounts.owed == 0) {
        return Some(RestReason::Settled);
    }
    if facts.is_disputed() {
        return Some(RestReason::Disputed);
    }
    let is_too_small = amounts.is_none_or(|amounts| amounts.owed < settings.minimum_minor);
    let is_sale_without_date = facts.kind() == InvoiceKind::Sale && facts.due_on().is_none();
    if !invoice.is_collectible() || is_too_small || is_sale_without_date {
        return Some(RestReason::NotCollectible);
    }
    if debtor.is_excluded {
        return Some(RestReason::Excluded);
    }
    if collections.enabled_from.is_none() {
        return Some(RestReason::Off);
    }
    if invoice.is_held() {
        return Some(RestReason::Paused);
    }
    match (&invoice.collection, invoice.collection_end) {
        (Some(_), _) => None,
        (None, Some(CollectionEndReason::LadderOver)) => Some(RestReason::LadderOver),
        (None, _) => Some(RestReason::NotBegun),
    }
}

impl Decision<'_> {
    fn next(&self) -> Option<Next> {
        if let Some((record, _)) = self.invoice.triggered() {
            return Some(Next::Wait { at: record.at + super::GATHER_LATE_MS, reason: WaitReason::Triggered });
        }
        if let Some(wait) = self.held()? {
            return Some(wait);
        }
        let (candidates, known_too_late) = self.candidates()?;
        if !known_too_late.is_empty() {
            return Some(Next::Skip(known_too_late));
        }
        let gathers_at = |candidate: &Candidate| candidate.due_at - i64::from(self.settings.gather_seconds) * 1_000;
        let (due, later): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| gathers_at(candidate) <= self.now);
        let Some(latest) = due.last() else {
            return Some(match later.iter().map(gathers_at).min() {
                Some(at) => Next::Wait { at, reason: WaitReason::NotOverdue },
                None => Next::Rest(RestReason::LadderOver),
            });
        };
        let skipped: Vec<Skipped> = due[..due.len() - 1]
            .iter()
            .map(|candidate| (candidate.step.id.clone(), StepSkipReason::Superseded))
            .collect();
        self.perform(latest, skipped)
    }

    /// The wait of an invoice or a customer that is paused, or has promised to pay.
    fn held(&self) -> Option<Option<Next>> {
        for hold in [&self.invoice.hold, &self.debtor.hold].into_iter().flatten() {
            let reason = match hold {
                Hold::Paused { .. } => WaitReason::Paused,
                Hold::Promised { .. } => WaitReason::Promise,
            };
            let resumes = match hold.through() {
                Some(through) => self.calendar.allowed_after(parse_day(through)?)?,
                // A person ends it. The invoice looks again every day.
                None => self.calendar.allowed_after(self.today)?,
            };
            let at = self.gather_start(resumes)?;
            if hold.through().is_none() || self.now < at {
                return Some(Some(Next::Wait { at, reason }));
            }
        }
        Some(None)
    }

    /// When invoices of a day begin to gather.
    fn gather_start(&self, day: Date) -> Option<Timestamp> {
        Some(self.calendar.start_of(day)? - i64::from(self.settings.gather_seconds) * 1_000)
    }

    /// The steps that can be sent, by their times, and those that were due before the invoice was known here.
    fn candidates(&self) -> Option<(Vec<Candidate<'_>>, Vec<Skipped>)> {
        let due_on = parse_day(self.invoice.facts.due_on()?)?;
        let start = self.invoice.collection.as_ref()?;
        let seen_at = self.invoice.first_seen_at?.max(start.at);
        let seen_on = self.calendar.local(seen_at)?.date();
        let grace = add_days(seen_on, i64::from(self.settings.grace_after_first_seen_days))?;
        let ladder = self.debtor.ladder.as_ref().unwrap_or(&self.settings.ladder);
        let mut open = Vec::new();
        for step in ladder {
            let until = match self.invoice.outcome(&step.id) {
                None => None,
                Some(StepOutcome::Postponed { until, .. }) => Some(parse_day(until)?),
                Some(StepOutcome::Triggered { .. } | StepOutcome::Issued { .. } | StepOutcome::Skipped(_)) => continue,
            };
            let planned = self.calendar.allowed_from(add_days(due_on, i64::from(step.after_days))?)?;
            open.push((step, planned, until));
        }
        open.sort_by_key(|(step, planned, _)| (*planned, step.after_days));
        let was_due = |planned: Date| self.calendar.start_of(planned).is_some_and(|at| at < seen_at);
        let current = open.iter().rposition(|(_, planned, _)| was_due(*planned));
        let current = current.filter(|_| start.cause == CollectionCause::Backfill && !self.has_had_step(start.at));
        let (mut candidates, mut known_too_late) = (Vec::new(), Vec::new());
        for (index, (step, planned, until)) in open.into_iter().enumerate() {
            let is_current = Some(index) == current;
            if was_due(planned) && until.is_none() && self.invoice.round == 0 && !is_current {
                known_too_late.push((step.id.clone(), StepSkipReason::KnownTooLate));
                continue;
            }
            // An invoice is not reminded of on the day on which it became known.
            let earliest = if is_current { seen_on } else { grace };
            let day = until.unwrap_or(planned).max(if planned < earliest { earliest } else { planned });
            let day = self.calendar.allowed_from(day)?;
            candidates.push(Candidate { step, day, due_at: self.calendar.start_of(day)? });
        }
        candidates.sort_by_key(|candidate| (candidate.day, candidate.step.after_days));
        Some((candidates, known_too_late))
    }

    /// Whether a step was decided on since the reminders began, other than by passing over it. A backfill brings an
    /// invoice one step of those that were due before, whatever the ladder becomes.
    fn has_had_step(&self, since: Timestamp) -> bool {
        self.invoice.steps.iter().any(|record| {
            let is_decided = match record.outcome {
                StepOutcome::Triggered { .. } | StepOutcome::Issued { .. } => true,
                StepOutcome::Skipped(reason) => reason != StepSkipReason::KnownTooLate,
                StepOutcome::Postponed { .. } => false,
            };
            is_decided && record.round == self.invoice.round && since <= record.at
        })
    }

    /// The step that is due. It may have to wait for another day.
    fn perform(&self, candidate: &Candidate<'_>, mut skipped: Vec<Skipped>) -> Option<Next> {
        let Candidate { step, day, .. } = candidate;
        let last_day = add_days(*day, i64::from(self.settings.late_days))?;
        let send_on = if *day < self.today { self.calendar.allowed_from(self.today)? } else { *day };
        let send_on =
            if self.calendar.end_of(send_on)? <= self.now { self.calendar.allowed_after(send_on)? } else { send_on };
        if last_day < send_on {
            skipped.push((step.id.clone(), StepSkipReason::TooLate));
            return Some(Next::Skip(skipped));
        }
        let gathers_at = self.gather_start(send_on)?;
        if self.now < gathers_at {
            return Some(Next::Wait { at: gathers_at, reason: WaitReason::NextDay });
        }
        if let Some((until, reason)) = self.postponed(send_on)? {
            return Some(Next::Postpone { step: step.id.clone(), until, reason });
        }
        let due_at = self.calendar.start_of(send_on)?;
        Some(Next::Do { step: Box::new((*step).clone()), day: send_on, due_at, skipped })
    }

    /// The day to which the customer's other notices move this one.
    fn postponed(&self, day: Date) -> Option<Option<(Date, StepPostponeReason)>> {
        let mode = self.invoice.reference.as_ref()?.mode;
        let notices = self.debtor.notices.iter().filter(|sent| sent.mode == mode);
        let days: Vec<Date> = notices.filter_map(|sent| parse_day(&sent.day)).collect();
        let today = days.iter().filter(|sent| **sent == day).count();
        if usize::from(self.settings.max_per_day) <= today {
            return Some(Some((self.calendar.allowed_after(day)?, StepPostponeReason::MaxPerDay)));
        }
        let Some(last) = days.into_iter().filter(|sent| *sent < day).max() else { return Some(None) };
        let free = add_days(last, i64::from(self.settings.min_days_between) + 1)?;
        if day < free && self.settings.min_days_between > 0 {
            return Some(Some((self.calendar.allowed_from(free)?, StepPostponeReason::MinDaysBetween)));
        }
        Some(None)
    }
}
