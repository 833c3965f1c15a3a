//! Faults at every I/O in the life of one communication: each single fault, and pairs of faults.
//!
//! `golden.txt` lists the single faults after which a communication may be sent twice. These are only the documented
//! ones: the provider accepted the message, and the process died or the answer was lost before the outcome was stored.
//!
//! By default one pair in [`EVERY_NTH_PAIR`] is run. `SIM_EVERY_NTH_PAIR=1` runs all.

use std::collections::BTreeSet;

use events::Timestamp;
use serde_json::{Value, json};

use crate::T0;
use crate::actions::{Action, contact};
use crate::seeds::env_number;
use crate::simulation::Simulation;
use crate::world::{Fault, World};

const FAULTS: [Fault; 4] = [Fault::Error, Fault::ErrorBeforeEffect, Fault::ErrorAfterEffect, Fault::Kill];
/// The second fault is tried at fewer than this many I/Os after the first.
const MAX_FAULT_POSITION: usize = 45;

/// In this scenario the first provider is always down.
const FAILOVER: &str = "failover";
/// In this scenario no report arrives, so the fallback channel sends too.
const FALLBACK: &str = "fallback";

/// Each scenario's name and actions. It is about one communication.
fn scenarios() -> Vec<(&'static str, Vec<(i64, Action)>)> {
    let body = |more: Value| {
        let mut body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(0), "subject": "S", "content": "C",
        });
        more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
        body
    };
    let send = |more| (T0, Action::Send { n: 0, body: body(more) });
    let later = api::fields::show_time(Timestamp(T0 + 90_000));
    let next = json!({ "channel": "email", "recipientContact": contact(2), "after": "2m" });
    vec![
        ("sent again when in doubt", vec![send(json!({}))]),
        ("held when in doubt", vec![send(json!({ "inDoubt": "hold" }))]),
        ("one attempt", vec![send(json!({ "maxAttempts": 1 }))]),
        ("scheduled", vec![send(json!({ "scheduledAt": later }))]),
        ("cancelled", vec![send(json!({})), (T0 + 100, Action::Cancel { n: 0 })]),
        ("quiet hours", vec![send(json!({ "quietHours": { "start": "07:00", "end": "08:02", "timeZone": "UTC" } }))]),
        (FAILOVER, vec![send(json!({}))]),
        ("own channel", vec![(T0, Action::Send { n: 1, body: body(json!({})) })]),
        (FALLBACK, vec![send(json!({ "fallback": [next] }))]),
        ("opted out", vec![send(json!({})), (T0 + 100, Action::OptOut { n: 0 })]),
    ]
}

/// Runs a scenario with these faults. Returns its I/Os and how often a provider accepted a message. Callbacks never
/// come, which is the worst case. Runs with two faults have no projections, because these change no stream.
fn run(
    name: &str,
    actions: &[(i64, Action)],
    faults: &[(usize, Fault)],
    projects: bool,
) -> Result<(Vec<String>, usize), String> {
    let world = World::new(1, T0);
    if name == FAILOVER {
        world.state().outages.push(("sim-a".to_owned(), T0, i64::MAX));
    }
    {
        let mut state = world.state();
        state.faults = false;
        state.is_silent = true;
        state.projects = projects;
        state.script = faults.iter().copied().collect();
    }
    let mut simulation = Simulation::of(world, actions.to_vec());
    // One message at a time, so that each I/O belongs to it.
    simulation.batch = 1;
    let figures = simulation.run()?;
    let trace = std::mem::take(&mut simulation.world.state().trace);
    Ok((trace, figures.sends))
}

fn replay(name: &str, faults: &[(usize, Fault)], trace: &[String]) -> String {
    let placed: Vec<_> = faults.iter().map(|(at, fault)| format!("{fault:?} at {at} ({})", trace[*at])).collect();
    format!("{name}: {}", placed.join(", "))
}

#[test]
fn one_fault_anywhere_breaks_no_invariant_and_duplicates_only_in_the_documented_cases() {
    let mut duplicates = BTreeSet::new();
    let mut runs = 0;
    for (name, actions) in scenarios() {
        let (fault_free, sends) = run(name, &actions, &[], true).expect("a run without faults");
        let once = if name == FALLBACK { 2 } else { 1 };
        assert!(sends <= once, "{name}");
        for at in 0..fault_free.len() {
            for fault in FAULTS {
                let faults = [(at, fault)];
                let (_, sends) = run(name, &actions, &faults, true)
                    .unwrap_or_else(|why| panic!("{}: {why}", replay(name, &faults, &fault_free)));
                runs += 1;
                if sends > once {
                    duplicates.insert(format!("{name}: {} at {}", fault.golden_name(), fault_free[at]));
                }
            }
        }
    }
    println!("{runs} runs with one fault");
    let found: Vec<String> = duplicates.into_iter().collect();
    let golden: Vec<&str> = include_str!("golden.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(found, golden, "the single faults after which a communication may be sent twice");
}

/// One pair in this many is run by default. It is a prime, so the sample shifts from one first fault to the next and
/// has each kind of fault as the first and as the second.
const EVERY_NTH_PAIR: u64 = 17;

#[test]
fn two_faults_anywhere_break_no_invariant() {
    let every_nth = env_number("SIM_EVERY_NTH_PAIR").unwrap_or(EVERY_NTH_PAIR).max(1);
    let (mut pairs, mut runs, mut first_faults) = (0_u64, 0_u64, 0);
    for (name, actions) in scenarios() {
        let (fault_free, _) = run(name, &actions, &[], false).expect("a run without faults");
        for first in 0..fault_free.len() {
            for fault in FAULTS {
                let one = [(first, fault)];
                let (trace, _) = run(name, &actions, &one, false)
                    .unwrap_or_else(|why| panic!("{}: {why}", replay(name, &one, &fault_free)));
                first_faults += 1;
                for second in first + 1..trace.len().min(first + MAX_FAULT_POSITION) {
                    for next_fault in FAULTS {
                        pairs += 1;
                        if !pairs.is_multiple_of(every_nth) {
                            continue;
                        }
                        runs += 1;
                        let both = [(first, fault), (second, next_fault)];
                        if let Err(why) = run(name, &actions, &both, false) {
                            panic!("{}: {why}", replay(name, &both, &trace));
                        }
                    }
                }
            }
        }
    }
    println!("{runs} of {pairs} pairs of faults, and each of {first_faults} first faults alone");
}
