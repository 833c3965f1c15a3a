//! The data of events of known types.

use std::collections::BTreeMap;

use events::{Channel, MessageType, RecipientType, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::person::Contact;

/// Maximum number of invoices that an event mentions.
const MAX_MENTIONS: usize = 20;

/// The file of an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Document {
    pub attachment_id: Option<String>,
    pub url: Option<String>,
}

/// One line of an invoice. Amounts are in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceLine {
    pub description: String,
    /// A decimal number, as the source wrote it.
    pub quantity: Option<String>,
    pub unit_price: Option<i64>,
    pub total: Option<i64>,
}

/// What an event says about an invoice. Amounts are in minor units, days are `YYYY-MM-DD`. `None` was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvoiceData {
    /// The source's id.
    pub id: String,
    /// Whether it was issued for a sale at the counter.
    pub is_sale: bool,
    pub number: Option<String>,
    pub currency: Option<String>,
    pub total: Option<i64>,
    pub balance: Option<i64>,
    pub issued_on: Option<String>,
    pub due_on: Option<String>,
    pub status: Option<String>,
    /// The source's revision of the invoice.
    pub revision: Option<u64>,
    pub lines: Vec<InvoiceLine>,
    pub customer: Option<Contact>,
    pub document: Option<Document>,
    pub business_name: Option<String>,
}

/// What is owed on an invoice, as the source states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedBalance {
    pub invoice: String,
    pub currency: String,
    pub balance: i64,
    pub due_on: Option<String>,
    pub status: Option<String>,
}

/// A change of an invoice that has no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceChange {
    Voided,
    Disputed,
    WrittenOff,
    Reinstated,
    DisputeResolved,
}

/// A payment, or a refund of one, and the invoices that it is for with their amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentData {
    pub id: String,
    pub amount: i64,
    pub currency: String,
    pub allocations: Vec<(String, i64)>,
    pub received_at: Option<Timestamp>,
    pub method: Option<String>,
    /// The token of the link by which it was paid.
    pub link_token: Option<String>,
    pub customer: Option<Contact>,
    pub business_name: Option<String>,
}

/// A link to pay an invoice that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRequest {
    /// The source's id.
    pub invoice: String,
    /// `None` means the first by which the customer can be reached.
    pub channel: Option<Channel>,
    /// `None` means a month.
    pub valid_ms: Option<i64>,
}

/// An invitation to work with the business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationData {
    pub id: Option<String>,
    pub user: Contact,
    pub inviter: Option<String>,
    pub role: Option<String>,
    pub business_name: String,
    pub url: String,
    pub expires_at: Option<Timestamp>,
}

/// An item that is running out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StockItem {
    pub sku: Option<String>,
    pub name: Option<String>,
    pub left: Option<Value>,
}

/// Items that are running out at one location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowStockData {
    pub alert: String,
    /// The id of the location, or else its name.
    pub location: String,
    pub location_name: String,
    pub items: Vec<StockItem>,
    pub item_count: u64,
    pub business_name: Option<String>,
}

/// The channels that a person wants, by message type.
pub type WantedChannels = BTreeMap<MessageType, Vec<Channel>>;

/// The data of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventData {
    /// Of a sale too.
    InvoiceIssued(Box<InvoiceData>),
    InvoiceChanged(Box<InvoiceData>),
    Statement {
        as_of: Timestamp,
        invoices: Vec<StatedBalance>,
    },
    InvoiceState {
        invoice: String,
        change: InvoiceChange,
        reason: Option<String>,
        revision: Option<u64>,
    },
    PaymentReceived(Box<PaymentData>),
    /// The second field names the refund.
    PaymentRefunded(Box<PaymentData>, String),
    PaymentFailed {
        payment: String,
        invoice: Option<String>,
        reason: Option<String>,
    },
    PaymentLinkRequested(LinkRequest),
    UserInvited(Box<InvitationData>),
    LowStock(Box<LowStockData>),
    PersonCreated {
        kind: RecipientType,
        contact: Box<Contact>,
        preferences: WantedChannels,
    },
    PersonChanged {
        kind: RecipientType,
        contact: Box<Contact>,
    },
    PersonRemoved {
        kind: RecipientType,
        id: String,
    },
}

impl EventData {
    /// The one person that the event is about.
    pub fn person(&self) -> Option<(RecipientType, Contact)> {
        let customer = |contact: &Option<Contact>| Some((RecipientType::Customer, contact.clone()?));
        match self {
            EventData::InvoiceIssued(invoice) | EventData::InvoiceChanged(invoice) => customer(&invoice.customer),
            EventData::PaymentReceived(payment) | EventData::PaymentRefunded(payment, _) => customer(&payment.customer),
            EventData::UserInvited(invitation) => Some((RecipientType::User, invitation.user.clone())),
            EventData::PersonCreated { kind, contact, .. } | EventData::PersonChanged { kind, contact } => {
                Some((*kind, (**contact).clone()))
            }
            EventData::PersonRemoved { kind, id } => {
                Some((*kind, Contact { id: Some(id.clone()), ..Contact::default() }))
            }
            EventData::Statement { .. }
            | EventData::InvoiceState { .. }
            | EventData::PaymentFailed { .. }
            | EventData::PaymentLinkRequested(_)
            | EventData::LowStock(_) => None,
        }
    }

    /// The time of the state that the event tells, if it is another than that of the event.
    pub fn as_of(&self) -> Option<Timestamp> {
        match self {
            EventData::Statement { as_of, .. } => Some(*as_of),
            _ => None,
        }
    }

    /// References to invoices by which the event can be found: ids, and numbers.
    pub fn mentions(&self) -> Vec<String> {
        let mut mentions: Vec<String> = match self {
            EventData::InvoiceIssued(invoice) | EventData::InvoiceChanged(invoice) => {
                [invoice.number.clone(), Some(invoice.id.clone())].into_iter().flatten().collect()
            }
            EventData::Statement { invoices, .. } => invoices.iter().map(|stated| stated.invoice.clone()).collect(),
            EventData::InvoiceState { invoice, .. } | EventData::PaymentLinkRequested(LinkRequest { invoice, .. }) => {
                vec![invoice.clone()]
            }
            EventData::PaymentReceived(payment) | EventData::PaymentRefunded(payment, _) => {
                payment.allocations.iter().map(|(invoice, _)| invoice.clone()).collect()
            }
            EventData::PaymentFailed { invoice, .. } => invoice.iter().cloned().collect(),
            EventData::UserInvited(_)
            | EventData::LowStock(_)
            | EventData::PersonCreated { .. }
            | EventData::PersonChanged { .. }
            | EventData::PersonRemoved { .. } => Vec::new(),
        };
        mentions.dedup();
        mentions.truncate(MAX_MENTIONS);
        mentions
    }
}
