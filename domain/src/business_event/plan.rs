//! What an event asks for, as a pure function of the event, the tenant's settings and what is known of people.

use std::collections::BTreeMap;

use events::{AutomationSettings, Channel, EntityRef, MessageType, RecipientType, Timestamp};
use serde_json::{Value, json};

use super::data::{EventData, InvitationData, InvoiceChange, InvoiceData, LowStockData, PaymentData, StatedBalance};
use super::data::{StockItem, WantedChannels};
use super::person::{Contact, Person};
use crate::preferences::Preferences;

/// The role whose users are told of low stock.
pub const STOCK_ROLE: &str = "inventory_manager";
/// Alerts about one location within this time of another are not sent, in milliseconds.
pub const STOCK_QUIET_MS: i64 = 4 * 3_600_000;
/// Number of items that an alert lists.
const MAX_ITEMS_SHOWN: usize = 10;
const INVITATION_CHANNELS: [Channel; 2] = [Channel::Email, Channel::Sms];

/// One thing that an event asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Send(Box<SendAct>),
    /// Something to be recorded about an invoice.
    Facts(Box<InvoiceFacts>),
    Person(Box<PersonAct>),
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
    /// Such as `SYSTEM_low_stock`.
    pub requested_by: &'static str,
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
    LinkRequested { invoice: String, channel: Option<Channel>, expires_in_ms: Option<i64> },
}

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
            InvoiceFacts::LinkRequested { .. } => "payment_link",
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
    fn address(&self, channel: Channel) -> Option<&str> {
        self.addresses.get(&channel).map(String::as_str).or_else(|| self.person.address(channel))
    }
}

/// What a plan uses besides the event's data.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The id that the source gave the event.
    pub event_id: &'a str,
    pub now: Timestamp,
    /// The settings of the automation of a message type. Absent means the defaults.
    pub settings: &'a BTreeMap<MessageType, AutomationSettings>,
    /// The person whom the event is about, or the users whom it is for.
    pub people: &'a [KnownPerson],
    /// Whether an alert about the same location was sent a short time ago.
    pub is_repeated_alert: bool,
}

impl Known<'_> {
    fn settings(&self, kind: MessageType) -> AutomationSettings {
        self.settings.get(&kind).cloned().unwrap_or_default()
    }
}

/// The types of messages that events send.
pub const AUTOMATIONS: [MessageType; 5] = [
    MessageType::Invoice,
    MessageType::PaymentLink,
    MessageType::PaymentConfirmation,
    MessageType::UserInvitation,
    MessageType::LowStockAlert,
];

/// What an event asks for.
pub fn plan(data: &EventData, known: &Known<'_>) -> Vec<Act> {
    let facts = |facts| vec![Act::Facts(Box::new(facts))];
    match data.clone() {
        EventData::InvoiceIssued(invoice) => facts(InvoiceFacts::Issued(invoice)),
        EventData::InvoiceChanged(invoice) => facts(InvoiceFacts::Changed(invoice)),
        EventData::Statement { as_of, invoices } => {
            let stated = |balance| Act::Facts(Box::new(InvoiceFacts::Stated { as_of, balance }));
            invoices.into_iter().map(stated).collect()
        }
        EventData::InvoiceState { invoice, change, reason, revision } => {
            facts(InvoiceFacts::State { invoice, change, reason, revision })
        }
        EventData::PaymentReceived(payment) => {
            let paid = |(invoice, amount)| InvoiceFacts::Paid { invoice, amount, payment: payment.clone() };
            payment.allocations.clone().into_iter().map(paid).map(|fact| Act::Facts(Box::new(fact))).collect()
        }
        EventData::PaymentRefunded(payment, refund) => {
            let reversed = |(invoice, amount)| InvoiceFacts::Reversed {
                invoice,
                amount,
                payment: payment.clone(),
                refund: refund.clone(),
            };
            payment.allocations.clone().into_iter().map(reversed).map(|fact| Act::Facts(Box::new(fact))).collect()
        }
        EventData::PaymentFailed { .. } => Vec::new(),
        EventData::PaymentLinkRequested { invoice, channel, expires_in_ms } => {
            facts(InvoiceFacts::LinkRequested { invoice, channel, expires_in_ms })
        }
        EventData::UserInvited(invitation) => vec![invite(&invitation, known)],
        EventData::LowStock(stock) => alert(&stock, known),
        EventData::PersonCreated { kind, contact, preferences } => {
            person(|id| PersonAct::Created { kind, id, contact: (*contact).clone(), preferences }, &contact)
        }
        EventData::PersonChanged { kind, contact } => {
            person(|id| PersonAct::Changed { kind, id, contact: (*contact).clone() }, &contact)
        }
        EventData::PersonRemoved { kind, id } => vec![Act::Person(Box::new(PersonAct::Removed { kind, id }))],
    }
}

fn person(act: impl FnOnce(String) -> PersonAct, contact: &Contact) -> Vec<Act> {
    contact.id.clone().map(|id| Act::Person(Box::new(act(id)))).into_iter().collect()
}

/// Why there is no address for a channel.
fn missing(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "no_email",
        Channel::Sms | Channel::Whatsapp => "no_phone",
        Channel::Messenger | Channel::Telegram => "no_contact",
    }
}

/// K5: by the first channel for which there is an address.
fn invite(invitation: &InvitationData, known: &Known<'_>) -> Act {
    let kind = MessageType::UserInvitation;
    let settings = known.settings(kind);
    let user = known.people.first().cloned().unwrap_or_default();
    let recipient = user.id.as_ref().map(|id| format!("user:{id}"));
    let skip = |reason: &str| Act::Skip {
        act: kind.as_str(),
        recipient: recipient.clone(),
        channel: None,
        reason: reason.to_owned(),
    };
    if !settings.enabled {
        return skip("automation_off");
    }
    if invitation.expires_at.is_some_and(|until| until <= known.now) {
        return skip("invite_expired");
    }
    let channels = settings.channels.unwrap_or_else(|| INVITATION_CHANNELS.to_vec());
    let reached = channels.iter().find_map(|channel| Some((*channel, user.address(*channel)?.to_owned())));
    let Some((channel, to)) = reached else { return skip("no_contact") };
    let who = user.id.clone().unwrap_or_else(|| to.clone());
    let name = ["invite", &who, invitation.id.as_deref().unwrap_or(known.event_id)].map(str::to_owned).to_vec();
    Act::Send(Box::new(SendAct {
        name,
        kind,
        channel,
        recipient_type: RecipientType::User,
        recipient_id: user.id.clone(),
        recipient_name: user.person.name.clone(),
        to,
        template: settings.template.unwrap_or_else(|| kind.as_str().to_owned()),
        variables: json!({
            "businessName": invitation.business_name,
            "invitationLink": invitation.url,
            "userName": user.person.name,
            "inviterName": invitation.inviter,
            "role": invitation.role,
        }),
        locale: user.person.locale.clone(),
        entity: None,
        requested_by: "SYSTEM_events",
    }))
}

/// K9 and K11: to each user with the role, by all channels that they want.
fn alert(stock: &LowStockData, known: &Known<'_>) -> Vec<Act> {
    let kind = MessageType::LowStockAlert;
    let settings = known.settings(kind);
    let skip = |recipient: Option<String>, channel: Option<Channel>, reason: &str| Act::Skip {
        act: kind.as_str(),
        recipient,
        channel,
        reason: reason.to_owned(),
    };
    if !settings.enabled {
        return vec![skip(None, None, "automation_off")];
    }
    if known.people.is_empty() {
        return vec![skip(None, None, "nobody_has_role")];
    }
    if known.is_repeated_alert {
        return vec![skip(None, None, "quiet_repeat")];
    }
    let mut acts = Vec::new();
    for user in known.people {
        let recipient = user.id.as_ref().map(|id| format!("user:{id}"));
        let own = user.preferences.types.get(&kind).cloned();
        let wanted = own.or_else(|| settings.channels.clone()).unwrap_or_else(|| vec![Channel::Email]);
        if wanted.is_empty() {
            acts.push(skip(recipient.clone(), None, "type_disabled"));
        }
        for channel in wanted {
            let refusal = user.preferences.refuses(channel, kind);
            acts.push(match (refusal, user.address(channel)) {
                (Some(reason), _) => skip(recipient.clone(), Some(channel), reason.as_str()),
                (None, None) => skip(recipient.clone(), Some(channel), missing(channel)),
                (None, Some(to)) => {
                    let template = settings.template.clone().unwrap_or_else(|| kind.as_str().to_owned());
                    Act::Send(Box::new(stock_message(stock, user, channel, to, template)))
                }
            });
        }
    }
    acts
}

fn stock_message(stock: &LowStockData, user: &KnownPerson, channel: Channel, to: &str, template: String) -> SendAct {
    let shown = |item: &StockItem| json!({ "name": item.name.as_ref().or(item.sku.as_ref()), "sku": item.sku, "quantity": item.left });
    let id = user.id.clone().unwrap_or_default();
    SendAct {
        name: ["stock", &stock.alert, &id, channel.as_str()].map(str::to_owned).to_vec(),
        kind: MessageType::LowStockAlert,
        channel,
        recipient_type: RecipientType::User,
        recipient_id: user.id.clone(),
        recipient_name: user.person.name.clone(),
        to: to.to_owned(),
        template,
        variables: json!({
            "locationName": stock.location_name,
            "itemCount": stock.item_count,
            "items": stock.items.iter().take(MAX_ITEMS_SHOWN).map(shown).collect::<Vec<_>>(),
            "businessName": stock.business_name.clone().unwrap_or_default(),
        }),
        locale: user.person.locale.clone(),
        entity: Some(EntityRef { kind: "lowStockAlert".to_owned(), id: Some(stock.alert.clone()) }),
        requested_by: "SYSTEM_low_stock",
    }
}
