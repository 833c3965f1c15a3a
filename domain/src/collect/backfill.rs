//! A backfill: the reminders of invoices that were overdue when collections were switched on begin, some each day.

use std::collections::BTreeMap;

use events::{
    BackfillEndReason, BackfillEvent, BackfillPlan, CollectionCause, CollectionSettings, LadderStep, RecordedEvent,
    StreamKind, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::debtor::DebtorState;
use super::next::{RestReason, current_step, next};
use super::settings::CollectionsState;
use super::{Next, WaitReason};
use crate::aggregate::{Aggregate, AggregateId, Erasure};
use crate::invoice::{CollectionStart, InvoiceState};

/// Maximum number of invoices that are planned together.
pub const PAGE: usize = 50;
/// How long a page may take, in milliseconds, before it is tried again.
const PAGE_MS: i64 = 30_000;
/// The number of days whose invoices are remembered. The tenant's zone can change, but not by more than two days.
const MAX_DAYS: usize = 10;
/// The most steps of a ladder that are passed over. A ladder has fewer.
const MAX_SKIPS: usize = 20;

/// The id of a backfill. A preview is confirmed once, whatever is repeated.
pub fn stream_name(tenant: &TenantId, preview: &str) -> String {
    events::derived_id("bkf", tenant, &["backfill", preview])
}

/// The stream of a backfill.
pub fn key_of(tenant: &TenantId, name: &str) -> AggregateId<BackfillState> {
    AggregateId::new(tenant, name)
}

/// What becomes of an invoice when its reminders begin after the fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It is reminded of by this step.
    Step(Box<LadderStep>),
    /// Nothing is sent at first, for the reason with this code.
    Waits(&'static str),
    /// Its reminders do not begin.
    LeftOut(RestReason),
}

/// Decides what happens if the reminders of an invoice begin now. `collections` are on.
pub fn start(
    invoice: &InvoiceState,
    collections: &CollectionsState,
    settings: &CollectionSettings,
    debtor: &DebtorState,
    cause: CollectionCause,
    now: Timestamp,
) -> Start {
    let mut begun = invoice.clone();
    let from = collections.enabled_from.clone().unwrap_or_default();
    begun.collection = Some(CollectionStart { from, cause, at: now });
    begun.collection_end = None;
    for _ in 0..MAX_SKIPS {
        let step = || current_step(&begun, settings, debtor, now).map(|step| Start::Step(Box::new(step)));
        match next(&begun, collections, settings, debtor, now) {
            Next::Rest(reason @ (RestReason::Paused | RestReason::LadderOver)) => return Start::Waits(reason.as_str()),
            Next::Rest(reason) => return Start::LeftOut(reason),
            Next::Wait {
                reason: reason @ (WaitReason::Promise | WaitReason::Paused | WaitReason::Triggered), ..
            } => {
                return Start::Waits(reason.as_str());
            }
            Next::Wait { reason, .. } => return step().unwrap_or(Start::Waits(reason.as_str())),
            Next::Do { step, .. } => return Start::Step(step),
            Next::Postpone { .. } => return step().unwrap_or(Start::Waits(WaitReason::NextDay.as_str())),
            Next::Skip(skipped) => skipped.into_iter().for_each(|(step, reason)| begun.skip(step, reason, now)),
        }
    }
    Start::Waits(RestReason::LadderOver.as_str())
}

/// The days overdue of each group that a preview counts, the last one without an end.
pub const BUCKETS: [(i64, Option<i64>); 5] =
    [(1, Some(6)), (7, Some(29)), (30, Some(89)), (90, Some(364)), (365, None)];

/// The group of an invoice that is overdue by so many days.
pub fn bucket_of(days_overdue: i64) -> usize {
    BUCKETS.iter().rposition(|(from, _)| *from <= days_overdue).unwrap_or(0)
}

/// Whether a number differs from that of the preview by more than 5 percent.
pub fn differs(preview: u64, now: u64) -> bool {
    preview < preview.abs_diff(now) * 20
}

/// A backfill that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    pub plan: BackfillPlan,
    pub by: String,
    pub confirmed_at: Timestamp,
    /// The invoices that are being handled.
    pub page: Vec<String>,
    /// Where the walk goes on. `None` before the first page.
    pub next: Option<String>,
    /// Whether every invoice was planned.
    pub is_walked: bool,
    /// How many invoices were planned on each of the last days.
    pub days: BTreeMap<String, u32>,
    /// How many invoices were handled.
    pub handled: u64,
    /// The reminders of how many of them have begun.
    pub begun: u64,
    pub ended: Option<(BackfillEndReason, String, Timestamp)>,
}

impl Backfill {
    /// How many invoices can still be planned on a day.
    pub fn left_on(&self, day: &str) -> usize {
        let planned = self.days.get(day).copied().unwrap_or(0);
        self.plan.per_day.saturating_sub(planned) as usize
    }
}

/// The state of a backfill's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackfillState {
    /// `None` before it is confirmed.
    pub backfill: Option<Backfill>,
}

/// A command to a backfill. Values have already been validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Confirm {
        plan: BackfillPlan,
        by: String,
    },
    PlanPage {
        day: String,
        invoices: Vec<String>,
        /// Where the walk goes on. `None` if there are no others.
        next: Option<String>,
    },
    FinishPage {
        begun: u32,
    },
    End {
        reason: BackfillEndReason,
        by: String,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such backfill")]
    Unknown,
    #[error("this preview was confirmed with other values")]
    ConfirmedOtherwise,
    #[error("the backfill has ended")]
    Ended,
    #[error("a page is under way")]
    PageUnderWay,
    #[error("as many invoices were planned today as a day may have")]
    DayFull,
}

impl Aggregate for BackfillState {
    const KIND: StreamKind = StreamKind::BACKFILL;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    const ROLL_OVER_BYTES: usize = 8 * 1024;

    type Event = BackfillEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<BackfillEvent>, Rejection> {
        match (command, &self.backfill) {
            (Command::Confirm { plan, by }, None) => Ok(vec![BackfillEvent::BackfillConfirmed { plan, by }]),
            (Command::Confirm { plan, .. }, Some(known)) if plan == known.plan => Ok(Vec::new()),
            (Command::Confirm { .. }, Some(_)) => Err(Rejection::ConfirmedOtherwise),
            (_, None) => Err(Rejection::Unknown),
            (Command::End { .. } | Command::FinishPage { .. }, Some(backfill)) if backfill.ended.is_some() => {
                Ok(Vec::new())
            }
            (Command::PlanPage { .. }, Some(backfill)) if backfill.ended.is_some() => Err(Rejection::Ended),
            (Command::PlanPage { .. }, Some(backfill)) if !backfill.page.is_empty() => Err(Rejection::PageUnderWay),
            (Command::PlanPage { day, invoices, next }, Some(backfill)) => {
                if backfill.left_on(&day) < invoices.len() {
                    return Err(Rejection::DayFull);
                }
                Ok(vec![BackfillEvent::BackfillPagePlanned { day, invoices, next }])
            }
            (Command::FinishPage { .. }, Some(backfill)) if backfill.page.is_empty() => Ok(Vec::new()),
            (Command::FinishPage { begun }, Some(_)) => Ok(vec![BackfillEvent::BackfillPageDone { begun }]),
            (Command::End { reason, by }, Some(_)) => Ok(vec![BackfillEvent::BackfillEnded { reason, by }]),
        }
    }

    fn evolve(mut self, record: &RecordedEvent<BackfillEvent>) -> Self {
        match (record.event.clone(), &mut self.backfill) {
            (BackfillEvent::BackfillConfirmed { plan, by }, backfill) => {
                *backfill = Some(Backfill {
                    plan,
                    by,
                    confirmed_at: record.meta.at,
                    page: Vec::new(),
                    next: None,
                    is_walked: false,
                    days: BTreeMap::new(),
                    handled: 0,
                    begun: 0,
                    ended: None,
                });
            }
            (BackfillEvent::BackfillPagePlanned { day, invoices, next }, Some(backfill)) => {
                *backfill.days.entry(day).or_default() += invoices.len() as u32;
                while MAX_DAYS < backfill.days.len() {
                    backfill.days.pop_first();
                }
                backfill.is_walked = next.is_none();
                (backfill.page, backfill.next) = (invoices, next);
            }
            (BackfillEvent::BackfillPageDone { begun }, Some(backfill)) => {
                backfill.handled += backfill.page.len() as u64;
                backfill.begun += u64::from(begun);
                backfill.page.clear();
            }
            (BackfillEvent::BackfillEnded { reason, by }, Some(backfill)) => {
                backfill.page.clear();
                backfill.ended = Some((reason, by, record.meta.at));
            }
            (
                BackfillEvent::BackfillPagePlanned { .. }
                | BackfillEvent::BackfillPageDone { .. }
                | BackfillEvent::BackfillEnded { .. },
                None,
            ) => (),
        }
        self
    }

    fn is_optional(command: &Command) -> bool {
        matches!(command, Command::Confirm { .. } | Command::PlanPage { .. })
    }

    fn wake(&self, now: Timestamp, _: Option<Timestamp>) -> Option<Timestamp> {
        let backfill = self.backfill.as_ref().filter(|backfill| backfill.ended.is_none())?;
        Some(if backfill.page.is_empty() { now } else { now + PAGE_MS })
    }

    fn is_complete(&self) -> bool {
        self.backfill.as_ref().is_none_or(|backfill| backfill.ended.is_some())
    }

    fn is_listed(&self) -> bool {
        !self.is_complete()
    }
}
