//! Reads the body of a schedule, and says what is wrong with it.

use application::process::ProcessError;
use application::schedules::{self, Faults, ScheduleError, StoredMessage};
use application::{Caller, ExecuteError, messages};
use domain::schedule::{Fault, MAX_DATES, MAX_WINDOW_MS, Rejection};
use events::{CatchUp, CatchUpPolicy, ScheduleTiming, Timestamp};
use problem::{FieldError, Problem, ProblemKind};

use crate::Api;
use crate::fields::BodyReader;
use crate::message_body::read_message;
use crate::message_problem::{pointer, problem_of_faults};

fn read_dates(fields: &mut BodyReader, field: &str) -> Vec<String> {
    let given = fields.list(field, MAX_DATES);
    let dates: Option<Vec<String>> = given.iter().map(|date| date.as_str().map(str::to_owned)).collect();
    if dates.is_none() {
        fields.add_error(field, "not_dates", format!("{field} is a list of dates such as 2026-12-24."));
    }
    dates.unwrap_or_default()
}

fn today(time_zone: &str, now: Timestamp) -> String {
    let now = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    zone.to_datetime(now).date().to_string()
}

/// Reads the timing. Missing fields are taken from `base`, and null removes a value. Returns `None` if no field is
/// present, or if too little of it can be read.
pub(super) fn read_timing(
    fields: &mut BodyReader,
    base: Option<ScheduleTiming>,
    now: Timestamp,
) -> Option<ScheduleTiming> {
    const NAMES: [&str; 8] = ["when", "time", "timeZone", "start", "end", "exceptions", "additions", "clampToMonthEnd"];
    if base.is_some() && !NAMES.iter().any(|name| fields.is_given(name)) {
        return None;
    }
    let is_new = base.is_none();
    let rule = |fields: &mut BodyReader| {
        let given = fields.nested("when", |when| {
            let is_one = when.has("cron") != when.has("rrule");
            (is_one, (when.text("cron", 1_000), when.text("rrule", 1_000)))
        });
        if given.as_ref().is_some_and(|(is_one, _)| !is_one) {
            fields.add_error("when", "not_one", "when is {\"cron\": …} or {\"rrule\": …}.");
        }
        given.map(|(_, rule)| rule).filter(|(cron, rrule)| cron.is_some() != rrule.is_some())
    };
    let rule = if is_new { fields.required("when", rule) } else { rule(fields) };
    let zone = |fields: &mut BodyReader| fields.text("timeZone", 64);
    let zone = if is_new { fields.required("timeZone", zone) } else { zone(fields) };
    // Without a zone nothing can be checked, but the other fields are still read, so that none of them is unknown.
    let is_readable = !is_new || (zone.is_some() && rule.is_some());
    let base = base.unwrap_or_else(|| {
        let time_zone = zone.clone().unwrap_or_default();
        let start = today(&time_zone, now);
        ScheduleTiming { time_zone, start, ..ScheduleTiming::default() }
    });
    let (cron, rrule) = rule.unwrap_or((base.cron, base.rrule));
    // A cron expression contains its times. It replaces the time of `base`; a time beside it is a fault.
    let base_time = base.time.filter(|_| cron.is_none());
    let time = if fields.is_null("time") { None } else { fields.text("time", 20).or(base_time) };
    let end = if fields.is_null("end") { None } else { fields.text("end", 20).or(base.end) };
    let exceptions = if fields.is_given("exceptions") { read_dates(fields, "exceptions") } else { base.exceptions };
    let additions = if fields.is_given("additions") { read_dates(fields, "additions") } else { base.additions };
    let timing = ScheduleTiming {
        time,
        cron,
        rrule,
        time_zone: zone.unwrap_or(base.time_zone),
        start: fields.text("start", 20).unwrap_or(base.start),
        end,
        exceptions,
        additions,
        clamp_to_month_end: fields.flag("clampToMonthEnd").unwrap_or(base.clamp_to_month_end),
    };
    is_readable.then_some(timing)
}

pub(super) fn read_catch_up(fields: &mut BodyReader, base: CatchUp) -> Option<CatchUp> {
    fields.nested("catchUp", |fields| CatchUp {
        policy: fields.choice("policy", &CatchUpPolicy::names()).unwrap_or(base.policy),
        window_ms: fields.duration("window", 0..=MAX_WINDOW_MS).unwrap_or(base.window_ms),
        most: fields.number("most", 1..=100).map_or(base.most, |most| most as u8),
    })
}

/// Reads `action`: the body of `POST /api/communications/send`, without times of its own.
pub(super) fn read_action(fields: &mut BodyReader) -> Option<StoredMessage> {
    fields
        .nested("action", |action| {
            let given = action.required("send", |action| action.object("send"))?;
            let mut send = BodyReader::of(given.clone()).ok()?;
            for field in ["scheduledAt", "expiresAt"] {
                if send.has(field) {
                    let detail =
                        format!("{field} has no meaning in a schedule: the schedule says when its messages are sent.");
                    action.add_error(&format!("send/{field}"), "not_in_a_schedule", detail);
                }
                send.discard(field);
            }
            Some(StoredMessage::new(given.to_string(), read_message(send, None)))
        })
        .flatten()
}

fn timing_error(fault: &Fault) -> FieldError {
    FieldError {
        pointer: format!("/{}", fault.field),
        code: fault.code.as_str(),
        detail: format!("{}.", fault.message),
    }
}

fn message_errors(faults: &[messages::Fault]) -> Vec<FieldError> {
    if faults.is_empty() {
        return Vec::new();
    }
    problem_of_faults(faults, |fault| format!("/action/send{}", pointer(fault))).errors
}

pub(super) fn errors_of(faults: &Faults) -> Vec<FieldError> {
    faults.timing.iter().map(timing_error).chain(message_errors(&faults.message)).collect()
}

pub(crate) fn problem(error: ScheduleError) -> Problem {
    match error {
        ScheduleError::Forbidden(forbidden) => forbidden.into(),
        ScheduleError::NotFound | ScheduleError::Execute(ExecuteError::Rejected(Rejection::Unknown)) => {
            Problem::new(ProblemKind::NotFound, "No schedule has this id. GET /api/schedules lists them.")
        }
        ScheduleError::Invalid(faults) => Problem::invalid(errors_of(&faults)),
        ScheduleError::Message(error) => crate::message_problem::problem(error),
        ScheduleError::IdempotencyKeyReused => {
            Problem::new(ProblemKind::IdempotencyKeyReused, "Another schedule was created with this Idempotency-Key.")
        }
        ScheduleError::Execute(ExecuteError::Rejected(rejection @ Rejection::Changed(_))) => {
            Problem::new(ProblemKind::PreconditionFailed, format!("The schedule was changed: {rejection}."))
        }
        ScheduleError::Execute(ExecuteError::Rejected(rejection)) => {
            Problem::new(ProblemKind::Conflict, format!("Not possible: {rejection}."))
        }
        ScheduleError::Process(ProcessError::Store(error)) => error.into(),
        ScheduleError::Process(error) => {
            tracing::error!(%error, "occurrences that were due could not be handled");
            Problem::new(
                ProblemKind::Unavailable,
                "Occurrences that are due could not be handled yet. Try again in a moment.",
            )
        }
        ScheduleError::Execute(error) => error.map_rejection(|_| domain::communication::Rejection::Finished).into(),
        ScheduleError::Store(error) => error.into(),
    }
}

/// Every error in a body: in its shape, its timing and its message.
pub(super) async fn all_faults(
    api: &Api,
    caller: &Caller,
    fields: BodyReader,
    timing: Option<&ScheduleTiming>,
    message: Option<&StoredMessage>,
) -> Result<(), Problem> {
    let mut errors = fields.into_errors();
    if errors.is_empty() {
        return Ok(());
    }
    if let Err(ScheduleError::Invalid(faults)) = schedules::check(&api.app, caller, timing, message).await {
        errors.extend(errors_of(&faults));
    }
    Err(Problem::invalid(errors))
}
