//! Business events as JSON.

use application::business_events::Taken;
use domain::business_event::{BusinessEvent, BusinessEventRow, EventStatus, EventType};
use events::{ActOutcome, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::show_time;

fn reason(event: &BusinessEvent) -> Option<&'static str> {
    match event.status {
        EventStatus::Parked(reason) => Some(reason.as_str()),
        EventStatus::Received | EventStatus::Handled | EventStatus::Unhandled | EventStatus::Discarded => None,
    }
}

pub(crate) fn act(act: &ActOutcome) -> Value {
    json!({
        "act": act.act,
        "recipient": act.recipient,
        "channel": act.channel,
        "ref": act.reference,
        "skipped": act.skipped,
        "note": act.note,
    })
}

/// The answer to a request that took an event.
pub(super) fn taken(taken: &Taken) -> Value {
    let event = &taken.event;
    json!({
        "id": taken.id,
        "type": event.received.classification.kind,
        "status": event.status.as_str(),
        "reason": reason(event),
        "acts": event.acts.iter().map(act).collect::<Vec<_>>(),
    })
}

/// The answer to one event of a batch.
pub(super) fn result(index: usize, taken: &Result<Taken, Problem>) -> Value {
    match taken {
        Ok(Taken { id, event, is_replay }) => json!({
            "index": index,
            "id": id,
            "status": event.status.as_str(),
            "reason": reason(event),
            "idempotentReplayed": is_replay,
        }),
        Err(problem) => json!({ "index": index, "problem": problem.body() }),
    }
}

pub(super) fn event(id: &str, event: &BusinessEvent, next_try: Option<Timestamp>) -> Value {
    let received = &event.received;
    let classification = &received.classification;
    let faults = event.faults.iter();
    json!({
        "id": id,
        "source": received.source,
        "eventId": received.event_id,
        "type": classification.kind,
        "version": classification.version,
        "mappingVersion": classification.mapping,
        "status": event.status.as_str(),
        "reason": reason(event),
        "faults": faults.map(|fault| json!({ "pointer": fault.pointer, "code": fault.code, "detail": fault.detail })).collect::<Vec<_>>(),
        "acts": event.acts.iter().map(act).collect::<Vec<_>>(),
        "subject": classification.subject,
        "mentions": classification.mentions,
        "mode": received.mode,
        "via": received.via,
        "bodyHash": received.body_hash,
        "tries": event.tries,
        "nextTryAt": next_try.map(show_time),
        "erased": event.is_erased,
        "occurredAt": show_time(received.occurred_at),
        "receivedAt": show_time(event.received_at),
        "updatedAt": show_time(event.updated_at),
    })
}

pub(super) fn row(row: &BusinessEventRow) -> Value {
    json!({
        "id": row.id,
        "source": row.source,
        "eventId": row.event_id,
        "type": row.kind,
        "status": row.status,
        "reason": row.reason,
        "subject": row.subject,
        "mentions": row.mentions,
        "done": row.done,
        "skipped": row.skipped,
        "occurredAt": show_time(row.occurred_at),
        "receivedAt": show_time(row.received_at),
        "updatedAt": show_time(row.updated_at),
    })
}

pub(super) fn event_type(known: &EventType) -> Value {
    let path = |file: &str| format!("/api/event-types/{}/{file}", known.name);
    json!({
        "type": known.name,
        "version": known.version,
        "description": known.parsed_schema()["description"],
        "schema": path("schema.json"),
        "example": path("example.json"),
    })
}
