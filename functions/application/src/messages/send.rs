//! Accepting a message: load, gather, compose, check consent, store, hint.

use domain::access::{Permission, Reach};
use domain::communication::{Command, Rejection};
use domain::communication_view::CommunicationRow;
use domain::message::MessageContent;
use domain::ports::{AddressKey, CommunicationKey, ContentKey};
use domain::prices::Cost;
use domain::provider::Provider;
use events::{CommunicationId, CommunicationRequest, Mode, SuppressReason};

use super::MessageError;
use super::compose::{Composed, compose};
use super::cost::{charge, expected_cost};
use super::gather::{TenantConfig, gather};
use super::new_message::{Fault, Field, IdempotencyKey, NewMessage};
use super::read::{content_of, fallback_content_keys, is_visible, row_of};
use super::render::render_parts;
use crate::app::App;
use crate::caller::Caller;
use crate::{ExecuteError, Loaded};

/// A message that was accepted, now or before.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub key: CommunicationKey,
    pub loaded: Loaded,
    pub row: CommunicationRow,
    /// `None` once it is erased, and for replays in a batch.
    pub content: Option<MessageContent>,
    /// What it is expected to cost. `None` for a replay, or without a price.
    pub expected_cost: Option<Cost>,
    /// An earlier request had the same idempotency key, and this one changed nothing.
    pub is_replay: bool,
}

/// Whether a request is the first with its idempotency key.
pub(super) enum IdempotencyCheck {
    First(CommunicationKey, Loaded),
    Replay(CommunicationKey, Loaded),
}

/// Accepts a message. The same request with the same idempotency key is accepted once.
///
/// # Errors
///
/// [`MessageError`]: nothing was accepted, except where the outcome is unknown.
pub async fn send(app: &App, caller: &Caller, message: &NewMessage) -> Result<Accepted, MessageError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    with_content(app, accept(app, caller, message, None).await?).await
}

/// Accepts a test of one provider configuration, if its provider can send to the address. The message names the
/// configuration in `via`.
///
/// # Errors
///
/// As [`send`].
pub async fn send_test(
    app: &App,
    caller: &Caller,
    message: &NewMessage,
    provider: &dyn Provider,
) -> Result<Accepted, MessageError> {
    caller.authorise(Permission::Channels, Reach::Scoped)?;
    let composed = prepare(app, caller, message, None).await?;
    provider.validate_address(&composed.content.recipient_contact).map_err(|detail| {
        MessageError::Invalid(vec![Fault { step: None, field: Field::To, code: "not_an_address", detail }])
    })?;
    let key = CommunicationKey {
        tenant: caller.principal.tenant.clone(),
        id: CommunicationId::generate(app.host.now(), app.host.random()),
    };
    store(app, caller, key, Loaded::default(), composed).await
}

/// Accepts a message. `config` is the tenant's configuration if it is loaded already.
pub(super) async fn accept(
    app: &App,
    caller: &Caller,
    message: &NewMessage,
    config: Option<&TenantConfig>,
) -> Result<Accepted, MessageError> {
    let idempotency_key = message.idempotency_key.as_ref();
    match check_idempotency(app, caller, idempotency_key, &message.fingerprint).await? {
        IdempotencyCheck::Replay(key, loaded) => accepted(app, key, loaded, None).await,
        IdempotencyCheck::First(key, loaded) => {
            let composed = prepare(app, caller, message, config).await?;
            store(app, caller, key, loaded, composed).await
        }
    }
}

/// Gathers and composes. Nothing is stored.
pub(super) async fn prepare(
    app: &App,
    caller: &Caller,
    message: &NewMessage,
    config: Option<&TenantConfig>,
) -> Result<Composed, MessageError> {
    let known = match config {
        Some(config) => gather(app, caller, message, config).await?,
        None => gather(app, caller, message, &TenantConfig::load(app, &caller.principal).await?).await?,
    };
    let mut composed = compose(message, &known).map_err(MessageError::Invalid)?;
    render_parts(app, &caller.principal.tenant, &mut composed).await?;
    Ok(composed)
}

/// The id of the message with an idempotency key. The same key in live and test mode means different messages.
pub fn id_of(caller: &Caller, idempotency_key: &IdempotencyKey) -> CommunicationId {
    let name = match caller.principal.mode {
        Mode::Live => idempotency_key.as_str().to_owned(),
        // An idempotency key cannot contain a zero byte.
        Mode::Test => format!("test\0{}", idempotency_key.as_str()),
    };
    CommunicationId::from_idempotency_key(&caller.principal.tenant, &name)
}

/// Checks a message as [`send`] does. Nothing is stored.
///
/// # Errors
///
/// As [`send`].
pub async fn check(app: &App, caller: &Caller, message: &NewMessage) -> Result<Composed, MessageError> {
    prepare(app, caller, message, None).await
}

/// The stream of a request: the one of its idempotency key, or a new one.
pub(super) async fn check_idempotency(
    app: &App,
    caller: &Caller,
    idempotency_key: Option<&IdempotencyKey>,
    fingerprint: &str,
) -> Result<IdempotencyCheck, MessageError> {
    let tenant = caller.principal.tenant.clone();
    let Some(idempotency_key) = idempotency_key else {
        let id = CommunicationId::generate(app.host.now(), app.host.random());
        return Ok(IdempotencyCheck::First(CommunicationKey { tenant, id }, Loaded::default()));
    };
    let key = CommunicationKey { id: id_of(caller, idempotency_key), tenant };
    let loaded = app.executor(&caller.context()).load(&key).await?;
    let Ok(communication) = loaded.state.requested() else { return Ok(IdempotencyCheck::First(key, loaded)) };
    // A key that may not see the earlier message learns nothing about it.
    if communication.request.request_hash != fingerprint || !is_visible(caller, &loaded) {
        return Err(Rejection::IdempotencyKeyReused.into());
    }
    Ok(IdempotencyCheck::Replay(key, loaded))
}

/// The result of an accepted request. A replay has no `content` yet; see [`with_content`].
pub(super) async fn accepted(
    app: &App,
    key: CommunicationKey,
    loaded: Loaded,
    content: Option<MessageContent>,
) -> Result<Accepted, MessageError> {
    let row = row_of(app, &key, &loaded).await?;
    Ok(Accepted { is_replay: content.is_none(), key, loaded, row, content, expected_cost: None })
}

/// Checks consent, counts the cost of the day, and then writes to the vault, to the stream and to the queue, in this
/// order: a crash in between leaves no message that is accepted without its content.
pub(super) async fn store(
    app: &App,
    caller: &Caller,
    key: CommunicationKey,
    loaded: Loaded,
    composed: Composed,
) -> Result<Accepted, MessageError> {
    let tenant = key.tenant.clone();
    let configs = app.directory.channels(&app.tenant_ports, &tenant).await?;
    let expected_cost = expected_cost(app, &configs, &composed);
    let Composed { mut request, content, fallback_contents, .. } = composed;
    check_consent(app, &key, &mut request).await?;
    let mode = request.mode;
    if let Some(cost) = &expected_cost {
        match charge(app, &tenant, mode, cost).await {
            Ok(()) => (),
            Err(MessageError::SpendCapReached(reached)) => {
                // Another request with the same idempotency key may have been accepted at the same time.
                let loaded = app.executor(&caller.context()).load(&key).await?;
                let is_accepted =
                    loaded.state.requested().is_ok_and(|it| it.request.request_hash == request.request_hash);
                if is_accepted {
                    return with_content(app, accepted(app, key, loaded, None).await?).await;
                }
                return Err(reached.into());
            }
            Err(error) => return Err(error),
        }
    }
    let stored = write(app, caller, &key, loaded, request, (&content, &fallback_contents)).await;
    let is_unused = match &stored {
        Ok(loaded) => loaded.appended == 0,
        Err(error) => !matches!(error, MessageError::Execute(ExecuteError::OutcomeUnknown(_))),
    };
    if let Some(cost) = expected_cost.as_ref().filter(|_| is_unused) {
        app.daily_spend(&tenant, mode).refund(cost).await;
    }
    Ok(Accepted { expected_cost, ..accepted(app, key, stored?, Some(content)).await? })
}

async fn write(
    app: &App,
    caller: &Caller,
    key: &CommunicationKey,
    loaded: Loaded,
    request: CommunicationRequest,
    (content, fallback_contents): (&MessageContent, &[MessageContent]),
) -> Result<Loaded, MessageError> {
    let until = app.retain_until(request.retention, request.scheduled_at);
    app.vault.put(&ContentKey::for_request(key, &request, &request.request_hash), content, until).await?;
    for (content_key, content) in fallback_content_keys(key, &request).iter().zip(fallback_contents) {
        app.vault.put(content_key, content, until).await?;
    }
    let command = Command::Request(Box::new(request));
    let loaded = app.executor(&caller.context()).execute_loaded(key, loaded, command).await?;
    if loaded.appended > 0 {
        app.hint(key, &loaded).await;
    }
    Ok(loaded)
}

/// Refuses a message that its recipient must not be sent. A message with a fallback is accepted all the same if another
/// channel may still reach them, and its stream records why the first channel was not used.
async fn check_consent(
    app: &App,
    key: &CommunicationKey,
    request: &mut CommunicationRequest,
) -> Result<(), MessageError> {
    let address =
        AddressKey { tenant: key.tenant.clone(), channel: request.channel, contact_hash: request.contact_hash.clone() };
    let consent = app.defaults.consent(&app.tenant_ports, &address, &request.recipient, request.kind).await?;
    let has_fallback = request.fallback.is_some();
    if consent.is_suppressed && !has_fallback {
        return Err(MessageError::Suppressed(SuppressReason::SuppressionList));
    }
    let is_final = |reason: &SuppressReason| {
        !has_fallback || !matches!(reason, SuppressReason::ChannelDisabled | SuppressReason::TypeDisabled)
    };
    if let Some(reason) = consent.refusal.filter(is_final) {
        return Err(MessageError::Suppressed(reason));
    }
    request.quiet_hours = request.quiet_hours.take().or(consent.quiet_hours);
    Ok(())
}

/// Adds the content of a replay, unless it was erased.
pub(super) async fn with_content(app: &App, mut accepted: Accepted) -> Result<Accepted, MessageError> {
    if accepted.is_replay {
        accepted.content = content_of(app, &accepted.key, &accepted.loaded).await?;
    }
    Ok(accepted)
}
