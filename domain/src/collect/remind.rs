//! Whether a person can have a customer reminded of an invoice now, by a step of the ladder.

use events::{CollectionSettings, Timestamp};
use jiff::civil::Date;

use super::calendar::{Calendar, parse_day};
use super::debtor::DebtorState;
use super::next::{RestReason, WaitReason, rest};
use super::settings::CollectionsState;
use crate::invoice::{Hold, InvoiceState, StepOutcome};

/// Why a customer is not reminded by a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReminderRefusal {
    /// The ladder has no such step, but these ones.
    UnknownStep(Vec<String>),
    /// It was sent, or skipped for good.
    StepDone,
    /// Another step of the invoice joins a notice at present.
    StepUnderWay,
    Rest(RestReason),
    Wait(WaitReason),
    /// Every notice of the day is sent.
    MaxPerDay,
}

impl ReminderRefusal {
    /// The code in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            ReminderRefusal::UnknownStep(_) => "unknown_step",
            ReminderRefusal::StepDone => "step_done",
            ReminderRefusal::StepUnderWay => "step_under_way",
            ReminderRefusal::Rest(reason) => reason.as_str(),
            ReminderRefusal::Wait(reason) => reason.as_str(),
            ReminderRefusal::MaxPerDay => "max_per_day",
        }
    }

    /// A sentence for people.
    pub fn text(&self) -> String {
        match self {
            ReminderRefusal::UnknownStep(steps) => format!("The ladder has the steps {}.", steps.join(", ")),
            ReminderRefusal::StepDone => "This step was done. POST …/restart lets the ladder begin again.".to_owned(),
            ReminderRefusal::StepUnderWay => {
                "Another step of this invoice is under way. Try again in a minute.".to_owned()
            }
            ReminderRefusal::Rest(RestReason::Settled) => "Nothing is owed.".to_owned(),
            ReminderRefusal::Rest(RestReason::NotBegun) => {
                "The reminders of this invoice have not begun. POST …/restart begins them.".to_owned()
            }
            ReminderRefusal::Rest(reason) => format!("This invoice is not collected: {}.", reason.as_str()),
            ReminderRefusal::Wait(reason) => {
                format!("There are no reminders now: {}. POST …/resume ends that.", reason.as_str())
            }
            ReminderRefusal::MaxPerDay => "The customer has had as many notices today as a day allows.".to_owned(),
        }
    }
}

/// The day of the notice by which a customer is reminded by a step: today, or the next allowed day if today has no more
/// time for reminders. `None` if the step joins a notice already.
///
/// # Errors
///
/// [`ReminderRefusal`]
pub fn remind_on(
    invoice: &InvoiceState,
    collections: &CollectionsState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    step: &str,
    now: Timestamp,
) -> Result<Option<Date>, ReminderRefusal> {
    let ladder = debtor.ladder.as_ref().unwrap_or(&settings.ladder);
    if !ladder.iter().any(|known| known.id == step) {
        return Err(ReminderRefusal::UnknownStep(ladder.iter().map(|known| known.id.clone()).collect()));
    }
    match invoice.outcome(step) {
        Some(StepOutcome::Triggered { .. }) => return Ok(None),
        Some(StepOutcome::Issued { .. } | StepOutcome::Skipped(_)) => return Err(ReminderRefusal::StepDone),
        None | Some(StepOutcome::Postponed { .. }) => (),
    }
    if invoice.triggered().is_some() {
        return Err(ReminderRefusal::StepUnderWay);
    }
    if let Some(reason) = rest(invoice, collections, settings, debtor) {
        return Err(ReminderRefusal::Rest(reason));
    }
    let day = || {
        let calendar = Calendar::new(settings, [debtor.time_zone.as_deref(), invoice.facts.time_zone()])?;
        let today = calendar.local(now)?.date();
        for hold in [&invoice.hold, &debtor.hold].into_iter().flatten() {
            let is_over = hold.through().is_some_and(|through| parse_day(through).is_some_and(|day| day < today));
            let reason = match hold {
                Hold::Paused { .. } => WaitReason::Paused,
                Hold::Promised { .. } => WaitReason::Promise,
            };
            if !is_over {
                return Some(Err(ReminderRefusal::Wait(reason)));
            }
        }
        let first = calendar.allowed_from(today)?;
        let has_time = now < calendar.end_of(first)?;
        Some(Ok(Some(if has_time { first } else { calendar.allowed_after(first)? })))
    };
    // Only settings or dates that this version cannot read lead nowhere.
    day().unwrap_or(Err(ReminderRefusal::Rest(RestReason::NotCollectible)))
}
