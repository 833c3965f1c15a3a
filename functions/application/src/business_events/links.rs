//! Payment links of events: they are in invoices, are sent when they are asked for, and are used by payments.

use domain::business_event::{Act, Contact, InvoiceFile, Known, LinkRequest, PaymentData, SendAct, send_link};
use domain::payment_link::{Command, key_of};
use domain::ports::StoreError;
use events::{ActOutcome, Channel, InvoiceRef, MessageType};
use serde_json::Value;

use super::handling::{Handling, UNKNOWN_INVOICE, outcome, skipped};
use crate::app::App;
use crate::caller::Caller;
use crate::execute::{self, ExecuteError};
use crate::invoices;
use crate::links::verify_payment_token;
use crate::payment_links::LinkIssuer;
use crate::process::ProcessError;

/// The variable with the address of a payment link.
const PAYMENT_LINK: &str = "paymentLink";

/// The link by which a payment was made, as its event says.
pub(super) enum PaidBy {
    /// It names none.
    Nothing,
    Link {
        id: String,
        /// The invoice that the link is for.
        invoice: InvoiceRef,
        channel: Option<Channel>,
    },
    /// What it names is not a link of one of the invoices.
    Ignored(&'static str),
}

impl PaidBy {
    /// The channel by which the link went to the customer.
    pub fn channel(&self) -> Option<Channel> {
        match self {
            PaidBy::Link { channel, .. } => *channel,
            PaidBy::Nothing | PaidBy::Ignored(_) => None,
        }
    }

    /// The source's id of the invoice, and the link.
    pub fn invoice_and_link(&self) -> Option<(&str, &str)> {
        match self {
            PaidBy::Link { id, invoice, .. } => Some((&invoice.id, id)),
            PaidBy::Nothing | PaidBy::Ignored(_) => None,
        }
    }
}

/// Adds the payment link to a message about an invoice and to the document that is printed for it, if something is owed.
/// Returns the link.
pub(super) async fn add_link(
    app: &App,
    caller: &Caller,
    invoice: &str,
    send: &mut SendAct,
) -> Result<Option<String>, ProcessError> {
    let (context, of) = (caller.context(), (&caller.principal.tenant, caller.principal.mode));
    let Some(issuer) = LinkIssuer::automatic(app, &context, of).await? else { return Ok(None) };
    let Some(link) = issuer.link_of(invoice).await? else { return Ok(None) };
    if let Some(InvoiceFile::Printed(printable)) = send.document.as_mut().map(|document| &mut document.file) {
        printable.payment_url = link.url.parse().ok();
    }
    send.variables[PAYMENT_LINK] = Value::String(link.url);
    Ok(Some(link.id))
}

/// Records by which channel a link went to the customer, once its message was accepted.
pub(super) async fn record_link_sending(
    app: &App,
    caller: &Caller,
    link: Option<String>,
    sent: &ActOutcome,
) -> Result<(), ProcessError> {
    let communication = sent.reference.as_ref().filter(|_| sent.skipped.is_none()).map(|id| id.parse());
    let (Some(link), Some(channel), Some(Ok(communication))) = (link, sent.channel, communication) else {
        return Ok(());
    };
    let (context, of) = (caller.context(), (&caller.principal.tenant, caller.principal.mode));
    let Some(issuer) = LinkIssuer::automatic(app, &context, of).await? else { return Ok(()) };
    issuer.record_sending(&link, channel, communication).await
}

impl Handling<'_> {
    /// The link whose token a payment names. One that expired meanwhile was used all the same. The link names its
    /// invoice, so a payment of an invoice that is not known by the id of the event becomes one of the link's.
    pub async fn paid_by(&self, payment: &mut PaymentData) -> Result<PaidBy, StoreError> {
        let Some(token) = &payment.link_token else { return Ok(PaidBy::Nothing) };
        let unknown = PaidBy::Ignored("unknown_link");
        let verified = verify_payment_token(&self.app.link_keys, self.tenant, &[self.mode()], token);
        let Some((_, id)) = verified else { return Ok(unknown) };
        let state = execute::load(&*self.app.store, &key_of(self.tenant, &id)).await?.state;
        let Some(link) = state.link else { return Ok(unknown) };
        let is_of = |invoice: &InvoiceRef| domain::invoice::stream_name(self.tenant, invoice) == link.invoice;
        let named = payment.allocations.iter().map(|(invoice, _)| self.invoice(invoice)).find(is_of);
        let invoice = match named {
            Some(invoice) => Some(invoice),
            None => self.name_invoice_of_link(&link.invoice, payment).await?,
        };
        let Some(invoice) = invoice else { return Ok(PaidBy::Ignored("link_of_another_invoice")) };
        Ok(PaidBy::Link { id, invoice, channel: link.sent.map(|sent| sent.channel) })
    }

    /// Has a payment name the invoice of its link, in place of one that is not known. Returns `None`, and changes nothing,
    /// if the payment names another invoice that is.
    async fn name_invoice_of_link(
        &self,
        stream: &str,
        payment: &mut PaymentData,
    ) -> Result<Option<InvoiceRef>, StoreError> {
        let Some(of_link) = invoices::load(self.app, self.tenant, stream).await?.reference else { return Ok(None) };
        let named = match payment.allocations.as_mut_slice() {
            [only] => Some(only),
            several => several.iter_mut().find(|(id, _)| *id == of_link.id),
        };
        let Some((id, _)) = named else { return Ok(None) };
        let own = domain::invoice::stream_name(self.tenant, &self.invoice(id));
        if invoices::load(self.app, self.tenant, &own).await?.facts.is_issued {
            return Ok(None);
        }
        id.clone_from(&of_link.id);
        Ok(Some(of_link))
    }

    /// The invoice that a payment names by this id: that of its link, or one of the event's own.
    pub fn paid_invoice(&self, paid_by: &PaidBy, id: &str) -> InvoiceRef {
        match paid_by {
            PaidBy::Link { invoice, .. } if invoice.id == id => invoice.clone(),
            PaidBy::Link { .. } | PaidBy::Nothing | PaidBy::Ignored(_) => self.invoice(id),
        }
    }

    /// Records a payment at the link by which it was made. Returns what became of that, if the event names a link.
    pub async fn record_use(&self, paid_by: &PaidBy, payment: &str) -> Result<Option<ActOutcome>, ProcessError> {
        let act = MessageType::PaymentLink.as_str();
        let id = match paid_by {
            PaidBy::Nothing => return Ok(None),
            PaidBy::Ignored(reason) => return Ok(Some(skipped(act, None, None, (*reason).to_owned()))),
            PaidBy::Link { id, .. } => id,
        };
        let command = Command::Use { payment: payment.to_owned() };
        let context = self.sender("SYSTEM_events").context();
        let done = ActOutcome { reference: Some(id.clone()), ..outcome(act, None) };
        match self.app.executor(&context).execute(&key_of(self.tenant, id), command).await {
            Ok(_) => Ok(Some(done)),
            Err(ExecuteError::Rejected(_) | ExecuteError::StreamFull) => {
                Ok(Some(ActOutcome { skipped: Some("too_many_payments".to_owned()), ..done }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a message. One with an invoice has the payment link, if something is owed.
    pub async fn send_with_link(&self, mut send: SendAct) -> Result<ActOutcome, ProcessError> {
        let invoice = send.entity.as_ref().and_then(|entity| entity.id.as_ref());
        let Some(invoice) = invoice.filter(|_| send.kind == MessageType::Invoice) else {
            return self.send(&send).await;
        };
        let stream = domain::invoice::stream_name(self.tenant, &self.invoice(invoice));
        let sender = self.sender("SYSTEM_events");
        let link = add_link(self.app, &sender, &stream, &mut send).await?;
        let sent = self.send(&send).await?;
        record_link_sending(self.app, &sender, link, &sent).await?;
        Ok(sent)
    }

    /// Sends a link to pay an invoice, once the invoice is known.
    pub async fn send_link(&self, request: &LinkRequest, mut known: Known<'_>) -> Result<ActOutcome, ProcessError> {
        let act = MessageType::PaymentLink.as_str();
        let stream = domain::invoice::stream_name(self.tenant, &self.invoice(&request.invoice));
        let invoice = invoices::load(self.app, self.tenant, &stream).await?;
        if !invoice.facts.is_issued {
            return Ok(skipped(act, None, request.channel, UNKNOWN_INVOICE.to_owned()));
        }
        let id = invoice.facts.customer().and_then(|customer| customer.id.clone());
        let people = self.customer(&id.map(|id| Contact { id: Some(id), ..Contact::default() })).await?;
        known.people = &people;
        let mut send = match send_link(request, (&stream, &invoice), &known) {
            Act::Send(send) => send,
            Act::Skip { act, recipient, channel, reason } => return Ok(skipped(act, recipient, channel, reason)),
            Act::Facts(_) | Act::Person(_) | Act::Confirm(_) | Act::Link(_) => return Ok(outcome(act, None)),
        };
        let settings = known.settings.get(&MessageType::PaymentLink).cloned().unwrap_or_default();
        let context = self.sender("SYSTEM_events").context();
        let Some(issuer) = LinkIssuer::new(self.app, &context, (self.tenant, self.mode()), &settings) else {
            return Ok(skipped(act, None, Some(send.channel), "no_payment_page".to_owned()));
        };
        let issued = match issuer.issue(&stream, request.valid_ms).await {
            Ok(issued) => issued,
            Err(ExecuteError::Rejected(_) | ExecuteError::StreamFull) => {
                return Ok(skipped(act, None, Some(send.channel), "too_many_links".to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        send.variables[PAYMENT_LINK] = Value::String(issued.url);
        let sent = self.send(&send).await?;
        let communication = sent.reference.as_ref().filter(|_| sent.skipped.is_none());
        if let Some(Ok(communication)) = communication.map(|id| id.parse()) {
            issuer.record_sending(&issued.id, send.channel, communication).await?;
        }
        Ok(sent)
    }
}
