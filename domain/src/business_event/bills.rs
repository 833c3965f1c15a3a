//! Messages about invoices and payments.

use events::{Channel, EntityRef, MessageType, RecipientType};
use serde_json::{Value, json};

use super::acts::{Act, Known, KnownPerson, SendAct, missing};
use super::data::{InvoiceData, LinkRequest, PaymentData};
use super::document::{DocumentAct, document};
use crate::invoice::InvoiceState;
use crate::money::decimal;

/// A message to a customer, by each channel that is wanted.
struct Bill<'a> {
    kind: MessageType,
    /// What the message is named by, without the channel.
    name: [&'a str; 4],
    entity: EntityRef,
    /// The channels of a customer who chose none, if the tenant did not either.
    channels: Vec<Channel>,
    variables: Value,
    /// The file that emails have.
    document: Option<DocumentAct>,
}

/// K1, K6 and K7: the invoice, to its customer.
pub fn invoice(invoice: &InvoiceData, known: &Known<'_>) -> Vec<Act> {
    let kind = MessageType::Invoice;
    let Some(customer) = known.people.first() else { return vec![skip(kind, None, None, "no_customer")] };
    let (Some(number), Some(total), Some(currency)) = (&invoice.number, invoice.total, &invoice.currency) else {
        return vec![skip(kind, Some(customer), None, "incomplete")];
    };
    if invoice.status.as_deref() == Some("draft") {
        return vec![skip(kind, Some(customer), None, "draft")];
    }
    let settings = known.settings(kind);
    let business_name = invoice.business_name.as_deref().unwrap_or(known.business_name);
    let with = (settings.render_invoices, settings.document_required);
    let bill = Bill {
        kind,
        document: Some(document(invoice, &customer.person, business_name, with)),
        name: ["invoice", known.namespace, &invoice.id, "sent"],
        entity: entity(&invoice.id),
        channels: vec![Channel::Email],
        variables: json!({
            "customerName": customer.person.salutation(),
            "businessName": business_name,
            "invoiceNumber": number,
            "amount": decimal(total, currency),
            "currency": currency,
            "dueDate": invoice.due_on,
        }),
    };
    bill.to(customer, known)
}

/// K4 and K8: that a payment was received, and what remains.
pub(super) fn confirmation(payment: &PaymentData, invoices: &[InvoiceState], known: &Known<'_>) -> Vec<Act> {
    let kind = MessageType::PaymentConfirmation;
    let Some(customer) = known.people.first() else { return vec![skip(kind, None, None, "no_customer")] };
    let terms: Vec<_> = invoices.iter().map(|invoice| invoice.facts.terms()).collect();
    let numbers: Vec<String> = terms.iter().filter_map(|terms| terms.number.clone()).collect();
    let owed = invoices.iter().filter_map(|invoice| invoice.facts.amounts());
    let remaining = owed.fold(0_i64, |sum, amounts| sum.saturating_add(amounts.owed));
    let business_name =
        payment.business_name.clone().or_else(|| terms.iter().find_map(|terms| terms.business_name.clone()));
    let paid_on = payment.received_at.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok());
    let first = payment.allocations.first().map_or("", |(invoice, _)| invoice);
    // A customer who paid by a link is told by its channel, too.
    let link = known.link_channel.filter(|channel| *channel != Channel::Email);
    let bill = Bill {
        kind,
        document: None,
        name: ["paid", known.namespace, &payment.id, "confirmed"],
        entity: entity(first),
        channels: [Channel::Email].into_iter().chain(link).collect(),
        variables: json!({
            "customerName": customer.person.salutation(),
            "businessName": business_name.as_deref().unwrap_or(known.business_name),
            "invoiceNumber": numbers.join(", "),
            "amount": decimal(payment.amount, &payment.currency),
            "currency": payment.currency,
            "paymentDate": paid_on.map(|at| at.strftime("%Y-%m-%d").to_string()),
            "method": payment.method,
            "remaining": (remaining > 0).then(|| decimal(remaining, &payment.currency)),
        }),
    };
    bill.to(customer, known)
}

/// The channels of a message with a payment link, in order, for customers and tenants who chose none.
pub const LINK_CHANNELS: [Channel; 2] = [Channel::Sms, Channel::Whatsapp];

/// The channel of a message with a payment link, and the address: the one that was asked for, or else the first by
/// which the customer can be reached.
///
/// # Errors
///
/// The reason why there is none, with the channel that it concerns.
pub fn link_channel<'a>(
    asked: Option<Channel>,
    of_tenant: Option<&[Channel]>,
    customer: &'a KnownPerson,
) -> Result<(Channel, &'a str), (Option<Channel>, &'static str)> {
    let kind = MessageType::PaymentLink;
    let own = customer.preferences.types.get(&kind).map(Vec::as_slice);
    let wanted = asked.as_ref().map(std::slice::from_ref).or(own).or(of_tenant).unwrap_or(&LINK_CHANNELS);
    let reach = |channel: &Channel| match (customer.preferences.refuses(*channel, kind), customer.address(*channel)) {
        // What was asked for is tried, and refused by the message itself.
        (Some(reason), _) if asked.is_none() => Err((Some(*channel), reason.as_str())),
        (_, None) => Err((Some(*channel), missing(*channel))),
        (_, Some(to)) => Ok((*channel, to)),
    };
    let mut refusal = (None, "type_disabled");
    for channel in wanted {
        match reach(channel) {
            Ok(reached) => return Ok(reached),
            Err(other) if refusal.0.is_none() => refusal = other,
            Err(_) => (),
        }
    }
    Err(refusal)
}

/// What a message with a payment link says of its invoice, without the link. `None` without number, total or currency.
pub fn link_variables(invoice: &InvoiceState) -> Option<serde_json::Map<String, Value>> {
    let terms = invoice.facts.terms();
    let currency = terms.currency?;
    let said = json!({
        "invoiceNumber": terms.number?,
        "amount": decimal(invoice.facts.amounts()?.owed, &currency),
        "currency": currency,
        "dueDate": terms.due_on,
    });
    said.as_object().cloned()
}

/// K2: a link to pay an invoice, without its address. `id` is the invoice's stream.
pub fn send_link(request: &LinkRequest, (id, invoice): (&str, &InvoiceState), known: &Known<'_>) -> Act {
    let kind = MessageType::PaymentLink;
    let customer = known.people.first();
    let skip = |channel: Option<Channel>, reason: &str| skip(kind, customer, channel, reason);
    let settings = known.settings(kind);
    if !settings.enabled {
        return skip(request.channel, "automation_off");
    }
    if let Some(reason) = invoice.link_refusal() {
        return skip(request.channel, reason);
    }
    let Some(customer) = customer else { return skip(request.channel, "no_customer") };
    let Some(mut variables) = link_variables(invoice) else { return skip(request.channel, "incomplete") };
    let (channel, to) = match link_channel(request.channel, settings.channels.as_deref(), customer) {
        Ok(reached) => reached,
        Err((channel, reason)) => return skip(channel, reason),
    };
    let business_name = invoice.facts.terms().business_name;
    variables.insert("customerName".to_owned(), customer.person.salutation().into());
    variables.insert("businessName".to_owned(), business_name.as_deref().unwrap_or(known.business_name).into());
    Act::Send(Box::new(SendAct {
        name: ["link", known.source, known.event_id, channel.as_str()].map(str::to_owned).to_vec(),
        kind,
        channel,
        recipient_type: RecipientType::Customer,
        recipient_id: customer.id.clone(),
        recipient_name: customer.person.name.clone(),
        to: to.to_owned(),
        template: settings.template.unwrap_or_else(|| kind.as_str().to_owned()),
        variables: Value::Object(variables),
        locale: customer.person.locale.clone(),
        entity: Some(entity(&request.invoice)),
        document: None,
        unless_settled: vec![id.to_owned()],
        requested_by: "SYSTEM_events",
    }))
}

fn entity(invoice: &str) -> EntityRef {
    EntityRef { kind: "invoice".to_owned(), id: Some(invoice.to_owned()) }
}

fn skip(kind: MessageType, customer: Option<&KnownPerson>, channel: Option<Channel>, reason: &str) -> Act {
    let id = customer.and_then(|customer| customer.id.as_ref());
    let recipient = id.map(|id| format!("{}:{id}", RecipientType::Customer.as_str()));
    Act::Skip { act: kind.as_str(), recipient, channel, reason: reason.to_owned() }
}

impl Bill<'_> {
    /// The messages to a customer: by the channels that they chose for the type, or else by those of the tenant.
    fn to(&self, customer: &KnownPerson, known: &Known<'_>) -> Vec<Act> {
        let settings = known.settings(self.kind);
        if !settings.enabled {
            return vec![skip(self.kind, Some(customer), None, "automation_off")];
        }
        let own = customer.preferences.types.get(&self.kind).cloned();
        let wanted = own.or(settings.channels).unwrap_or_else(|| self.channels.clone());
        if wanted.is_empty() {
            return vec![skip(self.kind, Some(customer), None, "type_disabled")];
        }
        let template = settings.template.unwrap_or_else(|| self.kind.as_str().to_owned());
        let act = |channel: Channel| {
            let Some(to) = customer.address(channel) else {
                return skip(self.kind, Some(customer), Some(channel), missing(channel));
            };
            let name = self.name.iter().copied().chain([channel.as_str()]).map(str::to_owned).collect();
            Act::Send(Box::new(SendAct {
                name,
                kind: self.kind,
                channel,
                recipient_type: RecipientType::Customer,
                recipient_id: customer.id.clone(),
                recipient_name: customer.person.name.clone(),
                to: to.to_owned(),
                template: template.clone(),
                variables: self.variables.clone(),
                locale: customer.person.locale.clone(),
                entity: Some(self.entity.clone()),
                document: self.document.clone().filter(|_| channel == Channel::Email),
                unless_settled: Vec::new(),
                requested_by: "SYSTEM_events",
            }))
        };
        wanted.into_iter().map(act).collect()
    }
}
