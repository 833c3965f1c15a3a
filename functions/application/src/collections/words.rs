//! What a notice says, by which channels, and whom it is from.

use std::collections::BTreeMap;

use domain::business_event::{Contact, KnownPerson};
use domain::collect::{MANY, Notice, ONE, PAYMENT_LINKS, ToldInvoice, parse_day, variables};
use domain::invoice::InvoiceState;
use domain::ports::{Principal, StoreError};
use events::{
    Channel, CommunicationId, EntityRef, LadderStep, MessageType, NoticeInvoice, NoticeMessage, QuietHours, Recipient,
    Role, Source, StepMode, StepSkipReason, TenantId,
};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::Rules;
use crate::app::App;
use crate::business_events::persons;
use crate::caller::Caller;
use crate::execute::ExecuteError;
use crate::invoices;
use crate::messages::{self, ChannelChoice, Field, IdempotencyKey, MessageError, NewContent, NewMessage, NewStep};
use crate::payment_links::{IssuedLink, LinkIssuer};
use crate::process::ProcessError;

/// How long after the time of its last planned channel a reminder may still leave, in milliseconds.
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
    let customer = customer(app, tenant, notice).await?;
    let context = caller.context();
    let issuer = LinkIssuer::automatic(app, &context, (tenant, notice.mode)).await?;
    let links = links(issuer.as_ref(), kept).await?;
    let addresses = links.iter().map(|(invoice, link)| (invoice.clone(), link.url.clone())).collect();
    let message = message(app, tenant, &rules, (notice, &customer), (kept, &told, &addresses), step);
    let mut sending = Sending::default();
    let channels = channels(&customer, step);
    if channels.is_empty() {
        let wanted: Vec<&str> = step.channels.iter().map(|channel| channel.as_str()).collect();
        sending.refused = Some((StepSkipReason::NoContact, format!("no_contact:{}", wanted.join(","))));
        return Ok(sending);
    }
    let ways = match step.mode {
        StepMode::All => channels.into_iter().map(|channel| vec![channel]).collect(),
        StepMode::Escalate => vec![channels],
    };
    for mut way in ways {
        // Each round that is refused for an address has one channel less.
        while let [(channel, to), others @ ..] = way.as_slice() {
            let channel = *channel;
            let fallback = others.iter().map(|(other, to)| NewStep {
                channel: Some(ChannelChoice::Fixed(*other)),
                to: Some(to.clone()),
                after_ms: Some(step.escalate_after_ms),
                unless: Some(step.unless),
                ..NewStep::default()
            });
            let key = IdempotencyKey::derived(&["notice", name, channel.as_str()]);
            let communication = messages::id_of(&caller, &key);
            let message = NewMessage {
                channel: Some(ChannelChoice::Fixed(channel)),
                to: Some(to.clone()),
                fallback: fallback.collect(),
                idempotency_key: Some(key),
                ..message.clone()
            };
            let sent = messages::send(app, &caller, &message).await;
            if let Some(unusable) = unusable_addresses(&sent) {
                let (kept, dropped): (Vec<_>, Vec<_>) =
                    way.into_iter().enumerate().partition(|(index, _)| !unusable.contains(index));
                let names: Vec<&str> = dropped.iter().map(|(_, (channel, _))| channel.as_str()).collect();
                sending.refused = Some((StepSkipReason::NoContact, format!("not_an_address:{}", names.join(","))));
                way = kept.into_iter().map(|(_, reachable)| reachable).collect();
                continue;
            }
            match refusal(sent)? {
                None => {
                    record_links(issuer.as_ref(), &links, (channel, communication)).await?;
                    sending.messages.push(NoticeMessage { channel, communication });
                }
                Some(refused) => sending.refused = Some(refused),
            }
            break;
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

/// Whom a notice is for, as a recipient.
async fn customer(app: &App, tenant: &TenantId, notice: &Notice) -> Result<KnownPerson, StoreError> {
    let Some(Recipient { kind, id }) = notice.customer.clone() else { return Ok(KnownPerson::default()) };
    persons::known(app, (tenant, notice.mode), kind, &Contact { id, ..Contact::default() }).await
}

/// The links by which the invoices can be paid, by their streams.
type Links = BTreeMap<String, IssuedLink>;

async fn links(issuer: Option<&LinkIssuer<'_>>, kept: &[NoticeInvoice]) -> Result<Links, ProcessError> {
    let Some(issuer) = issuer else { return Ok(Links::new()) };
    let links = try_join_all(kept.iter().map(|joined| issuer.link_of(&joined.invoice))).await?;
    let named = kept.iter().zip(links).filter_map(|(joined, link)| Some((joined.invoice.clone(), link?)));
    Ok(named.collect())
}

/// Records by which channel the links go to the customer. A payment by one of them is confirmed by that channel, too.
async fn record_links(
    issuer: Option<&LinkIssuer<'_>>,
    links: &Links,
    (channel, communication): (Channel, CommunicationId),
) -> Result<(), ProcessError> {
    let Some(issuer) = issuer else { return Ok(()) };
    let recorded = links.values().map(|link| issuer.record_sending(&link.id, channel, communication));
    try_join_all(recorded).await?;
    Ok(())
}

/// The channels of a step by which the customer can be reached, with the addresses. What the customer prefers for
/// notices replaces them.
pub(super) fn channels(customer: &KnownPerson, step: &LadderStep) -> Vec<(Channel, String)> {
    let own = customer.preferences.types.get(&MessageType::CollectionNotice);
    let wanted = own.unwrap_or(&step.channels);
    wanted.iter().filter_map(|channel| Some((*channel, customer.address(*channel)?.to_owned()))).collect()
}

/// The message of a notice, without its channel.
fn message(
    app: &App,
    tenant: &TenantId,
    rules: &Rules,
    (notice, customer): (&Notice, &KnownPerson),
    (kept, told, links): (&[NoticeInvoice], &[InvoiceState], &BTreeMap<String, String>),
    step: &LadderStep,
) -> NewMessage {
    let is_many = told.len() > 1;
    let day = parse_day(&notice.day).unwrap_or_default();
    let lines = kept.iter().zip(told).map(|(joined, state)| {
        let payment_link = links.get(&joined.invoice).map(String::as_str);
        ToldInvoice { state, payment_link }
    });
    let mut variables = variables(&lines.collect::<Vec<_>>(), is_many, day);
    if is_many && !links.is_empty() {
        variables.insert(PAYMENT_LINKS.to_owned(), json!(links));
    }
    let business_name = told.iter().find_map(|invoice| invoice.facts.terms().business_name);
    variables.insert("customerName".to_owned(), customer.person.salutation().into());
    variables.insert("businessName".to_owned(), business_name.unwrap_or_else(|| tenant.to_string()).into());
    let content = NewContent {
        template: Some(step.template.clone().unwrap_or_else(|| if is_many { MANY } else { ONE }.to_owned())),
        variables: Some(Value::Object(variables)),
        ..NewContent::default()
    };
    let calendar = rules.calendar(told.first());
    let zone = calendar.as_ref().and_then(|calendar| calendar.zone()).unwrap_or(&rules.settings.time_zone);
    let quiet_hours = customer.preferences.quiet_hours.clone().unwrap_or_else(|| QuietHours {
        start: rules.settings.until.clone(),
        end: rules.settings.time.clone(),
        time_zone: zone.to_owned(),
    });
    let escalations = step.channels.len().saturating_sub(1) as i64;
    let last = app.host.now() + step.escalate_after_ms * escalations;
    let expires_at =
        rules.calendar(told.first()).and_then(|calendar| calendar.open_from(last)).unwrap_or(last) + LATE_MS;
    let entity = match told {
        [one] => one
            .reference
            .as_ref()
            .map(|reference| EntityRef { kind: "invoice".to_owned(), id: Some(reference.id.clone()) }),
        _ => None,
    };
    let recipient = notice.customer.clone();
    let unless_settled = kept.iter().map(|joined| joined.invoice.clone()).collect();
    NewMessage {
        kind: Some(MessageType::CollectionNotice),
        recipient_type: recipient.as_ref().map(|recipient| recipient.kind),
        recipient_id: recipient.and_then(|recipient| recipient.id),
        recipient_name: customer.person.name.clone(),
        locale: customer.person.locale.clone(),
        content,
        entity,
        expires_at: Some(expires_at),
        quiet_hours: Some(quiet_hours),
        unless_settled,
        source: Some(Source::Event),
        fingerprint: "notice".to_owned(),
        ..NewMessage::default()
    }
}

/// The channels of a message whose addresses cannot be used, by their places, if that alone is why it was refused. The
/// others can still reach the customer.
fn unusable_addresses(sent: &Result<messages::Accepted, MessageError>) -> Option<Vec<usize>> {
    let Err(MessageError::Invalid(faults)) = sent else { return None };
    let is_about_addresses = !faults.is_empty() && faults.iter().all(|fault| fault.field == Field::To);
    is_about_addresses.then(|| faults.iter().map(|fault| fault.step.map_or(0, |step| step + 1)).collect())
}

/// Why a message was refused. `None` if it was accepted.
fn refusal(result: Result<messages::Accepted, MessageError>) -> Result<Option<(StepSkipReason, String)>, ProcessError> {
    use domain::communication::Rejection;
    match result {
        Ok(_) => Ok(None),
        // The message was accepted before, when less had been paid.
        Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => Ok(None),
        Err(MessageError::Suppressed(reason)) => Ok(Some((StepSkipReason::OptedOut, reason.as_str().to_owned()))),
        Err(error) => Ok(Some((StepSkipReason::Refused, error.refusal()?.to_owned()))),
    }
}
