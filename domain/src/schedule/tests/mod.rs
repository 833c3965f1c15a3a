//! The rules of recurrences, one fact per test.

mod aggregate;
mod brute_force;
mod faults;
mod properties;
mod recorded;
mod zones;

use events::Timestamp;

use super::*;

/// Instants long before and long after all possible occurrences.
const ALWAYS: (Timestamp, Timestamp) = (Timestamp(i64::MIN), Timestamp(i64::MAX));

fn rrule(rule: &str, time: &str, zone: &str, start: &str) -> RecurrenceInput {
    RecurrenceInput {
        when: When::Rrule(rule.into()),
        time: Some(time.into()),
        time_zone: zone.into(),
        start: start.into(),
        end: None,
        exceptions: Vec::new(),
        additions: Vec::new(),
        clamp_to_month_end: false,
    }
}

fn cron(expression: &str, zone: &str, start: &str) -> RecurrenceInput {
    RecurrenceInput { when: When::Cron(expression.into()), time: None, ..rrule("", "", zone, start) }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn parsed(input: RecurrenceInput) -> Recurrence {
    Recurrence::parse(input).expect("a recurrence without fault")
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().expect("an instant").as_millisecond())
}

/// The first `count` nominal times, without the zone.
fn first(recurrence: &Recurrence, count: usize) -> Vec<String> {
    let occurrences = recurrence.occurrences(ALWAYS.0, ALWAYS.1, count);
    occurrences.iter().map(|occurrence| occurrence.nominal.time.strftime("%Y-%m-%dT%H:%M").to_string()).collect()
}

fn first_dates(input: RecurrenceInput, count: usize) -> Vec<String> {
    first(&parsed(input), count).into_iter().map(|time| time[..10].to_owned()).collect()
}

#[test]
fn a_month_without_the_31st_is_left_out_or_ends_on_its_last_day() {
    let input = rrule("FREQ=MONTHLY;BYMONTHDAY=31", "09:00", "UTC", "2027-01-01");
    assert_eq!(first_dates(input.clone(), 3), ["2027-01-31", "2027-03-31", "2027-05-31"]);
    let clamped = RecurrenceInput { clamp_to_month_end: true, ..input };
    assert_eq!(first_dates(clamped, 4), ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]);
}

#[test]
fn a_clamped_month_occurs_once() {
    let clamped = |rule| RecurrenceInput { clamp_to_month_end: true, ..rrule(rule, "09:00", "UTC", "2027-02-01") };
    let dates = first_dates(clamped("FREQ=MONTHLY;BYMONTHDAY=28,29,30,31"), 3);
    assert_eq!(dates, ["2027-02-28", "2027-03-28", "2027-03-29"]);
    assert_eq!(first_dates(clamped("FREQ=MONTHLY;BYMONTHDAY=31,-1"), 2), ["2027-02-28", "2027-03-31"]);
    let birthday = RecurrenceInput { start: "2028-02-29".into(), ..clamped("FREQ=YEARLY") };
    assert_eq!(first_dates(birthday, 3), ["2028-02-29", "2029-02-28", "2030-02-28"]);
    let by_cron = RecurrenceInput { clamp_to_month_end: true, ..cron("0 9 31 * *", "UTC", "2027-02-01") };
    assert_eq!(first_dates(by_cron, 3), ["2027-02-28", "2027-03-31", "2027-04-30"]);
}

#[test]
fn exceptions_use_up_the_count_and_additions_do_not() {
    let input = RecurrenceInput {
        exceptions: strings(&["2027-01-02"]),
        additions: strings(&["2027-01-20"]),
        ..rrule("FREQ=DAILY;COUNT=3", "09:00", "UTC", "2027-01-01")
    };
    assert_eq!(first_dates(input, 9), ["2027-01-01", "2027-01-03", "2027-01-20"]);
}

#[test]
fn an_exception_wins_over_an_addition_and_a_repeated_date_occurs_once() {
    let input = RecurrenceInput {
        exceptions: strings(&["2027-01-20"]),
        additions: strings(&["2027-01-20", "2027-01-01", "2027-01-05", "2027-01-05"]),
        ..rrule("FREQ=DAILY;COUNT=2", "09:00", "UTC", "2027-01-01")
    };
    assert_eq!(first_dates(input, 9), ["2027-01-01", "2027-01-02", "2027-01-05"]);
}

#[test]
fn an_addition_has_all_times_of_a_cron_expression() {
    let input = RecurrenceInput { additions: strings(&["2027-01-05"]), ..cron("0 9,17 1 * *", "UTC", "2027-01-01") };
    let times = ["2027-01-01T09:00", "2027-01-01T17:00", "2027-01-05T09:00", "2027-01-05T17:00", "2027-02-01T09:00"];
    assert_eq!(first(&parsed(input), 5), times);
}

#[test]
fn the_end_and_the_start_are_included() {
    let input = RecurrenceInput {
        end: Some("2027-01-03".into()),
        ..rrule("FREQ=DAILY", "00:00", "America/Mexico_City", "2027-01-01")
    };
    assert_eq!(first_dates(input, 9), ["2027-01-01", "2027-01-02", "2027-01-03"]);
}

#[test]
fn until_is_a_day_a_civil_time_or_an_instant() {
    let dates = |until: &str| {
        let rule = format!("FREQ=DAILY;UNTIL={until}");
        first_dates(rrule(&rule, "09:00", "America/Mexico_City", "2027-01-01"), 9).len()
    };
    assert_eq!((dates("20270103"), dates("20270103T085959"), dates("20270103T090000")), (3, 2, 3));
    // 09:00 in Mexico City is 15:00 in UTC.
    assert_eq!((dates("20270103T145959Z"), dates("20270103T150000Z"), dates("20270104T010000Z")), (2, 3, 3));
}

#[test]
fn weekdays_with_and_without_an_ordinal_are_combined() {
    let input = rrule("FREQ=MONTHLY;BYDAY=1FR,MO", "09:00", "UTC", "2027-01-01");
    assert_eq!(first_dates(input, 4), ["2027-01-01", "2027-01-04", "2027-01-11", "2027-01-18"]);
}

#[test]
fn the_position_in_a_week_counts_the_whole_first_week() {
    let input = rrule("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", "09:00", "UTC", "2027-01-06");
    assert_eq!(first_dates(input, 2), ["2027-01-11", "2027-01-18"], "Monday was before the start");
}

#[test]
fn a_rule_can_have_a_prefix_and_any_case() {
    let input = rrule("rrule:freq=weekly;byday=mo", "09:00", "europe/berlin", "2027-01-01");
    let occurrence = parsed(input).next_after(ALWAYS.0).expect("one");
    assert_eq!(occurrence.nominal.to_string(), "2027-01-04T09:00[Europe/Berlin]");
}

#[test]
fn a_day_needs_to_match_one_day_field_of_cron_unless_one_begins_with_a_star() {
    let either = cron("0 9 13 * fri", "UTC", "2027-01-01");
    assert_eq!(first_dates(either, 4), ["2027-01-01", "2027-01-08", "2027-01-13", "2027-01-15"]);
    let both = cron("0 9 */2 * fri", "UTC", "2027-01-01");
    assert_eq!(first_dates(both, 3), ["2027-01-01", "2027-01-15", "2027-01-29"]);
}

#[test]
fn sunday_is_0_or_7_and_can_end_a_range_by_name() {
    for expression in ["0 9 * * 0", "0 9 * * 7", "0 9 * * SUN", "0 9 * * 7-7", "0 9 * * */7"] {
        assert_eq!(first_dates(cron(expression, "UTC", "2027-01-01"), 2), ["2027-01-03", "2027-01-10"], "{expression}");
    }
    let weekend = cron("0 9 * jan-feb sat-sun", "UTC", "2027-01-01");
    assert_eq!(first_dates(weekend, 3), ["2027-01-02", "2027-01-03", "2027-01-09"]);
}

#[test]
fn the_next_occurrence_is_found_however_late_it_is() {
    let rare = "FREQ=DAILY;INTERVAL=25;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO";
    assert_eq!(first_dates(rrule(rare, "09:00", "UTC", "1970-01-01"), 9), ["2140-02-29"]);
    let last = parsed(rrule("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31", "23:59", "Pacific/Kiritimati", "1970-01-01"));
    let occurrence = last.next_after(at("2199-01-01T00:00:00Z")).expect("one");
    assert_eq!(occurrence.nominal.to_string(), "2199-12-31T23:59[Pacific/Kiritimati]");
    assert_eq!(last.next_after(occurrence.at), None);
}

#[test]
fn one_call_has_a_limit_and_the_next_call_continues() {
    let recurrence = parsed(cron("*/15 * * * *", "Europe/Berlin", "2027-01-01"));
    let all = recurrence.occurrences(ALWAYS.0, ALWAYS.1, usize::MAX);
    assert!(4_900 < all.len() && all.len() <= MAX_CANDIDATES as usize, "{}", all.len());
    let last = all.last().expect("many").at;
    assert_eq!(recurrence.next_after(last).map(|next| next.at), Some(last + 15 * 60_000));
}

#[test]
fn instants_beyond_the_calendar_have_no_occurrences() {
    let recurrence = parsed(cron("0 9 * * *", "Europe/Berlin", "2027-01-01"));
    for (after, until) in [(i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (i64::MAX, i64::MIN), (i64::MIN, 0)] {
        assert_eq!(recurrence.occurrences(Timestamp(after), Timestamp(until), 5), []);
    }
    assert_eq!(recurrence.occurrences(ALWAYS.0, ALWAYS.1, 0), []);
}
