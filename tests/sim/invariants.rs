//! What must be true once it has come to rest, read from the streams and from what the provider saw.

use std::collections::BTreeMap;

use domain::communication::{Communication, Lifecycle, State, evolve};
use domain::ports::StreamKey;
use events::{DoubtPolicy, Event, Outcome, Recorded};

use crate::world::World;

/// How long one invocation may run: an opt-out that comes within it may be overtaken.
const INVOCATION_MS: i64 = 30_000;

/// # Errors
///
/// The first invariant that does not hold, with the stream.
pub fn check(world: &World, accepted: &BTreeMap<usize, StreamKey>) -> Result<(), String> {
    let inside = world.inside();
    for (n, key) in accepted {
        let Some((stream, ..)) = inside.streams.get(key) else {
            return Err(format!("I1: {n} was accepted and is gone"));
        };
        let records: Result<Vec<Recorded>, _> = stream.lines.iter().map(|line| events::decode(line)).collect();
        let records = records.map_err(|error| format!("I5: {n}: {error}"))?;
        let told = |why: &str| {
            let names: Vec<_> = records.iter().map(|record| (record.meta.at.0, &record.event)).collect();
            format!("{why}: {n} {}\n{names:#?}", key.id)
        };
        if stream.version != records.len() as u64 {
            return Err(told("I5: the position is not the number of events"));
        }
        let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
        let Ok(communication) = state.requested() else { return Err(told("I5: it does not begin with a request")) };
        if !communication.is_finished() || stream.wake.is_some() {
            return Err(told("I1: it is not finished, or has a timer all the same"));
        }
        let mine = inside.deliveries.iter().filter(|delivery| delivery.attempt.communication == key.id);
        let sends: Vec<i64> = mine.map(|delivery| delivery.at).collect();
        let contact = (key.tenant.to_string(), communication.request.contact_hash.clone());
        let opted_out = inside.suppressed.get(&contact).copied();
        let broken = [
            sent_too_often(&records, communication, sends.len()),
            untrue(communication, sends.len()),
            overlapping(&records),
            early(communication, &sends),
            against_an_opt_out(&records, opted_out),
        ];
        if let Some(why) = broken.into_iter().flatten().next() {
            return Err(told(why));
        }
    }
    Ok(())
}

/// I2: one send, and one more for each attempt that the log says nobody could decide.
fn sent_too_often(records: &[Recorded], communication: &Communication, sends: usize) -> Option<&'static str> {
    let unknown =
        |record: &&Recorded| matches!(record.event, Event::DeliveryAttemptResolved { outcome: Outcome::Unknown, .. });
    let undecided = records.iter().filter(unknown).count();
    let most = match communication.request.in_doubt {
        DoubtPolicy::Resend => 1 + undecided,
        DoubtPolicy::Hold => 1,
    };
    (sends > most).then_some("I2: sent more often than the log explains")
}

/// I3: the end that is shown is what the provider saw.
fn untrue(communication: &Communication, sends: usize) -> Option<&'static str> {
    match communication.lifecycle {
        Lifecycle::Cancelled | Lifecycle::Suppressed(_) if sends > 0 => Some("I3: said not to be sent, and was"),
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) if sends > 0 && !communication.maybe_sent => {
            Some("I3: said to have failed, may have arrived, and does not say so")
        }
        Lifecycle::Sent if sends == 0 => Some("I3: said to be sent, and was not"),
        _ => None,
    }
}

/// I4: an attempt begins only after the one before it has ended, by an answer or by the end of its doubt.
fn overlapping(records: &[Recorded]) -> Option<&'static str> {
    let mut open = None;
    for record in records {
        match &record.event {
            Event::DeliveryAttemptStarted { attempt, .. } => {
                if open.is_some() {
                    return Some("I4: an attempt began while another was open");
                }
                open = Some(*attempt);
            }
            Event::DeliveryAttemptAccepted { attempt, .. }
            | Event::DeliveryAttemptRefused { attempt, .. }
            | Event::DeliveryAttemptResolved { attempt, .. }
                if open == Some(*attempt) =>
            {
                open = None;
            }
            _ => (),
        }
    }
    None
}

/// I7: never before its time.
fn early(communication: &Communication, sends: &[i64]) -> Option<&'static str> {
    let due = communication.due_at?;
    sends.iter().any(|at| *at < due.0).then_some("I7: sent before its time")
}

/// I9: no attempt begins once an opt-out has been known for longer than an invocation.
fn against_an_opt_out(records: &[Recorded], opted_out: Option<i64>) -> Option<&'static str> {
    let known = opted_out? + INVOCATION_MS;
    let after =
        |record: &Recorded| matches!(record.event, Event::DeliveryAttemptStarted { .. }) && known < record.meta.at.0;
    records.iter().any(after).then_some("I9: an attempt against a known opt-out")
}
