//! Incoming messages, and opt-outs and opt-ins that providers report.

use application::CommandExecutor;
use application::directory::last_inbound_key;
use application::inbound::{self, InboundContent};
use domain::aggregate::AggregateId;
use domain::consent::{ConsentKeyword, KEYWORD_REASON, is_lifted_by_start, parse_keyword};
use domain::inbound_message::InboundMessageState;
use domain::ports::{AddressKey, StoreError};
use domain::provider::{ConsentChange, InboundMessage, Provider};
use events::{Channel, InboundMessageEvent, TenantId};

use crate::append::context;
use crate::{WebhookError, WebhookHandler};

/// How long WhatsApp accepts free-form content after an incoming message, in milliseconds.
const SERVICE_WINDOW_MS: i64 = 24 * 3_600_000;

impl WebhookHandler {
    /// Stores an incoming message and applies its consent keyword. The content is stored before the stream, so a
    /// repeated callback finds both.
    pub(crate) async fn receive_inbound(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        message: &InboundMessage,
    ) -> Result<(), WebhookError> {
        let config = provider.config();
        let contact = self.address_key(tenant, config.channel, &message.from);
        let keyword = message.keyword.map(str::to_owned);
        let keyword =
            keyword.or_else(|| Some(parse_keyword(config.channel, message.text.as_deref()?)?.as_str().to_owned()));
        let name = application::hash::hash_of(&(&config.id, &message.provider_message_id))?;
        let content = InboundContent { from: message.from.clone(), text: message.text.clone() };
        inbound::save(&*self.documents, tenant, &name, &content, self.host.now()).await?;
        let stream = AggregateId::<InboundMessageState>::new(tenant, &name);
        let event = InboundMessageEvent::MessageReceived {
            channel: config.channel,
            config: config.id.clone(),
            provider: config.provider.clone(),
            provider_message_id: message.provider_message_id.clone(),
            contact_hash: contact.contact_hash.clone(),
            kind: message.kind.to_owned(),
            keyword: keyword.clone(),
            sent_at: message.at,
            content: name,
        };
        if config.channel == Channel::Whatsapp {
            let until = message.at + SERVICE_WINDOW_MS;
            self.documents.put_document(&last_inbound_key(&contact), "", Some(until)).await?;
        }
        // The keyword is applied before the event is appended, so that the provider's retry repairs a crash in between.
        match keyword.as_deref() {
            Some(keyword) if keyword == ConsentKeyword::Stop.as_str() => {
                self.suppress(&config.provider, &contact, Some(message.from.clone()), KEYWORD_REASON, None).await?;
            }
            Some(keyword) if keyword == ConsentKeyword::Start.as_str() => self.lift_opt_out(&contact).await?,
            _ => (),
        }
        let context = context(&config.provider);
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        executor.execute(&stream, event).await?;
        Ok(())
    }

    /// Applies an opt-out or opt-in that the provider reports.
    pub(crate) async fn change_consent(
        &self,
        tenant: &TenantId,
        (provider, channel): (&str, Channel),
        change: &ConsentChange,
    ) -> Result<(), StoreError> {
        let contact = self.address_key(tenant, channel, &change.contact);
        if change.is_opt_out {
            self.suppress(provider, &contact, Some(change.contact.clone()), change.reason, None).await
        } else {
            self.lift_opt_out(&contact).await
        }
    }

    async fn lift_opt_out(&self, contact: &AddressKey) -> Result<(), StoreError> {
        match self.store.suppression(contact).await? {
            Some(reason) if is_lifted_by_start(&reason) => self.suppression_list().remove(contact).await,
            _ => Ok(()),
        }
    }
}
