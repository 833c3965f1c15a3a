//! The invariants that hold once everything is at rest, checked on the streams and on what the providers received.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::consent::preferences_stream;
use application::hash::contact_hash;
use audit::AuditHandler;
use domain::aggregate::AggregateKey;
use domain::communication::{FallbackState, State, evolve};
use domain::ports::CommunicationKey;
use events::{PreferenceEvent, RecordedEvent, TenantId};
use tests::invariants::{CommunicationTrace, Sent, arrivals, check};

use crate::actions::{contact, person, tenant};
use crate::world::{World, WorldState, as_current_version};
use crate::{COMMUNICATIONS, RATE, run_to_end};

/// Longest run of an invocation, in milliseconds. An opt-out during it may come too late, and a token is used within
/// it.
const INVOCATION_MS: i64 = 30_000;

/// # Errors
///
/// The first invariant that does not hold, with the stream.
pub fn check_all(world: &World, accepted: &BTreeMap<usize, CommunicationKey>) -> Result<(), String> {
    check_audit(world)?;
    let state = world.state();
    if let Some((n, _)) = accepted.iter().find(|(_, key)| !state.streams.contains_key(&key.stream_id())) {
        return Err(format!("I1: {n} was accepted, but its stream is missing"));
    }
    check_fallback_chains(&state)?;
    let people_opted_out = people_opted_out(&state);
    for key in state.communications() {
        let lines = current_history(&state, &key);
        let mine = state.calls.iter().filter(|call| call.attempt.communication == key.id);
        let sends: Vec<Sent> = mine.map(|call| Sent { at: call.at, taken: call.taken }).collect();
        let name = key.stream_id().storage_key();
        if let Some(call) = state.calls.iter().find(|c| c.attempt.communication == key.id && c.tenant != key.tenant) {
            return Err(format!("I10: {name} was sent for {}", call.tenant));
        }
        let trace = CommunicationTrace { key: &key, lines: &lines, sends: &sends };
        let hash = trace.contact_hash();
        let opted_out = state.suppressed.get(&(key.tenant.to_string(), hash.clone())).copied();
        let opted_out = opted_out.into_iter().chain(people_opted_out.get(&(key.tenant.clone(), hash)).copied()).min();
        check(&trace, opted_out, INVOCATION_MS).map_err(|why| format!("{why}: {name}\n{lines:#?}"))?;
    }
    for config in ["sim-a", "sim-b"] {
        let times = state.calls.iter().filter(|call| call.config == config).map(|call| call.at).collect();
        arrivals(config, times, RATE, INVOCATION_MS)?;
    }
    let personal = |text: &str| text.contains("person-");
    for id in state.streams.keys() {
        if state.history(id).iter().any(|line| personal(line)) {
            return Err(format!("I10: personal data in {}", id.storage_key()));
        }
    }
    let rows = state.rows.values().any(|row| personal(&row.body));
    let records = state.records.values().any(|record| personal(&record.body));
    if rows || records {
        return Err("I10: personal data in views or in the coordination store".to_owned());
    }
    Ok(())
}

/// When the owner of an address opted out, by tenant and hash of the address.
fn people_opted_out(state: &WorldState) -> BTreeMap<(TenantId, String), i64> {
    let opted_out = (0..COMMUNICATIONS).filter_map(|n| {
        let stream = preferences_stream(&tenant(n), &person(n)).stream_id();
        let records = state.history(&stream).into_iter().filter_map(|line| events::decode(&line).ok());
        let mut opt_outs = records
            .filter(|record: &RecordedEvent<PreferenceEvent>| matches!(record.event, PreferenceEvent::OptedOut { .. }));
        Some(((tenant(n), contact_hash(&[7; 32], &tenant(n), &contact(n))), opt_outs.next()?.meta.at.0))
    });
    opted_out.collect()
}

/// Every event of a communication, in the form that this version can read.
fn current_history(state: &WorldState, key: &CommunicationKey) -> Vec<String> {
    state.history(&key.stream_id()).iter().map(|line| as_current_version(line)).collect()
}

/// I13: a communication that names a fallback has that fallback, and every fallback is named by its predecessor.
fn check_fallback_chains(world: &WorldState) -> Result<(), String> {
    let folded = |key: &CommunicationKey| {
        let lines = current_history(world, key);
        let records = lines.iter().filter_map(|line| events::decode(line).ok());
        records.fold(State::default(), |state, record: RecordedEvent| evolve(state, &record.event))
    };
    for key in world.communications() {
        let state = folded(&key);
        let Ok(communication) = state.requested() else { continue };
        let at = |id| CommunicationKey { tenant: key.tenant.clone(), id };
        if let FallbackState::Requested(next) = communication.fallback_state
            && folded(&at(next)).requested().map(|next| next.request.fallback_of) != Ok(Some(key.id))
        {
            return Err(format!("I13: the fallback of {} does not exist or names another communication", key.id));
        }
        if let Some(other) = communication.request.fallback_of
            && folded(&at(other)).requested().map(|other| other.fallback_state) != Ok(FallbackState::Requested(key.id))
        {
            return Err(format!("I13: {} is not the fallback that its predecessor names", key.id));
        }
    }
    Ok(())
}

/// Runs the audit, which checks I1, I4, I5 and I6.
pub fn check_audit(world: &World) -> Result<(), String> {
    let port = Arc::new(world.clone());
    let audit = AuditHandler { store: port.clone(), views: port.clone(), host: port, settle_ms: 0 };
    let report = run_to_end(audit.run(None)).map_err(|error| error.to_string())?;
    let projects = world.state().projects;
    match report.findings.iter().find(|finding| projects || finding.invariant != "I6") {
        Some(first) => Err(format!("{}: {}: {}", first.invariant, first.about, first.what)),
        None => Ok(()),
    }
}
