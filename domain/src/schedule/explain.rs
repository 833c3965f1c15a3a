//! Explains a schedule: whether it occurs and why, and each decision about it in a sentence.

use events::{CatchUpPolicy, MissedReason, RecordedEvent, ScheduleEndReason, ScheduleEvent, ScheduleTiming, Timestamp};

use super::{Recurrence, When};
use super::{Schedule, ScheduleStatus, recurrence_input};
use crate::explain::{ExplanationStep, time};

/// Explains all decisions about a schedule, with a summary of its state at `now`.
pub fn explain(
    schedule: &Schedule,
    records: &[RecordedEvent<ScheduleEvent>],
    now: Timestamp,
) -> (String, Vec<ExplanationStep>) {
    (summary(schedule, now), records.iter().map(step).collect())
}

fn summary(schedule: &Schedule, now: Timestamp) -> String {
    match schedule.status {
        ScheduleStatus::Ended(reason) => format!("It has ended: {}. It sends nothing any more.", ended(reason)),
        ScheduleStatus::Paused { until: None } => {
            "It is paused and sends nothing until somebody resumes it. What falls into the pause is not caught up."
                .to_owned()
        }
        ScheduleStatus::Paused { until: Some(until) } => format!(
            "It is paused until {}. {} What falls into the pause is not caught up.",
            time(until),
            next(schedule.recurrence().as_ref(), now.max(until))
        ),
        ScheduleStatus::Active => {
            let policy = match schedule.catch_up.policy {
                CatchUpPolicy::Last => "the newest missed one is",
                CatchUpPolicy::Skip => "missed ones are not",
                CatchUpPolicy::All => "missed ones are",
            };
            format!("It is active. {} After an outage, {policy} caught up.", next(schedule.recurrence().as_ref(), now))
        }
    }
}

fn next(recurrence: Option<&Recurrence>, after: Timestamp) -> String {
    match recurrence.and_then(|recurrence| recurrence.next_after(after)) {
        Some(next) => format!("It sends its message next at {} ({}).", next.nominal, time(next.at)),
        None => "It has no further occurrence.".to_owned(),
    }
}

fn ended(reason: ScheduleEndReason) -> &'static str {
    match reason {
        ScheduleEndReason::Finished => "it has no further occurrence",
        ScheduleEndReason::Deleted => "it was deleted",
        ScheduleEndReason::Erased => "the recipient's data was erased",
    }
}

fn rule(timing: &ScheduleTiming) -> String {
    let input = recurrence_input(timing);
    let rule = match input.when {
        When::Cron(cron) => format!("cron {cron}"),
        When::Rrule(rrule) => rrule,
    };
    let at = timing.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
    format!("{rule}{at} in {}", timing.time_zone)
}

fn missed(reason: MissedReason) -> &'static str {
    match reason {
        MissedReason::TooOld => "they were older than the catch-up window",
        MissedReason::Superseded => "a newer one was caught up in their place",
        MissedReason::TooMany => "more were missed than are caught up together",
        MissedReason::Late => "this schedule does not catch up",
        MissedReason::Refused => "the message was refused",
    }
}

fn step(record: &RecordedEvent<ScheduleEvent>) -> ExplanationStep {
    let actor = &record.meta.actor;
    let mut inputs = Vec::new();
    let (code, text) = match &record.event {
        ScheduleEvent::ScheduleCreated { name, timing, .. } => {
            inputs.push(("rule", rule(timing)));
            ("created".to_owned(), format!("{actor} created \"{name}\": {}.", rule(timing)))
        }
        ScheduleEvent::ScheduleChanged { revision, name, timing, message, catch_up, .. } => {
            let parts = [
                ("its name", name.is_some()),
                ("its times", timing.is_some()),
                ("its message", message.is_some()),
                ("how it catches up", catch_up.is_some()),
            ];
            let changed: Vec<&str> =
                parts.into_iter().filter_map(|(part, is_changed)| is_changed.then_some(part)).collect();
            inputs.push(("revision", revision.to_string()));
            inputs.extend(timing.as_ref().map(|timing| ("rule", rule(timing))));
            ("changed".to_owned(), format!("{actor} changed {}.", changed.join(", ")))
        }
        ScheduleEvent::SchedulePaused { until, reason, .. } => {
            inputs.extend(reason.clone().map(|reason| ("reason", reason)));
            let until = until.map_or("until somebody resumes it".to_owned(), |until| format!("until {}", time(until)));
            let reason = reason.as_ref().map_or(String::new(), |reason| format!(" The reason given: {reason}"));
            ("paused".to_owned(), format!("{actor} paused it {until}.{reason}"))
        }
        ScheduleEvent::ScheduleResumed { .. } => ("resumed".to_owned(), format!("{actor} resumed it.")),
        ScheduleEvent::OccurrencesMissed { from, through, count, reason, code, .. } => {
            inputs.push(("from", from.clone()));
            inputs.push(("through", through.clone()));
            inputs.extend(code.clone().map(|code| ("code", code)));
            let which = match count {
                1 => format!("The occurrence {from} sent no message"),
                count => format!("{count} occurrences from {from} through {through} sent no message"),
            };
            let code = code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
            (format!("missed.{}", reason.as_str()), format!("{which}: {}{code}.", missed(*reason)))
        }
        ScheduleEvent::ScheduleEnded { reason, .. } => {
            (format!("ended.{}", reason.as_str()), format!("It ended: {}.", ended(*reason)))
        }
    };
    ExplanationStep { at: record.meta.at, code, text, inputs }
}
