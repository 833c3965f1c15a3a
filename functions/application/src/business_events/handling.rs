//! One event that is being handled: what its acts share.

use domain::business_event::{BusinessEvent, Contact, InvoiceFile, KnownPerson, SendAct};
use domain::communication::Rejection;
use domain::data_subject;
use domain::ports::{CommunicationKey, Principal, StoreError};
use events::{
    ActOutcome, Channel, CommunicationId, FactSource, InvoiceDocument, InvoiceRef, InvoiceSending, MessageType, Mode,
    Recipient, RecipientType, Role, Source, TenantId,
};
use serde_json::json;

use super::documents::{self, FoundDocument};
use super::message::message_of;
use super::persons;
use crate::app::App;
use crate::attachments;
use crate::caller::Caller;
use crate::execute::ExecuteError;
use crate::hash::body_hash;
use crate::invoices;
use crate::messages::{self, IdempotencyKey, MessageError};
use crate::process::ProcessError;

/// One event that is being handled.
pub(super) struct Handling<'a> {
    pub app: &'a App,
    pub tenant: &'a TenantId,
    pub id: &'a str,
    pub event: &'a BusinessEvent,
    /// The system whose ids of invoices the event has.
    pub namespace: String,
}

/// The reason of an act whose invoice is not known yet. The event is tried again.
pub(super) const UNKNOWN_INVOICE: &str = "unknown_invoice";

pub(super) fn skipped(act: &str, recipient: Option<String>, channel: Option<Channel>, reason: String) -> ActOutcome {
    ActOutcome { channel, skipped: Some(reason), ..outcome(act, recipient) }
}

pub(super) fn outcome(act: &str, recipient: Option<String>) -> ActOutcome {
    ActOutcome { act: act.to_owned(), recipient, channel: None, reference: None, skipped: None, note: None }
}

impl Handling<'_> {
    pub(super) fn mode(&self) -> Mode {
        self.event.received.mode
    }

    fn actor(&self) -> String {
        format!("business-event:{}", self.id)
    }

    pub(super) async fn customer(&self, contact: &Option<Contact>) -> Result<Vec<KnownPerson>, StoreError> {
        let Some(contact) = contact else { return Ok(Vec::new()) };
        let of = (self.tenant, self.mode());
        Ok(vec![persons::known(self.app, of, RecipientType::Customer, contact).await?])
    }

    pub(super) fn invoice(&self, id: &str) -> InvoiceRef {
        InvoiceRef { mode: self.mode(), namespace: self.namespace.clone(), id: id.to_owned() }
    }

    /// The caller that the event sends as.
    pub(super) fn sender(&self, requested_by: &str) -> Caller {
        let principal =
            Principal { role: Role::Sender, ..Principal::admin(self.tenant.clone(), requested_by, self.mode()) };
        Caller { on_behalf: Some(self.actor()), ..Caller::new(principal) }
    }

    pub(super) async fn send(&self, send: &SendAct) -> Result<ActOutcome, ProcessError> {
        let caller = self.sender(send.requested_by);
        let name: Vec<&str> = send.name.iter().map(String::as_str).collect();
        let idempotency_key = IdempotencyKey::derived(&name);
        let recipient = Recipient { kind: send.recipient_type, id: send.recipient_id.clone() };
        let sent = outcome(send.kind.as_str(), data_subject::of_recipient(&recipient));
        let sent = ActOutcome { channel: Some(send.channel), ..sent };
        let skipped = |reason: &str| ActOutcome { skipped: Some(reason.to_owned()), ..sent.clone() };
        let document = match &send.document {
            Some(act) if !self.is_sent(&caller, &idempotency_key).await? => {
                documents::find(self.app, &caller, self.id, act).await?
            }
            Some(_) | None => FoundDocument::default(),
        };
        let is_required = send.document.as_ref().is_some_and(|act| act.is_required);
        if let Some(note) = document.note.as_ref().filter(|_| is_required) {
            return Ok(skipped(note));
        }
        let upload = document.upload.clone();
        // Another event about the same thing is not sent again, whatever it says. Its content has another name in the vault:
        // two events that are handled at once do not overwrite each other's.
        let known = messages::id_of(&caller, &idempotency_key);
        let key = (idempotency_key, body_hash(&json!([name, self.id])));
        let message = message_of(send, document, Source::Event, key);
        Ok(match messages::send(self.app, &caller, &message).await {
            Ok(accepted) => {
                if send.kind == MessageType::Invoice {
                    self.record_sending(send, accepted.key.id).await?;
                }
                let is_ours = accepted.loaded.records.first().is_some_and(|first| first.meta.actor == self.actor());
                if let Some(upload) = upload.filter(|_| is_ours) {
                    self.record_document(send, upload).await?;
                }
                if !is_ours {
                    self.erase_printed(send).await?;
                }
                let skipped = (!is_ours).then(|| "already_sent".to_owned());
                let note = accepted.loaded.state.requested().ok().and_then(|it| it.request.without_document.clone());
                ActOutcome { reference: Some(accepted.key.id.to_string()), skipped, note, ..sent }
            }
            Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => {
                self.erase_printed(send).await?;
                ActOutcome { reference: Some(known.to_string()), ..skipped("already_sent") }
            }
            Err(error) => {
                let refused = skipped(error.refusal()?);
                self.erase_printed(send).await?;
                refused
            }
        })
    }

    /// Erases what was printed for a message that is not sent with it, now or in a try that ended early.
    async fn erase_printed(&self, send: &SendAct) -> Result<(), StoreError> {
        let is_printed = send.document.as_ref().is_some_and(|act| matches!(act.file, InvoiceFile::Printed(_)));
        if is_printed {
            attachments::erase(self.app, self.tenant, &domain::invoice::printed_upload(self.tenant, self.id)).await?;
        }
        Ok(())
    }

    /// Whether an event about the same thing sent the message.
    async fn is_sent(&self, caller: &Caller, key: &IdempotencyKey) -> Result<bool, ProcessError> {
        let key = CommunicationKey { tenant: self.tenant.clone(), id: messages::id_of(caller, key) };
        let loaded = self.app.executor(&caller.context()).load(&key).await?;
        Ok(loaded.state.requested().is_ok())
    }

    /// The invoice knows by which message it was sent.
    async fn record_sending(&self, send: &SendAct, communication: CommunicationId) -> Result<(), ProcessError> {
        let Some(id) = send.entity.as_ref().and_then(|entity| entity.id.as_ref()) else { return Ok(()) };
        let key = domain::invoice::key_of(self.tenant, &self.invoice(id));
        let how = InvoiceSending::Automatic;
        let command = domain::invoice::Command::RecordSending { communication, how };
        let context = self.sender("SYSTEM_events").context();
        match invoices::execute(self.app, &context, &key, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The invoice knows its document.
    async fn record_document(&self, send: &SendAct, document: InvoiceDocument) -> Result<(), ProcessError> {
        let Some(id) = send.entity.as_ref().and_then(|entity| entity.id.as_ref()) else { return Ok(()) };
        let (event, occurred_at) = (self.id.to_owned(), self.event.received.occurred_at);
        let source = FactSource { event, occurred_at, revision: None };
        let context = self.sender("SYSTEM_events").context();
        documents::record(self.app, &context, self.tenant, &self.invoice(id), source, document).await
    }
}
