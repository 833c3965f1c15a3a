//! Civil times that a zone skips or repeats.

use super::*;

fn shown(occurrences: &[Occurrence]) -> Vec<(String, String, Option<Moved>)> {
    let instant = |at: Timestamp| jiff::Timestamp::from_millisecond(at.0).expect("in the calendar").to_string();
    occurrences.iter().map(|each| (each.nominal.to_string(), instant(each.at), each.moved)).collect()
}

fn row(nominal: &str, at: &str, moved: Option<Moved>) -> (String, String, Option<Moved>) {
    (nominal.to_owned(), at.to_owned(), moved)
}

#[test]
fn a_skipped_time_is_moved_and_a_repeated_time_occurs_once() {
    let input = rrule("FREQ=MONTHLY;BYDAY=-1SU", "02:30", "Europe/Berlin", "2027-01-01");
    let found = parsed(input).preview(at("2027-02-28T12:00:00Z"), 9);
    let march = &found[0];
    assert_eq!(march.nominal.to_string(), "2027-03-28T02:30[Europe/Berlin]");
    assert_eq!(march.at, at("2027-03-28T01:30:00Z"), "03:30 in Berlin");
    assert_eq!((march.offset, march.moved), (jiff::tz::offset(2), Some(Moved::Gap)));
    let october = &found[7];
    assert_eq!(october.nominal.to_string(), "2027-10-31T02:30[Europe/Berlin]");
    assert_eq!(october.at, at("2027-10-31T00:30:00Z"), "the first of the two instants");
    assert_eq!((october.offset, october.moved), (jiff::tz::offset(2), Some(Moved::Twice)));
    assert!(found.iter().enumerate().all(|(index, each)| [0, 7].contains(&index) || each.moved.is_none()));
    assert_eq!((Moved::Gap.as_str(), Moved::Twice.as_str()), ("gap", "twice"));
}

#[test]
fn a_moved_occurrence_is_left_out_if_another_is_at_its_instant() {
    let recurrence = parsed(cron("15 2,3 * * *", "Europe/Berlin", "2027-03-28"));
    let found = recurrence.occurrences(ALWAYS.0, at("2027-03-29T00:30:00Z"), 9);
    let expected = [
        row("2027-03-28T03:15[Europe/Berlin]", "2027-03-28T01:15:00Z", None),
        row("2027-03-29T02:15[Europe/Berlin]", "2027-03-29T00:15:00Z", None),
    ];
    assert_eq!(shown(&found), expected);
    let early = recurrence.occurrences(at("2027-03-28T01:14:00Z"), at("2027-03-28T01:15:00Z"), 9);
    assert_eq!(shown(&early), expected[..1], "a narrow range gives the same result");
}

#[test]
fn a_moved_occurrence_is_ordered_by_its_instant() {
    let found = parsed(cron("0,45 2,3 * * *", "Europe/Berlin", "2027-03-28"));
    let found = found.occurrences(ALWAYS.0, at("2027-03-28T12:00:00Z"), 9);
    let expected = [
        row("2027-03-28T03:00[Europe/Berlin]", "2027-03-28T01:00:00Z", None),
        row("2027-03-28T03:45[Europe/Berlin]", "2027-03-28T01:45:00Z", None),
    ];
    assert_eq!(shown(&found), expected);
    let found = parsed(cron("20,40 2 * * *", "Australia/Lord_Howe", "2027-10-03"));
    let found = found.occurrences(ALWAYS.0, at("2027-10-03T12:00:00Z"), 9);
    let expected = [
        row("2027-10-03T02:40[Australia/Lord_Howe]", "2027-10-02T15:40:00Z", None),
        row("2027-10-03T02:20[Australia/Lord_Howe]", "2027-10-02T15:50:00Z", Some(Moved::Gap)),
    ];
    assert_eq!(shown(&found), expected, "clocks skip from 02:00 to 02:30, so 02:20 becomes 02:50");
}

#[test]
fn a_day_that_a_zone_skips_is_not_sent_twice() {
    let daily = parsed(rrule("FREQ=DAILY", "09:00", "Pacific/Apia", "2011-12-29"));
    let expected = ["2011-12-29T09:00", "2011-12-31T09:00", "2012-01-01T09:00"];
    assert_eq!(first(&daily, 3), expected);
    let once = parsed(rrule("FREQ=DAILY;COUNT=1", "09:00", "Pacific/Apia", "2011-12-30"));
    let found = once.preview(ALWAYS.0, 2);
    let moved = row("2011-12-30T09:00[Pacific/Apia]", "2011-12-30T19:00:00Z", Some(Moved::Gap));
    assert_eq!(shown(&found), [moved]);
    let from_next_day = once.next_after(at("2011-12-30T12:00:00Z"));
    assert_eq!(from_next_day.as_ref(), found.first(), "02:00 on the 31st in Apia");
}

#[test]
fn an_occurrence_keeps_its_local_time_when_clocks_change() {
    let found = parsed(rrule("FREQ=DAILY", "09:00", "Europe/Madrid", "2027-03-27")).preview(ALWAYS.0, 2);
    assert_eq!(found[1].at.millis_since(found[0].at), 23 * 3_600_000);
}
