//! The invariants that compare a stream with what the provider saw: one code for the simulation and for chaos.
//! `audit` has those that the store can be asked about by itself.

use domain::communication::{Communication, Lifecycle, State, audit_attempts, evolve};
use domain::ports::CommunicationKey;
use domain::quiet_hours;
use events::RateLimit;
use events::{CommunicationEvent, InDoubtPolicy, RecordedEvent, Timestamp};

/// A call that reached the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub at: i64,
    /// Whether it took the message.
    pub taken: bool,
}

/// One communication, from both sides.
pub struct CommunicationTrace<'a> {
    pub key: &'a CommunicationKey,
    pub lines: &'a [String],
    pub sends: &'a [Sent],
}

impl CommunicationTrace<'_> {
    fn records(&self) -> Result<Vec<RecordedEvent>, String> {
        let records: Result<_, _> = self.lines.iter().map(|line| events::decode(line)).collect();
        records.map_err(|error| format!("I5: {error}"))
    }

    pub fn contact_hash(&self) -> String {
        let records = self.records().unwrap_or_default();
        match records.first().map(|record| &record.event) {
            Some(CommunicationEvent::CommunicationRequested(request)) => request.contact_hash.clone(),
            _ => String::new(),
        }
    }
}

/// # Errors
///
/// The first invariant that does not hold. `opted_out`: since when its address was not to be written to. `slack_ms`: how
/// long a worker may take from its last look to its claim.
pub fn check(life: &CommunicationTrace<'_>, opted_out: Option<i64>, slack_ms: i64) -> Result<(), String> {
    let records = life.records()?;
    let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
    let communication = state.requested().map_err(|error| format!("I5: {error}"))?;
    if !communication.is_complete() {
        return Err("I1: it is not finished".to_owned());
    }
    let taken = life.sends.iter().filter(|sent| sent.taken).count();
    let broken = [
        sent_too_often(&records, communication, taken),
        status_contradicts_provider(communication, taken),
        early(communication, life.sends),
        sent_in_quiet_hours(&records, communication, slack_ms),
        against_an_opt_out(&records, opted_out, slack_ms),
    ];
    match broken.into_iter().flatten().next() {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    }
}

/// I2: one send, and one more for each attempt that the log says nobody could decide; of `hold` one, and one more each time
/// that a person asked for it again.
fn sent_too_often(records: &[RecordedEvent], communication: &Communication, taken: usize) -> Option<&'static str> {
    let asked_again = records.iter().filter(|r| matches!(r.event, CommunicationEvent::RetryRequested { .. })).count();
    let undecided = audit_attempts(records).undecided;
    let limit = match communication.request.in_doubt {
        InDoubtPolicy::Resend => 1 + undecided,
        InDoubtPolicy::Hold => 1 + asked_again.min(undecided),
    };
    (taken > limit).then_some("I2: sent more often than the log explains")
}

/// I3: the end that is shown is what the provider saw.
fn status_contradicts_provider(communication: &Communication, taken: usize) -> Option<&'static str> {
    match communication.lifecycle {
        Lifecycle::Cancelled | Lifecycle::Suppressed(_) if taken > 0 => Some("I3: said not to be sent, and was"),
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) if taken > 0 && !communication.maybe_sent => {
            Some("I3: said to have failed, may have arrived, and does not say so")
        }
        Lifecycle::Sent if taken == 0 => Some("I3: said to be sent, and was not"),
        _ => None,
    }
}

/// I7: never before its time.
fn early(communication: &Communication, sends: &[Sent]) -> Option<&'static str> {
    let due = communication.due_at?;
    sends.iter().any(|sent| sent.at < due.0).then_some("I7: sent before its time")
}

/// I7: no attempt begins well within quiet hours.
fn sent_in_quiet_hours(
    records: &[RecordedEvent],
    communication: &Communication,
    slack_ms: i64,
) -> Option<&'static str> {
    let begun =
        records.iter().filter(|record| matches!(record.event, CommunicationEvent::DeliveryAttemptStarted { .. }));
    let quiet = |at: Timestamp| quiet_hours::release_time(&communication.request, at).is_some();
    let mut within = begun.filter(|record| quiet(record.meta.at) && quiet(record.meta.at - slack_ms));
    within.next().map(|_| "I7: an attempt in quiet hours")
}

/// I9: no attempt begins once an opt-out has been known for longer than an invocation.
fn against_an_opt_out(records: &[RecordedEvent], opted_out: Option<i64>, slack_ms: i64) -> Option<&'static str> {
    let known = opted_out? + slack_ms;
    let after = |record: &RecordedEvent| {
        matches!(record.event, CommunicationEvent::DeliveryAttemptStarted { .. }) && known < record.meta.at.0
    };
    records.iter().any(after).then_some("I9: an attempt against a known opt-out")
}

/// I11: a provider is called no more often than its burst and its rate allow. A token is used within `slack_ms`.
///
/// # Errors
///
/// The first stretch of time with too many calls.
pub fn arrivals(config: &str, mut times: Vec<i64>, rate: RateLimit, slack_ms: i64) -> Result<(), String> {
    times.sort_unstable();
    for (first, from) in times.iter().enumerate() {
        for (last, to) in times.iter().enumerate().skip(first + rate.burst as usize) {
            let count = (last - first + 1) as i64;
            let allowed = i64::from(rate.burst) + (to - from + slack_ms) * i64::from(rate.per_second) / 1_000;
            if allowed < count {
                return Err(format!(
                    "I11: {config} was called {count} times in {} ms, {allowed} are allowed",
                    to - from
                ));
            }
        }
    }
    Ok(())
}
