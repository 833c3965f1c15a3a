//! Asking a provider for the status of a message that it accepted.

use domain::access::Permission;
use domain::communication::{Command, DeliveryReport};
use domain::ports::DocumentKey;
use domain::provider::{AccountQueryError, MessageStatus};
use domain::status::{Status, status};
use events::{CommunicationId, ReportedStatus, Timestamp};
use serde::{Deserialize, Serialize};

use super::MessageError;
use super::read::load;
use crate::app::App;
use crate::caller::Caller;
use crate::document;
use crate::hint::try_send_if_fallback_due;
use crate::provider_configs::ProviderConfigError;

/// How long an answer is kept, in milliseconds. Within this time the provider is not asked again about the message.
const ANSWER_TTL_MS: i64 = 10_000;
const QUERY_TIMEOUT_MS: u64 = 5_000;

/// Why a provider was not asked about a message, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskProviderError {
    #[error(transparent)]
    Message(#[from] MessageError),
    /// No provider gave the message an id.
    #[error("no provider has given the message an id")]
    NoProviderMessage,
    /// The status of messages of this configuration cannot be asked for.
    #[error("the status of messages of {0} cannot be asked for")]
    Unsupported(String),
    #[error(transparent)]
    Provider(#[from] ProviderConfigError),
}

/// What a provider said about a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProviderAnswer {
    pub provider: String,
    pub provider_message_id: String,
    pub stated: MessageStatus,
    pub at: Timestamp,
}

/// Asks the provider that accepted the message last, unless it was asked a moment ago. A definite answer is recorded
/// as if the provider had reported it. Returns it with the status of the message.
///
/// # Errors
///
/// [`AskProviderError`]
pub async fn ask_provider(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
) -> Result<(ProviderAnswer, Status), AskProviderError> {
    let (key, loaded) = load(app, caller, Permission::Operate, id).await?;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let communication = loaded.state.requested().map_err(MessageError::from)?.clone();
    let ids = communication.last_config_id.as_ref().zip(communication.provider_message_id.clone());
    let (config, provider_message_id) = ids.ok_or(AskProviderError::NoProviderMessage)?;
    let document = DocumentKey { tenant: tenant.clone(), collection: "provider-answer", name: id.to_string() };
    let kept = app.tenant_ports.documents.get_document(&document, now).await.map_err(MessageError::from)?;
    let kept = kept.and_then(|kept| serde_json::from_str::<ProviderAnswer>(&kept).ok());
    if let Some(kept) = kept.filter(|kept| kept.provider_message_id == provider_message_id) {
        return Ok((kept, status(&communication)));
    }
    // Only the functions that send have the credentials of the deployment's accounts.
    let named = (config.as_str(), communication.request.mode);
    let found = app.directory.find(&app.tenant_ports, tenant, named, &[]).await;
    let found = found.map_err(ProviderConfigError::from)?;
    let unsupported = || AskProviderError::Unsupported(config.clone());
    let asked = found.ok_or_else(unsupported)?.message_status(&provider_message_id, QUERY_TIMEOUT_MS).await;
    let provider = communication.provider.clone().unwrap_or_default();
    let stated = asked.map_err(|error| match error {
        AccountQueryError::Unsupported => unsupported(),
        error => ProviderConfigError::AccountQuery { provider: provider.clone(), error }.into(),
    })?;
    let answer = ProviderAnswer { provider, provider_message_id, stated, at: now };
    let until = Some(now + ANSWER_TTL_MS);
    let body = document::encode(&answer).map_err(MessageError::from)?;
    app.tenant_ports.documents.put_document(&document, &body, until).await.map_err(MessageError::from)?;
    let MessageStatus { fact, event_id, code, .. } = answer.stated.clone();
    if matches!(fact, ReportedStatus::Unknown | ReportedStatus::Accepted) {
        return Ok((answer, status(&communication)));
    }
    let report = DeliveryReport { attempt: None, fact, event_id, at: now, code };
    let command = Command::Report(vec![report]);
    let updated = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await;
    let updated = updated.map_err(MessageError::from)?;
    try_send_if_fallback_due(&*app.queue, &*app.host, &key, &updated).await;
    let status = status(updated.state.requested().map_err(MessageError::from)?);
    Ok((answer, status))
}
