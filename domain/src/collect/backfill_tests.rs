use events::{BackfillEndReason, BackfillPlan, BackfillSteps, CollectionCause, Mode};

use super::tests::{Case, at, case};
use super::{
    BackfillCommand, BackfillRejection, BackfillState, CollectionsState, RestReason, SettingsCommand,
    SettingsRejection, Start, bucket_of, differs, start,
};
use crate::aggregate::Aggregate;
use crate::invoice::tests::{after_at, issued, record};
use crate::invoice::{Hold, InvoiceState};

/// What happens if the reminders of an invoice that was due on 1 November begin on this day.
fn starts(case: &Case, cause: CollectionCause, now: &str) -> Start {
    let known =
        after_at(InvoiceState::default(), record(vec![issued(1000, Some("2026-11-01"))]), at("2026-10-25T08:00"));
    let known = case.invoice.hold.iter().fold(known, |known, hold| InvoiceState { hold: Some(hold.clone()), ..known });
    start(&known, &case.collections, &case.settings, &case.debtor, cause, at(now))
}

fn starts_with(case: &Case, now: &str) -> Option<String> {
    match starts(case, CollectionCause::Backfill, now) {
        Start::Step(step) => Some(step.id),
        Start::Waits(_) | Start::LeftOut(_) => None,
    }
}

#[test]
fn an_invoice_that_is_taken_up_late_starts_with_the_step_it_has_reached_at_any_time_of_the_day() {
    let case = case();
    for (now, step) in [
        ("2026-11-02T03:00", None),
        ("2026-11-02T12:00", Some("d1")),
        ("2026-11-07T23:00", Some("d1")),
        ("2026-11-08T17:00", Some("d7")),
        ("2026-11-20T02:00", Some("d7")),
        ("2027-10-01T20:00", Some("d30")),
    ] {
        assert_eq!(starts_with(&case, now).as_deref(), step, "{now}");
    }
    assert_eq!(starts(&case, CollectionCause::BackfillLater, "2026-11-20T12:00"), Start::Waits("not_overdue"));
    assert_eq!(starts(&case, CollectionCause::BackfillLater, "2027-10-01T12:00"), Start::Waits("ladder_over"));
}

#[test]
fn an_invoice_that_is_held_waits_and_one_that_is_not_collected_is_left_out() {
    let now = "2026-11-20T12:00";
    let mut held = case();
    held.invoice.hold = Some(Hold::Promised { on: "2026-11-25".to_owned() });
    assert_eq!(starts(&held, CollectionCause::Backfill, now), Start::Waits("promise_until"));
    held.invoice.hold = Some(Hold::Paused { until: None });
    assert_eq!(starts(&held, CollectionCause::Backfill, now), Start::Waits("paused"));
    let mut excluded = case();
    excluded.debtor.is_excluded = true;
    assert_eq!(starts(&excluded, CollectionCause::Backfill, now), Start::LeftOut(RestReason::Excluded));
    let mut small = case();
    small.settings.minimum_minor = 1_001;
    assert_eq!(starts(&small, CollectionCause::Backfill, now), Start::LeftOut(RestReason::NotCollectible));
}

fn backfill(commands: &[BackfillCommand]) -> Result<BackfillState, BackfillRejection> {
    let plan = BackfillPlan {
        mode: Mode::Live,
        due_from: "2026-01-01".to_owned(),
        due_before: "2026-11-29".to_owned(),
        steps: BackfillSteps::Current,
        per_day: 3,
        invoices: 7,
        messages: 7,
    };
    let confirm = BackfillCommand::Confirm { plan, by: "ops".to_owned() };
    [&confirm].into_iter().chain(commands).try_fold(BackfillState::default(), |state, command| {
        state.decide(command.clone())?;
        Ok(after_at(state, command.clone(), at("2026-11-29T12:00")))
    })
}

fn page(day: &str, invoices: &[&str], next: Option<&str>) -> BackfillCommand {
    let invoices = invoices.iter().map(|invoice| (*invoice).to_owned()).collect();
    BackfillCommand::PlanPage { day: day.to_owned(), invoices, next: next.map(str::to_owned) }
}

#[test]
fn a_day_never_has_more_invoices_than_were_confirmed() {
    let done = || BackfillCommand::FinishPage { begun: 2 };
    let first = || page("2026-11-29", &["a", "b"], Some("x"));
    assert_eq!(backfill(&[first(), first()]), Err(BackfillRejection::PageUnderWay));
    assert_eq!(backfill(&[first(), done(), first()]), Err(BackfillRejection::DayFull));
    let next_day = || page("2026-11-30", &["c", "d", "e"], None);
    let state = backfill(&[first(), done(), page("2026-11-29", &["c"], Some("y")), done(), next_day(), done()]);
    let found = state.expect("a backfill").backfill.expect("confirmed");
    assert_eq!((found.handled, found.begun, found.is_walked), (6, 6, true));
    assert_eq!((found.left_on("2026-11-29"), found.left_on("2026-11-30"), found.left_on("2026-12-01")), (0, 0, 3));
    // A zone further west makes it the day before again.
    assert_eq!(backfill(&[first(), done(), next_day(), done(), first()]), Err(BackfillRejection::DayFull));
}

#[test]
fn a_backfill_that_has_ended_does_nothing_more() {
    let end = |reason| BackfillCommand::End { reason, by: "ops".to_owned() };
    let stop = || end(BackfillEndReason::Stopped);
    let state = backfill(&[page("2026-11-29", &["a"], Some("x")), stop(), end(BackfillEndReason::Completed)]);
    let state = state.expect("a backfill");
    assert!(state.is_complete() && state.wake(at("2026-11-29T12:00"), None).is_none());
    let found = state.backfill.expect("confirmed");
    assert_eq!((found.ended.map(|(reason, ..)| reason), found.page), (Some(BackfillEndReason::Stopped), vec![]));
    assert_eq!(backfill(&[stop(), page("2026-11-30", &["a"], None)]), Err(BackfillRejection::Ended));
    assert_eq!(BackfillState::default().decide(stop()), Err(BackfillRejection::Unknown));
}

#[test]
fn a_number_may_differ_by_five_percent() {
    for (preview, now, expected) in [
        (0, 0, false),
        (0, 1, true),
        (10, 10, false),
        (10, 11, true),
        (100, 105, false),
        (100, 106, true),
        (100, 94, true),
    ] {
        assert_eq!(differs(preview, now), expected, "{preview} {now}");
    }
    let buckets = [1, 6, 7, 29, 30, 89, 90, 364, 365, 4_000].map(bucket_of);
    assert_eq!(buckets, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn one_backfill_of_a_mode_can_be_confirmed_at_a_time() {
    let claim = |mode, backfill: &str, over: Option<&str>| SettingsCommand::ClaimBackfill {
        mode,
        backfill: backfill.to_owned(),
        over: over.map(str::to_owned),
    };
    let claimed = after_at(CollectionsState::default(), claim(Mode::Live, "bkf_1", None), at("2026-11-02T08:00"));
    assert_eq!(claimed.decide(claim(Mode::Live, "bkf_1", None)), Ok(Vec::new()));
    let refused = Err(SettingsRejection::BackfillClaimed("bkf_1".to_owned()));
    assert_eq!(claimed.decide(claim(Mode::Live, "bkf_2", None)), refused);
    assert!(claimed.decide(claim(Mode::Live, "bkf_2", Some("bkf_1"))).is_ok_and(|events| events.len() == 1));
    assert!(claimed.decide(claim(Mode::Test, "bkf_2", None)).is_ok_and(|events| events.len() == 1));
}
