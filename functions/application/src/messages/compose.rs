//! Checks a new message and composes what is stored of it. Pure: everything it needs is in [`Known`].

use domain::message::{AttachmentLink, MessageContent};
use domain::policy;
use events::{
    Channel, CommunicationRequest, Fallback, FallbackCondition, FallbackStep, MessageType, Source, TemplateRef,
    Timestamp,
};

use super::address::{Address, check_channel, check_team, normalise};
use super::content::{
    FileLinks, SendTime, check_buttons, check_entity, check_location, check_name_and_locale, check_quiet_hours,
    check_texts,
};
use super::known::Known;
use super::new_message::{Fault, Faults, Field, NewMessage, NewStep};
use super::routing::{Draft, Route, drafts};
use crate::time::show_time;

/// A valid message, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// The part for the stream, without personal data.
    pub request: CommunicationRequest,
    /// The part for the vault.
    pub content: MessageContent,
    /// The segments of an SMS. `compose` does not render, so it leaves them out.
    pub segments: Option<u16>,
    /// The content of each fallback step, for the vault.
    pub fallback_contents: Vec<MessageContent>,
}

/// One channel's part of a message, checked. The template is pinned to its version.
struct Part {
    channel: Channel,
    address: Address,
    template: Option<TemplateRef>,
    content: MessageContent,
}

/// Checks a message and pins the versions of its templates.
///
/// # Errors
///
/// Every fault of the message and of its fallback steps, except those of rendering.
pub fn compose(message: &NewMessage, known: &Known<'_>) -> Result<Composed, Vec<Fault>> {
    let mut faults = Faults::new(message.faults.clone());
    let kind = faults.required(message.kind, Field::Type, "type");
    let send_time = SendTime::check(message.scheduled_at, message.expires_at, known.now, &mut faults);
    let due = send_time.at.unwrap_or(known.now);
    let links = FileLinks {
        files: &known.files,
        public_url: known.public_url,
        link_keys: known.link_keys,
        tenant: &known.caller.principal.tenant,
        due,
    };
    let attachments = links.check(&message.attachments, &mut faults);
    check_name_and_locale(message, &mut faults);
    check_location(message.location.as_ref(), &mut faults);
    check_buttons(&message.buttons, &mut faults);
    check_entity(message.entity.as_ref(), &mut faults);
    check_quiet_hours(message.quiet_hours.as_ref(), &mut faults);
    let mut parts = Vec::new();
    for draft in drafts(message, known) {
        faults.in_step(draft.step);
        parts.push(check_part(message, &draft, &attachments, known, &mut faults));
    }
    let expires_at = send_time.expires_at.or(kind.map(|kind| policy::default_expiry(kind, due)));
    check_steps(&message.fallback, &parts, due, expires_at, &mut faults);
    faults.finish()?;
    // Without faults every part is present.
    let parts: Option<Vec<Part>> = parts.into_iter().collect();
    let (Some(kind), Some(expires_at), Some(parts)) = (kind, expires_at, parts) else { return Err(Vec::new()) };
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Err(Vec::new()) };
    let request = CommunicationRequest {
        scheduled_at: send_time.at,
        expires_at,
        attachments: links.recorded(&attachments),
        ..request(message, kind, &first, known)
    };
    Ok(assemble(message, request, first, parts.collect(), due))
}

fn request(message: &NewMessage, kind: MessageType, part: &Part, known: &Known<'_>) -> CommunicationRequest {
    CommunicationRequest {
        channel: part.channel,
        kind,
        priority: message.priority.unwrap_or(events::Priority::Normal),
        source: message.source.unwrap_or(Source::Api),
        recipient: message.recipient(),
        contact_hash: part.address.hash.clone(),
        template: part.template.clone(),
        locale: message.locale.clone(),
        attachments: Vec::new(),
        entity: message.entity.clone(),
        scheduled_at: None,
        expires_at: known.now,
        quiet_hours: message.quiet_hours.clone(),
        in_doubt: message.in_doubt.unwrap_or_else(|| policy::in_doubt_policy(kind)),
        on_missing_file: message.on_missing_file,
        max_attempts: message.max_attempts.unwrap_or(policy::MAX_ATTEMPTS),
        campaign: None,
        rule: None,
        resend_of: None,
        fallback: None,
        fallback_of: None,
        retention: message.retention,
        unless_settled: message.unless_settled.clone(),
        without_document: message.without_document.clone(),
        via: message.via.clone(),
        request_hash: message.fingerprint.clone(),
        requested_by: known.caller.actor().name(),
        mode: known.caller.principal.mode,
    }
}

fn assemble(
    message: &NewMessage,
    mut request: CommunicationRequest,
    first: Part,
    steps: Vec<Part>,
    due: Timestamp,
) -> Composed {
    let (mut fallback_steps, mut fallback_contents) = (Vec::new(), Vec::new());
    for (step, part) in message.fallback.iter().zip(steps) {
        fallback_steps.push(FallbackStep {
            channel: part.channel,
            contact_hash: part.address.hash.clone(),
            template: part.template.clone(),
            after_ms: step.after_ms,
            unless: step.unless.unwrap_or(FallbackCondition::Delivered),
        });
        fallback_contents.push(part.content);
    }
    if !fallback_steps.is_empty() {
        request.fallback = Some(Fallback { from: due, steps: fallback_steps });
    }
    Composed { request, content: first.content, segments: None, fallback_contents }
}

fn check_part(
    message: &NewMessage,
    draft: &Draft,
    attachments: &[AttachmentLink],
    known: &Known<'_>,
    faults: &mut Faults,
) -> Option<Part> {
    let channel = match &draft.route {
        Route::By(channel) => Some(*channel),
        Route::Missing => faults.required(None, Field::Channel, "channel"),
        Route::NoChannel(detail) => {
            faults.add(Field::Channel, "no_channel", detail.clone());
            None
        }
        // An invalid type has a fault of its own already.
        Route::Unknown => None,
    };
    if let Some(channel) = channel {
        check_channel(channel, known.caller, known.available.contains(&channel), faults);
    }
    let to = match draft.route {
        Route::By(_) | Route::Missing => faults.required(draft.to.as_deref(), Field::To, "recipientContact"),
        Route::NoChannel(_) | Route::Unknown => draft.to.as_deref(),
    };
    let normal =
        channel.zip(to).and_then(|(channel, to)| normalise(channel, to, &known.configs, known.sms_countries, faults));
    let address = normal.and_then(|normal| check_team(normal, known.caller, known.contact_key, faults));
    let template = check_template(draft, channel, known, faults);
    check_content(message, draft, channel, faults);
    let address = address?;
    let content = MessageContent {
        recipient_contact: address.text.clone(),
        recipient_name: message.recipient_name.clone(),
        subject: draft.content.subject.clone(),
        rendered_subject: None,
        content: draft.content.text.clone(),
        variables: draft.content.variables.clone(),
        attachments: attachments.to_vec(),
        location: message.location.clone(),
        buttons: message.buttons.clone(),
        provider_template: draft.content.provider_template.clone(),
        metadata: message.metadata.clone(),
    };
    Some(Part { channel: channel?, address, template, content })
}

fn check_template(
    draft: &Draft,
    channel: Option<Channel>,
    known: &Known<'_>,
    faults: &mut Faults,
) -> Option<TemplateRef> {
    let (reference, channel) = (draft.content.template.as_ref()?, channel?);
    let template = known.templates.resolve(reference, channel, known.locale);
    if template.is_none() && !faults.has_inherited(&Field::Template, "unknown_template") {
        let detail = format!("No active template {reference} exists. GET /api/communication-templates lists them.");
        faults.add(Field::Template, "unknown_template", detail);
    }
    template
}

/// Checks that the message has text or a template and not both, and that an email has a subject.
fn check_content(message: &NewMessage, draft: &Draft, channel: Option<Channel>, faults: &mut Faults) {
    let is_email = channel == Some(Channel::Email);
    let content = &draft.content;
    let has_extras =
        !message.attachments.is_empty() || message.location.is_some() || content.provider_template.is_some();
    let (code, detail) = match (&content.text, &content.template) {
        (Some(_), Some(_)) => ("ambiguous", "Provide content or templateId, not both."),
        (None, None) if is_email || !has_extras => ("required", "Either content or templateId is required."),
        _ => ("", ""),
    };
    if !code.is_empty() && !faults.has_inherited(&Field::Content, code) {
        faults.add(Field::Content, code, detail);
    }
    check_texts(content.subject.as_deref(), content.text.as_deref(), content.variables.as_ref(), faults);
    let needs_subject = is_email && content.template.is_none() && content.subject.is_none();
    if needs_subject && !faults.has_inherited(&Field::Subject, "required") {
        faults.add(Field::Subject, "required", "An email without a template needs a subject.");
    }
}

/// Checks the steps together: they begin before the message expires, and no two are the same.
fn check_steps(
    steps: &[NewStep],
    parts: &[Option<Part>],
    mut due: Timestamp,
    expires_at: Option<Timestamp>,
    faults: &mut Faults,
) {
    let target = |part: &Option<Part>| part.as_ref().map(|part| (part.channel, part.address.hash.clone()));
    let mut before = vec![parts.first().and_then(target)];
    for (index, (step, part)) in steps.iter().zip(parts.iter().skip(1)).enumerate() {
        faults.in_step(Some(index));
        if step.unless == Some(FallbackCondition::Read) && step.after_ms.is_none() {
            let detail = "unless read requires a waiting time, such as after 30m.";
            faults.add(Field::After, "required", detail);
        }
        due = due + step.after_ms.unwrap_or(0);
        if let Some(expires_at) = expires_at.filter(|expires_at| step.after_ms.is_some() && *expires_at <= due) {
            let detail = format!("The step is too late: the message expires at {}.", show_time(expires_at));
            faults.add(Field::After, "too_late", detail);
        }
        let target = target(part);
        if target.is_some() && before.contains(&target) {
            let detail = "An earlier step already uses this channel and address.";
            faults.add(Field::Channel, "repeated", detail);
        }
        before.push(target);
    }
    faults.in_step(None);
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
