//! Changes to a communication: reschedule, other words, cancel, resend.

use application::Loaded;
use application::hash::{body_hash, contact_hash};
use application::problem::{FieldError, Kind, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::access::key_allows_channel;
use domain::communication::{Command, Lifecycle};
use domain::communication_view::row;
use domain::policy;
use domain::ports::{ContentKey, MessageContent, Principal, StreamKey};
use domain::status::status;
use events::{CancelReason, Channel, Outcome, Requested, ResolvedBy, Source};
use serde_json::json;

use crate::fields::{Fields, invalid};
use crate::send::{
    Accepted, IdempotencyCheck, NOT_ON_TEAM, Schedule, fallback_content_keys, idempotency_key, read_contact,
};
use crate::{Api, Shared, json, not_found, origin, read_body, show};

fn erased() -> Problem {
    Problem::new(Kind::Conflict, "Its content has been erased.")
}

/// The words of a channel after it: they change with its own, where they were the same.
fn propagate_to_fallback(theirs: MessageContent, old: &MessageContent, new: &MessageContent) -> MessageContent {
    let subject = if theirs.subject == old.subject { new.subject.clone() } else { theirs.subject };
    let content = if theirs.content == old.content { new.content.clone() } else { theirs.content };
    let variables = if theirs.variables == old.variables { new.variables.clone() } else { theirs.variables };
    MessageContent { subject, content, variables, ..theirs }
}

/// Another time or other words, before the first attempt.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let origin = origin(&caller, &headers);
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let (key, loaded) = api.load(&caller, &origin, &id).await?;
    let communication = loaded.state.requested()?;
    if fields.is_empty() {
        fields.wrong("", "empty", "Give scheduledAt, expiresAt, subject, content or templateVariables.");
    }
    let schedule = Schedule::read(&mut fields, api.host.now());
    let subject_text = fields.text("subject", 500);
    let content_text = fields.text("content", crate::MAX_BODY);
    let variables = fields.object("templateVariables");
    if content_text.is_some() && communication.request.template.is_some() {
        fields.wrong("content", "ambiguous", "It was accepted with a template: change templateVariables.");
    }
    fields.finish()?;
    let other_words = subject_text.is_some() || content_text.is_some() || variables.is_some();
    let old = api.content(&key, &loaded).await?.ok_or_else(erased)?;
    let content = MessageContent {
        subject: subject_text.or(old.subject.clone()),
        content: content_text.or(old.content.clone()),
        variables: variables.or(old.variables.clone()),
        ..old.clone()
    };
    let mut changed = Accepted { request: communication.request.clone(), content, next: Vec::new() };
    if other_words {
        changed = api.with_words(&caller, changed).await?;
    }
    let schedule = match (schedule.at, schedule.expires_at) {
        (None, None) => None,
        (at, expires_at) => {
            let at = at.or(communication.due_at).unwrap_or_else(|| api.host.now());
            let default = policy::expires_at(changed.request.kind, at);
            Some((at, expires_at.unwrap_or(default)))
        }
    };
    // Other words have another name; the same ones are kept for longer where the message is due later.
    let name = match other_words {
        true => body_hash(&serde_json::to_value(&changed.content).unwrap_or_default()),
        false => communication.content.clone(),
    };
    let due = schedule.map(|(at, _)| at).or(communication.due_at);
    let until = api.retain_until(changed.request.retention, due);
    api.vault.put(&ContentKey::of(&key, &changed.request, &name), &changed.content, until).await?;
    for place in fallback_content_keys(&key, &changed.request) {
        if let Some(theirs) = api.vault.get(&place, api.host.now()).await? {
            api.vault.put(&place, &propagate_to_fallback(theirs, &old, &changed.content), until).await?;
        }
    }
    let command = Command::Change { schedule, content: other_words.then_some(name) };
    let after = api.executor(&origin).execute_loaded(&key, loaded, command).await?;
    if schedule.is_some() {
        api.hint(&key, &after).await;
    }
    api.present_changed(&key, &after, Some(&changed.content)).await
}

impl Api {
    async fn present_changed(
        &self,
        key: &StreamKey,
        loaded: &Loaded,
        content: Option<&MessageContent>,
    ) -> Result<Response, Problem> {
        let request = &loaded.state.requested()?.request;
        let folded = row(key.id, &loaded.records).ok_or_else(not_found)?;
        let text = self.text_of(&key.tenant, request).await?;
        Ok(json(StatusCode::OK, &show::detail(key, request, &folded, (content, text.as_deref()))))
    }
}

/// 200 when nothing was or will be sent; 202 while an attempt is open: no further ones, and an honest result.
pub(crate) async fn cancel(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    let origin = origin(&caller, &headers);
    let (key, loaded) = api.load(&caller, &origin, &id).await?;
    let command = Command::Cancel { by: caller.actor.clone(), reason: CancelReason::Requested };
    let after = api.executor(&origin).execute_loaded(&key, loaded, command).await?;
    let communication = after.state.requested()?;
    let done = !matches!(communication.lifecycle, Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. });
    let answer = json!({
        "id": key.id,
        "status": status(communication).as_str(),
        "lifecycle": communication.lifecycle.as_str(),
        "cancellationRequested": true,
        "maybeSent": communication.maybe_sent,
    });
    Ok(json(if done { StatusCode::OK } else { StatusCode::ACCEPTED }, &answer))
}

/// An operator has looked at the provider's own records and settles a doubt.
pub(crate) async fn resolve(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let outcome: Option<Outcome> = fields.required("outcome", |fields| fields.choice("outcome", &Outcome::names()));
    fields.finish()?;
    let missing = || Problem::new(Kind::Invalid, "outcome is required.");
    let outcome = outcome.ok_or_else(missing)?;
    let command = Command::Resolve { outcome, by: ResolvedBy::Operator, provider_message_id: None };
    decide_and_hint(&api, &caller, &headers, &id, command).await
}

/// A dead letter is tried again, with fresh attempts.
pub(crate) async fn retry(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    let command = Command::Retry { by: caller.actor.clone(), now: api.host.now(), at: None };
    decide_and_hint(&api, &caller, &headers, &id, command).await
}

/// A command that may make it due again: its hint follows.
async fn decide_and_hint(
    api: &Api,
    caller: &Principal,
    headers: &HeaderMap,
    id: &str,
    command: Command,
) -> Result<Response, Problem> {
    let origin = origin(caller, headers);
    let (key, loaded) = api.load(caller, &origin, id).await?;
    let after = api.executor(&origin).execute_loaded(&key, loaded, command).await?;
    if !after.state.requested()?.is_at_rest() {
        api.hint(&key, &after).await;
    }
    let content = api.content(&key, &after).await?;
    api.present_changed(&key, &after, content.as_ref()).await
}

/// The same words again as a new communication, perhaps by another channel or to another address.
pub(crate) async fn resend(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency = idempotency_key(&headers)?;
    let mut fields = Fields::parse_optional(&read_body(body).await?)?;
    let origin = origin(&caller, &headers);
    let (original_key, original) = api.load(&caller, &origin, &id).await?;
    let earlier = &original.state.requested()?.request;
    let channel: Channel = fields.choice("channel", &Channel::names()).unwrap_or(earlier.channel);
    let contact = fields.text("recipientContact", 320);
    if contact.is_none() && channel != earlier.channel {
        fields.wrong("recipientContact", "required", "Another channel needs its own recipientContact.");
    }
    let channels = api.directory.channels(&api.own, &caller.tenant).await?;
    if !key_allows_channel(caller.channels.as_deref(), channel) {
        fields.wrong("channel", "channel_not_allowed", format!("This key may not send by {}.", channel.as_str()));
    }
    if !api.serves(&caller, &channels, channel) {
        fields.wrong(
            "channel",
            "channel_unavailable",
            "No provider is set up for it yet: POST /api/channels adds one.",
        );
    }
    let contact = contact.and_then(|contact| read_contact(&mut fields, channel, &contact, &channels));
    fields.finish()?;
    let request_hash =
        body_hash(&json!({ "resend": original_key.id, "channel": channel.as_str(), "contact": contact }));
    let (key, loaded) = match api.begin(&caller, idempotency, &request_hash, &origin).await? {
        IdempotencyCheck::First(key, loaded) => (key, loaded),
        IdempotencyCheck::Replay(key, loaded) => return api.replayed(&key, &loaded).await,
    };
    let old = api.content(&original_key, &original).await?.ok_or_else(erased)?;
    if channel == Channel::Email && earlier.template.is_none() && old.subject.is_none() {
        return Err(Problem::new(Kind::Invalid, "An email needs a subject, and this message has none."));
    }
    let contact = contact.unwrap_or_else(|| old.recipient_contact.clone());
    if !caller.can_send_to(&contact_hash(&api.contact_key, &caller.tenant, &contact)) {
        let pointer = "/recipientContact".to_owned();
        return Err(invalid(vec![FieldError { pointer, code: "not_on_team", detail: NOT_ON_TEAM.to_owned() }]));
    }
    let request = Requested {
        channel,
        source: Source::Resend,
        contact_hash: contact_hash(&api.contact_key, &caller.tenant, &contact),
        scheduled_at: None,
        expires_at: policy::expires_at(earlier.kind, api.host.now()),
        resend_of: Some(original_key.id),
        fallback: None,
        fallback_of: None,
        request_hash,
        requested_by: caller.actor.clone(),
        ..earlier.clone()
    };
    let content = MessageContent { recipient_contact: contact, ..old };
    let accepted = Accepted { request, content, next: Vec::new() };
    let accepted = api.with_words(&caller, accepted).await?;
    let content = accepted.content.clone();
    let after = api.accept(&key, loaded, accepted, &origin).await?;
    api.accepted(&key, &after, Some(content)).await
}
