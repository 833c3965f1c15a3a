//! Templates and their drafts as JSON.

use application::Caller;
use application::templates::TemplateContent;
use domain::message::RenderedMessage;
use domain::templates::{Template, TemplateDraft};
use problem::FieldError;
use serde_json::{Value, json};

use crate::fields::show_time;

/// Maximum length of a body, in characters.
pub(crate) const MAX_BODY: usize = 100_000;
pub(crate) const MAX_SUBJECT: usize = 500;

pub(crate) fn present_tenant_template(caller: &Caller, own: &Template) -> Value {
    json!({
        "id": own.id,
        "businessId": caller.principal.tenant,
        "code": own.code,
        "channel": own.channel,
        "locale": own.locale,
        "type": own.kind,
        "name": own.name,
        "description": own.description,
        "version": own.latest.version,
        "availableVariables": own.latest.variables,
        "isActive": own.is_active,
        "isSystem": false,
        "draft": own.draft.as_ref().map(summary),
        "createdAt": show_time(own.created_at),
        "createdBy": own.created_by,
        "updatedAt": show_time(own.updated_at),
        "updatedBy": own.updated_by,
    })
}

/// What a template says about its draft.
pub(crate) fn summary(draft: &TemplateDraft) -> Value {
    json!({
        "number": draft.draft,
        "baseVersion": draft.base,
        "savedAt": show_time(draft.at),
        "savedBy": draft.by,
    })
}

pub(crate) fn with_content(mut shown: Value, text: &TemplateContent) -> Value {
    shown["subjectTemplate"] = json!(text.subject);
    shown["bodyTemplate"] = json!(text.body);
    shown
}

pub(crate) fn show_error(FieldError { pointer, code, detail }: FieldError) -> Value {
    json!({ "pointer": pointer, "code": code, "detail": detail })
}

/// A message as it would be sent.
pub(crate) fn show_message(message: &RenderedMessage) -> Value {
    json!({
        "subject": message.subject,
        "body": message.html.as_ref().unwrap_or(&message.text),
        "text": message.text,
        "html": message.html,
        "segments": message.segments.map(|s| json!({ "encoding": s.encoding.as_str(), "count": s.count })),
    })
}
