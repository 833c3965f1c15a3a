//! Rejected recurrences and their faults.

use super::*;

fn faults(input: RecurrenceInput) -> Vec<(String, &'static str)> {
    let faults = Recurrence::parse(input).expect_err("faults");
    faults.into_iter().map(|fault| (fault.field, fault.code.as_str())).collect()
}

fn of_cron(expression: &str) -> Vec<(String, &'static str)> {
    faults(cron(expression, "UTC", "2027-01-01"))
}

fn of_rrule(rule: &str) -> Vec<(String, &'static str)> {
    faults(rrule(rule, "09:00", "UTC", "2027-01-01"))
}

#[test]
fn an_invalid_cron_expression_is_rejected_with_its_reason() {
    for (expression, code) in [
        ("* * * * *", "too_often"),
        ("*/14 9 * * *", "too_often"),
        ("0,50 0,23 * * *", "too_often"),
        ("0 0 31 2 *", "never"),
        ("0 0 31 4,6,9,11 *", "never"),
        ("", "malformed"),
        ("0 9 * *", "malformed"),
        ("0 0 9 * * *", "malformed"),
        ("@daily", "malformed"),
        ("0 9 ? * mon", "malformed"),
        ("0 9 L * *", "malformed"),
        ("0 9 * * mon#2", "malformed"),
        ("0 9 * * montag", "malformed"),
        ("0 9 * * -1", "malformed"),
        ("0 9 1, * *", "malformed"),
        ("0 +9 * * *", "malformed"),
        ("5/15 9 * * *", "unsupported"),
        ("60 9 * * *", "out_of_range"),
        ("0 24 * * *", "out_of_range"),
        ("0 9 0 * *", "out_of_range"),
        ("0 9 * 13 *", "out_of_range"),
        ("0 9 * * 8", "out_of_range"),
        ("0 9 * * fri-mon", "out_of_range"),
        ("0 9 */0 * *", "out_of_range"),
        ("*/99 9 * * *", "out_of_range"),
    ] {
        assert_eq!(of_cron(expression), [("when/cron".to_owned(), code)], "{expression}");
    }
    assert!(Recurrence::parse(cron("*/15 * * * *", "UTC", "2027-01-01")).is_ok(), "15 minutes are allowed");
}

#[test]
fn an_invalid_rule_is_rejected_with_its_reason() {
    for (rule, code) in [
        ("FREQ=SECONDLY", "too_often"),
        ("FREQ=MINUTELY", "too_often"),
        ("FREQ=HOURLY", "too_often"),
        ("FREQ=DAILY;COUNT=1000000000", "out_of_range"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20280101", "both_ends"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never"),
        ("FREQ=DAILY;UNTIL=20261231", "never"),
        ("FREQ=DAILY;BYDAY=MO;BYSETPOS=2", "never"),
        ("", "missing"),
        ("RRULE:", "missing"),
        ("BYDAY=MO", "missing"),
        ("FREQ=DAILY;COUNT", "malformed"),
        ("FREQ=DAILY;", "malformed"),
        ("FREQ=FORTNIGHTLY", "malformed"),
        ("FREQ=DAILY;FREQ=DAILY", "repeated"),
        ("FREQ=DAILY;INTERVAL=0", "out_of_range"),
        ("FREQ=DAILY;INTERVAL=1001", "out_of_range"),
        ("FREQ=DAILY;INTERVAL=99999999999999999999", "malformed"),
        ("FREQ=DAILY;COUNT=-1", "out_of_range"),
        ("FREQ=DAILY;COUNT=many", "malformed"),
        ("FREQ=DAILY;UNTIL=20270230", "malformed"),
        ("FREQ=DAILY;UNTIL=20270101Z", "malformed"),
        ("FREQ=DAILY;UNTIL=20270101T240000", "malformed"),
        ("FREQ=WEEKLY;BYDAY=MONDAY", "malformed"),
        ("FREQ=WEEKLY;BYDAY=", "malformed"),
        ("FREQ=WEEKLY;BYDAY=1MO", "not_together"),
        ("FREQ=MONTHLY;BYDAY=0MO", "malformed"),
        ("FREQ=MONTHLY;BYDAY=6MO", "out_of_range"),
        ("FREQ=YEARLY;BYDAY=54MO", "out_of_range"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "not_together"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "out_of_range"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "out_of_range"),
        ("FREQ=YEARLY;BYMONTH=-1", "out_of_range"),
        ("FREQ=MONTHLY;BYSETPOS=1", "not_together"),
        ("FREQ=WEEKLY;WKST=1", "malformed"),
        ("FREQ=DAILY;BYHOUR=9", "unsupported"),
        ("FREQ=YEARLY;BYWEEKNO=20", "unsupported"),
        ("FREQ=DAILY;DTSTART=20270101", "unknown_part"),
        ("FREQ=DAILY;🦀=1", "unknown_part"),
    ] {
        assert_eq!(of_rrule(rule), [("when/rrule".to_owned(), code)], "{rule}");
    }
}

#[test]
fn the_message_names_the_invalid_part() {
    let messages = |input| Recurrence::parse(input).expect_err("faults").into_iter().map(|fault| fault.message);
    let of_rule: Vec<_> = messages(rrule("FREQ=DAILY;COUNT=0;BYDAY=XX", "09:00", "UTC", "2027-01-01")).collect();
    assert!(of_rule[0].contains("`COUNT`") && of_rule[1].contains("`BYDAY`"), "{of_rule:?}");
    let of_cron: Vec<_> = messages(cron("60 9 * foo *", "UTC", "2027-01-01")).collect();
    assert!(of_cron[0].contains("minute") && of_cron[1].contains("month"), "{of_cron:?}");
}

#[test]
fn only_iana_names_are_time_zones() {
    for zone in ["Mars/Olympus", "CEST", "+02:00", "UTC+2", "Etc/Unknown", "", "../etc/passwd", "Europe/Berlin "] {
        let found = faults(rrule("FREQ=DAILY", "09:00", zone, "2027-01-01"));
        assert_eq!(found, [("timeZone".to_owned(), "unknown_time_zone")], "{zone}");
    }
    for zone in ["UTC", "America/Mexico_City", "Asia/Kathmandu", "Etc/GMT+5"] {
        assert!(Recurrence::parse(rrule("FREQ=DAILY", "09:00", zone, "2027-01-01")).is_ok(), "{zone}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let found = faults(RecurrenceInput {
        when: When::Rrule("FREQ=HOURLY;COUNT=1;UNTIL=20280101;BYHOUR=3;FOO=1".into()),
        time: Some("24:00".into()),
        time_zone: "CEST".into(),
        start: "2026-02-30".into(),
        end: Some("2300-01-01".into()),
        exceptions: strings(&["2027-01-01", "tomorrow"]),
        additions: vec!["2027-01-01".into(); 10_000],
        clamp_to_month_end: true,
    });
    let expected = [
        ("timeZone", "unknown_time_zone"),
        ("start", "malformed"),
        ("end", "out_of_range"),
        ("time", "malformed"),
        ("when/rrule", "too_often"),
        ("when/rrule", "unsupported"),
        ("when/rrule", "unknown_part"),
        ("when/rrule", "both_ends"),
        ("exceptions/1", "malformed"),
        ("additions", "too_many"),
    ];
    assert_eq!(found, expected.map(|(field, code)| (field.to_owned(), code)));
}

#[test]
fn fields_that_cannot_be_combined_are_rejected() {
    let assert_fault = |input, field: &str, code| assert_eq!(faults(input), [(field.to_owned(), code)]);
    let daily = rrule("FREQ=DAILY", "09:00", "UTC", "2027-01-01");
    let weekly = cron("0 9 * * mon", "UTC", "2027-01-01");
    assert_fault(RecurrenceInput { time: None, ..daily.clone() }, "time", "missing");
    assert_fault(RecurrenceInput { time: Some("9:00".into()), ..daily.clone() }, "time", "malformed");
    assert_fault(RecurrenceInput { time: Some("+9:00".into()), ..daily.clone() }, "time", "malformed");
    assert_fault(RecurrenceInput { time: Some("09:00".into()), ..weekly.clone() }, "time", "not_together");
    assert_fault(RecurrenceInput { end: Some("2026-12-31".into()), ..daily.clone() }, "end", "end_before_start");
    assert_fault(RecurrenceInput { end: Some("2027-01-03".into()), ..weekly }, "when/cron", "never");
    let exceptions = strings(&["2027-01-01"]);
    let alone = rrule("FREQ=DAILY;COUNT=1", "09:00", "UTC", "2027-01-01");
    assert_fault(RecurrenceInput { exceptions, ..alone }, "when/rrule", "never");
    let additions = strings(&["2027-01-05", "2026-12-31"]);
    assert_fault(RecurrenceInput { additions, ..daily.clone() }, "additions/1", "out_of_range");
    assert_fault(RecurrenceInput { exceptions: vec!["2027-01-01".into(); 367], ..daily }, "exceptions", "too_many");
    assert_fault(
        rrule(&format!("FREQ=DAILY{}", ";".repeat(500)), "09:00", "UTC", "2027-01-01"),
        "when/rrule",
        "too_long",
    );
}

#[test]
fn a_fault_quotes_the_item_that_it_is_about() {
    let faults = Recurrence::parse(cron("-1 9 * * *", "UTC", "2027-01-01")).expect_err("faults");
    assert!(faults[0].message.starts_with("`-1` in minute"), "{}", faults[0].message);
}
