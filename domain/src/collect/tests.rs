use events::{
    CollectionCause, CollectionEndReason, CollectionSettings, LadderStep, Mode, NoticeInvoice, StepPostponeReason,
    StepSkipReason, Timestamp, Weekday,
};

use super::{
    Closed, CollectionsState, DebtorState, MAX_INVOICES, Next, NoticeCommand, NoticeRejection, NoticeState,
    ReminderRefusal, RestReason, SentNotice, WaitReason, add_days, defaults, next, notice_name, remind_on,
};
use crate::aggregate::Aggregate;
use crate::invoice::tests::{after_at, issued, paid, record, reference, restart};
use crate::invoice::{Command, Hold, InvoiceState};

/// An instant in UTC.
pub(super) fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = format!("{text}:00Z").parse().expect("a time");
    Timestamp(time.as_millisecond())
}

pub(super) fn on() -> CollectionsState {
    CollectionsState { enabled_from: Some("2026-01-01".to_owned()), ..CollectionsState::default() }
}

/// An invoice that is due on Sunday, 1 November 2026, and was known long before.
fn invoice() -> InvoiceState {
    let facts = vec![issued(1000, Some("2026-11-01"))];
    let collect_from = Some("2026-01-01".to_owned());
    after_at(
        InvoiceState::default(),
        Command::Record { reference: reference(), facts, collect_from },
        at("2026-10-25T08:00"),
    )
}

pub(super) struct Case {
    pub invoice: InvoiceState,
    pub settings: CollectionSettings,
    pub debtor: DebtorState,
    pub collections: CollectionsState,
}

pub(super) fn case() -> Case {
    Case { invoice: invoice(), settings: defaults(), debtor: DebtorState::default(), collections: on() }
}

impl Case {
    fn at(&self, now: &str) -> Next {
        next(&self.invoice, &self.collections, &self.settings, &self.debtor, at(now))
    }

    /// The step and the day of the reminder that is due, or nothing.
    fn does(&self, now: &str) -> Option<(String, String)> {
        match self.at(now) {
            Next::Do { step, day, .. } => Some((step.id, day.to_string())),
            _ => None,
        }
    }

    fn skipped(mut self, steps: &[&str]) -> Case {
        for step in steps {
            let skip = Command::Skip { round: 0, step: (*step).to_owned(), reason: StepSkipReason::Superseded };
            self.invoice = after_at(self.invoice, skip, at("2026-11-02T09:00"));
        }
        self
    }
}

fn did(step: &str, day: &str) -> Option<(String, String)> {
    Some((step.to_owned(), day.to_owned()))
}

#[test]
fn a_reminder_gathers_two_minutes_before_nine_on_its_day() {
    let case = case();
    let wait = Next::Wait { at: at("2026-11-02T08:58"), reason: WaitReason::NotOverdue };
    assert_eq!(case.at("2026-10-25T08:00"), wait);
    assert_eq!(case.at("2026-11-02T08:57"), wait);
    let Next::Do { step, due_at, skipped, .. } = case.at("2026-11-02T08:58") else { panic!("not due") };
    assert_eq!((step.id.as_str(), due_at, skipped), ("d1", at("2026-11-02T09:00"), vec![]));
}

#[test]
fn the_customers_zone_decides_and_is_applied_last() {
    let mut case = case();
    case.settings.time_zone = "America/Mexico_City".to_owned();
    assert_eq!(case.does("2026-11-02T14:57"), None);
    assert_eq!(case.does("2026-11-02T14:58"), did("d1", "2026-11-02"));
    case.debtor.time_zone = Some("Asia/Tokyo".to_owned());
    assert_eq!(case.does("2026-11-01T23:57"), None);
    assert_eq!(case.does("2026-11-01T23:58"), did("d1", "2026-11-02"), "9 o'clock there");
}

#[test]
fn nine_o_clock_stays_nine_o_clock_when_the_clocks_change() {
    let mut case = case();
    case.settings.time_zone = "Europe/Madrid".to_owned();
    for (due_on, now) in [("2027-03-26", "2027-03-27T07:58"), ("2027-03-27", "2027-03-28T06:58")] {
        let facts = vec![issued(1000, Some(due_on))];
        let collect_from = Some("2026-01-01".to_owned());
        let record = Command::Record { reference: reference(), facts, collect_from };
        case.invoice = after_at(InvoiceState::default(), record, at("2026-10-25T08:00"));
        let day = add_days(due_on.parse().expect("a day"), 1).expect("a day").to_string();
        assert_eq!(case.does(now), did("d1", &day));
        let minute_before = Timestamp(at(now).0 - 60_000);
        let waits = next(&case.invoice, &case.collections, &case.settings, &case.debtor, minute_before);
        assert!(matches!(waits, Next::Wait { at: time, .. } if time == at(now)), "{waits:?}");
    }
}

#[test]
fn of_several_steps_that_are_due_the_last_is_done() {
    let case = case();
    let Next::Do { step, skipped, .. } = case.at("2026-11-08T10:00") else { panic!("not due") };
    assert_eq!(step.id, "d7");
    assert_eq!(skipped, [("d1".to_owned(), StepSkipReason::Superseded)]);
}

#[test]
fn a_step_that_is_too_late_is_skipped() {
    let case = case();
    assert_eq!(case.does("2026-11-05T10:00"), did("d1", "2026-11-05"), "three days late");
    let too_late = Next::Skip(vec![("d1".to_owned(), StepSkipReason::TooLate)]);
    assert_eq!(case.at("2026-11-06T10:00"), too_late);
    assert_eq!(case.at("2026-11-05T18:00"), too_late, "the day is over, and the next one is too late");
}

#[test]
fn after_the_end_of_the_day_it_waits_for_the_next_allowed_one() {
    let mut case = case();
    let next_day = |day: &str| Next::Wait { at: at(&format!("{day}T08:58")), reason: WaitReason::NextDay };
    assert_eq!(case.at("2026-11-02T18:00"), next_day("2026-11-03"));
    case.settings.holidays = vec!["2026-11-03".to_owned()];
    assert_eq!(case.at("2026-11-02T18:00"), next_day("2026-11-04"));
}

#[test]
fn on_days_without_reminders_it_waits_and_a_step_moves_forward_only() {
    let mut case = case();
    case.settings.days = vec![Weekday::Tuesday];
    assert_eq!(case.does("2026-11-02T10:00"), None, "a Monday");
    assert_eq!(case.does("2026-11-03T08:58"), did("d1", "2026-11-03"));
    case.settings.days = Vec::new();
    assert_eq!(case.at("2026-11-03T10:00"), Next::Rest(RestReason::NotCollectible), "no day at all");
}

#[test]
fn what_was_due_before_the_invoice_was_known_is_left_out() {
    let mut case = case();
    let facts = vec![issued(1000, Some("2026-11-01"))];
    let collect_from = Some("2026-01-01".to_owned());
    let late = Command::Record { reference: reference(), facts, collect_from };
    case.invoice = after_at(InvoiceState::default(), late, at("2026-11-04T12:00"));
    let too_late = Next::Skip(vec![("d1".to_owned(), StepSkipReason::KnownTooLate)]);
    assert_eq!(case.at("2026-11-04T12:00"), too_late);
    let case = case.skipped(&["d1"]);
    assert_eq!(case.does("2026-11-08T09:00"), did("d7", "2026-11-08"));
}

#[test]
fn an_invoice_is_not_reminded_of_on_the_day_it_became_known() {
    let mut case = case();
    let facts = vec![issued(1000, Some("2026-11-03"))];
    let collect_from = Some("2026-01-01".to_owned());
    let late = Command::Record { reference: reference(), facts, collect_from };
    case.invoice = after_at(InvoiceState::default(), late, at("2026-11-04T07:00"));
    assert_eq!(case.does("2026-11-04T09:00"), None);
    assert_eq!(case.does("2026-11-05T08:58"), did("d1", "2026-11-05"));
}

#[test]
fn a_backfill_sends_the_current_step_once() {
    let mut case = case();
    let begun = |cause| {
        let known =
            after_at(InvoiceState::default(), record(vec![issued(1000, Some("2026-11-01"))]), at("2026-11-20T08:00"));
        let begin = Command::BeginCollection { from: "2026-10-01".to_owned(), cause };
        after_at(known, begin, at("2026-11-20T12:00"))
    };
    case.invoice = begun(CollectionCause::Backfill);
    assert_eq!(case.at("2026-11-20T12:00"), Next::Skip(vec![("d1".to_owned(), StepSkipReason::KnownTooLate)]));
    let mut case = case.skipped(&["d1"]);
    assert_eq!(case.does("2026-11-20T12:01"), did("d7", "2026-11-20"));
    let mut issued = case.invoice.clone();
    for command in [
        Command::Trigger { step: "d7".to_owned(), day: "2026-11-20".to_owned(), notice: "n".to_owned() },
        Command::Issue { round: 0, step: "d7".to_owned(), notice: "n".to_owned(), communications: Vec::new() },
    ] {
        issued = after_at(issued, command, at("2026-11-20T12:02"));
    }
    case.invoice = issued;
    let d14 = LadderStep { id: "d14".to_owned(), after_days: 14, ..case.settings.ladder[1].clone() };
    case.settings.ladder.insert(2, d14);
    let skipped = vec![("d14".to_owned(), StepSkipReason::KnownTooLate)];
    assert_eq!(case.at("2026-11-21T12:00"), Next::Skip(skipped), "a new step of the past is no second one");
    case.settings.ladder.remove(2);
    case.invoice = begun(CollectionCause::BackfillLater);
    let late = ["d1", "d7"].map(|step| (step.to_owned(), StepSkipReason::KnownTooLate));
    assert_eq!(case.at("2026-11-20T12:00"), Next::Skip(late.to_vec()));
}

#[test]
fn promises_and_pauses_hold_it_through_their_day() {
    let mut case = case();
    let promised = Command::Promise { on: "2026-11-06".to_owned(), amount: None, by: "support".to_owned() };
    case.invoice = after_at(case.invoice, promised, at("2026-11-01T08:00"));
    let wait = Next::Wait { at: at("2026-11-07T08:58"), reason: WaitReason::Promise };
    assert_eq!(case.at("2026-11-02T09:00"), wait);
    assert_eq!(case.at("2026-11-06T17:00"), wait);
    assert_eq!(case.at("2026-11-07T09:00"), Next::Skip(vec![("d1".to_owned(), StepSkipReason::TooLate)]));
    let paused = Command::Pause { until: None, by: "support".to_owned() };
    case.invoice = after_at(case.invoice, paused, at("2026-11-01T08:00"));
    assert_eq!(case.at("2026-11-20T09:00"), Next::Rest(RestReason::Paused));
    case.invoice = after_at(case.invoice, Command::Resume { by: "support".to_owned() }, at("2026-11-01T08:00"));
    case.debtor.hold = Some(Hold::Paused { until: Some("2026-11-02".to_owned()) });
    assert_eq!(case.at("2026-11-02T09:00"), Next::Wait { at: at("2026-11-03T08:58"), reason: WaitReason::Paused });
    assert_eq!(case.does("2026-11-03T08:58"), did("d1", "2026-11-03"));
}

#[test]
fn a_customer_has_one_notice_a_day_and_days_between_them() {
    let mut case = case();
    let sent = |day: &str, mode| SentNotice { mode, day: day.to_owned(), notice: format!("n{day}") };
    case.debtor.notices = vec![sent("2026-11-02", Mode::Test)];
    assert_eq!(case.does("2026-11-02T09:00"), did("d1", "2026-11-02"), "test messages do not count");
    case.debtor.notices = vec![sent("2026-11-02", Mode::Live)];
    let postponed =
        |until: &str, reason| Next::Postpone { step: "d1".to_owned(), until: until.parse().expect("a day"), reason };
    assert_eq!(case.at("2026-11-02T09:00"), postponed("2026-11-03", StepPostponeReason::MaxPerDay));
    case.debtor.notices = vec![sent("2026-11-01", Mode::Live)];
    assert_eq!(case.does("2026-11-02T09:00"), did("d1", "2026-11-02"));
    case.settings.min_days_between = 3;
    assert_eq!(case.at("2026-11-02T09:00"), postponed("2026-11-05", StepPostponeReason::MinDaysBetween));
}

#[test]
fn a_postponed_step_comes_back_on_its_day() {
    let mut case = case();
    let postpone = Command::Postpone {
        round: 0,
        step: "d1".to_owned(),
        until: "2026-11-04".to_owned(),
        reason: StepPostponeReason::MaxPerDay,
    };
    case.invoice = after_at(case.invoice, postpone, at("2026-11-02T09:00"));
    assert_eq!(case.at("2026-11-03T10:00"), Next::Wait { at: at("2026-11-04T08:58"), reason: WaitReason::NotOverdue });
    assert_eq!(case.does("2026-11-04T08:58"), did("d1", "2026-11-04"));
}

#[test]
fn reasons_to_rest_are_told_apart() {
    let mut case = case();
    case.collections.enabled_from = None;
    assert_eq!(case.at("2026-11-02T09:00"), Next::Rest(RestReason::Off));
    case.collections = on();
    case.debtor.is_excluded = true;
    assert_eq!(case.at("2026-11-02T09:00"), Next::Rest(RestReason::Excluded));
    case.debtor.is_excluded = false;
    case.settings.minimum_minor = 1001;
    assert_eq!(case.at("2026-11-02T09:00"), Next::Rest(RestReason::NotCollectible));
    case.settings.minimum_minor = 1000;
    assert_eq!(case.does("2026-11-02T09:00"), did("d1", "2026-11-02"));
    case.invoice = after_at(case.invoice, record(vec![paid("p1", 1000, 3)]), at("2026-11-02T08:59"));
    assert_eq!(case.at("2026-11-02T09:00"), Next::Rest(RestReason::Settled));
    let mut over = super::tests::case().skipped(&["d1", "d7", "d30"]);
    assert_eq!(over.at("2026-12-24T09:00"), Next::Rest(RestReason::LadderOver));
    let fourth = LadderStep { id: "d60".to_owned(), after_days: 60, ..defaults().ladder[2].clone() };
    over.settings.ladder.push(fourth);
    assert!(matches!(over.at("2026-12-24T09:00"), Next::Wait { .. }), "the new step is not due yet");
}

#[test]
fn a_customers_own_ladder_replaces_the_tenants() {
    let mut case = case();
    let own = LadderStep { id: "before".to_owned(), after_days: -3, ..defaults().ladder[0].clone() };
    case.debtor.ladder = Some(vec![own]);
    assert_eq!(case.does("2026-10-29T08:58"), did("before", "2026-10-29"));
}

fn joined(invoice: &str) -> NoticeInvoice {
    NoticeInvoice { invoice: invoice.to_owned(), round: 0, step: "d1".to_owned() }
}

fn join(invoice: &str) -> NoticeCommand {
    NoticeCommand::Join {
        mode: Mode::Live,
        customer: None,
        day: "2026-11-02".to_owned(),
        due_at: Timestamp(1000),
        joined: joined(invoice),
        reference: reference(),
        most: MAX_INVOICES,
    }
}

fn decided(state: NoticeState, command: NoticeCommand) -> NoticeState {
    let meta = events::EventMetadata {
        at: Timestamp(0),
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "process".to_owned(),
        traceparent: None,
    };
    let events = state.decide(command).expect("decided");
    let records = events.into_iter().map(|event| events::RecordedEvent { version: 1, meta: meta.clone(), event });
    records.fold(state, |state, record| state.evolve(&record))
}

#[test]
fn a_notice_gathers_until_it_is_closed() {
    let state = decided(decided(NoticeState::default(), join("inv_1")), join("inv_2"));
    assert_eq!(state.decide(join("inv_2")), Ok(Vec::new()), "it is in already");
    assert_eq!(state.wake(Timestamp(10), None), Some(Timestamp(1000)));
    let close = |kept: &[&str]| {
        let kept = kept.iter().map(|invoice| joined(invoice)).collect();
        NoticeCommand::Close(Closed { kept, dropped: Vec::new(), step: Some(defaults().ladder[0].clone()) })
    };
    assert_eq!(state.decide(close(&["inv_1"])), Err(NoticeRejection::Moved), "it was decided without the second");
    let closed = decided(state, close(&["inv_1", "inv_2"]));
    assert_eq!(closed.decide(join("inv_3")), Err(NoticeRejection::Closed));
    assert_eq!(closed.decide(join("inv_1")), Ok(Vec::new()), "a repeated hint finds itself in it");
    assert!(!closed.is_complete());
    let done = decided(closed, NoticeCommand::Finish { messages: Vec::new(), refused: None });
    assert!(done.is_complete());
    assert_eq!(done.wake(Timestamp(10), None), None);
}

#[test]
fn the_name_of_a_notice_is_the_same_for_one_customer_day_and_slot() {
    let tenant = "acme".parse().expect("a tenant");
    let name = |mode, customer, day, slot| notice_name(&tenant, mode, customer, day, slot);
    let first = name(Mode::Live, "customer:7", "2026-11-02", 0);
    assert_eq!(first, name(Mode::Live, "customer:7", "2026-11-02", 0));
    for other in [
        name(Mode::Test, "customer:7", "2026-11-02", 0),
        name(Mode::Live, "customer:8", "2026-11-02", 0),
        name(Mode::Live, "customer:7", "2026-11-03", 0),
        name(Mode::Live, "customer:7", "2026-11-02", 1),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_ladder_that_begins_again_reminds_tomorrow_with_the_step_of_then() {
    let mut case = case().skipped(&["d1", "d7", "d30"]);
    case.invoice =
        after_at(case.invoice, Command::EndCollection(CollectionEndReason::LadderOver), at("2026-12-01T09:01"));
    assert_eq!(case.at("2026-12-10T10:00"), Next::Rest(RestReason::LadderOver));
    case.invoice = after_at(case.invoice, restart(), at("2026-12-10T10:00"));
    assert!(!case.invoice.is_complete());
    assert_eq!(case.does("2026-12-10T10:00"), None);
    let Next::Do { step, day, skipped, .. } = case.at("2026-12-11T09:00") else { panic!("not due") };
    assert_eq!((step.id.as_str(), day.to_string().as_str(), skipped.len()), ("d30", "2026-12-11", 2));
}

#[test]
fn a_person_can_remind_by_a_step_that_is_not_done() {
    let mut case = case();
    let remind = |case: &Case, step: &str, now: &str| {
        let day = remind_on(&case.invoice, &case.collections, &case.settings, &case.debtor, step, at(now));
        day.map(|day| day.map(|day| day.to_string()))
    };
    let on = |day: &str| Ok(Some(day.to_owned()));
    assert_eq!(remind(&case, "d7", "2026-11-03T12:00"), on("2026-11-03"), "it is not due yet, but a person decides");
    assert_eq!(remind(&case, "d7", "2026-11-03T19:00"), on("2026-11-04"), "the day is over");
    let steps = ["d1", "d7", "d30"].map(str::to_owned).to_vec();
    assert_eq!(remind(&case, "d8", "2026-11-03T12:00"), Err(ReminderRefusal::UnknownStep(steps)));

    let pause = Command::Pause { until: Some("2026-11-03".to_owned()), by: "ops".to_owned() };
    let paused = Case { invoice: after_at(case.invoice.clone(), pause, at("2026-11-02T12:00")), ..self::case() };
    assert_eq!(remind(&paused, "d7", "2026-11-03T12:00"), Err(ReminderRefusal::Wait(WaitReason::Paused)));
    assert_eq!(remind(&paused, "d7", "2026-11-04T12:00"), on("2026-11-04"));
    let settle = Command::Record { reference: reference(), facts: vec![paid("p1", 1000, 5)], collect_from: None };
    let settled = Case { invoice: after_at(case.invoice.clone(), settle, at("2026-11-02T12:00")), ..self::case() };
    assert_eq!(remind(&settled, "d7", "2026-11-03T12:00"), Err(ReminderRefusal::Rest(RestReason::Settled)));
    let off = Case { collections: CollectionsState::default(), ..self::case() };
    assert_eq!(remind(&off, "d7", "2026-11-03T12:00"), Err(ReminderRefusal::Rest(RestReason::Off)));

    let trigger = Command::Trigger { step: "d7".to_owned(), day: "2026-11-03".to_owned(), notice: "ntc_1".to_owned() };
    case.invoice = after_at(case.invoice, trigger, at("2026-11-03T12:00"));
    assert_eq!(remind(&case, "d7", "2026-11-03T12:01"), Ok(None), "it is under way");
    assert_eq!(remind(&case, "d30", "2026-11-03T12:01"), Err(ReminderRefusal::StepUnderWay));
    let issue = Command::Issue { round: 0, step: "d7".to_owned(), notice: "ntc_1".to_owned(), communications: vec![] };
    case.invoice = after_at(case.invoice, issue, at("2026-11-03T12:02"));
    assert_eq!(remind(&case, "d7", "2026-11-03T12:03"), Err(ReminderRefusal::StepDone));
}
