//! What events say about invoices, as facts.

use domain::business_event::{Contact, InvoiceChange, InvoiceData, InvoiceFacts, StatedBalance};
use domain::data_subject;
use events::{FactSource, InvoiceEvent, InvoiceKind, InvoiceStatus, InvoiceTerms, Recipient, RecipientType, Timestamp};

/// Where and when the facts of one event come from.
pub(super) struct Origin<'a> {
    pub event: &'a str,
    pub occurred_at: Timestamp,
    /// The invoice that a payment was made for by a link, and the link.
    pub link: Option<(&'a str, &'a str)>,
    /// The zone of the customer, as far as it is known.
    pub time_zone: Option<&'a str>,
}

impl Origin<'_> {
    fn source(&self, revision: Option<u64>) -> FactSource {
        FactSource { event: self.event.to_owned(), occurred_at: self.occurred_at, revision }
    }

    /// The facts, and the source's id of the invoice that they are about.
    pub fn facts(&self, facts: &InvoiceFacts) -> (String, Vec<InvoiceEvent>) {
        match facts {
            InvoiceFacts::Issued(invoice) => {
                let (mut terms, source) = (terms(invoice), self.source(invoice.revision));
                terms.time_zone = terms.time_zone.or_else(|| self.time_zone.map(str::to_owned));
                (invoice.id.clone(), self.with_balance(InvoiceEvent::InvoiceIssued { terms, source }, invoice))
            }
            InvoiceFacts::Changed(invoice) => {
                let (terms, source) = (terms(invoice), self.source(invoice.revision));
                (invoice.id.clone(), self.with_balance(InvoiceEvent::InvoiceChanged { terms, source }, invoice))
            }
            InvoiceFacts::Stated { as_of, balance } => {
                let StatedBalance { invoice, balance, due_on, status, .. } = balance.clone();
                let source = FactSource { occurred_at: *as_of, ..self.source(None) };
                let status = status.as_deref().and_then(|status| status.parse::<InvoiceStatus>().ok());
                let mut facts = vec![InvoiceEvent::BalanceStated { balance, source: source.clone() }];
                if due_on.is_some() || status.is_some() {
                    let terms = InvoiceTerms { due_on, status, ..InvoiceTerms::default() };
                    facts.push(InvoiceEvent::InvoiceChanged { terms, source });
                }
                (invoice, facts)
            }
            InvoiceFacts::State { invoice, change, revision, .. } => {
                let source = self.source(*revision);
                let fact = match change {
                    InvoiceChange::Voided => InvoiceEvent::InvoiceVoided { source },
                    InvoiceChange::Disputed => InvoiceEvent::InvoiceDisputed { source },
                    InvoiceChange::WrittenOff => InvoiceEvent::InvoiceWrittenOff { source },
                    InvoiceChange::Reinstated => InvoiceEvent::InvoiceReinstated { source },
                    InvoiceChange::DisputeResolved => InvoiceEvent::DisputeResolved { source },
                };
                (invoice.clone(), vec![fact])
            }
            InvoiceFacts::Paid { invoice, amount, payment } => {
                let fact = InvoiceEvent::PaymentRecorded {
                    payment: payment.id.clone(),
                    amount: *amount,
                    currency: payment.currency.clone(),
                    received_at: payment.received_at.unwrap_or(self.occurred_at),
                    link: self.link.filter(|(paid, _)| paid == invoice).map(|(_, link)| link.to_owned()),
                    source: self.source(None),
                };
                (invoice.clone(), vec![fact])
            }
            InvoiceFacts::Reversed { invoice, amount, payment, refund } => {
                let fact = InvoiceEvent::PaymentReversed {
                    refund: refund.clone(),
                    payment: payment.id.clone(),
                    amount: *amount,
                    source: self.source(None),
                };
                (invoice.clone(), vec![fact])
            }
            InvoiceFacts::Failed { invoice, payment } => {
                let fact = InvoiceEvent::PaymentFailed { payment: payment.clone(), source: self.source(None) };
                (invoice.clone(), vec![fact])
            }
        }
    }

    fn with_balance(&self, fact: InvoiceEvent, invoice: &InvoiceData) -> Vec<InvoiceEvent> {
        let source = self.source(invoice.revision);
        let stated = invoice.balance.map(|balance| InvoiceEvent::BalanceStated { balance, source });
        std::iter::once(fact).chain(stated).collect()
    }
}

/// A customer by a reference. `None` without an id.
pub(super) fn customer(contact: &Option<Contact>) -> Option<Recipient> {
    let recipient = Recipient { kind: RecipientType::Customer, id: contact.as_ref()?.id.clone() };
    data_subject::of_recipient(&recipient).map(|_| recipient)
}

fn terms(invoice: &InvoiceData) -> InvoiceTerms {
    let status = invoice.status.as_deref().and_then(|status| status.parse::<InvoiceStatus>().ok());
    let time_zone = invoice.customer.as_ref().and_then(|customer| customer.time_zone.clone().flatten());
    InvoiceTerms {
        number: invoice.number.clone(),
        kind: Some(if invoice.is_sale { InvoiceKind::Sale } else { InvoiceKind::Invoice }),
        customer: customer(&invoice.customer),
        currency: invoice.currency.clone(),
        total: invoice.total,
        issued_on: invoice.issued_on.clone(),
        due_on: invoice.due_on.clone(),
        // A sale has no status of its own.
        status: status.or(invoice.is_sale.then_some(InvoiceStatus::Issued)),
        document: None,
        business_name: invoice.business_name.clone(),
        time_zone,
    }
}
