//! Sends an invoice because a person asks for it: with the words of the automation, and the file of its event.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateKey;
use domain::business_event::{
    Act, Contact, Document, DocumentAct, EventData, Interpretation, InvoiceData, InvoiceFile, Known, KnownPerson,
    SendAct, invoice_messages,
};
use domain::communication::Rejection;
use domain::data_subject;
use domain::invoice::{self, Command, Ended, InvoiceState, SendingRequest, request_id};
use domain::ports::{CommunicationKey, Principal, StoreError};
use events::{
    ActOutcome, Channel, FactSource, InvoiceEvent, InvoiceKind, InvoiceSending, MessageType, Recipient, RecipientType,
    RecordedEvent, Role, Source, TenantId,
};
use serde_json::json;

use super::documents::{self, FoundDocument};
use super::handling::{outcome, skipped};
use super::links::{add_link, record_link_sending};
use super::message::message_of;
use super::{persons, settings, stored, stream, understand};
use crate::actions::{self, Action};
use crate::app::App;
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

/// An invoice that was sent, or will be.
#[derive(Debug, Clone)]
pub struct SentInvoice {
    pub id: String,
    /// What became of each message, or what is planned.
    pub acts: Vec<ActOutcome>,
    /// An earlier request had the same idempotency key, and this one sent nothing.
    pub is_replay: bool,
    /// Whether its document must be printed first, so that another function sends it in a moment.
    pub is_requested: bool,
}

/// Sends an invoice to its customer, by one channel or by those of the automation. It is sent whether or not it is paid,
/// and whether or not the automation is switched on. One whose document must be printed is sent by the function
/// `process`.
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
    let id = found.key.stream_id().id;
    let key = key.map_or_else(|| format!("{:032x}", app.host.random()), |key| key.as_str().to_owned());
    let request = request_id(&caller.principal.tenant, &id, &key);
    if let Some(known) = found.loaded.state.sendings.get(&request) {
        let acts = known.acts.clone().filter(|_| known.channel == channel);
        if let Some(acts) = acts {
            return Ok(SentInvoice { id, acts, is_replay: true, is_requested: false });
        }
    }
    let sending = Sending { app, caller, found: &found, request, channel };
    let planned = sending.plan().await?;
    actions::record(app, caller, &Action::InvoiceChanged { invoice: id.clone(), act: "send".to_owned() }).await?;
    if planned.prints() {
        let (request, by) = (sending.request.clone(), caller.actor().name());
        let command = Command::RequestSending { request, channel, by };
        let requested = match invoices::execute(app, &caller.context(), &found.key, command).await {
            Err(ExecuteError::Rejected(invoice::Rejection::KeyReused)) => return Err(SendInvoiceError::KeyReused),
            requested => requested.map_err(InvoiceError::from)?,
        };
        let acts = planned.acts.iter().map(outcome_of).collect();
        return Ok(SentInvoice { id, acts, is_replay: requested.appended == 0, is_requested: true });
    }
    let (acts, is_replay) = sending.perform(planned).await?;
    match acts.iter().all(|outcome| outcome.skipped.is_some()) {
        true => Err(SendInvoiceError::Refused(acts.into_iter().find_map(|act| act.skipped).unwrap_or_default())),
        false => Ok(SentInvoice { id, acts, is_replay, is_requested: false }),
    }
}

/// Carries out a request of a person, whose document could not be printed at once. Repeating it sends nothing twice.
///
/// # Errors
///
/// [`SendInvoiceError`]
pub(super) async fn carry_out(
    app: &App,
    found: &FoundInvoice,
    waiting: &SendingRequest,
) -> Result<Vec<ActOutcome>, SendInvoiceError> {
    let (tenant, mode) = (found.key.stream_id().tenant, found.reference.mode);
    let principal = Principal { role: Role::Sender, ..Principal::admin(tenant, waiting.by.clone(), mode) };
    let caller = Caller { on_behalf: Some(waiting.actor.clone()), ..Caller::new(principal) };
    let (request, channel) = (waiting.id.clone(), waiting.channel);
    let sending = Sending { app, caller: &caller, found, request, channel };
    let planned = sending.plan().await?;
    Ok(sending.perform(planned).await?.0)
}

/// What is planned, or why it is not done.
fn outcome_of(act: &Planned) -> ActOutcome {
    match act {
        Planned::Send(send, _) => planned(send),
        Planned::Skip(outcome) => outcome.clone(),
    }
}

/// The outcome of a message that is not sent yet.
fn planned(send: &SendAct) -> ActOutcome {
    let recipient = Recipient { kind: send.recipient_type, id: send.recipient_id.clone() };
    let outcome = outcome(send.kind.as_str(), data_subject::of_recipient(&recipient));
    ActOutcome { channel: Some(send.channel), ..outcome }
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
/// data of that event is still kept, or else the document that was sent before. Also returns that event.
async fn told(
    app: &App,
    caller: &Caller,
    found: &FoundInvoice,
) -> Result<(Option<FactSource>, InvoiceData), SendInvoiceError> {
    let facts = &found.loaded.state.facts;
    let terms = facts.terms();
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
    for source in events_of(&records) {
        let Some(told) = data_of(app, &caller.principal.tenant, &source.event).await? else { continue };
        let has_file = !told.lines.is_empty() || told.document.is_some();
        if has_file && (&told.number, told.total) == (&known.number, known.total) {
            let customer = known.customer.clone().or(told.customer);
            let (lines, document, balance) = (told.lines, told.document, told.balance);
            return Ok((Some(source), InvoiceData { lines, document, balance, customer, ..known }));
        }
    }
    // The file that was sent with it before, if it is still there.
    let document = facts.current_document().map(|document| document.attachment.clone());
    let document = document.map(|id| Document { attachment_id: Some(id), url: None });
    Ok((None, InvoiceData { document, ..known }))
}

/// The events that told what an invoice says, newest first.
fn events_of(records: &[RecordedEvent<InvoiceEvent>]) -> Vec<FactSource> {
    let source = |record: &RecordedEvent<InvoiceEvent>| match &record.event {
        InvoiceEvent::InvoiceIssued { source, .. } | InvoiceEvent::InvoiceChanged { source, .. } => {
            Some(source.clone())
        }
        _ => None,
    };
    let mut sources: Vec<FactSource> = records.iter().filter_map(source).collect();
    sources.sort_by(|one, other| (other.occurred_at, &other.event).cmp(&(one.occurred_at, &one.event)));
    sources.dedup_by(|one, other| one.event == other.event);
    sources.truncate(MAX_TOLD);
    sources
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
    let namespace = state.reference.as_ref().map_or("", |reference| reference.namespace.as_str());
    let known = Known {
        event_id: "",
        source: namespace,
        namespace,
        business_name: tenant.as_str(),
        now: app.host.now(),
        settings: &automations,
        people: &people,
        link_channel: None,
        is_repeated_alert: false,
    };
    Ok(invoice_messages(invoice, &known))
}

/// One message, with the payment link that it has, or why there is none.
enum Planned {
    Send(Box<SendAct>, Option<String>),
    Skip(ActOutcome),
}

/// The messages of one request.
struct Plan {
    acts: Vec<Planned>,
    /// The event whose file is sent.
    told: Option<FactSource>,
}

impl Plan {
    /// Whether a document of its messages must be printed first.
    fn prints(&self) -> bool {
        let is_printed = |document: &DocumentAct| matches!(document.file, InvoiceFile::Printed(_));
        let prints = |act: &Planned| match act {
            Planned::Send(send, _) => send.document.as_ref().is_some_and(is_printed),
            Planned::Skip(_) => false,
        };
        self.acts.iter().any(prints)
    }
}

struct Sending<'a> {
    app: &'a App,
    caller: &'a Caller,
    found: &'a FoundInvoice,
    /// The id of the request.
    request: String,
    channel: Option<Channel>,
}

impl Sending<'_> {
    fn id(&self) -> String {
        self.found.key.stream_id().id
    }

    async fn plan(&self) -> Result<Plan, SendInvoiceError> {
        let (app, caller, state) = (self.app, self.caller, &self.found.loaded.state);
        if let Some(reason) = refusal(state) {
            return Err(SendInvoiceError::Refused(reason.to_owned()));
        }
        let (told, invoice) = told(app, caller, self.found).await?;
        let mut acts = Vec::new();
        for act in plan(app, caller, state, &invoice, self.channel).await? {
            match act {
                Act::Send(mut send) => {
                    self.use_known_file(&mut send).await?;
                    let link = add_link(app, caller, &self.id(), &mut send).await?;
                    acts.push(Planned::Send(send, link));
                }
                Act::Skip { act, recipient, channel, reason } => {
                    acts.push(Planned::Skip(skipped(act, recipient, channel, reason)));
                }
                Act::Facts(_) | Act::Person(_) | Act::Confirm(_) | Act::Link(_) => (),
            }
        }
        let reason = |act: &Planned| match act {
            Planned::Send(..) => None,
            Planned::Skip(outcome) => outcome.skipped.clone(),
        };
        match acts.iter().any(|act| matches!(act, Planned::Send(..))) {
            true => Ok(Plan { acts, told }),
            false => Err(SendInvoiceError::Refused(acts.iter().find_map(reason).unwrap_or_default())),
        }
    }

    /// What was sent before is not printed again. A request that waits prints its own, so that a try that ended early leaves
    /// nothing that no message has.
    async fn use_known_file(&self, send: &mut SendAct) -> Result<(), StoreError> {
        let Some(document) = &mut send.document else { return Ok(()) };
        let known = self.found.loaded.state.facts.current_document();
        let (InvoiceFile::Printed(_), Some(known)) = (&document.file, known) else { return Ok(()) };
        let waits = self.found.loaded.state.sendings.get(&self.request).is_some();
        if !waits && documents::is_ready(self.app, self.caller, &known.attachment).await? {
            document.file = InvoiceFile::Upload(known.attachment.clone());
        }
        Ok(())
    }

    /// Sends the messages. Returns what became of each, and whether an earlier request sent one.
    async fn perform(&self, Plan { acts, told }: Plan) -> Result<(Vec<ActOutcome>, bool), SendInvoiceError> {
        let (mut outcomes, mut is_replay) = (Vec::new(), false);
        for act in acts {
            match act {
                Planned::Send(send, link) => {
                    let (outcome, is_known) = self.send(&send, &told).await?;
                    record_link_sending(self.app, self.caller, link, &outcome).await?;
                    is_replay |= is_known;
                    outcomes.push(outcome);
                }
                Planned::Skip(outcome) => outcomes.push(outcome),
            }
        }
        Ok((outcomes, is_replay))
    }

    /// What became of one message, and whether an earlier request sent it.
    async fn send(&self, send: &SendAct, told: &Option<FactSource>) -> Result<(ActOutcome, bool), SendInvoiceError> {
        let (app, caller, id) = (self.app, self.caller, self.id());
        let key = IdempotencyKey::derived(&["manual invoice", &self.request, send.channel.as_str()]);
        let outcome = planned(send);
        let skipped = |reason: &str| (ActOutcome { skipped: Some(reason.to_owned()), ..outcome.clone() }, false);
        let communication =
            CommunicationKey { tenant: caller.principal.tenant.clone(), id: messages::id_of(caller, &key) };
        let is_sent = app.executor(&caller.context()).load(&communication).await.map_err(ProcessError::from)?;
        let document = match &send.document {
            Some(act) if is_sent.state.requested().is_err() => documents::find(app, caller, &self.request, act).await?,
            Some(_) | None => FoundDocument::default(),
        };
        let is_required = send.document.as_ref().is_some_and(|act| act.is_required);
        if let Some(note) = document.note.as_ref().filter(|_| is_required) {
            return Ok(skipped(note));
        }
        let upload = document.upload.clone();
        let fingerprint = body_hash(&json!([id, self.channel]));
        let message = message_of(send, document, Source::Api, (key, fingerprint));
        let accepted = match messages::send(app, caller, &message).await {
            Ok(accepted) => accepted,
            Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => {
                return Err(SendInvoiceError::KeyReused);
            }
            Err(error) => {
                return Ok(skipped(error.refusal()?));
            }
        };
        let command = Command::RecordSending { communication: accepted.key.id, how: InvoiceSending::Manual };
        match invoices::execute(app, &caller.context(), &self.found.key, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => (),
            Err(error) => return Err(InvoiceError::from(error).into()),
        }
        if let (Some(upload), Some(source)) = (upload, told.clone()) {
            let (context, tenant) = (caller.context(), &caller.principal.tenant);
            documents::record(app, &context, tenant, &self.found.reference, source, upload).await?;
        }
        let note = accepted.loaded.state.requested().ok().and_then(|it| it.request.without_document.clone());
        let reference = Some(accepted.key.id.to_string());
        Ok((ActOutcome { reference, note, ..outcome }, accepted.is_replay))
    }
}
