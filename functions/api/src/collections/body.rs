//! Reads settings of collections and what was agreed with a customer, and says what is wrong with them.

use std::ops::RangeInclusive;

use application::collections::today;
use domain::collect::{DebtorCommand, DebtorState, add_days, defaults, parse_day, parse_time};
use domain::schedule::find_zone;
use events::{
    Channel, CollectionSettings, FallbackCondition, LadderStep, NoticeGrouping, StepMode, Timestamp, Weekday,
};

use crate::fields::BodyReader;
use crate::message_body::STEP_WAIT_RANGE_MS;

const MAX_STEPS: usize = 10;
const MAX_STEP_ID: usize = 20;
const MAX_HOLIDAYS: usize = 366;
const MAX_TEMPLATE: usize = 100;
const AFTER_DAYS: RangeInclusive<i64> = -30..=365;
const DEFAULT_ESCALATION_MS: i64 = 24 * 3_600_000;
/// The least amount, in minor units, at which reminders can begin.
const MAX_MINIMUM: i64 = 1_000_000_000_000;
/// How many days ahead a pause or a promise can end.
const MAX_DAYS_AHEAD: i64 = 366;

/// `09:00`
fn read_clock(fields: &mut BodyReader, field: &str) -> Option<String> {
    let text = fields.text(field, 20)?;
    let is_time = parse_time(&text).is_some();
    if !is_time {
        fields.add_error(field, "not_a_time", format!("{field} must be HH:MM, from 00:00 to 23:59."));
    }
    is_time.then_some(text)
}

fn read_zone(fields: &mut BodyReader) -> Option<String> {
    let text = fields.text("timeZone", 64)?;
    let found = find_zone(&text).map(|(_, name)| name.to_string());
    if found.is_none() {
        let detail = "timeZone must be an IANA time zone such as America/Mexico_City.";
        fields.add_error("timeZone", "unknown_time_zone", detail);
    }
    found
}

fn is_step_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=MAX_STEP_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

fn read_step_id(fields: &mut BodyReader) -> Option<String> {
    let id = fields.text("id", 100)?;
    let is_id = is_step_id(&id);
    if !is_id {
        let detail = format!("id must be 1 to {MAX_STEP_ID} of a-z, 0-9, _ and -.");
        fields.add_error("id", "not_an_id", detail);
    }
    is_id.then_some(id)
}

fn read_channels(fields: &mut BodyReader) -> Option<Vec<Channel>> {
    let fault = format!("one of: {}", Channel::names().join(", "));
    let channels = fields.texts("channels", Channel::ALL.len(), |text| text.parse().ok(), ("not_one_of", &fault))?;
    if channels.is_empty() {
        fields.add_error("channels", "empty", "channels must not be empty.");
    }
    Some(channels)
}

fn read_step(fields: &mut BodyReader) -> Option<LadderStep> {
    let id = fields.required("id", read_step_id);
    let after_days = fields.required("afterDays", |fields| fields.integer("afterDays", AFTER_DAYS));
    let channels = fields.required("channels", read_channels);
    let mode = fields.choice("mode", &StepMode::names()).unwrap_or(StepMode::Escalate);
    let escalate_after_ms = fields.duration("after", STEP_WAIT_RANGE_MS).unwrap_or(DEFAULT_ESCALATION_MS);
    let unless = fields.choice("unless", &FallbackCondition::names()).unwrap_or(FallbackCondition::Read);
    let template = fields.reference("template", MAX_TEMPLATE);
    let after_days = i16::try_from(after_days?).ok()?;
    Some(LadderStep { id: id?, after_days, channels: channels?, mode, escalate_after_ms, unless, template })
}

pub(super) fn read_ladder(fields: &mut BodyReader) -> Option<Vec<LadderStep>> {
    let ladder = fields.items("ladder", MAX_STEPS, read_step)?;
    if ladder.is_empty() {
        fields.add_error("ladder", "empty", "ladder must have at least one step.");
    }
    for (at, step) in ladder.iter().enumerate() {
        if ladder[..at].iter().any(|other| other.id == step.id) {
            fields.add_error(&format!("ladder/{at}/id"), "repeated", format!("Another step has the id {}.", step.id));
        }
    }
    Some(ladder)
}

fn read_holidays(fields: &mut BodyReader) -> Option<Vec<String>> {
    let read = |text: &str| parse_day(text).map(|day| day.to_string());
    let mut holidays = fields.texts("holidays", MAX_HOLIDAYS, read, ("not_a_day", "a day such as 2026-12-25"))?;
    holidays.sort();
    Some(holidays)
}

fn read_days(fields: &mut BodyReader) -> Option<Vec<Weekday>> {
    let fault = format!("one of: {}", Weekday::names().join(", "));
    let mut days = fields.texts("days", Weekday::ALL.len(), |text| text.parse().ok(), ("not_one_of", &fault))?;
    if days.is_empty() {
        fields.add_error("days", "empty", "days must not be empty. Switch collections off instead.");
    }
    days.sort();
    Some(days)
}

/// A field of a merge patch: an absent one keeps its value, and null restores the default.
fn merged<T>(
    fields: &mut BodyReader,
    field: &str,
    (base, default): (T, T),
    read: impl FnOnce(&mut BodyReader, &str) -> Option<T>,
) -> T {
    if fields.is_null(field) { default } else { read(fields, field).unwrap_or(base) }
}

/// Reads whole numbers up to a limit.
fn up_to<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl FnOnce(&mut BodyReader, &str) -> Option<T> {
    |fields, field| T::try_from(fields.integer(field, range)?).ok()
}

/// Reads a change of the settings.
pub(super) fn read_settings(fields: &mut BodyReader, base: CollectionSettings) -> CollectionSettings {
    let old = defaults();
    let settings = CollectionSettings {
        time: merged(fields, "time", (base.time, old.time), read_clock),
        until: merged(fields, "until", (base.until, old.until), read_clock),
        time_zone: merged(fields, "timeZone", (base.time_zone, old.time_zone), |fields, _| read_zone(fields)),
        ladder: merged(fields, "ladder", (base.ladder, old.ladder), |fields, _| read_ladder(fields)),
        grouping: merged(fields, "grouping", (base.grouping, old.grouping), |fields, field| {
            fields.choice(field, &NoticeGrouping::names())
        }),
        gather_seconds: merged(fields, "gatherSeconds", (base.gather_seconds, old.gather_seconds), up_to(0..=3_600)),
        max_per_day: merged(fields, "maxPerDay", (base.max_per_day, old.max_per_day), up_to(1..=10)),
        min_days_between: merged(
            fields,
            "minDaysBetween",
            (base.min_days_between, old.min_days_between),
            up_to(0..=90),
        ),
        days: merged(fields, "days", (base.days, old.days), |fields, _| read_days(fields)),
        holidays: merged(fields, "holidays", (base.holidays, old.holidays), |fields, _| read_holidays(fields)),
        late_days: merged(fields, "lateDays", (base.late_days, old.late_days), up_to(0..=30)),
        grace_after_first_seen_days: merged(
            fields,
            "graceAfterFirstSeenDays",
            (base.grace_after_first_seen_days, old.grace_after_first_seen_days),
            up_to(0..=30),
        ),
        minimum_minor: merged(fields, "minimumMinor", (base.minimum_minor, old.minimum_minor), up_to(0..=MAX_MINIMUM)),
        attribution_days: merged(
            fields,
            "attributionDays",
            (base.attribution_days, old.attribution_days),
            up_to(0..=90),
        ),
    };
    if parse_time(&settings.until) <= parse_time(&settings.time) {
        fields.add_error("until", "not_after_time", "until must be later than time on the same day.");
    }
    settings
}

/// Reads a change of what was agreed with a customer.
pub(super) fn read_debtor(fields: &mut BodyReader, base: &DebtorState, expected: u32) -> DebtorCommand {
    DebtorCommand::Change {
        expected: Some(expected),
        is_excluded: merged(fields, "excluded", (base.is_excluded, false), |fields, field| fields.flag(field)),
        time_zone: merged(fields, "timeZone", (base.time_zone.clone(), None), |fields, _| read_zone(fields).map(Some)),
        ladder: merged(fields, "ladder", (base.ladder.clone(), None), |fields, _| read_ladder(fields).map(Some)),
    }
}

/// Reads the last day of a pause or a promise: from today, by the tenant's zone, and at most a year ahead.
pub(crate) fn read_last_day(
    fields: &mut BodyReader,
    field: &str,
    settings: &CollectionSettings,
    now: Timestamp,
) -> Option<String> {
    let text = fields.text(field, 20)?;
    let today = parse_day(&today(settings, now)).unwrap_or_default();
    let last = add_days(today, MAX_DAYS_AHEAD).unwrap_or(today);
    match parse_day(&text) {
        None => fields.add_error(field, "not_a_day", format!("{field} must be a day such as 2026-12-24.")),
        Some(day) if day < today || last < day => {
            fields.add_error(field, "not_in_range", format!("{field} must be a day from {today} to {last}."));
        }
        Some(day) => return Some(day.to_string()),
    }
    None
}
