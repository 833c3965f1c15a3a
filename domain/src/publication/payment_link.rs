//! What becomes of payment links. Their tokens are not known here.

use events::{Mode, PaymentLinkEvent};
use serde_json::json;

use super::{Announcement, Publication};
use crate::payment_link::PaymentLinkState;

impl Publication for PaymentLinkState {
    const SUBJECT: &'static str = "payment_link";

    fn mode(&self) -> Option<Mode> {
        self.link.as_ref().map(|link| link.mode)
    }

    fn announce(&self, event: &PaymentLinkEvent) -> Option<Announcement> {
        let link = self.link.as_ref()?;
        let invoice = &link.invoice;
        let (what, data) = match event {
            PaymentLinkEvent::PaymentLinkCreated { .. } => ("created", json!({ "invoiceId": invoice })),
            PaymentLinkEvent::PaymentLinkOpened {} if link.openings() == 1 => {
                ("opened", json!({ "invoiceId": invoice }))
            }
            PaymentLinkEvent::PaymentLinkUsed { payment } => {
                ("used", json!({ "invoiceId": invoice, "payment": payment }))
            }
            PaymentLinkEvent::PaymentLinkOpened {}
            | PaymentLinkEvent::PaymentLinkSent { .. }
            | PaymentLinkEvent::PaymentLinkRevoked { .. } => return None,
        };
        Some(Announcement::new(format!("payment_link.{what}"), data))
    }
}

#[cfg(test)]
mod tests {
    use events::{EventMetadata, RecordedEvent, StreamId, StreamKind, Timestamp};

    use super::super::publish;
    use super::*;

    #[test]
    fn a_link_is_announced_when_it_is_created_first_opened_and_used() {
        let created = PaymentLinkEvent::PaymentLinkCreated {
            mode: Mode::Live,
            invoice: "inv_1".to_owned(),
            number: 1,
            expires_at: Timestamp(9),
        };
        let (opened, used) = (PaymentLinkEvent::PaymentLinkOpened {}, "p1".to_owned());
        let events = [created, opened.clone(), opened, PaymentLinkEvent::PaymentLinkUsed { payment: used }];
        let (command, actor) = ("c".to_owned(), "a".to_owned());
        let meta =
            EventMetadata { at: Timestamp(1), command, actor, correlation: None, causation: None, traceparent: None };
        let records = events.map(|event| RecordedEvent { version: 1, meta: meta.clone(), event });
        let id = StreamId::new(&"acme".parse().expect("a tenant"), StreamKind::PAYMENT_LINK, "pay_1");
        let published = publish::<PaymentLinkState>(&id, &records, 0, |_| String::new());
        let kinds: Vec<(&str, u64)> = published.iter().map(|event| (event.kind.as_str(), event.sequence)).collect();
        assert_eq!(kinds, [("payment_link.created", 1), ("payment_link.opened", 2), ("payment_link.used", 4)]);
        assert_eq!(published[2].data, json!({ "invoiceId": "inv_1", "payment": "p1" }));
    }
}
