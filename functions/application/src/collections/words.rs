//! What a notice says, by which channels, and whom it is from.

use domain::collect::{MANY, Notice, ONE, parse_day, variables};
use domain::invoice::InvoiceState;
use domain::ports::{Principal, StoreError};
use domain::preferences::Preferences;
use events::{
    Channel, EntityRef, LadderStep, MessageType, NoticeInvoice, NoticeMessage, QuietHours, Role, Source, StepMode,
    StepSkipReason, TenantId,
};
use serde_json::Value;

use super::Rules;
use crate::app::App;
use crate::caller::Caller;
use crate::consent::addresses;
use crate::execute::ExecuteError;
use crate::invoices;
use crate::messages::{self, ChannelChoice, IdempotencyKey, MessageError, NewContent, NewMessage, NewStep};
use crate::process::ProcessError;

/// How long after its last planned channel a reminder may still leave, in milliseconds.
const LATE_MS: i64 = 48 * 3_600_000;

/// What became of the messages of a notice.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub messages: Vec<NoticeMessage>,
    /// Why a channel sent nothing, with the code.
    pub refused: Option<(StepSkipReason, String)>,
}

/// Sends the messages of a notice. Their ids come from the notice, so a repetition sends nothing twice.
///
/// # Errors
///
/// [`ProcessError`]: not all of them were accepted. It can be repeated.
pub(super) async fn send(
    app: &App,
    tenant: &TenantId,
    name: &str,
    notice: &Notice,
    kept: &[NoticeInvoice],
    step: &LadderStep,
) -> Result<Sending, ProcessError> {
    let rules = Rules::load(app, tenant, notice.customer.as_ref()).await?;
    let mut told = Vec::new();
    for joined in kept {
        told.push(invoices::load(app, tenant, &joined.invoice).await?);
    }
    let caller = sender(tenant, notice);
    let message = message(app, tenant, &rules, notice, (kept, &told), step).await?;
    let mut sending = Sending::default();
    let channels = channels(app, tenant, notice, step).await?;
    if channels.is_empty() {
        let wanted: Vec<&str> = step.channels.iter().map(|channel| channel.as_str()).collect();
        sending.refused = Some((StepSkipReason::NoContact, format!("no_contact:{}", wanted.join(","))));
        return Ok(sending);
    }
    let (first, others) = match step.mode {
        StepMode::All => (channels, Vec::new()),
        StepMode::Escalate => (channels[..1].to_vec(), channels[1..].to_vec()),
    };
    for channel in first {
        let fallback = others.iter().map(|other| NewStep {
            channel: Some(ChannelChoice::Fixed(*other)),
            after_ms: Some(step.escalate_after_ms),
            unless: Some(step.unless),
            ..NewStep::default()
        });
        let key = IdempotencyKey::derived(&["notice", name, channel.as_str()]);
        let communication = messages::id_of(&caller, &key);
        let message = NewMessage {
            channel: Some(ChannelChoice::Fixed(channel)),
            fallback: fallback.collect(),
            idempotency_key: Some(key),
            ..message.clone()
        };
        match refusal(messages::send(app, &caller, &message).await)? {
            None => sending.messages.push(NoticeMessage { channel, communication }),
            Some(refused) => sending.refused = Some(refused),
        }
    }
    Ok(sending)
}

/// Collections send with the permission to send only.
fn sender(tenant: &TenantId, notice: &Notice) -> Caller {
    let principal = Principal {
        tenant: tenant.clone(),
        actor: "SYSTEM_collections".to_owned(),
        mode: notice.mode,
        role: Role::Sender,
        channels: None,
        expires_at: None,
        team: None,
        is_user: false,
    };
    Caller { on_behalf: Some("collections".to_owned()), ..Caller::new(principal) }
}

/// The channels of a step by which the customer can be reached. What the customer prefers for notices replaces them.
async fn channels(
    app: &App,
    tenant: &TenantId,
    notice: &Notice,
    step: &LadderStep,
) -> Result<Vec<Channel>, StoreError> {
    let Some(customer) = &notice.customer else { return Ok(Vec::new()) };
    let preferences = preferences(app, tenant, notice).await?;
    let own = preferences.types.get(&MessageType::CollectionNotice);
    let wanted = own.cloned().unwrap_or_else(|| step.channels.clone());
    let Some(person) = domain::data_subject::of_recipient(customer) else { return Ok(Vec::new()) };
    let known = addresses(&app.tenant_ports, tenant, &person).await?;
    Ok(wanted.into_iter().filter(|channel| known.contains_key(channel)).collect())
}

async fn preferences(app: &App, tenant: &TenantId, notice: &Notice) -> Result<Preferences, StoreError> {
    match &notice.customer {
        Some(customer) => app.defaults.for_recipient(&app.tenant_ports, tenant, customer).await,
        None => Ok(Preferences::default()),
    }
}

/// The message of a notice, without its channel.
async fn message(
    app: &App,
    tenant: &TenantId,
    rules: &Rules,
    notice: &Notice,
    (kept, told): (&[NoticeInvoice], &[InvoiceState]),
    step: &LadderStep,
) -> Result<NewMessage, StoreError> {
    let is_many = told.len() > 1;
    let day = parse_day(&notice.day).unwrap_or_default();
    let mut variables = variables(told, is_many, day);
    let customer = notice.customer.as_ref().and_then(|customer| customer.id.clone()).unwrap_or_default();
    variables.insert("customerName".to_owned(), customer.into());
    variables.insert("businessName".to_owned(), tenant.to_string().into());
    let content = NewContent {
        template: Some(step.template.clone().unwrap_or_else(|| if is_many { MANY } else { ONE }.to_owned())),
        variables: Some(Value::Object(variables)),
        ..NewContent::default()
    };
    let own_quiet_hours = preferences(app, tenant, notice).await?.quiet_hours;
    let zone = rules.debtor.time_zone.clone().unwrap_or_else(|| rules.settings.time_zone.clone());
    let quiet_hours = own_quiet_hours.unwrap_or(QuietHours {
        start: rules.settings.until.clone(),
        end: rules.settings.time.clone(),
        time_zone: zone,
    });
    let escalations = step.channels.len().saturating_sub(1) as i64;
    let expires_at = app.host.now() + step.escalate_after_ms * escalations + LATE_MS;
    let entity = match told {
        [one] => one
            .reference
            .as_ref()
            .map(|reference| EntityRef { kind: "invoice".to_owned(), id: Some(reference.id.clone()) }),
        _ => None,
    };
    let customer = notice.customer.clone();
    let unless_settled = kept.iter().map(|joined| joined.invoice.clone()).collect();
    Ok(NewMessage {
        kind: Some(MessageType::CollectionNotice),
        recipient_type: customer.as_ref().map(|customer| customer.kind),
        recipient_id: customer.and_then(|customer| customer.id),
        content,
        entity,
        expires_at: Some(expires_at),
        quiet_hours: Some(quiet_hours),
        unless_settled,
        source: Some(Source::Event),
        fingerprint: "notice".to_owned(),
        ..NewMessage::default()
    })
}

/// Why a message was refused. `None` if it was accepted.
fn refusal(result: Result<messages::Accepted, MessageError>) -> Result<Option<(StepSkipReason, String)>, ProcessError> {
    use domain::communication::Rejection;
    let refused = |code: &str| Ok(Some((StepSkipReason::Refused, code.to_owned())));
    match result {
        Ok(_) => Ok(None),
        // The message was accepted before, when less had been paid.
        Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => Ok(None),
        Err(MessageError::Suppressed(reason)) => Ok(Some((StepSkipReason::OptedOut, reason.as_str().to_owned()))),
        Err(MessageError::Invalid(faults)) => refused(faults.first().map_or("invalid", |fault| fault.code)),
        Err(MessageError::Forbidden(_)) => refused("forbidden"),
        Err(MessageError::SpendCapReached(_)) => refused("spend_cap_reached"),
        Err(MessageError::NotFound | MessageError::Erased | MessageError::NoSubject) => refused("invalid"),
        Err(MessageError::Store(StoreError::Unreadable(_))) => refused("unreadable"),
        Err(MessageError::Busy(busy)) => Err(StoreError::Unavailable(busy.to_string()).into()),
        Err(MessageError::Execute(error)) => Err(error.into()),
        Err(MessageError::Store(error)) => Err(error.into()),
    }
}
