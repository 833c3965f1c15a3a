//! Changes to an accepted message: another time or content, cancelling, settling a doubt, retrying.

use domain::access::Permission;
use domain::aggregate::Aggregate;
use domain::communication::Command;
use domain::message::MessageContent;
use domain::policy;
use domain::ports::ContentKey;
use events::{CancelReason, CommunicationId, CommunicationRequest, Resolution, ResolvedBy, Timestamp};

use super::MessageError;
use super::content::{SendTime, check_texts};
use super::cost::{charge, render_change};
use super::new_message::{Fault, Faults, Field};
use super::read::{Message, content_of, fallback_content_keys, load, message};
use crate::app::App;
use crate::caller::Caller;
use crate::hash::hash_of;
use crate::{ExecuteError, Loaded};
use domain::ports::CommunicationKey;

/// A change before the first attempt. A field that is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub variables: Option<serde_json::Value>,
    /// Faults that the caller found when it read the request.
    pub faults: Vec<Fault>,
}

impl Change {
    fn has_content(&self) -> bool {
        self.subject.is_some() || self.text.is_some() || self.variables.is_some()
    }

    fn check(
        &self,
        request: &CommunicationRequest,
        current: &MessageContent,
        now: Timestamp,
    ) -> Result<SendTime, Vec<Fault>> {
        let mut faults = Faults::new(self.faults.clone());
        let send_time = SendTime::check(self.scheduled_at, self.expires_at, now, &mut faults);
        if self.text.is_some() && request.template.is_some() {
            let detail = "The message was accepted with a template. Change templateVariables instead.";
            faults.add(Field::Content, "ambiguous", detail);
        }
        let variables = self.variables.as_ref().or(current.variables.as_ref());
        check_texts(self.subject.as_deref(), self.text.as_deref(), variables, &mut faults);
        faults.finish().map(|()| send_time)
    }

    fn apply(&self, current: &MessageContent) -> MessageContent {
        MessageContent {
            subject: self.subject.clone().or_else(|| current.subject.clone()),
            content: self.text.clone().or_else(|| current.content.clone()),
            variables: self.variables.clone().or_else(|| current.variables.clone()),
            ..current.clone()
        }
    }
}

/// Changes the time or the content of a message, before its first attempt.
///
/// # Errors
///
/// [`MessageError`]: nothing was changed.
pub async fn change(app: &App, caller: &Caller, id: CommunicationId, change: &Change) -> Result<Message, MessageError> {
    let (key, loaded) = load(app, caller, Permission::Send, id).await?;
    let communication = loaded.state.requested()?.clone();
    let request = &communication.request;
    let current = content_of(app, &key, &loaded).await?.ok_or(MessageError::Erased)?;
    let send_time = change.check(request, &current, app.host.now()).map_err(MessageError::Invalid)?;
    let mut content = change.apply(&current);
    let added_cost = match change.has_content() {
        true => render_change(app, &key.tenant, request, &current, &mut content).await?,
        false => None,
    };
    let schedule = match send_time {
        SendTime { at: None, expires_at: None } => None,
        SendTime { at, expires_at } => {
            let at = at.or(communication.due_at).unwrap_or_else(|| app.host.now());
            Some((at, expires_at.unwrap_or_else(|| policy::default_expiry(request.kind, at))))
        }
    };
    // Changed content gets a new name. Unchanged content is kept for longer if the message is due later.
    let name = if change.has_content() { hash_of(&content)? } else { communication.content_id.clone() };
    let due = schedule.map(|(at, _)| at).or(communication.due_at);
    let until = app.retain_until(request.retention, due);
    let command = Command::Change { schedule, content: change.has_content().then(|| name.clone()) };
    // No content is stored and nothing is counted for a change that is refused.
    loaded.state.decide(command.clone())?;
    if let Some(cost) = &added_cost {
        charge(app, &key.tenant, request.mode, cost).await?;
    }
    app.vault.put(&ContentKey::for_request(&key, request, &name), &content, until).await?;
    for content_key in fallback_content_keys(&key, request) {
        if let Some(of_step) = app.vault.get(&content_key, app.host.now()).await? {
            app.vault.put(&content_key, &propagate_to_fallback(of_step, &current, &content), until).await?;
        }
    }
    let updated = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await;
    if let (Some(cost), Err(error)) = (&added_cost, &updated)
        && !matches!(error, ExecuteError::OutcomeUnknown(_))
    {
        app.daily_spend(&key.tenant, request.mode).refund(cost).await;
    }
    let updated = updated?;
    if schedule.is_some() {
        app.hint(&key, &updated).await;
    }
    message(app, key, updated, Some(content)).await
}

/// The changed content of a fallback step: fields that were equal to the message's change with it.
fn propagate_to_fallback(of_step: MessageContent, old: &MessageContent, new: &MessageContent) -> MessageContent {
    let subject = if of_step.subject == old.subject { new.subject.clone() } else { of_step.subject };
    let content = if of_step.content == old.content { new.content.clone() } else { of_step.content };
    let variables = if of_step.variables == old.variables { new.variables.clone() } else { of_step.variables };
    MessageContent { subject, content, variables, ..of_step }
}

/// Cancels a message. While an attempt is open its outcome is still recorded, and no further attempt follows.
///
/// # Errors
///
/// [`MessageError`]
pub async fn cancel(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
) -> Result<(CommunicationKey, Loaded), MessageError> {
    let (key, loaded) = load(app, caller, Permission::Send, id).await?;
    let command = Command::Cancel { by: caller.actor().name(), reason: CancelReason::Requested };
    let updated = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    Ok((key, updated))
}

/// Settles an attempt in doubt, after an operator has looked at the provider's own records.
///
/// # Errors
///
/// [`MessageError`]
pub async fn resolve(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    outcome: Resolution,
) -> Result<Message, MessageError> {
    let command = Command::ResolveInDoubt { outcome, by: ResolvedBy::Operator, provider_message_id: None };
    execute_and_hint(app, caller, id, command).await
}

/// Gives a dead letter a fresh set of attempts.
///
/// # Errors
///
/// [`MessageError`]
pub async fn retry(app: &App, caller: &Caller, id: CommunicationId) -> Result<Message, MessageError> {
    let command = Command::Retry { by: caller.actor().name(), now: app.host.now(), at: None };
    execute_and_hint(app, caller, id, command).await
}

/// Executes a command that may make the message due again, and sends a hint.
async fn execute_and_hint(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
    command: Command,
) -> Result<Message, MessageError> {
    let (key, loaded) = load(app, caller, Permission::Operate, id).await?;
    let updated = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    if !updated.state.requested()?.is_complete() {
        app.hint(&key, &updated).await;
    }
    let content = content_of(app, &key, &updated).await?;
    message(app, key, updated, content).await
}
