//! What an event can ask for, and what is known when that is planned.

use std::collections::BTreeMap;

use events::{AutomationSettings, Channel, EntityRef, MessageType, RecipientType, Timestamp};
use serde_json::Value;

use super::data::{InvoiceChange, InvoiceData, LinkRequest, PaymentData, StatedBalance, WantedChannels};
use super::document::{DocumentAct, InvoiceFile};
use super::person::{Contact, Person};
use crate::preferences::Preferences;

/// One thing that an event asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Send(Box<SendAct>),
    /// Something to be recorded about an invoice.
    Facts(Box<InvoiceFacts>),
    Person(Box<PersonAct>),
    /// Messages that confirm a payment, planned by [`confirm`] once its facts are recorded.
    Confirm(Box<PaymentData>),
    /// A message with a link to pay an invoice, planned by [`send_link`](super::send_link) once the invoice is known.
    Link(LinkRequest),
    Skip {
        act: &'static str,
        recipient: Option<String>,
        channel: Option<Channel>,
        reason: String,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct SendAct {
    /// The business name of the message. The same name is sent once, by whichever event.
    pub name: Vec<String>,
    pub kind: MessageType,
    pub channel: Channel,
    pub recipient_type: RecipientType,
    pub recipient_id: Option<String>,
    pub recipient_name: Option<String>,
    pub to: String,
    /// The code of the template.
    pub template: String,
    pub variables: Value,
    pub locale: Option<String>,
    pub entity: Option<EntityRef>,
    /// The file of an invoice, for a channel that carries it.
    pub document: Option<DocumentAct>,
    /// The streams of the invoices that have to be owed when it is sent.
    pub unless_settled: Vec<String>,
    /// Such as `SYSTEM_low_stock`.
    pub requested_by: &'static str,
}

impl Act {
    /// Whether an invoice is printed for it.
    pub fn prints(&self) -> bool {
        let is_printed = |document: &DocumentAct| matches!(document.file, InvoiceFile::Printed(_));
        matches!(self, Act::Send(send) if send.document.as_ref().is_some_and(is_printed))
    }
}

/// Facts about invoices. Their order does not matter.
#[derive(Debug, Clone, PartialEq)]
pub enum InvoiceFacts {
    Issued(Box<InvoiceData>),
    Changed(Box<InvoiceData>),
    Stated { as_of: Timestamp, balance: StatedBalance },
    State { invoice: String, change: InvoiceChange, reason: Option<String>, revision: Option<u64> },
    Paid { invoice: String, amount: i64, payment: Box<PaymentData> },
    Reversed { invoice: String, amount: i64, payment: Box<PaymentData>, refund: String },
    Failed { invoice: String, payment: String },
}

/// The act of a payment that failed.
pub(super) const PAYMENT_FAILURE: &str = "payment_failure";

impl InvoiceFacts {
    /// The act's name in its outcome.
    pub fn act(&self) -> &'static str {
        match self {
            InvoiceFacts::Issued(_) => "invoice",
            InvoiceFacts::Changed(_) => "invoice_change",
            InvoiceFacts::Stated { .. } => "balance",
            InvoiceFacts::State { .. } => "invoice_state",
            InvoiceFacts::Paid { .. } => "payment",
            InvoiceFacts::Reversed { .. } => "refund",
            InvoiceFacts::Failed { .. } => PAYMENT_FAILURE,
        }
    }
}

/// A change of what is known of a person.
#[derive(Debug, Clone, PartialEq)]
pub enum PersonAct {
    Created { kind: RecipientType, id: String, contact: Contact, preferences: WantedChannels },
    Changed { kind: RecipientType, id: String, contact: Contact },
    Removed { kind: RecipientType, id: String },
}

/// A person whom a message may go to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownPerson {
    /// `None` for a person without an id.
    pub id: Option<String>,
    pub person: Person,
    /// With the tenant's defaults.
    pub preferences: Preferences,
    /// The addresses that the person prefers.
    pub addresses: BTreeMap<Channel, String>,
}

impl KnownPerson {
    /// The preferred address for a channel, or else one that events gave.
    pub fn address(&self, channel: Channel) -> Option<&str> {
        self.addresses.get(&channel).map(String::as_str).or_else(|| self.person.address(channel))
    }
}

/// What a plan uses besides the event's data.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The id that the source gave the event.
    pub event_id: &'a str,
    /// The system that sent it.
    pub source: &'a str,
    /// The system whose ids of invoices and payments these are.
    pub namespace: &'a str,
    /// The name of a business that the event does not name.
    pub business_name: &'a str,
    pub now: Timestamp,
    /// The settings of the automation of a message type. Absent means the defaults.
    pub settings: &'a BTreeMap<MessageType, AutomationSettings>,
    /// The person whom the event is about, or the users whom it is for.
    pub people: &'a [KnownPerson],
    /// The channel by which the link of a payment went to the customer.
    pub link_channel: Option<Channel>,
    /// Whether an alert about the same location was sent a short time ago.
    pub is_repeated_alert: bool,
}

impl Known<'_> {
    pub(super) fn settings(&self, kind: MessageType) -> AutomationSettings {
        self.settings.get(&kind).cloned().unwrap_or_default()
    }
}

/// Why there is no address for a channel.
pub(super) fn missing(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "no_email",
        Channel::Sms | Channel::Whatsapp => "no_phone",
        Channel::Messenger | Channel::Telegram => "no_contact",
    }
}
