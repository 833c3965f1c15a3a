//! Explains why reminders of an invoice are sent, or are not: one sentence, and each step with what it was decided on.

use events::{CollectionSettings, CommunicationId, StepPostponeReason, StepSkipReason, Timestamp};

use super::calendar::{Calendar, add_days, parse_day};
use super::debtor::DebtorState;
use super::next::{Next, RestReason, WaitReason, next, steps_to_come};
use super::settings::CollectionsState;
use crate::explain::time;
use crate::invoice::{Hold, InvoiceState, StepOutcome, StepRecord};

/// What a decision was based on, by name.
pub type Inputs = Vec<(&'static str, String)>;

/// One step of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    pub step: String,
    /// `None` if the ladder has no such step any more.
    pub after_days: Option<i16>,
    /// The civil time at which it is due in the customer's zone, such as `2027-01-21T09:00[Europe/Madrid]`.
    pub due: Option<String>,
    pub due_at: Option<Timestamp>,
    /// `sent`, `skipped`, `waits` or `not_sent`.
    pub verdict: &'static str,
    /// A stable code for programs.
    pub code: String,
    pub text: String,
    pub inputs: Inputs,
    pub communications: Vec<CommunicationId>,
    /// When it was decided. `None` if it was not.
    pub decided_at: Option<Timestamp>,
}

/// The explanation of an invoice's reminders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub summary: String,
    /// The code of what happens next, such as `settled` or `not_overdue`.
    pub code: String,
    /// What that was decided on.
    pub inputs: Inputs,
    /// When the invoice is looked at next.
    pub next_at: Option<Timestamp>,
    pub steps: Vec<ExplainedStep>,
}

fn rest_text(reason: RestReason) -> &'static str {
    match reason {
        RestReason::Off => "collections are off",
        RestReason::NotBegun => "its reminders have not begun, because it was due before collections were switched on",
        RestReason::Settled => "nothing is owed",
        RestReason::Voided => "it is void",
        RestReason::WrittenOff => "it is written off",
        RestReason::Disputed => "the customer disputes it",
        RestReason::Paused => "it is paused until a person resumes it",
        RestReason::NotCollectible => "it is not an invoice that is collected",
        RestReason::Excluded => "the customer is never reminded",
        RestReason::LadderOver => "every step of the ladder is over",
        RestReason::Erased => "the customer's data was erased",
    }
}

fn wait_text(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::NotOverdue => "the next step is not due before",
        WaitReason::Promise => "the customer has promised to pay",
        WaitReason::Paused => "reminders are paused",
        WaitReason::NextDay => "today's time for reminders is over, or today has none",
        WaitReason::Triggered => "a step joins the notice of its day",
    }
}

fn skip_text(reason: StepSkipReason) -> &'static str {
    match reason {
        StepSkipReason::Superseded => "a later step was due at the same time",
        StepSkipReason::KnownTooLate => "it was due before the invoice was known here",
        StepSkipReason::TooLate => "it could not be sent within the days that a reminder may be late",
        StepSkipReason::Settled => "nothing was owed any more",
        StepSkipReason::NotCollectible => "the invoice was void, disputed, paused or promised, or collections were off",
        StepSkipReason::NoContact => "the customer has no address on any of the step's channels",
        StepSkipReason::OptedOut => "the customer wants no such message",
        StepSkipReason::Refused => "the message was refused",
    }
}

fn postpone_text(reason: StepPostponeReason) -> &'static str {
    match reason {
        StepPostponeReason::MaxPerDay => "the customer has had as many notices as a day allows",
        StepPostponeReason::MinDaysBetween => "the customer's last notice is too recent",
        StepPostponeReason::NoticeClosed => "the notice of that day was sent without it",
    }
}

struct Case<'a> {
    invoice: &'a InvoiceState,
    collections: &'a CollectionsState,
    settings: &'a CollectionSettings,
    debtor: &'a DebtorState,
}

impl Case<'_> {
    fn zone(&self) -> &str {
        let of_customer = self.debtor.time_zone.as_deref().or(self.invoice.facts.time_zone());
        of_customer.unwrap_or(&self.settings.time_zone)
    }

    fn calendar(&self) -> Option<Calendar<'_>> {
        Calendar::new(self.settings, [self.debtor.time_zone.as_deref(), self.invoice.facts.time_zone()])
    }

    /// The last day of the pause or the promise that ends last.
    fn held_through(&self) -> Option<&str> {
        [&self.invoice.hold, &self.debtor.hold].into_iter().flatten().filter_map(Hold::through).max()
    }

    /// The values behind a code.
    fn inputs(&self, code: &str) -> Inputs {
        let facts = &self.invoice.facts;
        let due_on = || ("dueOn", facts.due_on().unwrap_or("none").to_owned());
        let owed = || ("owed", facts.amounts().map_or("unknown".to_owned(), |amounts| amounts.owed.to_string()));
        let from = || self.collections.enabled_from.clone().unwrap_or_else(|| "off".to_owned());
        let seen = || self.invoice.first_seen_at.map_or(String::new(), time);
        match code {
            "settled" => vec![owed()],
            "not_collectible" => {
                let status = facts.status().map_or("none", |status| status.as_str());
                let minimum = ("minimumMinor", self.settings.minimum_minor.to_string());
                vec![("status", status.to_owned()), owed(), minimum, due_on()]
            }
            "before_collections" => vec![due_on(), ("collectionsFrom", from())],
            "collections_off" => vec![("collectionsFrom", from())],
            "paused" | "promise_until" => {
                vec![("until", self.held_through().unwrap_or("until they are resumed").to_owned())]
            }
            "known_too_late" => vec![("firstSeenAt", seen()), due_on()],
            "too_late" => vec![("lateDays", self.settings.late_days.to_string())],
            "not_overdue" | "next_day" | "due" => vec![due_on(), ("timeZone", self.zone().to_owned())],
            _ => Vec::new(),
        }
    }

    /// A step that was decided on.
    fn decided(&self, record: &StepRecord) -> (&'static str, String, String) {
        match &record.outcome {
            StepOutcome::Triggered { day, .. } => {
                ("waits", "triggered".to_owned(), format!("It joins the notice of {day}."))
            }
            StepOutcome::Issued { .. } => ("sent", "issued".to_owned(), "Its message was accepted.".to_owned()),
            StepOutcome::Skipped(reason) => {
                ("skipped", reason.as_str().to_owned(), format!("It was skipped: {}.", skip_text(*reason)))
            }
            StepOutcome::Postponed { until, reason } => {
                let text = format!("It waits until {until}: {}.", postpone_text(*reason));
                ("waits", format!("postponed.{}", reason.as_str()), text)
            }
        }
    }

    /// A step of the ladder that was not decided on yet.
    fn to_come(&self, next: &Next) -> (&'static str, String, String) {
        match next {
            Next::Rest(reason) => {
                ("not_sent", reason.as_str().to_owned(), format!("It is not sent: {}.", rest_text(*reason)))
            }
            Next::Wait { reason: reason @ (WaitReason::Promise | WaitReason::Paused), .. } => {
                ("waits", reason.as_str().to_owned(), format!("It waits: {}.", wait_text(*reason)))
            }
            Next::Wait { .. } | Next::Do { .. } | Next::Skip(_) | Next::Postpone { .. } => {
                ("waits", "not_overdue".to_owned(), "It is not sent before it is due.".to_owned())
            }
        }
    }

    fn summary(&self, next: &Next) -> (String, String, Option<Timestamp>) {
        match next {
            Next::Rest(reason) => {
                (format!("No reminder will be sent: {}.", rest_text(*reason)), reason.as_str().to_owned(), None)
            }
            Next::Wait { at, reason } => {
                let text = match reason {
                    WaitReason::NotOverdue => format!("No reminder is sent yet: {} {}.", wait_text(*reason), time(*at)),
                    WaitReason::Promise | WaitReason::Paused | WaitReason::NextDay | WaitReason::Triggered => {
                        format!("No reminder is sent before {}: {}.", time(*at), wait_text(*reason))
                    }
                };
                (text, reason.as_str().to_owned(), Some(*at))
            }
            Next::Do { step, due_at, .. } => (
                format!("The step {} is due, and leaves at {}.", step.id, time(*due_at)),
                "due".to_owned(),
                Some(*due_at),
            ),
            Next::Skip(skipped) => {
                let (step, reason) = skipped.last().map_or(("", None), |(step, reason)| (step, Some(*reason)));
                let text = reason.map_or("", skip_text);
                let code = reason.map_or("skipped", |reason| reason.as_str());
                (format!("The step {step} is not sent: {text}."), code.to_owned(), None)
            }
            Next::Postpone { step, until, reason } => {
                let text = format!("The step {step} waits until {until}: {}.", postpone_text(*reason));
                (text, format!("postponed.{}", reason.as_str()), None)
            }
        }
    }

    fn steps(&self, next: &Next, now: Timestamp) -> Vec<ExplainedStep> {
        let (invoice, calendar) = (self.invoice, self.calendar());
        let ladder = self.debtor.ladder.as_ref().unwrap_or(&self.settings.ladder);
        let coming = steps_to_come(invoice, self.settings, self.debtor, now).unwrap_or_default();
        let planned = |after_days: i16| {
            let due_on = parse_day(invoice.facts.due_on()?)?;
            calendar.as_ref()?.allowed_from(add_days(due_on, i64::from(after_days))?)
        };
        let records = invoice.steps.iter().filter(|record| record.round == invoice.round);
        let removed = records.filter(|record| !ladder.iter().any(|step| step.id == record.step));
        let names = ladder.iter().map(|step| (step.id.as_str(), Some(step.after_days)));
        let names = names.chain(removed.map(|record| (record.step.as_str(), None)));
        let explained = names.map(|(id, after_days)| {
            let record = invoice.steps.iter().find(|record| record.round == invoice.round && record.step == id);
            let (verdict, code, text) = record.map_or_else(|| self.to_come(next), |record| self.decided(record));
            let day = coming.get(id).copied().or_else(|| planned(after_days?));
            let due = day.map(|day| format!("{day}T{}[{}]", self.settings.time, self.zone()));
            let communications = match record.map(|record| &record.outcome) {
                Some(StepOutcome::Issued { communications, .. }) => communications.clone(),
                Some(StepOutcome::Triggered { .. } | StepOutcome::Skipped(_) | StepOutcome::Postponed { .. })
                | None => Vec::new(),
            };
            ExplainedStep {
                step: id.to_owned(),
                after_days,
                due,
                due_at: day.and_then(|day| calendar.as_ref()?.start_of(day)),
                verdict,
                inputs: self.inputs(&code),
                code,
                text,
                communications,
                decided_at: record.map(|record| record.at),
            }
        });
        explained.collect()
    }
}

/// Explains the reminders of an invoice. The arguments are those of [`next`].
pub fn explain(
    invoice: &InvoiceState,
    collections: &CollectionsState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    now: Timestamp,
) -> Explanation {
    let case = Case { invoice, collections, settings, debtor };
    let next = next(invoice, collections, settings, debtor, now);
    let (mut summary, code, next_at) = case.summary(&next);
    if let Some((id, at)) = invoice.facts.failed_payments().max_by_key(|(_, at)| *at) {
        let recorded = invoice.facts.payments().any(|(payment, _)| payment == id);
        let counts = if recorded { "it counts nothing" } else { "what is owed has not changed" };
        summary = format!("{summary} The payment {id} failed on {}, so {counts}.", time(at));
    }
    Explanation { summary, inputs: case.inputs(&code), code, next_at, steps: case.steps(&next, now) }
}
