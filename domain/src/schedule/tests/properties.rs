//! Properties of every recurrence, every zone and every text.

use std::collections::BTreeSet;

use jiff::tz::{AmbiguousOffset, TimeZone};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// All zones of the database.
fn zone_name() -> impl Strategy<Value = String> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    select(
        names
            .into_iter()
            .filter(|name| Recurrence::parse(cron("0 9 * * *", name, "2027-01-01")).is_ok())
            .collect::<Vec<_>>(),
    )
}

fn date() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (1970..=2100_i32, 1..=12_i32, 1..=31_i32).prop_map(|(y, m, d)| format!("{y}-{m:02}-{d:02}")),
        1 => any::<String>(),
        1 => "[0-9+-]{0,12}",
    ]
}

/// Texts that resemble rules, and arbitrary texts.
fn rule_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        "FREQ",
        "DAILY",
        "WEEKLY",
        "MONTHLY",
        "YEARLY",
        "HOURLY",
        "INTERVAL",
        "COUNT",
        "UNTIL",
        "BYDAY",
        "BYMONTHDAY",
        "BYMONTH",
        "BYSETPOS",
        "WKST",
        "FREQ=MONTHLY;",
        "BYDAY=",
        "MO",
        "-1FR",
        "53SU",
        "1",
        "-31",
        "366",
        "0",
        "99999",
        "20280229",
        "T235960Z",
        "20270101T000000Z",
        "=",
        ";",
        ";",
        ",",
        "é",
        " ",
    ];
    prop_oneof![any::<String>(), vec(select(pieces), 0..12).prop_map(|pieces| pieces.concat())]
}

fn cron_text() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("*".to_owned()),
        "[0-9]{1,2}",
        "[0-9]{1,2}-[0-9]{1,2}(/[0-9]{1,3})?",
        r"\*/[0-9]{1,3}",
        "(mon|SUN|jan|dec|fri-sun)(,[0-9]{1,2})?",
    ];
    prop_oneof![1 => any::<String>(), 6 => vec(field, 4..6).prop_map(|fields| fields.join(" "))]
}

prop_compose! {
    fn any_input()(
        when in prop_oneof![rule_text().prop_map(When::Rrule), cron_text().prop_map(When::Cron)],
        time in prop_oneof![Just(None), "[0-2][0-9]:[0-5][0-9]".prop_map(Some), any::<Option<String>>()],
        time_zone in prop_oneof![zone_name(), any::<String>()],
        start in date(),
        end in proptest::option::of(date()),
        exceptions in vec(date(), 0..3),
        additions in vec(date(), 0..2),
        clamp_to_month_end in any::<bool>(),
    ) -> RecurrenceInput {
        RecurrenceInput { when, time, time_zone, start, end, exceptions, additions, clamp_to_month_end }
    }
}

/// Valid recurrences, mostly near a change of the clocks.
fn any_recurrence() -> impl Strategy<Value = RecurrenceInput> {
    let rules = vec![
        "FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=3",
        "FREQ=WEEKLY;BYDAY=SA,SU",
        "FREQ=MONTHLY;BYDAY=-1SU",
        "FREQ=MONTHLY;BYDAY=2SU,1SU",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTH=3,4,10,11;BYDAY=SU",
    ];
    let crons =
        vec!["*/15 * * * *", "0,30 0-4 * * *", "10,40 1,2,3 * * sun", "59 23 * * *", "0 0 * * *", "15 2,3 * * *"];
    let input = (select(rules), 0..24_u32, 0..60_u32, zone_name(), 1970..2100_i32, 1..=12_u32);
    let rrules = input.prop_map(|(rule, hour, minute, zone, year, month)| {
        rrule(rule, &format!("{hour:02}:{minute:02}"), &zone, &format!("{year}-{month:02}-01"))
    });
    let crons = (select(crons), zone_name(), 1970..2100_i32, 1..=12_u32)
        .prop_map(|(text, zone, year, month)| cron(text, &zone, &format!("{year}-{month:02}-01")));
    prop_oneof![rrules, crons]
}

/// The instants at which clocks in the zone show the time, found by trying all offsets of the surrounding days.
fn instants_showing(time: jiff::civil::DateTime, zone: &TimeZone) -> Vec<i64> {
    let middle = TimeZone::UTC.to_timestamp(time).expect("in the calendar").as_second();
    let offsets: BTreeSet<i64> = (-26..=26)
        .filter_map(|hours| jiff::Timestamp::from_second(middle + hours * 3_600).ok())
        .map(|instant| i64::from(zone.to_offset(instant).seconds()))
        .collect();
    let shows =
        |second: &i64| jiff::Timestamp::from_second(*second).is_ok_and(|instant| zone.to_datetime(instant) == time);
    let mut found: Vec<i64> = offsets.into_iter().map(|offset| middle - offset).filter(shows).collect();
    found.sort_unstable();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_recurrence_or_a_list_of_faults(input in any_input(), after in any::<i64>()) {
        match Recurrence::parse(input) {
            Ok(recurrence) => {
                let found = recurrence.preview(Timestamp(after), 40);
                prop_assert!(found.iter().all(|occurrence| after < occurrence.at.0));
                prop_assert!(recurrence.next_after(ALWAYS.0).is_some(), "it occurs at least once");
            }
            Err(faults) => prop_assert!(!faults.is_empty() && faults.iter().all(|fault| fault.message.len() < 400)),
        }
    }

    #[test]
    fn occurrences_ascend_within_their_limits_and_do_not_depend_on_the_range(
        input in any_recurrence(), skip in 0..400_i64, hours in 1..2_000_i64, cut in 0..100_i64,
    ) {
        let recurrence = parsed(input.clone());
        let start = at(&format!("{}T00:00:00Z", input.start));
        let after = start + skip * 24 * HOUR_MS;
        let until = after + hours * HOUR_MS;
        let found = recurrence.occurrences(after, until, 1_000);
        prop_assert!(found.windows(2).all(|pair| pair[0].at < pair[1].at));
        prop_assert!(found.iter().all(|occurrence| after < occurrence.at && occurrence.at <= until));
        let names: BTreeSet<_> = found.iter().map(|occurrence| occurrence.nominal.clone()).collect();
        prop_assert_eq!(names.len(), found.len());
        if found.len() < 1_000 {
            let middle = after + hours * HOUR_MS * cut / 100;
            let mut halves = recurrence.occurrences(after, middle, 1_000);
            halves.extend(recurrence.occurrences(middle, until, 1_000));
            prop_assert_eq!(&halves, &found);
            let mut steps = Vec::new();
            let mut now = after;
            while let Some(next) = recurrence.next_after(now).filter(|next| next.at <= until) {
                now = next.at;
                steps.push(next);
                if 60 < steps.len() {
                    break;
                }
            }
            prop_assert_eq!(&steps[..], &found[..steps.len()]);
        }
    }

    #[test]
    fn an_occurrence_is_when_the_zones_clocks_first_show_its_time(input in any_recurrence(), skip in 0..400_i64) {
        let recurrence = parsed(input.clone());
        let zone = TimeZone::get(&input.time_zone).expect("a zone");
        let after = at(&format!("{}T00:00:00Z", input.start)) + skip * 24 * HOUR_MS;
        for occurrence in recurrence.preview(after, 60) {
            let shown = instants_showing(occurrence.nominal.time, &zone);
            let at = occurrence.at.0 / 1_000;
            match occurrence.moved {
                None => prop_assert_eq!(&shown[..], [at]),
                Some(Moved::Twice) => prop_assert!(shown.len() == 2 && shown[0] == at, "{:?} {}", shown, at),
                Some(Moved::Gap) => {
                    prop_assert!(shown.is_empty());
                    let ambiguous = zone.to_ambiguous_timestamp(occurrence.nominal.time).offset();
                    let AmbiguousOffset::Gap { before, .. } = ambiguous else {
                        return Err(TestCaseError::fail("no gap"));
                    };
                    prop_assert_eq!(before.to_timestamp(occurrence.nominal.time).expect("an instant").as_second(), at);
                }
            }
        }
    }
}
