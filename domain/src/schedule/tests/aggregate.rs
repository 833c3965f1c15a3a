//! The stream of a schedule, and the catch-up of occurrences that were not handled in time.

use events::{
    CatchUp, CatchUpPolicy, EventMetadata, MissedReason, Mode, RecordedEvent, ScheduleAuthor, ScheduleEndReason,
    ScheduleEvent, ScheduleTiming, ScheduledMessage, StreamId, StreamKind, Timestamp,
};

use super::super::*;
use crate::aggregate::Aggregate;
use crate::process::{Process, Step};

const DAY_MS: i64 = 24 * 3_600_000;
/// 2026-12-01T00:00:00Z, a Tuesday.
const START: Timestamp = Timestamp(1_796_083_200_000);

fn author() -> ScheduleAuthor {
    ScheduleAuthor { actor: "billing".to_owned(), mode: Mode::Live, channels: None, team: None }
}

fn daily(rule: &str) -> ScheduleTiming {
    ScheduleTiming {
        cron: None,
        rrule: Some(rule.to_owned()),
        time: Some("09:00".to_owned()),
        time_zone: "UTC".to_owned(),
        start: "2026-12-01".to_owned(),
        end: None,
        exceptions: Vec::new(),
        additions: Vec::new(),
        clamp_to_month_end: false,
    }
}

fn catch_up(policy: CatchUpPolicy) -> CatchUp {
    CatchUp { policy, window_ms: 3 * DAY_MS, most: 2 }
}

fn create(rule: &str) -> Command {
    Command::Create {
        id: "sch_1".to_owned(),
        name: "Daily".to_owned(),
        timing: daily(rule),
        message: Box::new(ScheduledMessage {
            content: "hash".to_owned(),
            channel: None,
            kind: None,
            recipient: None,
            contact_hash: None,
            fallback: Vec::new(),
        }),
        catch_up: catch_up(CatchUpPolicy::Last),
        author: author(),
        others: 0,
    }
}

fn after(state: ScheduleState, command: Command, at: Timestamp) -> ScheduleState {
    let meta = EventMetadata {
        at,
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "ops".to_owned(),
        traceparent: None,
    };
    let record = |event: ScheduleEvent| RecordedEvent { version: 1, meta: meta.clone(), event };
    let events = state.decide(command).expect("decided");
    events.into_iter().map(record).fold(state, |state, record| state.evolve(&record))
}

fn next(state: &ScheduleState, now: Timestamp) -> Step<Command, RunOccurrences> {
    state.next(&StreamId::new(&"acme".parse().expect("a tenant"), StreamKind::SCHEDULE, "sch_1"), now)
}

fn nine(day: i64) -> Timestamp {
    START + day * DAY_MS + 9 * 3_600_000
}

#[test]
fn a_schedule_waits_runs_and_ends() {
    let state = after(ScheduleState::default(), create("FREQ=DAILY;COUNT=2"), START);
    assert_eq!(state.wake(START, None), Some(nine(0)));
    assert_eq!(next(&state, START), Step::Wait(nine(0)));
    let Step::Emit { then, .. } = next(&state, nine(0)) else { panic!("no effect") };
    assert_eq!(*then, Step::Wait(nine(1)));
    let Step::Emit { then, .. } = next(&state, nine(1) + 5) else { panic!("no effect") };
    assert_eq!(*then, Step::Do(Command::End(ScheduleEndReason::Finished)));
    assert!(!state.is_complete() && state.is_listed());
    let ended = after(state, Command::End(ScheduleEndReason::Finished), nine(1) + 6);
    assert!(ended.is_complete() && !ended.is_listed());
    assert_eq!((ended.wake(nine(1), None), next(&ended, nine(2))), (None, Step::Done));
    assert_eq!(ended.decide(Command::Resume), Err(Rejection::Ended));
    assert_eq!(ended.decide(Command::End(ScheduleEndReason::Deleted)), Ok(Vec::new()));
}

#[test]
fn an_append_keeps_a_timer_that_is_already_set() {
    let state = after(ScheduleState::default(), create("FREQ=DAILY"), START);
    assert_eq!(state.wake(nine(0) + 5, Some(nine(0))), Some(nine(0) + 1), "the occurrence may not have been handled");
    assert_eq!(state.wake(nine(0) + 5, None), Some(nine(1)));
}

#[test]
fn a_run_that_read_an_older_timing_cannot_move_the_timer() {
    let state = after(ScheduleState::default(), create("FREQ=DAILY"), START);
    // The run at nine read this timer. It will move only this timer to nine on the next day.
    let read = nine(0) + 60_000;
    let change = Command::Change {
        name: None,
        timing: Some(ScheduleTiming { time: Some("09:30".to_owned()), ..daily("FREQ=DAILY") }),
        message: None,
        catch_up: None,
        author: author(),
        from: nine(0) + 2,
    };
    let changed = after(state.clone(), change, nine(0) + 2);
    for (state, now) in [(&changed, nine(0) + 2), (&state, nine(0) + 2), (&state, read + 1)] {
        let wake = state.wake(now, Some(read)).expect("a timer");
        assert!(wake != read && wake <= read + 1, "{wake:?}");
    }
    let earlier = nine(0) + 45 * 60_000;
    assert_eq!(changed.wake(nine(0) + 2, Some(earlier)), Some(nine(0) + 30 * 60_000));
}

#[test]
fn occurrences_during_a_pause_are_not_caught_up() {
    let state = after(ScheduleState::default(), create("FREQ=DAILY"), START);
    let paused = after(
        state.clone(),
        Command::Pause { from: Some(START + 1), until: Some(nine(2) - 1), reason: None },
        START + 1,
    );
    assert_eq!((next(&paused, nine(1)), paused.is_complete()), (Step::Wait(nine(2) - 1), false));
    assert_eq!(next(&paused, nine(2)), Step::Do(Command::Resume));
    let resumed = after(paused, Command::Resume, nine(2) + 7);
    assert_eq!(resumed.schedule.as_ref().map(|schedule| schedule.handled_until), Some(nine(2) - 1));
    assert!(matches!(next(&resumed, nine(2) + 7), Step::Emit { .. }), "the pause ended before the occurrence");
    let forever = after(state, Command::Pause { from: Some(START + 1), until: None, reason: None }, START + 1);
    assert_eq!((next(&forever, nine(9)), forever.wake(nine(9), Some(nine(1)))), (Step::Done, None));
    assert!(forever.is_complete());
}

#[test]
fn changed_times_apply_from_the_change_and_a_stale_change_is_rejected() {
    let state = after(ScheduleState::default(), create("FREQ=DAILY"), START);
    let change = |expected, timing: Option<ScheduleTiming>, name: &str| {
        let (name, author) = (Some(name.to_owned()), author());
        let change = Command::Change { name, timing, message: None, catch_up: None, author, from: nine(4) };
        change.at_revision(expected)
    };
    assert_eq!(state.decide(change(Some(1), None, "Daily")), Ok(Vec::new()));
    assert_eq!(state.decide(change(Some(2), None, "Other")), Err(Rejection::Changed(1)));
    for command in [Command::Resume, Command::End(ScheduleEndReason::Deleted)] {
        assert_eq!(state.decide(command.at_revision(Some(2))), Err(Rejection::Changed(1)));
    }
    let renamed = after(state, change(Some(1), None, "Other"), nine(3));
    let schedule = renamed.schedule.as_ref().expect("a schedule");
    assert_eq!((schedule.revision, schedule.handled_until), (2, START));
    let moved = after(renamed, change(Some(2), Some(daily("FREQ=WEEKLY;BYDAY=MO")), "Other"), nine(4));
    assert_eq!(moved.schedule.expect("a schedule").handled_until, nine(4));
}

#[test]
fn occurrences_without_a_message_are_caught_up_by_policy() {
    let recurrence = Recurrence::parse(recurrence_input(&daily("FREQ=DAILY"))).expect("a recurrence");
    let due = |now: Timestamp| recurrence.occurrences(START, now, 100);
    let days = |plan: &CatchUpPlan| plan.sent.iter().map(|occurrence| occurrence.at).collect::<Vec<_>>();
    let missed = |plan: &CatchUpPlan| {
        plan.missed.iter().map(|missed| (missed.count, missed.reason, missed.through_at)).collect::<Vec<_>>()
    };
    // On the fifth day at noon, the first two occurrences are older than the window of three days.
    let noon = nine(4) + 3 * 3_600_000;
    let last = plan(due(noon), catch_up(CatchUpPolicy::Last), noon);
    assert_eq!(days(&last), [nine(4)]);
    assert_eq!(missed(&last), [(2, MissedReason::TooOld, nine(1)), (2, MissedReason::Superseded, nine(3))]);
    let all = plan(due(noon), catch_up(CatchUpPolicy::All), noon);
    assert_eq!(days(&all), [nine(3), nine(4)]);
    assert_eq!(missed(&all), [(2, MissedReason::TooOld, nine(1)), (1, MissedReason::TooMany, nine(2))]);
    let skip = plan(due(noon), catch_up(CatchUpPolicy::Skip), noon);
    assert_eq!(days(&skip), []);
    assert_eq!(missed(&skip), [(2, MissedReason::TooOld, nine(1)), (3, MissedReason::Late, nine(4))]);
    assert_eq!(skip.missed[1].from, "2026-12-03T09:00[UTC]");
    // If no occurrence is late, the policy does not matter.
    for policy in [CatchUpPolicy::Last, CatchUpPolicy::All, CatchUpPolicy::Skip] {
        let now = nine(0) + 60_000;
        assert_eq!(plan(due(now), catch_up(policy), now), CatchUpPlan { missed: Vec::new(), sent: due(now) });
    }
    // If a new occurrence is due and the previous one was missed, only the new one is sent.
    let now = nine(1) + 60_000;
    assert_eq!(days(&plan(due(now), catch_up(CatchUpPolicy::Last), now)), [nine(1)]);
    // The window is about late occurrences only.
    let now = nine(0) + 60_000;
    let narrow = CatchUp { window_ms: 0, ..catch_up(CatchUpPolicy::Last) };
    assert_eq!(days(&plan(due(now), narrow, now)), [nine(0)]);
}
