//! Sending a message again: the same content as a new message, perhaps by another channel or to another address.

use domain::access::Permission;
use domain::message::MessageContent;
use domain::policy;
use events::{Channel, CommunicationId, CommunicationRequest, Source, TemplateRef};
use serde_json::json;

use super::MessageError;
use super::address::{check_channel, check_team, normalise};
use super::compose::Composed;
use super::gather::can_serve;
use super::new_message::{Fault, Faults, Field, IdempotencyKey};
use super::read::{content_of, load};
use super::render::render_whole;
use super::send::{Accepted, IdempotencyCheck, accepted, check_idempotency, store, with_content};
use crate::app::App;
use crate::caller::Caller;
use crate::hash::body_hash;

/// What is different in the new message. `None` means as before.
#[derive(Debug, Clone, Default)]
pub struct Resend {
    pub channel: Option<Channel>,
    /// Required for another channel.
    pub to: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// Faults that the caller found when it read the request.
    pub faults: Vec<Fault>,
}

/// Accepts the content of an earlier message as a new one.
///
/// # Errors
///
/// [`MessageError`]: nothing was accepted, except where the outcome is unknown.
pub async fn resend(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    resend: &Resend,
) -> Result<Accepted, MessageError> {
    let (original_key, original) = load(app, caller, Permission::Send, id).await?;
    let earlier = &original.state.requested()?.request;
    let channel = resend.channel.unwrap_or(earlier.channel);
    let to = check(app, caller, resend, earlier).await?;
    let request_hash = body_hash(&json!({ "resend": original_key.id, "channel": channel.as_str(), "contact": to }));
    let (key, loaded) = match check_idempotency(app, caller, resend.idempotency_key.as_ref(), &request_hash).await? {
        IdempotencyCheck::First(key, loaded) => (key, loaded),
        IdempotencyCheck::Replay(key, loaded) => {
            return with_content(app, accepted(app, key, loaded, None).await?).await;
        }
    };
    let content = content_of(app, &original_key, &original).await?.ok_or(MessageError::Erased)?;
    if channel == Channel::Email && earlier.template.is_none() && content.subject.is_none() {
        return Err(MessageError::NoSubject);
    }
    let template = template_for(app, caller, earlier, channel).await?;
    let mut faults = Faults::default();
    let to = to.unwrap_or_else(|| content.recipient_contact.clone());
    let address = check_team(to, caller, &app.contact_key, &mut faults);
    faults.finish().map_err(MessageError::Invalid)?;
    let Some(address) = address else { return Err(MessageError::Invalid(Vec::new())) };
    let request = CommunicationRequest {
        channel,
        source: Source::Resend,
        contact_hash: address.hash,
        template,
        scheduled_at: None,
        expires_at: policy::default_expiry(earlier.kind, app.host.now()),
        resend_of: Some(original_key.id),
        fallback: None,
        fallback_of: None,
        request_hash,
        requested_by: caller.actor().name(),
        ..earlier.clone()
    };
    let mut content = MessageContent { recipient_contact: address.text, ..content };
    let segments = render_whole(app, &key.tenant, &request, &mut content).await?;
    store(app, caller, key, loaded, Composed { request, content, segments, fallback_contents: Vec::new() }).await
}

/// The template of the new message: the earlier one, or for another channel the one with the same code.
async fn template_for(
    app: &App,
    caller: &Caller,
    earlier: &CommunicationRequest,
    channel: Channel,
) -> Result<Option<TemplateRef>, MessageError> {
    let Some(template) = earlier.template.as_ref().filter(|_| channel != earlier.channel) else {
        return Ok(earlier.template.clone());
    };
    let templates = app.library.templates(&app.tenant_ports, &caller.principal.tenant).await?;
    let found = templates.for_channel(&template.id, channel, earlier.locale.as_deref());
    if found.is_none() {
        let code = templates.code_of(&template.id).unwrap_or(&template.id);
        let channel = channel.as_str();
        let detail = format!(
            "The template {code} does not exist for {channel}. Send a new message, or add the template with POST \
             /api/communication-templates."
        );
        let fault = Fault { step: None, field: Field::Channel, code: "no_template", detail };
        return Err(MessageError::Invalid(vec![fault]));
    }
    Ok(found)
}

/// The new address in its normal form, if one is given.
async fn check(
    app: &App,
    caller: &Caller,
    resend: &Resend,
    earlier: &CommunicationRequest,
) -> Result<Option<String>, MessageError> {
    let mut faults = Faults::new(resend.faults.clone());
    let channel = resend.channel.unwrap_or(earlier.channel);
    if resend.to.is_none() && channel != earlier.channel {
        faults.add(Field::To, "required", "Another channel needs its own recipientContact.");
    }
    let configs = app.directory.channels(&app.tenant_ports, &caller.principal.tenant).await?;
    check_channel(channel, caller, can_serve(app, &caller.principal, &configs, channel), &mut faults);
    let to =
        resend.to.as_ref().and_then(|to| normalise(channel, to, &configs, app.sms_countries.as_deref(), &mut faults));
    faults.finish().map_err(MessageError::Invalid)?;
    Ok(to)
}
