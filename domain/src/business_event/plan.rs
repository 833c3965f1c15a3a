//! What an event asks for, as a pure function of the event, the tenant's settings and what is known of people.

use events::{Channel, EntityRef, MessageType, RecipientType};
use serde_json::json;

use super::acts::{Act, InvoiceFacts, Known, KnownPerson, PAYMENT_FAILURE, PersonAct, SendAct, missing};
use super::bills;
use super::data::{EventData, InvitationData, InvoiceData, LowStockData, PaymentData, StockItem};
use super::person::Contact;
use crate::invoice::InvoiceState;

/// The role whose users are told of low stock.
pub const STOCK_ROLE: &str = "inventory_manager";
/// Alerts about one location within this time of another are not sent, in milliseconds.
pub const STOCK_QUIET_MS: i64 = 4 * 3_600_000;
/// Number of items that an alert lists.
const MAX_ITEMS_SHOWN: usize = 10;
const INVITATION_CHANNELS: [Channel; 2] = [Channel::Email, Channel::Sms];

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
        EventData::InvoiceIssued(invoice) => {
            let mut acts = customer_of(&invoice);
            let messages = bills::invoice(&invoice, known);
            acts.extend(facts(InvoiceFacts::Issued(invoice)));
            acts.extend(messages);
            acts
        }
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
            let paid = payment.allocations.clone().into_iter().map(paid).map(|fact| Act::Facts(Box::new(fact)));
            paid.chain([Act::Confirm(payment.clone())]).collect()
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
        EventData::PaymentFailed { payment, invoice: Some(invoice), .. } => {
            facts(InvoiceFacts::Failed { invoice, payment })
        }
        EventData::PaymentFailed { invoice: None, .. } => {
            vec![Act::Skip { act: PAYMENT_FAILURE, recipient: None, channel: None, reason: "no_invoice".to_owned() }]
        }
        EventData::PaymentLinkRequested(request) => vec![Act::Link(request)],
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

/// A customer whom an invoice is for is known from now on.
fn customer_of(invoice: &InvoiceData) -> Vec<Act> {
    let contact = invoice.customer.clone().unwrap_or_default();
    person(|id| PersonAct::Changed { kind: RecipientType::Customer, id, contact: contact.clone() }, &contact)
}

/// The messages that confirm a payment, once it is recorded for its invoices.
pub fn confirm(payment: &PaymentData, invoices: &[InvoiceState], known: &Known<'_>) -> Vec<Act> {
    bills::confirmation(payment, invoices, known)
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
    // Without an id of its own an invitation is the one that its link leads to.
    let name = ["invite", &who, invitation.id.as_deref().unwrap_or(&invitation.url)].map(str::to_owned).to_vec();
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
        document: None,
        unless_settled: Vec::new(),
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
        document: None,
        unless_settled: Vec::new(),
        requested_by: "SYSTEM_low_stock",
    }
}
