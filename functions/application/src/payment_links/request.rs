//! A person asks for a link: it is issued, and sent to the customer of the invoice.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateKey;
use domain::business_event::{Contact, KnownPerson, link_channel, link_variables};
use events::{Channel, EntityRef, MessageType, Recipient};
use serde_json::{Value, json};

use super::issue::settings_of;
use super::read::{ReadLink, read};
use super::{LinkIssuer, PaymentLinkError};
use crate::actions::{self, Action};
use crate::app::App;
use crate::business_events::persons;
use crate::caller::Caller;
use crate::execute::load;
use crate::hash::body_hash;
use crate::invoices::{self, InvoiceError, InvoiceName};
use crate::messages::{self, Accepted, ChannelChoice, IdempotencyKey, NewContent, NewMessage};

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct LinkOrder {
    /// `None` means the first by which the customer can be reached.
    pub channel: Option<Channel>,
    /// How long a new link is valid, in milliseconds. `None` means a month.
    pub valid_ms: Option<i64>,
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A link, and the message that takes it to the customer.
#[derive(Debug, Clone)]
pub struct RequestedLink {
    /// `None` if the link of an earlier request is not known any more.
    pub link: Option<ReadLink>,
    pub message: Accepted,
}

/// Sends a link to pay an invoice to its customer. The same request with the same idempotency key sends one message.
///
/// # Errors
///
/// [`PaymentLinkError`]: nothing was sent, except where the outcome is unknown.
pub async fn request(
    app: &App,
    caller: &Caller,
    name: &InvoiceName,
    order: &LinkOrder,
) -> Result<RequestedLink, PaymentLinkError> {
    caller.authorise(Permission::Send, Reach::Everything)?;
    let found = invoices::find_named(app, caller, name).await?;
    let invoice = found.key.stream_id().id;
    let request = json!([invoice, order.channel, order.valid_ms]);
    let message = NewMessage {
        kind: Some(MessageType::PaymentLink),
        idempotency_key: order.idempotency_key.clone(),
        fingerprint: body_hash(&request),
        ..NewMessage::default()
    };
    if is_known(app, caller, order).await? {
        let message = messages::send(app, caller, &message).await?;
        let newest = found.loaded.state.link.map(|newest| newest.id);
        let link = match newest {
            Some(id) => Some(read(app, caller, &id).await?),
            None => None,
        };
        return Ok(RequestedLink { link, message });
    }
    let state = &found.loaded.state;
    if let Some(reason) = state.link_refusal() {
        return Err(PaymentLinkError::Refused(reason));
    }
    let tenant = &caller.principal.tenant;
    let settings = settings_of(app, tenant).await?;
    let customer = customer(app, caller, state.facts.customer()).await?;
    let (channel, to) = link_channel(order.channel, settings.channels.as_deref(), &customer)
        .map_err(|(_, reason)| PaymentLinkError::Unreachable(reason))?;
    let mut variables = link_variables(state).ok_or(PaymentLinkError::Refused("incomplete"))?;
    let context = caller.context();
    let of = (tenant, caller.principal.mode);
    let issuer = LinkIssuer::new(app, &context, of, &settings).ok_or(PaymentLinkError::NoPage)?;
    actions::record(app, caller, &Action::InvoiceChanged { invoice: invoice.clone(), act: "payment_link".to_owned() })
        .await?;
    let issued = issuer.issue(&invoice, order.valid_ms).await.map_err(InvoiceError::from)?;
    let business_name = state.facts.terms().business_name.unwrap_or_else(|| tenant.to_string());
    variables.insert("customerName".to_owned(), customer.person.salutation().into());
    variables.insert("businessName".to_owned(), business_name.into());
    variables.insert("paymentLink".to_owned(), issued.url.into());
    let message = NewMessage {
        channel: Some(ChannelChoice::Fixed(channel)),
        to: Some(to.to_owned()),
        recipient_type: state.facts.customer().map(|customer| customer.kind),
        recipient_id: customer.id.clone(),
        recipient_name: customer.person.name.clone(),
        content: NewContent {
            template: Some(settings.template.unwrap_or_else(|| MessageType::PaymentLink.as_str().to_owned())),
            variables: Some(Value::Object(variables)),
            ..NewContent::default()
        },
        locale: customer.person.locale.clone(),
        entity: Some(EntityRef { kind: "invoice".to_owned(), id: Some(found.reference.id.clone()) }),
        unless_settled: vec![invoice],
        ..message
    };
    let message = messages::send(app, caller, &message).await?;
    if let Err(error) = issuer.record_sending(&issued.id, channel, message.key.id).await {
        // The message is on its way. What is missing is the channel, by which a payment is confirmed.
        tracing::warn!(link = issued.id, %error, "the sending of a payment link was not recorded");
    }
    let link = read(app, caller, &issued.id).await?;
    Ok(RequestedLink { link: Some(link), message })
}

/// Whether a message with the idempotency key was accepted before.
async fn is_known(app: &App, caller: &Caller, order: &LinkOrder) -> Result<bool, PaymentLinkError> {
    let Some(key) = &order.idempotency_key else { return Ok(false) };
    let (tenant, id) = (caller.principal.tenant.clone(), messages::id_of(caller, key));
    Ok(load(&*app.store, &domain::ports::CommunicationKey { tenant, id }).await?.state.requested().is_ok())
}

/// The customer of an invoice, as a recipient.
async fn customer(app: &App, caller: &Caller, customer: Option<&Recipient>) -> Result<KnownPerson, PaymentLinkError> {
    let Recipient { kind, id } = customer.cloned().ok_or(PaymentLinkError::Refused("no_customer"))?;
    let of = (&caller.principal.tenant, caller.principal.mode);
    Ok(persons::known(app, of, kind, &Contact { id, ..Contact::default() }).await?)
}
