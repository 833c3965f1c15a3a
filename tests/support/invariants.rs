//! The invariants that compare a stream with the calls that reached the provider, for the simulation and the chaos
//! test. The audit function checks those that need only the store.

use domain::communication::{Communication, Lifecycle, State, audit_attempts, evolve};
use domain::ports::CommunicationKey;
use domain::quiet_hours;
use events::{CommunicationEvent, InDoubtPolicy, Priority, RateLimit, RecordedEvent, Timestamp};

/// A call that reached the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub at: i64,
    /// Whether the provider accepted the message.
    pub taken: bool,
}

/// One communication: its stored events and the calls that reached the provider.
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
/// The first invariant that does not hold. `opted_out` is the time from which the address was suppressed. `slack_ms` is
/// the longest time between a worker's last read and its claim.
pub fn check(trace: &CommunicationTrace<'_>, opted_out: Option<i64>, slack_ms: i64) -> Result<(), String> {
    let records = trace.records()?;
    let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
    let communication = state.requested().map_err(|error| format!("I5: {error}"))?;
    if !communication.is_complete() {
        return Err("I1: not finished".to_owned());
    }
    let taken = trace.sends.iter().filter(|sent| sent.taken).count();
    let broken = [
        sent_too_often(&records, communication, taken),
        status_contradicts_provider(communication, taken),
        sent_early(communication, trace.sends),
        sent_in_quiet_hours(&records, communication, slack_ms),
        sent_despite_opt_out(&records, opted_out, slack_ms),
    ];
    match broken.into_iter().flatten().next() {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    }
}

/// I2: one send, and one more for each attempt whose outcome stayed unknown. With the policy `hold`, such a further
/// send also needs a retry requested by a person.
fn sent_too_often(records: &[RecordedEvent], communication: &Communication, taken: usize) -> Option<&'static str> {
    let asked_again = records.iter().filter(|r| matches!(r.event, CommunicationEvent::RetryRequested { .. })).count();
    let undecided = audit_attempts(records).undecided;
    let limit = match communication.request.in_doubt {
        InDoubtPolicy::Resend => 1 + undecided,
        InDoubtPolicy::Hold => 1 + asked_again.min(undecided),
    };
    (taken > limit).then_some("I2: sent more often than the stream explains")
}

/// I3: the final status agrees with what the provider accepted.
fn status_contradicts_provider(communication: &Communication, taken: usize) -> Option<&'static str> {
    match communication.lifecycle {
        Lifecycle::Cancelled | Lifecycle::Suppressed(_) if taken > 0 => Some("I3: recorded as not sent, but was sent"),
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) if taken > 0 && !communication.maybe_sent => {
            Some("I3: recorded as failed, but was sent, and maybe_sent is not set")
        }
        Lifecycle::Sent if taken == 0 => Some("I3: recorded as sent, but was not sent"),
        _ => None,
    }
}

/// I7: nothing is sent before its due time.
fn sent_early(communication: &Communication, sends: &[Sent]) -> Option<&'static str> {
    let due = communication.due_at?;
    sends.iter().any(|sent| sent.at < due.0).then_some("I7: sent before its due time")
}

/// I7: no attempt begins in quiet hours, unless they began within the last `slack_ms`.
fn sent_in_quiet_hours(
    records: &[RecordedEvent],
    communication: &Communication,
    slack_ms: i64,
) -> Option<&'static str> {
    let begun =
        records.iter().filter(|record| matches!(record.event, CommunicationEvent::DeliveryAttemptStarted { .. }));
    let quiet = |at: Timestamp| quiet_hours::release_time(&communication.request, at).is_some();
    let mut within = begun.filter(|record| quiet(record.meta.at) && quiet(record.meta.at - slack_ms));
    within.next().map(|_| "I7: an attempt began in quiet hours")
}

/// I9: no attempt begins later than `slack_ms` after an opt-out.
fn sent_despite_opt_out(records: &[RecordedEvent], opted_out: Option<i64>, slack_ms: i64) -> Option<&'static str> {
    let latest = opted_out? + slack_ms;
    let after = |record: &RecordedEvent| {
        matches!(record.event, CommunicationEvent::DeliveryAttemptStarted { .. }) && latest < record.meta.at.0
    };
    records.iter().any(after).then_some("I9: an attempt began after an opt-out")
}

/// I11: a provider is called no more often than its burst and rate allow. A worker may use a token up to `slack_ms`
/// late.
///
/// # Errors
///
/// The first period with too many calls.
pub fn arrivals(config: &str, mut times: Vec<i64>, rate: RateLimit, slack_ms: i64) -> Result<(), String> {
    times.sort_unstable();
    for (first, from) in times.iter().enumerate() {
        for (last, to) in times.iter().enumerate().skip(first + rate.burst as usize) {
            let count = (last - first + 1) as i64;
            let allowed = i64::from(rate.burst) + (to - from + slack_ms) * i64::from(rate.per_second) / 1_000;
            if allowed < count {
                return Err(format!(
                    "I11: {config} was called {count} times in {} ms, but only {allowed} are allowed",
                    to - from
                ));
            }
        }
    }
    Ok(())
}

/// A message with the times at which it was due and sent.
#[derive(Debug, Clone, Copy)]
pub struct SentMessage {
    pub priority: Priority,
    pub due: i64,
    pub sent: i64,
}

/// I37: while an urgent message waits, at most `bound` less urgent ones are sent with the same configuration.
///
/// # Errors
///
/// The first urgent message that was overtaken by more.
pub fn urgent_first(messages: &[SentMessage], bound: usize) -> Result<(), String> {
    for urgent in messages.iter().filter(|message| message.priority == Priority::Urgent) {
        let overtakes = |other: &&SentMessage| {
            other.priority < Priority::Urgent && urgent.due < other.sent && other.sent < urgent.sent
        };
        let count = messages.iter().filter(overtakes).count();
        if bound < count {
            return Err(format!("I37: {count} less urgent messages were sent before {urgent:?}"));
        }
    }
    Ok(())
}
