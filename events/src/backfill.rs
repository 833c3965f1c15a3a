use serde::{Deserialize, Serialize};

use crate::{Mode, event_family};

crate::values::string_enum!(
    /// What a backfill sends first for an invoice that is overdue already.
    BackfillSteps {
        /// The step of the ladder that the invoice has reached.
        Current = "current",
        /// Nothing. The later steps of the ladder follow.
        None = "none",
    }
);

crate::values::string_enum!(
    BackfillEndReason {
        /// Every invoice was looked at.
        Completed = "completed",
        /// A person stopped it.
        Stopped = "stopped",
        /// Collections were switched off.
        CollectionsOff = "collections_off",
    }
);

/// What a person has confirmed. Days are `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillPlan {
    pub mode: Mode,
    /// The earliest due day.
    pub due_from: String,
    /// The day of the preview. Invoices that are due then or later are left alone.
    pub due_before: String,
    pub steps: BackfillSteps,
    /// The most invoices whose reminders begin on one day.
    pub per_day: u32,
    /// The numbers of the preview.
    pub invoices: u64,
    pub messages: u64,
}

/// One backfill: the reminders of invoices that were overdue when collections were switched on begin, some each day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum BackfillEvent {
    /// v1. A person confirmed the numbers of a preview.
    BackfillConfirmed {
        #[serde(flatten)]
        plan: BackfillPlan,
        by: String,
    },
    /// v1. The reminders of these invoices are to begin. They count for this day, whatever becomes of them.
    BackfillPagePlanned {
        day: String,
        invoices: Vec<String>,
        /// Where the walk goes on. Absent if there are no others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// v1. The planned invoices were handled. The reminders of the others have not begun, such as after a payment.
    BackfillPageDone { begun: u32 },
    /// v1. No other reminders begin.
    BackfillEnded { reason: BackfillEndReason, by: String },
}

event_family!(BackfillEvent { BackfillConfirmed: 1, BackfillPagePlanned: 1, BackfillPageDone: 1, BackfillEnded: 1 });
