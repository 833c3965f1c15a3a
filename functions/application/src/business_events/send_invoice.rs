//! Sends an invoice because a person asks for it: with the words of the automation, and the file of its event.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateKey;
use domain::business_event::{
    Act, Contact, EventData, Interpretation, InvoiceData, Known, KnownPerson, SendAct, invoice_messages,
};
use domain::communication::Rejection;
use domain::data_subject;
use domain::invoice::{Command, Ended, InvoiceState};
use domain::ports::{CommunicationKey, StoreError};
use events::{
    ActOutcome, Channel, FactSource, InvoiceEvent, InvoiceKind, InvoiceSending, MessageType, Recipient, RecipientType,
    RecordedEvent, Source, TenantId,
};
use serde_json::json;

use super::documents::{self, FoundDocument};
use super::links::add_link;
use super::message::message_of;
use super::{persons, settings, stored, stream, understand};
use crate::actions::{self, Action};
use crate::app::App;
use crate::attachments;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::hash::body_hash;
use crate::invoices::{self, FoundInvoice, InvoiceError, InvoiceName};
use crate::messages::{self, IdempotencyKey, MessageError};
use crate::process::ProcessError;

/// Number of events about an invoice, newest first, in which its file is looked for.
const MAX_TOLD: usize = 5;

/// Why an invoice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendInvoiceError {
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// No message was sent, for this reason.
    #[error("nothing was sent: {0}")]
    Refused(String),
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl From<Forbidden> for SendInvoiceError {
    fn from(forbidden: Forbidden) -> Self {
        SendInvoiceError::Invoice(forbidden.into())
    }
}

impl From<StoreError> for SendInvoiceError {
    fn from(error: StoreError) -> Self {
        SendInvoiceError::Invoice(error.into())
    }
}

/// An invoice that was sent.
#[derive(Debug, Clone)]
pub struct SentInvoice {
    pub id: String,
    pub acts: Vec<ActOutcome>,
    /// An earlier request had the same idempotency key, and this one sent nothing.
    pub is_replay: bool,
}

/// Sends an invoice to its customer, by one channel or by those of the automation. It is sent whether or not it is paid,
/// and whether or not the automation is switched on.
///
/// # Errors
///
/// [`SendInvoiceError`]
pub async fn send_invoice(
    app: &App,
    caller: &Caller,
    name: &InvoiceName,
    channel: Option<Channel>,
    key: Option<IdempotencyKey>,
) -> Result<SentInvoice, SendInvoiceError> {
    caller.authorise(Permission::Send, Reach::Everything)?;
    let found = invoices::find_named(app, caller, name).await?;
    let (id, state) = (found.key.stream_id().id, &found.loaded.state);
    if let Some(reason) = refusal(state) {
        return Err(SendInvoiceError::Refused(reason.to_owned()));
    }
    let (event, invoice) = told(app, caller, &found).await?;
    let acts = plan(app, caller, state, &invoice, channel).await?;
    actions::record(app, caller, &Action::InvoiceChanged { invoice: id.clone(), act: "send".to_owned() }).await?;
    let key = key.map_or_else(|| format!("{:032x}", app.host.random()), |key| key.as_str().to_owned());
    let sending = Sending { app, caller, found: &found, event: event.as_deref(), key, channel };
    let (mut outcomes, mut is_replay) = (Vec::new(), false);
    for act in acts {
        match act {
            Act::Send(mut send) => {
                add_link(app, caller, &id, &mut send).await?;
                let (outcome, is_known) = sending.send(&send).await?;
                is_replay |= is_known;
                outcomes.push(outcome);
            }
            Act::Skip { act, recipient, channel, reason } => outcomes.push(ActOutcome {
                act: act.to_owned(),
                recipient,
                channel,
                reference: None,
                skipped: Some(reason),
                note: None,
            }),
            Act::Facts(_) | Act::Person(_) | Act::Confirm(_) | Act::Link(_) => (),
        }
    }
    match outcomes.iter().all(|outcome| outcome.skipped.is_some()) {
        true => Err(SendInvoiceError::Refused(outcomes.into_iter().find_map(|act| act.skipped).unwrap_or_default())),
        false => Ok(SentInvoice { id, acts: outcomes, is_replay }),
    }
}

/// Why an invoice is not sent to anybody.
fn refusal(state: &InvoiceState) -> Option<&'static str> {
    if state.is_erased {
        return Some("erased");
    }
    match state.facts.ended() {
        _ if !state.facts.is_issued => Some("not_issued"),
        Some(Ended::Voided) => Some("voided"),
        Some(Ended::WrittenOff) | None => None,
    }
}

/// What is known of an invoice from its facts, with the lines and the document of the event that told it last, if the
/// data of that event is still kept. Also returns that event.
async fn told(
    app: &App,
    caller: &Caller,
    found: &FoundInvoice,
) -> Result<(Option<String>, InvoiceData), SendInvoiceError> {
    let terms = found.loaded.state.facts.terms();
    let known = InvoiceData {
        id: found.reference.id.clone(),
        is_sale: terms.kind == Some(InvoiceKind::Sale),
        number: terms.number,
        currency: terms.currency,
        total: terms.total,
        issued_on: terms.issued_on,
        due_on: terms.due_on,
        status: terms.status.map(|status| status.as_str().to_owned()),
        business_name: terms.business_name,
        customer: terms.customer.map(|customer| Contact { id: customer.id, ..Contact::default() }),
        ..InvoiceData::default()
    };
    let records = execute::history_of(&*app.store, &found.key, &found.loaded).await?;
    for event in events_of(&records) {
        let Some(told) = data_of(app, &caller.principal.tenant, &event).await? else { continue };
        let has_file = !told.lines.is_empty() || told.document.is_some();
        if has_file && (&told.number, told.total) == (&known.number, known.total) {
            let customer = known.customer.clone().or(told.customer);
            let (lines, document, balance) = (told.lines, told.document, told.balance);
            return Ok((Some(event), InvoiceData { lines, document, balance, customer, ..known }));
        }
    }
    Ok((None, known))
}

/// The events that told what an invoice says, newest first.
fn events_of(records: &[RecordedEvent<InvoiceEvent>]) -> Vec<String> {
    let source = |record: &RecordedEvent<InvoiceEvent>| match &record.event {
        InvoiceEvent::InvoiceIssued { source, .. } | InvoiceEvent::InvoiceChanged { source, .. } => {
            Some(source.clone())
        }
        _ => None,
    };
    let mut sources: Vec<FactSource> = records.iter().filter_map(source).collect();
    sources.sort_by(|one, other| (other.occurred_at, &other.event).cmp(&(one.occurred_at, &one.event)));
    sources.into_iter().map(|source| source.event).take(MAX_TOLD).collect()
}

async fn data_of(app: &App, tenant: &TenantId, event: &str) -> Result<Option<InvoiceData>, StoreError> {
    let loaded = execute::load(&*app.store, &stream(tenant, event)).await?;
    let Some(event) = loaded.state.event else { return Ok(None) };
    let (documents, content) = (&*app.tenant_ports.documents, &event.received.classification.content);
    let Some(stored) = stored::get(documents, tenant, content, app.host.now()).await? else { return Ok(None) };
    let understood = understand(app, tenant, &event.received.source, &stored).await?;
    let Interpretation::Known(known) = understood.interpreted.meaning else { return Ok(None) };
    Ok(match *known {
        EventData::InvoiceIssued(data) | EventData::InvoiceChanged(data) => Some(*data),
        _ => None,
    })
}

/// The messages of the automation. A channel that is asked for takes the place of those that the customer prefers.
async fn plan(
    app: &App,
    caller: &Caller,
    state: &InvoiceState,
    invoice: &InvoiceData,
    channel: Option<Channel>,
) -> Result<Vec<Act>, SendInvoiceError> {
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let mut people: Vec<KnownPerson> = Vec::new();
    if let Some(contact) = &invoice.customer {
        let mut customer = persons::known(app, (tenant, mode), RecipientType::Customer, contact).await?;
        if let Some(channel) = channel {
            customer.preferences.types.insert(MessageType::Invoice, vec![channel]);
        }
        people.push(customer);
    }
    let mut automations = settings::automations(app, tenant).await?;
    automations.entry(MessageType::Invoice).or_default().enabled = true;
    let known = Known {
        event_id: "",
        source: state.reference.as_ref().map_or("", |reference| reference.namespace.as_str()),
        business_name: tenant.as_str(),
        now: app.host.now(),
        settings: &automations,
        people: &people,
        link_channel: None,
        is_repeated_alert: false,
    };
    Ok(invoice_messages(invoice, &known))
}

struct Sending<'a> {
    app: &'a App,
    caller: &'a Caller,
    found: &'a FoundInvoice,
    /// The event whose file is sent.
    event: Option<&'a str>,
    key: String,
    channel: Option<Channel>,
}

impl Sending<'_> {
    /// What became of one message, and whether an earlier request sent it.
    async fn send(&self, send: &SendAct) -> Result<(ActOutcome, bool), SendInvoiceError> {
        let (app, caller) = (self.app, self.caller);
        let id = self.found.key.stream_id().id;
        let key = IdempotencyKey::derived(&["manual invoice", &self.key, &id, send.channel.as_str()]);
        let recipient = Recipient { kind: send.recipient_type, id: send.recipient_id.clone() };
        let outcome = ActOutcome {
            act: send.kind.as_str().to_owned(),
            recipient: data_subject::of_recipient(&recipient),
            channel: Some(send.channel),
            reference: None,
            skipped: None,
            note: None,
        };
        let skipped = |reason: &str| (ActOutcome { skipped: Some(reason.to_owned()), ..outcome.clone() }, false);
        let communication =
            CommunicationKey { tenant: caller.principal.tenant.clone(), id: messages::id_of(caller, &key) };
        let is_sent = app.executor(&caller.context()).load(&communication).await.map_err(ProcessError::from)?;
        let document = match &send.document {
            Some(act) if is_sent.state.requested().is_err() => {
                documents::find(app, caller, self.event.unwrap_or(&id), act).await?
            }
            Some(_) | None => FoundDocument::default(),
        };
        let is_required = send.document.as_ref().is_some_and(|act| act.is_required);
        if let Some(note) = document.note.as_ref().filter(|_| is_required) {
            return Ok(skipped(note));
        }
        let printed = document.printed.clone();
        let fingerprint = body_hash(&json!([id, self.channel]));
        let message = message_of(send, document, Source::Api, (key, fingerprint));
        let accepted = match messages::send(app, caller, &message).await {
            Ok(accepted) => accepted,
            Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => {
                return Err(SendInvoiceError::KeyReused);
            }
            Err(error) => {
                let refused = skipped(error.refusal()?);
                if let Some(upload) = printed {
                    attachments::erase(app, &caller.principal.tenant, &upload).await?;
                }
                return Ok(refused);
            }
        };
        let command = Command::RecordSending { communication: accepted.key.id, how: InvoiceSending::Manual };
        match invoices::execute(app, &caller.context(), &self.found.key, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => (),
            Err(error) => return Err(InvoiceError::from(error).into()),
        }
        let note = accepted.loaded.state.requested().ok().and_then(|it| it.request.without_document.clone());
        let reference = Some(accepted.key.id.to_string());
        Ok((ActOutcome { reference, note, ..outcome }, accepted.is_replay))
    }
}
