//! A link by which a customer pays an invoice: it is sent, opened, used for payments, and ends by its expiry.

#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;

use events::{
    Channel, CommunicationId, LinkRevokeReason, Mode, PaymentLinkEvent, RecordedEvent, StreamKind, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateId, Erasure, Violation};
use crate::invoice::{Ended, InvoiceState};

pub use view::PaymentLinkRow;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long a link is valid, in milliseconds, if nothing else is asked for.
pub const DEFAULT_VALID_MS: i64 = 30 * DAY_MS;
/// The shortest and the longest time that a link can be valid, in milliseconds.
pub const VALID_RANGE_MS: (i64, i64) = (HOUR_MS, 366 * DAY_MS);
/// A link with less time left is not sent any more, in milliseconds.
pub const RENEW_MS: i64 = 14 * DAY_MS;
/// Number of openings that are counted.
pub const MAX_OPENINGS: u32 = 20;
/// Maximum number of payments that came by one link.
pub const MAX_PAYMENTS: usize = 100;

/// The id of a link's stream, derived from the stream of its invoice.
pub fn stream_name(tenant: &TenantId, invoice: &str, number: u32) -> String {
    events::derived_id("pay", tenant, &["link", invoice, &number.to_string()])
}

/// The stream of a link.
pub fn key_of(tenant: &TenantId, id: &str) -> AggregateId<PaymentLinkState> {
    AggregateId::new(tenant, id)
}

events::string_enum!(
    /// What a link can be used for.
    PaymentLinkStatus {
        /// Something is owed, and can be paid.
        Open = "open",
        Expired = "expired",
        /// Nothing is owed.
        Settled = "settled",
        /// The invoice is void or written off.
        Void = "void",
        Revoked = "revoked",
    }
);

/// A message that took a link to the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSending {
    pub channel: Channel,
    pub communication: CommunicationId,
    pub at: Timestamp,
}

/// Why and by whom a link was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub reason: LinkRevokeReason,
    pub by: String,
    pub at: Timestamp,
}

/// The state of a link that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentLink {
    pub mode: Mode,
    /// The stream of the invoice.
    pub invoice: String,
    /// Counts the links of the invoice, from 1.
    pub number: u32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The last message that was asked for to send it.
    pub sent: Option<LinkSending>,
    /// One more than [`MAX_OPENINGS`] means that there were more than are counted.
    opened: u32,
    pub first_opened_at: Option<Timestamp>,
    pub payments: Vec<String>,
    pub revoked: Option<Revocation>,
}

impl PaymentLink {
    /// How often it was opened, at most [`MAX_OPENINGS`].
    pub fn openings(&self) -> u32 {
        self.opened.min(MAX_OPENINGS)
    }

    /// Whether it was opened more often than is counted.
    pub fn has_more_openings(&self) -> bool {
        MAX_OPENINGS < self.opened
    }

    /// Whether it can still be sent to a customer who is given a link that is valid for `valid_ms`. A link that is
    /// valid for less than a month is sent until half of its time is over.
    pub fn is_sendable(&self, valid_ms: i64, now: Timestamp) -> bool {
        self.revoked.is_none() && RENEW_MS.min(valid_ms / 2) <= self.expires_at.millis_since(now)
    }

    /// What the link can be used for now. `None` if the customer's data was erased.
    pub fn status(&self, invoice: &InvoiceState, now: Timestamp) -> Option<PaymentLinkStatus> {
        if invoice.is_erased {
            return None;
        }
        Some(if self.revoked.is_some() {
            PaymentLinkStatus::Revoked
        } else if let Some(Ended::Voided | Ended::WrittenOff) = invoice.facts.ended() {
            PaymentLinkStatus::Void
        } else if invoice.is_settled() {
            PaymentLinkStatus::Settled
        } else if self.expires_at <= now {
            PaymentLinkStatus::Expired
        } else {
            PaymentLinkStatus::Open
        })
    }
}

/// The state of a link's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PaymentLinkState {
    /// `None` before it is created.
    pub link: Option<PaymentLink>,
}

/// A command to a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create { mode: Mode, invoice: String, number: u32, expires_at: Timestamp },
    RecordSending { channel: Channel, communication: CommunicationId },
    Open,
    Use { payment: String },
    Revoke { reason: LinkRevokeReason, by: String },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such payment link")]
    Unknown,
    #[error("a link cannot have more than {MAX_PAYMENTS} payments")]
    TooManyPayments,
}

impl Aggregate for PaymentLinkState {
    const KIND: StreamKind = StreamKind::PAYMENT_LINK;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = PaymentLinkEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<PaymentLinkEvent>, Rejection> {
        if let Command::Create { mode, invoice, number, expires_at } = command {
            let created = PaymentLinkEvent::PaymentLinkCreated { mode, invoice, number, expires_at };
            return Ok(self.link.is_none().then_some(created).into_iter().collect());
        }
        let link = self.link.as_ref().ok_or(Rejection::Unknown)?;
        let event = match command {
            Command::Create { .. } => None,
            Command::RecordSending { channel, communication } => {
                let is_known = link.sent.as_ref().is_some_and(|sent| sent.communication == communication);
                (!is_known).then_some(PaymentLinkEvent::PaymentLinkSent { channel, communication })
            }
            Command::Open => (link.opened <= MAX_OPENINGS).then_some(PaymentLinkEvent::PaymentLinkOpened {}),
            Command::Use { payment } if link.payments.contains(&payment) => None,
            Command::Use { .. } if MAX_PAYMENTS <= link.payments.len() => return Err(Rejection::TooManyPayments),
            Command::Use { payment } => Some(PaymentLinkEvent::PaymentLinkUsed { payment }),
            Command::Revoke { reason, by } => {
                link.revoked.is_none().then_some(PaymentLinkEvent::PaymentLinkRevoked { reason, by })
            }
        };
        Ok(event.into_iter().collect())
    }

    fn evolve(self, record: &RecordedEvent<PaymentLinkEvent>) -> Self {
        let at = record.meta.at;
        let change = |change: &dyn Fn(&mut PaymentLink)| {
            let mut link = self.link.clone();
            link.iter_mut().for_each(change);
            PaymentLinkState { link }
        };
        match record.event.clone() {
            PaymentLinkEvent::PaymentLinkCreated { mode, invoice, number, expires_at } => PaymentLinkState {
                link: Some(PaymentLink {
                    mode,
                    invoice,
                    number,
                    created_at: at,
                    expires_at,
                    sent: None,
                    opened: 0,
                    first_opened_at: None,
                    payments: Vec::new(),
                    revoked: None,
                }),
            },
            PaymentLinkEvent::PaymentLinkSent { channel, communication } => {
                change(&|link| link.sent = Some(LinkSending { channel, communication, at }))
            }
            PaymentLinkEvent::PaymentLinkOpened {} => change(&|link| {
                link.opened = link.opened.saturating_add(1);
                link.first_opened_at.get_or_insert(at);
            }),
            PaymentLinkEvent::PaymentLinkUsed { payment } => change(&|link| link.payments.push(payment.clone())),
            PaymentLinkEvent::PaymentLinkRevoked { reason, by } => {
                change(&|link| link.revoked = Some(Revocation { reason, by: by.clone(), at }))
            }
        }
    }

    fn audit(&self, records: &[RecordedEvent<PaymentLinkEvent>]) -> Vec<Violation> {
        let Some(link) = &self.link else { return Vec::new() };
        let created = |record: &RecordedEvent<_>| matches!(record.event, PaymentLinkEvent::PaymentLinkCreated { .. });
        let payments: BTreeSet<&String> = link.payments.iter().collect();
        let violations = [
            (MAX_OPENINGS + 1 < link.opened, "more openings are recorded than are counted"),
            (payments.len() < link.payments.len(), "a payment has used the link twice"),
            (records.iter().filter(|record| created(record)).count() != 1, "it was not created once"),
        ];
        let found = violations.into_iter().filter(|(is_violated, _)| *is_violated);
        found.map(|(_, what)| Violation { invariant: "I39", what: what.to_owned() }).collect()
    }

    fn is_optional(command: &Command) -> bool {
        match command {
            Command::RecordSending { .. } | Command::Open => true,
            Command::Create { .. } | Command::Use { .. } | Command::Revoke { .. } => false,
        }
    }
}

impl InvoiceState {
    /// Whether it was issued and nothing is owed any more.
    pub fn is_settled(&self) -> bool {
        let is_paid = self.facts.status() == Some(events::InvoiceStatus::Paid);
        is_paid || self.facts.amounts().is_some_and(|amounts| amounts.owed == 0)
    }

    /// Why no link to pay the invoice is sent to its customer. `None` if one can be sent.
    pub fn link_refusal(&self) -> Option<&'static str> {
        let is_draft = self.facts.status() == Some(events::InvoiceStatus::Draft);
        match self.facts.ended() {
            _ if self.is_erased => Some("erased"),
            _ if self.facts.amounts().is_none() => Some("unknown_invoice"),
            Some(Ended::Voided) => Some("voided"),
            Some(Ended::WrittenOff) => Some("written_off"),
            None if self.is_settled() => Some("settled"),
            None if self.facts.is_disputed() => Some("disputed"),
            // A payment in another currency counts nothing, so the amount may be wrong.
            None if is_draft || self.facts.has_foreign_payment() => Some("not_payable"),
            None => None,
        }
    }
}
