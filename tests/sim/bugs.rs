//! Tests the checker: bugs planted at the ports have the effect on the real handlers that the same bug inside them
//! would have. Production code has no switch for them. Each must be found by the invariant that it breaks.

use domain::ports::{AppendRequest, Listing, Stream};
use events::{CommunicationEvent, CommunicationId, Timestamp};

use crate::T0;
use crate::actions::plan;
use crate::simulation::Simulation;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A worker ignores the lease of another one, and appends without checking the version.
    LeaseIgnored,
    /// A timeout is recorded as a refusal.
    AmbiguousIsFailed,
    /// Rows and counters are not written in one transaction.
    CountersApart,
    /// A retry sets no timer.
    RetryWithoutTimer,
    /// A cancellation wins even while an attempt is open.
    CancelUnguarded,
    /// `maybe_sent` is lost once the attempt in doubt is resolved.
    MaybeSentForgotten,
    /// A worker appends after a conflict without reading the stream again.
    NoReRead,
    /// Attempts are exhausted while one is in doubt, and the dead letter does not record that it may have been sent.
    ExhaustedInDoubt,
    /// The timer is dropped once a hint has been sent.
    HintsAreTruth,
    /// The suppression list is not checked.
    OptOutIgnored,
    /// The addresses of a person who opts out are not linked to the person.
    AddressNotLinked,
    /// Each process has its own rate limiter.
    LimitsNotShared,
    /// Priorities are ignored.
    PriorityIgnored,
    /// The scheduled time is ignored.
    SentEarly,
    /// Quiet hours are ignored.
    QuietIgnored,
    /// The workers do not see that a channel is paused.
    ChannelPauseIgnored,
    /// The fallback is triggered, but its timer is lost.
    FallbackForgotten,
    /// The fallback's communication is recorded as created, and is not.
    FallbackNotCreated,
    /// A roll-over loses the events that it should move.
    ChunksLost,
    /// A snapshot differs from the state of its events.
    SnapshotWrong,
    /// Lists do not include new streams.
    ListingForgotten,
    /// Once the process function has set a schedule's timer, the timer is lost.
    ScheduleTimerLost,
    /// The process function does not see that a schedule is paused.
    PauseIgnored,
    /// Every catch-up window is seven days.
    CatchUpWindowIgnored,
    /// Occurrences that were missed are counted wrongly.
    MissedMiscounted,
    /// The clock of the process function is ahead.
    ProcessClockAhead,
    /// Events that were moved out of a stream's item count against its limit, so a full history refuses every event.
    HistoryFull,
    /// A restart moves the timers that it sees.
    RestartMovesTimers,
    /// A restart waits for the leases of the workers that ended.
    LeasesOutliveRestart,
    /// A business event is acknowledged, but not stored.
    EventNotStored,
    /// A business event is stored without a timer.
    EventTimerLost,
    /// The data of a business event is not in the vault when the event is stored.
    EventDataLost,
    /// The bytes of a printed invoice are not stored.
    DocumentLost,
    /// An attempt is claimed although an invoice that it speaks of has changed.
    ClaimUnconditional,
    /// A message says what was owed before the payments.
    WordsAsAccepted,
    /// A fallback is sent even if its invoices are settled.
    FallbackUnconditional,
    /// Reminders leave at their time in UTC.
    ZoneDropped,
    /// Days are counted as 24 hours.
    DaysOf24Hours,
    /// Each invoice opens a notice of its own.
    NoticeIdRandom,
    /// A step joins a notice that is closed.
    JoinsClosedNotice,
    /// A step is recorded as issued, and its message is not stored.
    IssuedBeforeSent,
    /// Of two facts the one that arrives last applies.
    LastFactByArrival,
    /// A step is postponed and its timer is lost.
    PostponedWithoutTimer,
    /// A payment that is told twice counts twice.
    PaymentsWithoutIds,
    /// Switching collections on begins with every invoice.
    EverythingAdopted,
    /// A backfill takes as many invoices a day as it likes.
    PerDayIgnored,
    /// A backfill that was stopped goes on.
    StopIgnored,
    /// A backfill plans invoices and its timer is lost.
    BackfillForgotten,
    /// A backfill is confirmed although another one has taken its claim over.
    BackfillClaimIgnored,
    /// The check that finds lost timers does not run.
    CheckLost,
    /// A payment link seems to be valid for another year.
    LinkNotRenewed,
    /// A payment link seems to have expired.
    LinkAlwaysNew,
    /// A request to send an invoice is stored without a timer.
    SendingTimerLost,
    /// What the bus did not take is not put again.
    FailedEntriesUnread,
}

/// Bugs of communications, each with the invariants that may be the first to find it.
const PLANTED: [(Bug, &[&str]); 16] = [
    (Bug::LeaseIgnored, &["I2", "I4"]),
    (Bug::AmbiguousIsFailed, &["I2", "I3"]),
    (Bug::CountersApart, &["I6"]),
    (Bug::RetryWithoutTimer, &["I1"]),
    (Bug::CancelUnguarded, &["I3", "I12"]),
    (Bug::MaybeSentForgotten, &["I3"]),
    (Bug::NoReRead, &["I2", "I4"]),
    (Bug::ExhaustedInDoubt, &["I3"]),
    (Bug::HintsAreTruth, &["I1"]),
    (Bug::OptOutIgnored, &["I9"]),
    (Bug::AddressNotLinked, &["I9"]),
    (Bug::LimitsNotShared, &["I11"]),
    (Bug::SentEarly, &["I7"]),
    (Bug::QuietIgnored, &["I7"]),
    (Bug::FallbackForgotten, &["I1"]),
    (Bug::FallbackNotCreated, &["I13"]),
];

/// Number of seeds within which each bug must be found.
const SEEDS: u64 = 100;

fn is(line: &str, event: &str) -> bool {
    line.starts_with(&format!(r#"{{"type":"{event}""#))
}

/// Whether a person stops a backfill.
fn is_stop(line: &str) -> bool {
    is(line, "BackfillEnded") && line.contains(r#""reason":"stopped""#)
}

/// Whether an event sets the rules of reminders.
fn is_rule(line: &str) -> bool {
    is(line, "CollectionSettingsChanged") || is(line, "DebtorChanged")
}

/// Changes the data of an encoded event.
fn edit(line: &mut String, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    change(event["data"].as_object_mut().expect("data"));
    // The type must stay the first field, because `is` compares the beginning of the line.
    let kind = event["type"].clone();
    event.as_object_mut().expect("an event").remove("type");
    *line = format!("{{\"type\":{kind},{}", &event.to_string()[1..]);
}

impl Bug {
    /// Changes a stream as the function reads it.
    pub fn read(self, function_name: &str, stream: &mut Stream) {
        match self {
            Bug::LeaseIgnored
                if function_name == "deliver"
                    && stream.lines.last().is_some_and(|line| is(line, "DeliveryAttemptStarted")) =>
            {
                stream.lines.pop();
                stream.version -= 1;
            }
            Bug::LeasesOutliveRestart
                if function_name == "resume"
                    && stream.lines.last().is_some_and(|line| is(line, "DeliveryAttemptStarted")) =>
            {
                stream.lines.pop();
                stream.version -= 1;
            }
            Bug::MaybeSentForgotten => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "DeliveryAttemptResolved")) {
                    *line = line.replace(r#""outcome":"unknown""#, r#""outcome":"not_accepted""#);
                }
            }
            Bug::SentEarly if function_name == "deliver" => {
                for line in &mut stream.lines {
                    edit(line, |data| {
                        data.remove("scheduled_at");
                    });
                }
                stream.lines.iter_mut().filter(|line| is(line, "CommunicationRescheduled")).for_each(|line| {
                    edit(line, |data| drop(data.insert("scheduled_at".to_owned(), 0.into())));
                });
            }
            Bug::PriorityIgnored if function_name == "deliver" => {
                for line in &mut stream.lines {
                    *line = line.replace(r#""priority":"urgent""#, r#""priority":"low""#);
                }
            }
            Bug::PauseIgnored if function_name == "process" => {
                stream.lines.retain(|line| !is(line, "SchedulePaused"));
            }
            Bug::CatchUpWindowIgnored if function_name == "process" => {
                for line in &mut stream.lines {
                    *line = line.replace(r#""window_ms":86400000"#, r#""window_ms":604800000"#);
                    *line = line.replace(r#""window_ms":7200000"#, r#""window_ms":604800000"#);
                }
            }
            Bug::WordsAsAccepted if function_name == "deliver" => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "PaymentRecorded")) {
                    edit(line, |data| drop(data.insert("amount".to_owned(), 1.into())));
                }
            }
            Bug::ZoneDropped => {
                for line in stream.lines.iter_mut().filter(|line| is_rule(line)) {
                    for zone in
                        ["America/New_York", "Europe/Berlin", "Australia/Sydney", "America/Mexico_City", "Asia/Kolkata"]
                    {
                        *line = line.replace(zone, "UTC");
                    }
                }
            }
            Bug::DaysOf24Hours => {
                for line in stream.lines.iter_mut().filter(|line| is_rule(line)) {
                    *line = line.replace("America/New_York", "Etc/GMT+5").replace("Australia/Sydney", "Etc/GMT-11");
                }
            }
            Bug::JoinsClosedNotice if stream.lines.iter().any(|line| is(line, "NoticeDone")) => {
                stream.lines.retain(|line| !is(line, "NoticeClosed"));
            }
            Bug::EverythingAdopted => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "CollectionsEnabled")) {
                    edit(line, |data| drop(data.insert("from".to_owned(), "2000-01-01".into())));
                }
            }
            Bug::PerDayIgnored if function_name == "process" => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "BackfillConfirmed")) {
                    edit(line, |data| drop(data.insert("per_day".to_owned(), 1_000.into())));
                }
            }
            Bug::StopIgnored if function_name == "process" => {
                stream.lines.retain(|line| !is_stop(line));
            }
            Bug::LinkNotRenewed => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "PaymentLinkCreated")) {
                    edit(line, |data| {
                        let later = data["expires_at"].as_i64().expect("a time") + 366 * 24 * 3_600_000;
                        data.insert("expires_at".to_owned(), later.into());
                    });
                }
            }
            Bug::LinkAlwaysNew => {
                for line in stream.lines.iter_mut().filter(|line| is(line, "PaymentLinkCreated")) {
                    edit(line, |data| drop(data.insert("expires_at".to_owned(), 0.into())));
                }
            }
            Bug::ChannelPauseIgnored if function_name == "deliver" => {
                stream.lines.retain(|line| !is(line, "SendingPaused"));
            }
            Bug::QuietIgnored if function_name == "deliver" => {
                stream.lines.iter_mut().take(1).for_each(|line| edit(line, |data| drop(data.remove("quiet_hours"))));
            }
            _ => (),
        }
    }

    /// Changes an append before it is stored; `first` is the stream's first event.
    pub fn append(self, first: Option<&String>, append: &mut AppendRequest) {
        match self {
            Bug::RetryWithoutTimer if append.encoded_events.iter().any(|line| is(line, "DeliveryAttemptRefused")) => {
                append.wake = None;
            }
            Bug::EventNotStored if append.encoded_events.iter().any(|line| is(line, "BusinessEventReceived")) => {
                append.encoded_events.clear();
                append.wake = None;
            }
            Bug::SendingTimerLost if append.encoded_events.iter().any(|line| is(line, "InvoiceSendingRequested")) => {
                append.wake = None;
            }
            Bug::EventTimerLost if append.encoded_events.iter().any(|line| is(line, "BusinessEventReceived")) => {
                append.wake = None;
            }
            Bug::FallbackForgotten if append.encoded_events.iter().any(|line| is(line, "FallbackTriggered")) => {
                append.wake = None
            }
            Bug::FallbackNotCreated => {
                let own = |line: &String| is(line, "FallbackTriggered");
                if let Some(line) = append.encoded_events.iter().find(|line| own(line)) {
                    let meta = events::decode::<CommunicationEvent>(line).expect("an event").meta;
                    let communication = CommunicationId::generate(meta.at, 1);
                    append
                        .encoded_events
                        .push(events::encode(&CommunicationEvent::FallbackRequested { communication }, &meta));
                    append.wake = None;
                }
            }
            Bug::ChunksLost => {
                append.roll_over.iter_mut().for_each(|roll_over| roll_over.archived.clear());
            }
            Bug::SnapshotWrong => {
                if let Some(roll_over) = &mut append.roll_over {
                    roll_over.snapshot = roll_over.snapshot.replace(r#""is_active":true"#, r#""is_active":false"#);
                }
            }
            Bug::ListingForgotten => append.listing = Listing::Unchanged,
            Bug::ClaimUnconditional if append.encoded_events.iter().any(|line| is(line, "DeliveryAttemptStarted")) => {
                append.unmoved.clear();
            }
            Bug::FallbackUnconditional => {
                let fallback = |line: &String| is(line, "CommunicationRequested") && line.contains("fallback_of");
                for line in append.encoded_events.iter_mut().filter(|line| fallback(line)) {
                    edit(line, |data| drop(data.remove("unless_settled")));
                }
            }
            Bug::NoticeIdRandom => {
                for line in append.encoded_events.iter_mut().filter(|line| is(line, "ReminderStepTriggered")) {
                    let suffix = append.writer_id.clone();
                    edit(line, |data| {
                        let notice = format!("{}-{suffix}", data["notice"].as_str().expect("a notice"));
                        data.insert("notice".to_owned(), notice.into());
                    });
                }
            }
            Bug::PaymentsWithoutIds => {
                for line in append.encoded_events.iter_mut().filter(|line| is(line, "PaymentRecorded")) {
                    let payment = append.writer_id.clone();
                    edit(line, |data| drop(data.insert("payment".to_owned(), payment.into())));
                }
            }
            Bug::LastFactByArrival => {
                for line in append.encoded_events.iter_mut().filter(|line| line.contains(r#""occurred_at":"#)) {
                    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    edit(line, |data| data["source"]["occurred_at"] = event["at"].clone());
                }
            }
            Bug::PostponedWithoutTimer
                if append.encoded_events.iter().any(|line| is(line, "ReminderStepPostponed")) =>
            {
                append.wake = None;
            }
            Bug::BackfillClaimIgnored if append.encoded_events.iter().any(|line| is(line, "BackfillConfirmed")) => {
                append.unmoved.clear();
            }
            Bug::BackfillForgotten if append.encoded_events.iter().any(|line| is(line, "BackfillPagePlanned")) => {
                append.wake = None;
            }
            Bug::StopIgnored => {
                if let Some(line) = append.encoded_events.iter().find(|line| is_stop(line)) {
                    let stopped_at = events::decode::<events::BackfillEvent>(line).expect("an event").meta.at;
                    append.wake = Some(stopped_at + 60_000);
                }
            }
            Bug::MissedMiscounted => {
                let missed = append.encoded_events.iter_mut().filter(|line| is(line, "OccurrencesMissed"));
                missed.for_each(|line| edit(line, |data| drop(data.insert("count".to_owned(), 0.into()))));
            }
            Bug::CancelUnguarded => {
                for line in append.encoded_events.iter_mut().filter(|line| is(line, "CancellationRequested")) {
                    *line = line.replacen("CancellationRequested", "CommunicationCancelled", 1);
                    append.wake = None;
                }
            }
            Bug::ExhaustedInDoubt if first.is_some_and(|first| first.contains(r#""max_attempts":1,"#)) => {
                let doubts = append.encoded_events.iter().any(|line| is(line, "DeliveryAttemptInDoubt"));
                let settled = append.encoded_events.iter().any(|line| is(line, "DeliveryAttemptResolved"));
                if doubts && !settled {
                    let meta = events::decode::<CommunicationEvent>(&append.encoded_events[0]).expect("an event").meta;
                    let reason = events::DeadLetterReason::RetriesExhausted;
                    let dead = events::CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent: false };
                    append.encoded_events.push(events::encode(&dead, &meta));
                    append.wake = None::<Timestamp>;
                }
            }
            _ => (),
        }
    }

    /// Whether an append is acknowledged and not stored.
    pub fn loses_append(self, function_name: &str, append: &AppendRequest) -> bool {
        let is_request = append.encoded_events.iter().any(|line| is(line, "CommunicationRequested"));
        self == Bug::IssuedBeforeSent && function_name == "process" && is_request
    }

    /// How far a function's clock is ahead, in milliseconds.
    pub fn clock_ahead_ms(self, function_name: &str) -> i64 {
        if self == Bug::ProcessClockAhead && function_name == "process" { 20 * 60_000 } else { 0 }
    }

    /// Whether a timer that the function sets is lost.
    pub fn loses_timer(self, function_name: &str) -> bool {
        self == Bug::HintsAreTruth || self == Bug::ScheduleTimerLost && function_name == "process"
    }

    /// Whether the function appends without checking the version.
    pub fn is_blind(self, function_name: &str) -> bool {
        matches!(self, Bug::NoReRead | Bug::LeaseIgnored) && function_name == "deliver"
    }
}

#[test]
fn every_planted_bug_is_found_by_the_invariant_that_it_breaks() {
    let mut failures = Vec::new();
    for (bug, invariants) in PLANTED {
        let found = (0..SEEDS).find_map(|seed| {
            let world = World::new(seed, T0);
            let actions = plan(&world, seed);
            world.state().bug = Some(bug);
            let mut simulation = Simulation::of(world, actions);
            simulation.run().err().map(|why| (seed, why))
        });
        match found {
            Some((seed, why)) => {
                let name = why.split([':', ' ']).next().unwrap_or_default().to_owned();
                println!("{bug:?}: found by {name} with seed {seed}: {}", why.lines().next().unwrap_or_default());
                if !invariants.contains(&name.as_str()) {
                    failures.push(format!("{bug:?} was found by {name} and not by {invariants:?}"));
                }
            }
            None => failures.push(format!("{bug:?} was not found in {SEEDS} seeds")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
