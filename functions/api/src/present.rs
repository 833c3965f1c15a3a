//! Communications as JSON, with the field names of the source documents.

use application::messages::{Attempt, Message};
use domain::communication::Rejection;
use domain::communication_view::CommunicationRow;
use domain::explain::ExplanationStep;
use domain::message::{AttachmentLink, MessageContent};
use domain::ports::CommunicationKey;
use domain::prices::Cost;
use events::{CommunicationRequest, EventFamily, FallbackStep, RecordedEvent, RetentionClass, Timestamp};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::fields::show_time;

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| show_time(at).into())
}

/// The fields that lists and details share. Personal data is null once it is erased.
pub fn row(key: &CommunicationKey, row: &CommunicationRow, content: Option<&MessageContent>) -> Value {
    let mut shown = json!({
        "id": row.id,
        "businessId": key.tenant,
        "channel": row.channel,
        "type": row.kind,
        "status": row.status,
        "lifecycle": row.lifecycle,
        "reason": row.reason,
        "priority": row.priority,
        "mode": row.mode,
        "source": row.source,
        "recipientType": row.recipient_type,
        "recipientId": row.recipient_id,
        "recipientName": content.and_then(|content| content.recipient_name.clone()),
        "recipientContact": content.map(|content| content.recipient_contact.clone()),
        "subject": content.and_then(|content| content.rendered_subject.clone().or_else(|| content.subject.clone())),
        "entityType": row.entity_type,
        "entityId": row.entity_id,
        "templateId": row.template_id,
        "originalCommunicationId": row.resend_of,
        "fallbackOf": row.fallback_of,
        "fallbackId": row.fell_back_to,
        "scheduledAt": time(row.scheduled_at),
        "expiresAt": time(Some(row.expires_at)),
        "nextRetryAt": time(row.next_retry_at),
        "sentAt": time(row.sent_at),
        "deliveredAt": time(row.delivered_at),
        "openedAt": time(row.opened_at),
        "clickedAt": time(row.clicked_at),
        "failedAt": time(row.failed_at),
        "provider": row.provider,
        "providerMessageId": row.provider_message_id,
        "attempts": row.attempts,
        "retryCount": row.attempts.saturating_sub(1),
        "segments": row.segments,
        "maybeSent": row.maybe_sent,
        "lateEvidence": row.late_evidence,
        "complained": row.complained,
        "unsubscribed": row.unsubscribed,
        "createdBy": row.created_by,
        "createdAt": time(Some(row.created_at)),
        "updatedAt": time(Some(row.updated_at)),
    });
    shown["errorMessage"] = json!(row.reason);
    shown["maxAttempts"] = json!(row.max_attempts);
    shown["maxRetries"] = json!(row.max_attempts.map(|attempts| attempts.saturating_sub(1)));
    shown["costMicros"] = json!(row.cost_micros);
    shown["currency"] = json!(row.currency);
    shown["costIsEstimate"] = json!(row.cost_micros.map(|_| row.cost_is_estimate));
    shown
}

/// An attempt, with the request and the response of one that failed.
pub fn attempt(attempt: &Attempt) -> Value {
    let exchange = attempt.exchange.as_ref();
    json!({
        "attempt": attempt.number,
        "provider": attempt.config,
        "startedAt": show_time(attempt.started_at),
        "endedAt": time(attempt.ended_at),
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "code": attempt.code,
        "request": exchange.map(|exchange| json!({
            "method": exchange.method, "url": exchange.url, "contentType": exchange.content_type, "body": exchange.request,
        })),
        "response": exchange.and_then(|exchange| Some(json!({
            "status": exchange.status?, "body": exchange.response,
        }))),
    })
}

/// An expected cost, or null without a price.
pub fn cost(cost: Option<&Cost>) -> Value {
    cost.map_or(Value::Null, |cost| json!({ "costMicros": cost.micros, "currency": cost.currency }))
}

/// One communication with its content as it was accepted.
pub fn stored(
    key: &CommunicationKey,
    folded: &CommunicationRow,
    request: &CommunicationRequest,
    content: Option<&MessageContent>,
) -> Value {
    let mut body = row(key, folded, content);
    let Some(content) = content else { return body };
    let link = |(index, link): (usize, &AttachmentLink)| {
        let recorded = request.attachments.get(index);
        json!({
            "filename": link.filename,
            "fileUrl": link.file_url,
            "attachmentId": link.attachment,
            "mimeType": recorded.and_then(|recorded| recorded.mime.as_ref()),
            "sizeBytes": recorded.and_then(|recorded| recorded.size_bytes),
            "createdAt": time(Some(folded.created_at)),
        })
    };
    body["content"] = json!(content.content);
    body["templateVariables"] = json!(content.variables);
    body["metadata"] = json!(content.metadata);
    body["attachments"] = content.attachments.iter().enumerate().map(link).collect();
    body
}

/// One communication with its content as it is rendered.
pub fn message(message: &Message) -> Result<Value, Rejection> {
    let Message { key, loaded, row, content, rendered } = message;
    let request = &loaded.state.requested()?.request;
    let mut body = stored(key, row, request, content.as_ref());
    let steps = request.fallback.iter().flat_map(|fallback| &fallback.steps);
    let step = |step: &FallbackStep| {
        let after = step.after_ms.map(|ms| SignedDuration::from_millis(ms).to_string());
        let template = step.template.as_ref().map(|template| &template.id);
        json!({ "channel": step.channel, "after": after, "unless": step.unless, "templateId": template })
    };
    body["retention"] = json!(request.retention.unwrap_or(RetentionClass::Standard));
    body["fallback"] = steps.map(step).collect();
    if let Some(rendered) = rendered {
        body["rendered"] = json!({
            "subject": rendered.subject,
            "text": rendered.text,
            "html": rendered.html,
            "segments": rendered.segments.map(|s| json!({ "encoding": s.encoding.as_str(), "count": s.count })),
        });
    }
    Ok(body)
}

/// One event of a stream, as a step of its timeline.
pub fn step(position: usize, record: &RecordedEvent) -> Value {
    let data = serde_json::to_value(&record.event).unwrap_or_default();
    let meta = &record.meta;
    json!({
        "position": position,
        "type": record.event.name(),
        "version": record.version,
        "at": show_time(meta.at),
        "actor": meta.actor,
        "command": meta.command,
        "correlationId": meta.correlation,
        "causationId": meta.causation,
        "traceparent": meta.traceparent,
        "data": camel(data.get("data").cloned().unwrap_or_default()),
    })
}

/// One step of an explanation.
pub fn explanation_step(step: &ExplanationStep) -> Value {
    let inputs: Map<_, _> = step.inputs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "at": show_time(step.at), "code": step.code, "text": step.text, "inputs": inputs })
}

/// One event of any other stream.
pub fn decision<E: EventFamily>(position: usize, record: &RecordedEvent<E>) -> Value {
    let data = serde_json::to_value(&record.event).unwrap_or_default();
    json!({
        "position": position,
        "type": record.event.name(),
        "at": show_time(record.meta.at),
        "actor": record.meta.actor,
        "data": camel(data.get("data").cloned().unwrap_or_default()),
    })
}

/// The fields of events that are maps. Their keys are values, such as a message type, and stay as they are.
const MAPS: [&str; 3] = ["types", "fields", "daily_spend_caps"];

/// Converts a stored value: names from snake case to camel case, and times to text.
fn camel(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let renamed = map.into_iter().map(|(name, value)| {
                if let (true, Value::Object(map)) = (MAPS.contains(&&*name), &value) {
                    let kept = map.iter().map(|(key, value)| (key.clone(), camel(value.clone())));
                    return (to_camel_case(&name), Value::Object(kept.collect()));
                }
                let is_time = name.ends_with("_at") || name.ends_with("_until") || name == "until";
                let value = match value.as_i64().filter(|_| is_time) {
                    Some(ms) => show_time(Timestamp(ms)).into(),
                    None => camel(value),
                };
                (to_camel_case(&name), value)
            });
            Value::Object(renamed.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(camel).collect(),
        other => other,
    }
}

fn to_camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
