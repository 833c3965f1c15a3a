//! What happens to invoices.

use events::{InvoiceEvent, Mode};
use serde_json::json;

use super::{Announcement, Publication};
use crate::invoice::InvoiceState;

impl Publication for InvoiceState {
    const SUBJECT: &'static str = "invoice";

    fn mode(&self) -> Option<Mode> {
        self.reference.as_ref().map(|reference| reference.mode)
    }

    fn announce(&self, event: &InvoiceEvent) -> Option<Announcement> {
        let reference = self.reference.as_ref()?;
        let amounts = self.facts.amounts();
        let is_settled = || amounts.is_some_and(|amounts| amounts.owed == 0);
        let (what, more) = match event {
            InvoiceEvent::ReminderStepIssued { step, communications, .. } => {
                ("reminder_issued", json!({ "step": step, "communications": communications }))
            }
            InvoiceEvent::ReminderStepSkipped { step, reason, .. } => {
                ("reminder_skipped", json!({ "step": step, "reason": reason }))
            }
            InvoiceEvent::PaymentRecorded { payment, .. } if is_settled() => ("settled", json!({ "payment": payment })),
            InvoiceEvent::BalanceStated { .. } if is_settled() => ("settled", json!({})),
            InvoiceEvent::InvoiceFirstSeen { .. }
            | InvoiceEvent::InvoiceIssued { .. }
            | InvoiceEvent::InvoiceChanged { .. }
            | InvoiceEvent::BalanceStated { .. }
            | InvoiceEvent::PaymentRecorded { .. }
            | InvoiceEvent::PaymentReversed { .. }
            | InvoiceEvent::PaymentFailed { .. }
            | InvoiceEvent::InvoiceVoided { .. }
            | InvoiceEvent::InvoiceWrittenOff { .. }
            | InvoiceEvent::InvoiceReinstated { .. }
            | InvoiceEvent::InvoiceDisputed { .. }
            | InvoiceEvent::DisputeResolved { .. }
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
            | InvoiceEvent::ReminderStepPostponed { .. }
            | InvoiceEvent::PaymentAttributed { .. }
            | InvoiceEvent::InvoiceErased { .. } => return None,
        };
        let terms = self.facts.terms();
        let mut data = json!({
            "namespace": reference.namespace,
            "invoice": reference.id,
            "number": terms.number,
            "currency": terms.currency,
            "owed": amounts.map(|amounts| amounts.owed),
        });
        if let (Some(data), Some(more)) = (data.as_object_mut(), more.as_object()) {
            data.extend(more.clone());
        }
        Some(Announcement::new(format!("invoice.{what}"), data))
    }
}
