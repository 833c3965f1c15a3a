use serde::{Deserialize, Serialize};

use crate::{Channel, CommunicationId, Mode, Timestamp, event_family};

crate::values::string_enum!(
    /// Why a payment link cannot be used any more.
    LinkRevokeReason {
        /// A person revoked it.
        Requested = "requested",
        /// The customer's data was erased.
        Erased = "erased",
    }
);

/// The course of one payment link. Its token is not stored: it is computed from the id and a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum PaymentLinkEvent {
    /// v1. A link to pay an invoice was created. `number` counts the links of the invoice, from 1.
    PaymentLinkCreated { mode: Mode, invoice: String, number: u32, expires_at: Timestamp },
    /// v1. A message that was asked for took the link to the customer.
    PaymentLinkSent { channel: Channel, communication: CommunicationId },
    /// v1. Somebody opened it. After 20 times one more is recorded, and then no other.
    PaymentLinkOpened {},
    /// v1. A payment came by it.
    PaymentLinkUsed { payment: String },
    /// v1. It cannot be used any more.
    PaymentLinkRevoked { reason: LinkRevokeReason, by: String },
}

event_family!(PaymentLinkEvent {
    PaymentLinkCreated: 1,
    PaymentLinkSent: 1,
    PaymentLinkOpened: 1,
    PaymentLinkUsed: 1,
    PaymentLinkRevoked: 1,
});
