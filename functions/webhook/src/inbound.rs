//! Messages to us, and what people say about being written to.

use application::directory::last_inbound_key;
use application::{CommandContext, CommandExecutor};
use domain::aggregate::AggregateId;
use domain::consent::{ConsentKeyword, KEYWORD_REASON, is_lifted_by_start, parse_keyword};
use domain::inbound_message::InboundMessageState;
use domain::ports::{DocumentKey, StoreError};
use domain::provider::{ConsentChange, InboundMessage, Provider};
use events::{Channel, InboundMessageEvent, TenantId};
use problem::Problem;

use crate::Webhook;

/// How long the words of a message to us are kept, in milliseconds.
const RETENTION_MS: i64 = 400 * 24 * 3_600_000;

/// How long somebody who wrote to us may be answered in words of our own, in milliseconds.
const WINDOW_MS: i64 = 24 * 3_600_000;

impl Webhook {
    /// The content is stored before the stream. A repeated callback finds both.
    pub(crate) async fn receive(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        message: &InboundMessage,
    ) -> Result<(), Problem> {
        let account = provider.config();
        let contact = self.contact(tenant, account.channel, &message.from);
        let said = message.keyword.map(str::to_owned);
        let said = said.or_else(|| Some(parse_keyword(message.text.as_deref()?)?.as_str().to_owned()));
        let name = application::hash::body_hash(&(&account.id, &message.provider_message_id));
        let words = serde_json::json!({ "from": message.from, "text": message.text });
        let shelf = DocumentKey { tenant: tenant.clone(), collection: "inbound", name: name.clone() };
        self.documents.put_document(&shelf, &words.to_string(), Some(self.host.now() + RETENTION_MS)).await?;
        let stream = AggregateId::<InboundMessageState>::new(tenant, &name);
        let event = InboundMessageEvent::MessageReceived {
            channel: account.channel,
            config: account.id.clone(),
            provider: account.provider.clone(),
            provider_message_id: message.provider_message_id.clone(),
            contact_hash: contact.contact_hash.clone(),
            kind: message.kind.to_owned(),
            keyword: said.clone(),
            sent_at: message.at,
            content: name,
        };
        if account.channel == Channel::Whatsapp {
            let until = message.at + WINDOW_MS;
            self.documents.put_document(&last_inbound_key(&contact), "", Some(until)).await?;
        }
        // Before it is recorded: a crash between is repaired by the provider's retry.
        match said.as_deref() {
            Some(word) if word == ConsentKeyword::Stop.as_str() => {
                self.suppress(&contact, Some(message.from.clone()), KEYWORD_REASON, None).await?;
            }
            Some(word) if word == ConsentKeyword::Start.as_str() => self.lift_opt_out(&contact).await?,
            _ => (),
        }
        let actor = format!("function:webhook:{}", account.provider);
        let origin = CommandContext { actor, ..CommandContext::default() };
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        executor.execute(&stream, event).await?;
        Ok(())
    }

    pub(crate) async fn consent(
        &self,
        tenant: &TenantId,
        channel: Channel,
        consent: &ConsentChange,
    ) -> Result<(), Problem> {
        let contact = self.contact(tenant, channel, &consent.contact);
        match consent.is_opt_out {
            true => self.suppress(&contact, Some(consent.contact.clone()), consent.reason, None).await?,
            false => self.lift_opt_out(&contact).await?,
        }
        Ok(())
    }

    async fn lift_opt_out(&self, contact: &domain::ports::AddressKey) -> Result<(), StoreError> {
        match self.store.suppression(contact).await? {
            Some(reason) if is_lifted_by_start(&reason) => self.list().remove(contact).await,
            _ => Ok(()),
        }
    }
}
