//! Schedules and their occurrences as JSON.

use application::schedules::{HandledOccurrence, StoredMessage};
use domain::schedule::{Fate, Occurrence, Schedule, ScheduleStatus};
use events::{ScheduleTiming, Timestamp};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fields::show_time;

/// `+02:00`.
fn show_offset(occurrence: &Occurrence) -> String {
    let seconds = occurrence.offset.seconds();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

pub(super) fn present_occurrence(occurrence: &Occurrence) -> Value {
    json!({
        "nominal": occurrence.nominal.to_string(),
        "at": show_time(occurrence.at),
        "offset": show_offset(occurrence),
        "moved": occurrence.moved.map(|moved| moved.as_str()),
    })
}

pub(super) fn next_occurrence(schedule: &Schedule, now: Timestamp) -> Option<Occurrence> {
    let after = match schedule.status {
        ScheduleStatus::Active => now,
        ScheduleStatus::Paused { until } => until?.max(now),
        ScheduleStatus::Ended(_) => return None,
    };
    schedule.recurrence()?.next_after(after)
}

pub(super) fn present_schedule(schedule: &Schedule, now: Timestamp) -> Value {
    let ScheduleTiming { cron, rrule, time, time_zone, start, end, exceptions, additions, clamp_to_month_end } =
        &schedule.timing;
    let when = match cron {
        Some(cron) => json!({ "cron": cron }),
        None => json!({ "rrule": rrule }),
    };
    let (paused_until, end_reason) = match schedule.status {
        ScheduleStatus::Active => (None, None),
        ScheduleStatus::Paused { until } => (until, None),
        ScheduleStatus::Ended(reason) => (None, Some(reason)),
    };
    let recipient = schedule.message.recipient.as_ref();
    json!({
        "id": schedule.id,
        "name": schedule.name,
        "status": schedule.status.as_str(),
        "pausedUntil": paused_until.map(show_time),
        "endReason": end_reason.map(|reason| reason.as_str()),
        "revision": schedule.revision,
        "mode": schedule.author.mode,
        "when": when,
        "time": time,
        "timeZone": time_zone,
        "start": start,
        "end": end,
        "exceptions": exceptions,
        "additions": additions,
        "clampToMonthEnd": clamp_to_month_end,
        "catchUp": {
            "policy": schedule.catch_up.policy,
            "window": SignedDuration::from_millis(schedule.catch_up.window_ms).to_string(),
            "most": schedule.catch_up.most,
        },
        "channel": schedule.message.channel,
        "type": schedule.message.kind,
        "recipientType": recipient.map(|recipient| recipient.kind),
        "recipientId": recipient.and_then(|recipient| recipient.id.clone()),
        "nextOccurrence": next_occurrence(schedule, now).as_ref().map(present_occurrence),
        "createdAt": show_time(schedule.created_at),
        "createdBy": schedule.created_by,
        "updatedAt": show_time(schedule.updated_at),
    })
}

/// A schedule with its message, which is null once it is erased.
pub(crate) fn present_with_message(schedule: &Schedule, stored: Option<&StoredMessage>, now: Timestamp) -> Value {
    let mut body = present_schedule(schedule, now);
    let send = stored.and_then(|stored| serde_json::from_str::<Value>(&stored.body).ok());
    body["action"] = send.map_or(Value::Null, |send| json!({ "send": send }));
    body
}

pub(super) fn present_handled(handled: &HandledOccurrence) -> Value {
    let mut shown = present_occurrence(&handled.past.occurrence);
    let (outcome, reason, code) = match (&handled.communication, &handled.past.fate) {
        (Some(_), _) => ("sent", None, None),
        (None, Fate::Sends) => ("waiting", None, None),
        (None, Fate::Paused) => ("paused", None, None),
        (None, Fate::Ended) => ("missed", Some("ended"), None),
        (None, Fate::Missed { reason, code }) => ("missed", Some(reason.as_str()), code.as_deref()),
    };
    shown["outcome"] = json!(outcome);
    shown["reason"] = json!(reason);
    shown["code"] = json!(code);
    shown["communicationId"] = json!(handled.communication.as_ref().map(|(id, _)| id));
    shown["status"] = json!(handled.communication.as_ref().map(|(_, status)| status.as_str()));
    shown
}
