//! An invoice of another system: the facts about it, and what was decided about its reminders.

mod command;
mod facts;
mod hold;
mod sending;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::collections::BTreeMap;

use events::{
    CollectionCause, CollectionEndReason, CommunicationId, InvoiceEvent, InvoiceRef, InvoiceSending, InvoiceStatus,
    RecordedEvent, StepPostponeReason, StepSkipReason, StreamKind, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateId, Erasure};

pub use command::{Command, Rejection};
pub use facts::{Amounts, Ended, Facts, Payment};
pub use hold::Hold;
pub use sending::{MAX_WAITING, SendingRequest, Sendings, printed_upload, request_id};
pub use view::{
    InvoiceFilter, InvoiceRow, InvoiceStage, LastStep, collected_by_due, customer_range, idle_by_due, idle_range,
    source_range,
};

/// Maximum number of payments, reversals and failures of one invoice.
pub const MAX_PAYMENTS: usize = 500;
/// Maximum number of times that the ladder of one invoice begins again.
pub const MAX_ROUNDS: u32 = 20;
/// How long a step that was triggered may take to join its notice, in milliseconds, before it is tried again.
const JOIN_MS: i64 = 20_000;

/// The id of an invoice's stream, derived from how its source names it.
pub fn stream_name(tenant: &TenantId, InvoiceRef { mode, namespace, id }: &InvoiceRef) -> String {
    events::derived_id("inv", tenant, &["invoice", mode.as_str(), namespace, id])
}

/// Whether a text has the form of [`stream_name`].
pub fn is_stream_name(id: &str) -> bool {
    id.strip_prefix("inv_").is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The stream of an invoice.
pub fn key_of(tenant: &TenantId, reference: &InvoiceRef) -> AggregateId<InvoiceState> {
    AggregateId::new(tenant, stream_name(tenant, reference))
}

/// What became of a step of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOutcome {
    /// It joins a notice.
    Triggered {
        notice: String,
        day: String,
    },
    Issued {
        notice: String,
        communications: Vec<CommunicationId>,
    },
    Skipped(StepSkipReason),
    /// It waits until this day.
    Postponed {
        until: String,
        reason: StepPostponeReason,
    },
}

/// A step of the ladder that was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub round: u32,
    pub step: String,
    pub outcome: StepOutcome,
    pub at: Timestamp,
}

/// Why the invoice's reminders have begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionStart {
    /// The earliest due day that collections take up by themselves.
    pub from: String,
    pub cause: CollectionCause,
    pub at: Timestamp,
}

/// The newest payment link of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestLink {
    pub id: String,
    /// Counts the links of the invoice, from 1.
    pub number: u32,
}

/// A payment that followed a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    pub communication: CommunicationId,
    pub step: String,
    /// How long after the provider accepted the notice, in milliseconds.
    pub after_ms: i64,
}

/// The state of an invoice's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InvoiceState {
    /// `None` before anything is known.
    pub reference: Option<InvoiceRef>,
    pub first_seen_at: Option<Timestamp>,
    pub facts: Facts,
    pub hold: Option<Hold>,
    /// `None` before the reminders begin, and after they ended.
    pub collection: Option<CollectionStart>,
    /// Why the reminders ended.
    pub collection_end: Option<CollectionEndReason>,
    /// How often the ladder has begun again.
    pub round: u32,
    pub steps: Vec<StepRecord>,
    pub sent: Option<(CommunicationId, InvoiceSending)>,
    /// What people asked for and could not be sent at once.
    pub sendings: Sendings,
    /// The newest link to pay it.
    pub link: Option<NewestLink>,
    /// The payments that followed a notice, by their ids.
    pub attributed: BTreeMap<String, Attribution>,
    pub is_erased: bool,
}

impl InvoiceState {
    /// What became of a step in the present round.
    pub fn outcome(&self, step: &str) -> Option<&StepOutcome> {
        self.steps.iter().find(|record| record.round == self.round && record.step == step).map(|record| &record.outcome)
    }

    /// The step that joins a notice at present, and the notice.
    pub fn triggered(&self) -> Option<(&StepRecord, &str)> {
        self.steps.iter().find_map(|record| match &record.outcome {
            StepOutcome::Triggered { notice, .. } => Some((record, notice.as_str())),
            StepOutcome::Issued { .. } | StepOutcome::Skipped(_) | StepOutcome::Postponed { .. } => None,
        })
    }

    /// The day of the notice that a step joins at present.
    pub fn triggered_day(&self) -> Option<&str> {
        self.steps.iter().find_map(|record| match &record.outcome {
            StepOutcome::Triggered { day, .. } => Some(day.as_str()),
            StepOutcome::Issued { .. } | StepOutcome::Skipped(_) | StepOutcome::Postponed { .. } => None,
        })
    }

    /// Whether something is owed, by an invoice that customers can be reminded of.
    pub fn is_collectible(&self) -> bool {
        let is_status = match self.facts.status() {
            None | Some(InvoiceStatus::Draft | InvoiceStatus::Paid) => false,
            Some(
                InvoiceStatus::Submitted
                | InvoiceStatus::Approved
                | InvoiceStatus::Issued
                | InvoiceStatus::Open
                | InvoiceStatus::Sent
                | InvoiceStatus::PartiallyPaid
                | InvoiceStatus::Overdue,
            ) => true,
        };
        let is_owed = self.facts.amounts().is_some_and(|amounts| amounts.owed > 0);
        let is_due = self.facts.due_on().is_some();
        let is_open = self.facts.ended().is_none() && !self.facts.is_disputed() && !self.is_erased;
        is_status && is_owed && is_due && is_open && !self.facts.has_foreign_payment()
    }

    /// Whether there are no reminders until a person resumes them.
    pub fn is_held(&self) -> bool {
        matches!(self.hold, Some(Hold::Paused { until: None }))
    }

    /// Whether its reminders have begun and go on.
    fn is_collected(&self) -> bool {
        let goes_on = self.collection.is_some() && self.is_collectible() && !self.is_held();
        goes_on || self.triggered().is_some()
    }

    /// Whether a request to send it waits.
    fn is_sending(&self) -> bool {
        self.sendings.waiting().next().is_some()
    }

    fn is_new_round(&self) -> bool {
        !self.steps.iter().any(|record| record.round == self.round)
    }

    fn known(&self) -> Result<(), Rejection> {
        match self.reference {
            None => Err(Rejection::Unknown),
            Some(_) if self.is_erased => Err(Rejection::Erased),
            Some(_) => Ok(()),
        }
    }

    fn record(
        &self,
        reference: InvoiceRef,
        facts: Vec<InvoiceEvent>,
        collect_from: Option<String>,
    ) -> Result<Vec<InvoiceEvent>, Rejection> {
        let mut after = self.clone();
        let mut events = Vec::new();
        if self.reference.is_none() {
            events.push(InvoiceEvent::InvoiceFirstSeen { invoice: reference });
        }
        for fact in facts {
            let known = after.facts.clone();
            after.facts.apply(&fact);
            if after.facts != known {
                events.push(fact);
            }
        }
        if MAX_PAYMENTS < after.facts.entries() {
            return Err(Rejection::TooManyPayments);
        }
        let is_due_since = |from: &String| after.facts.due_on().is_some_and(|due| from.as_str() <= due);
        let may_begin = self.collection.is_none() && after.facts != self.facts && after.is_collectible();
        if let Some(from) = collect_from.filter(|from| may_begin && is_due_since(from)) {
            events.push(InvoiceEvent::CollectionBegun { from, cause: CollectionCause::OnTime });
        }
        Ok(events)
    }

    /// A step that ended is not decided again.
    fn decide_step(&self, round: u32, step: &str, event: InvoiceEvent) -> Result<Vec<InvoiceEvent>, Rejection> {
        let found = self.steps.iter().find(|record| record.round == round && record.step == step);
        match found.map(|record| &record.outcome) {
            Some(StepOutcome::Issued { .. } | StepOutcome::Skipped(_)) => Ok(Vec::new()),
            None | Some(StepOutcome::Triggered { .. } | StepOutcome::Postponed { .. }) => Ok(vec![event]),
        }
    }

    /// The state as if a step were skipped.
    pub(crate) fn skip(&mut self, step: String, reason: StepSkipReason, at: Timestamp) {
        self.set_step(self.round, step, StepOutcome::Skipped(reason), at);
    }

    fn set_step(&mut self, round: u32, step: String, outcome: StepOutcome, at: Timestamp) {
        match self.steps.iter_mut().find(|record| record.round == round && record.step == step) {
            Some(record) => (record.outcome, record.at) = (outcome, at),
            None => self.steps.push(StepRecord { round, step, outcome, at }),
        }
    }
}

impl Aggregate for InvoiceState {
    const KIND: StreamKind = StreamKind::INVOICE;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    const ROLL_OVER_BYTES: usize = 8 * 1024;
    const SNAPSHOT_VERSION: u16 = 3;

    type Event = InvoiceEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<InvoiceEvent>, Rejection> {
        if let Command::Record { reference, facts, collect_from } = command {
            return self.record(reference, facts, collect_from);
        }
        if let Command::Erase { by } = command {
            let is_known = self.reference.is_some() && !self.is_erased;
            return Ok(is_known.then_some(InvoiceEvent::InvoiceErased { by }).into_iter().collect());
        }
        if let Command::EndSending { request, acts } = command {
            let waits = self.sendings.get(&request).is_some_and(|known| known.acts.is_none());
            return Ok(waits.then_some(InvoiceEvent::InvoiceSendingEnded { request, acts }).into_iter().collect());
        }
        self.known()?;
        let round = self.round;
        match command {
            Command::Record { .. } | Command::Erase { .. } | Command::EndSending { .. } => Ok(Vec::new()),
            Command::Pause { until, .. } if self.hold == Some(Hold::Paused { until: until.clone() }) => Ok(Vec::new()),
            Command::Pause { until, by } => Ok(vec![InvoiceEvent::CollectionPaused { until, by }]),
            Command::Resume { .. } if self.hold.is_none() => Ok(Vec::new()),
            Command::Resume { by } => Ok(vec![InvoiceEvent::CollectionResumed { by }]),
            Command::Promise { on, .. } if self.hold == Some(Hold::Promised { on: on.clone() }) => Ok(Vec::new()),
            Command::Promise { on, amount, by } => Ok(vec![InvoiceEvent::PaymentPromised { on, amount, by }]),
            Command::Restart { .. } if MAX_ROUNDS <= round => Err(Rejection::TooManyRounds),
            Command::Restart { .. } if self.triggered().is_some() => Err(Rejection::StepUnderWay),
            Command::Restart { .. } if !self.is_collectible() => Err(Rejection::NotCollectible),
            // Nothing of this round was decided on, so it has just begun.
            Command::Restart { .. } if self.collection.is_some() && self.is_new_round() => Ok(Vec::new()),
            Command::Restart { from, by } => Ok(vec![
                InvoiceEvent::CollectionRestarted { round: round + 1, by },
                InvoiceEvent::CollectionBegun { from, cause: CollectionCause::Restart },
            ]),
            Command::BeginCollection { .. } if self.collection.is_some() || !self.is_collectible() => Ok(Vec::new()),
            Command::BeginCollection { from, cause } => Ok(vec![InvoiceEvent::CollectionBegun { from, cause }]),
            Command::EndCollection(_) if self.collection.is_none() => Ok(Vec::new()),
            Command::EndCollection(reason) => Ok(vec![InvoiceEvent::CollectionEnded { reason }]),
            Command::RecordSending { communication, how } => {
                let is_known = self.sent.is_some_and(|(sent, _)| sent == communication);
                let sent = InvoiceEvent::InvoiceSent { communication, how };
                Ok((!is_known).then_some(sent).into_iter().collect())
            }
            Command::RequestSending { request, channel, by } => match self.sendings.get(&request) {
                Some(known) if known.channel == channel => Ok(Vec::new()),
                Some(_) => Err(Rejection::KeyReused),
                None if MAX_WAITING <= self.sendings.waiting().count() => Err(Rejection::TooManySendings),
                None => Ok(vec![InvoiceEvent::InvoiceSendingRequested { request, channel, by }]),
            },
            Command::AddLink(NewestLink { id, number }) => {
                let is_known = self.link.as_ref().is_some_and(|newest| number <= newest.number);
                let added = InvoiceEvent::PaymentLinkAdded { link: id, number };
                Ok((!is_known).then_some(added).into_iter().collect())
            }
            Command::Trigger { step, day, notice } => match self.outcome(&step) {
                Some(StepOutcome::Triggered { notice: joined, .. }) if *joined == notice => Ok(Vec::new()),
                Some(StepOutcome::Issued { .. } | StepOutcome::Skipped(_)) => Err(Rejection::StepDone),
                None | Some(StepOutcome::Triggered { .. } | StepOutcome::Postponed { .. }) => {
                    Ok(vec![InvoiceEvent::ReminderStepTriggered { round, step, day, notice }])
                }
            },
            Command::Issue { round, step, notice, communications } => self.decide_step(
                round,
                &step.clone(),
                InvoiceEvent::ReminderStepIssued { round, step, notice, communications },
            ),
            Command::Skip { round, step, reason } => {
                self.decide_step(round, &step.clone(), InvoiceEvent::ReminderStepSkipped { round, step, reason })
            }
            Command::Postpone { round, step, until, reason } => self.decide_step(
                round,
                &step.clone(),
                InvoiceEvent::ReminderStepPostponed { round, step, until, reason },
            ),
            Command::Attribute { payment, .. } if self.attributed.contains_key(&payment) => Ok(Vec::new()),
            Command::Attribute { payment, communication, step, after_ms, cost_micros } => {
                Ok(vec![InvoiceEvent::PaymentAttributed { payment, communication, step, after_ms, cost_micros }])
            }
        }
    }

    fn evolve(mut self, record: &RecordedEvent<InvoiceEvent>) -> Self {
        self.facts.apply(&record.event);
        let at = record.meta.at;
        match record.event.clone() {
            InvoiceEvent::InvoiceFirstSeen { invoice } => {
                self.reference = Some(invoice);
                self.first_seen_at = Some(at);
            }
            InvoiceEvent::CollectionPaused { until, .. } => self.hold = Some(Hold::Paused { until }),
            InvoiceEvent::CollectionResumed { .. } => self.hold = None,
            InvoiceEvent::PaymentPromised { on, .. } => self.hold = Some(Hold::Promised { on }),
            InvoiceEvent::CollectionBegun { from, cause } => {
                self.collection = Some(CollectionStart { from, cause, at });
                self.collection_end = None;
            }
            InvoiceEvent::CollectionEnded { reason } => {
                self.collection = None;
                self.collection_end = Some(reason);
            }
            InvoiceEvent::CollectionRestarted { round, .. } => self.round = round,
            InvoiceEvent::InvoiceSent { communication, how } => self.sent = Some((communication, how)),
            InvoiceEvent::InvoiceSendingRequested { request, channel, by } => {
                self.sendings.add(SendingRequest {
                    id: request,
                    channel,
                    by,
                    actor: record.meta.actor.clone(),
                    at,
                    acts: None,
                });
            }
            InvoiceEvent::InvoiceSendingEnded { request, acts } => self.sendings.end(&request, acts),
            InvoiceEvent::PaymentLinkAdded { link, number } => self.link = Some(NewestLink { id: link, number }),
            InvoiceEvent::ReminderStepTriggered { round, step, day, notice } => {
                self.set_step(round, step, StepOutcome::Triggered { notice, day }, at);
                // A step is due only when a pause or a promise is over.
                self.hold = None;
            }
            InvoiceEvent::ReminderStepIssued { round, step, notice, communications } => {
                self.set_step(round, step, StepOutcome::Issued { notice, communications }, at);
            }
            InvoiceEvent::ReminderStepSkipped { round, step, reason } => {
                self.set_step(round, step, StepOutcome::Skipped(reason), at);
            }
            InvoiceEvent::ReminderStepPostponed { round, step, until, reason } => {
                self.set_step(round, step, StepOutcome::Postponed { until, reason }, at);
            }
            InvoiceEvent::PaymentAttributed { payment, communication, step, after_ms, .. } => {
                self.attributed.insert(payment, Attribution { communication, step, after_ms });
            }
            InvoiceEvent::InvoiceErased { .. } => {
                self.is_erased = true;
                self.sendings.clear();
            }
            InvoiceEvent::InvoiceIssued { .. }
            | InvoiceEvent::InvoiceChanged { .. }
            | InvoiceEvent::BalanceStated { .. }
            | InvoiceEvent::PaymentRecorded { .. }
            | InvoiceEvent::PaymentReversed { .. }
            | InvoiceEvent::PaymentFailed { .. }
            | InvoiceEvent::InvoiceVoided { .. }
            | InvoiceEvent::InvoiceWrittenOff { .. }
            | InvoiceEvent::InvoiceReinstated { .. }
            | InvoiceEvent::InvoiceDisputed { .. }
            | InvoiceEvent::DisputeResolved { .. } => (),
        }
        self
    }

    fn is_optional(command: &Command) -> bool {
        match command {
            Command::Record { .. }
            | Command::Pause { .. }
            | Command::Promise { .. }
            | Command::Restart { .. }
            | Command::BeginCollection { .. }
            | Command::RequestSending { .. }
            | Command::AddLink(_)
            | Command::Attribute { .. } => true,
            Command::Resume { .. }
            | Command::EndCollection(_)
            | Command::RecordSending { .. }
            | Command::EndSending { .. }
            | Command::Trigger { .. }
            | Command::Issue { .. }
            | Command::Skip { .. }
            | Command::Postpone { .. }
            | Command::Erase { .. } => false,
        }
    }

    /// The timer of an invoice is a hint to decide again. When there is nothing to do yet, the handler moves it to the
    /// next time at which there may be.
    fn wake(&self, now: Timestamp, _: Option<Timestamp>) -> Option<Timestamp> {
        match (self.is_complete(), self.is_sending(), self.triggered()) {
            (true, ..) => None,
            (false, false, Some(_)) => Some(now + JOIN_MS),
            (false, ..) => Some(now),
        }
    }

    /// A step that was triggered must end, even if the invoice was paid meanwhile.
    fn is_complete(&self) -> bool {
        !self.is_collected() && !self.is_sending()
    }
}
