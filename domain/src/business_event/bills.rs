//! Messages about invoices and payments.

use events::{Channel, EntityRef, MessageType, RecipientType};
use serde_json::{Value, json};

use super::acts::{Act, Known, KnownPerson, SendAct, missing};
use super::data::{InvoiceData, PaymentData};
use super::document::{DocumentAct, document};
use crate::invoice::InvoiceState;
use crate::money::decimal;

/// A message to a customer, by each channel that is wanted.
struct Bill<'a> {
    kind: MessageType,
    /// What the message is named by, without the channel.
    name: [&'a str; 4],
    entity: EntityRef,
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
        name: ["invoice", known.source, &invoice.id, "sent"],
        entity: entity(&invoice.id),
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
    let bill = Bill {
        kind,
        document: None,
        name: ["paid", known.source, &payment.id, "confirmed"],
        entity: entity(first),
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
        let wanted = own.or(settings.channels).unwrap_or_else(|| vec![Channel::Email]);
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
                requested_by: "SYSTEM_events",
            }))
        };
        wanted.into_iter().map(act).collect()
    }
}
