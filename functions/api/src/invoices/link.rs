//! Payment links as JSON.

use application::invoices::ShownLink;
use domain::payment_link::{PaymentLink, PaymentLinkStatus};
use serde_json::{Value, json};

use crate::fields::show_time;

/// A link without its token.
pub(crate) fn present_link(id: &str, link: &PaymentLink, status: PaymentLinkStatus) -> Value {
    let revoked = link.revoked.as_ref();
    let revoked = revoked.map(|it| json!({ "reason": it.reason, "by": it.by, "at": show_time(it.at) }));
    let sent = link.sent.as_ref();
    let sent =
        sent.map(|it| json!({ "channel": it.channel, "communicationId": it.communication, "at": show_time(it.at) }));
    json!({
        "id": id,
        "invoiceId": link.invoice,
        "state": status,
        "createdAt": show_time(link.created_at),
        "expiresAt": show_time(link.expires_at),
        "openings": link.openings(),
        "hasMoreOpenings": link.has_more_openings(),
        "firstOpenedAt": link.first_opened_at.map(show_time),
        "sent": sent,
        "payments": link.payments,
        "revoked": revoked,
    })
}

/// The newest link of an invoice.
pub(super) fn present_newest(newest: Option<&ShownLink>) -> Value {
    newest.map_or(Value::Null, |ShownLink { id, link, status }| present_link(id, link, *status))
}
