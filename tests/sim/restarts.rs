//! The only process is killed and restarted several times in quick succession, while providers are slow to answer. It
//! checks I15: what was in flight at a restart ends soon after the last one, and no restart delays anything.

use domain::ports::CommunicationKey;
use events::CommunicationEvent;
use serde_json::json;
use tests::rng::SeededRng;

use crate::T0;
use crate::actions::{Action, contact};
use crate::bugs::Bug;
use crate::simulation::Simulation;
use crate::world::World;

const SEEDS: u64 = 40;
const MESSAGES: usize = 24;
/// How long after the last restart an attempt that was open then must have ended: the wait for evidence, and 10 s.
const END_WITHIN_MS: i64 = domain::policy::EVIDENCE_WAIT_MS + 10_000;

/// Runs one seed. Returns how many attempts were open at the last restart.
fn run(seed: u64, bug: Option<Bug>) -> Result<usize, String> {
    let world = World::new(seed, T0);
    let mut rng = SeededRng::new(seed);
    {
        let mut state = world.state();
        state.faults = false;
        state.is_silent = true;
        state.is_slow = true;
        state.bug = bug;
    }
    let send = |n: usize| {
        let policy = if n.is_multiple_of(3) { "hold" } else { "resend" };
        let body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "S", "content": "C",
            "inDoubt": policy,
        });
        (T0 + 800 * n as i64, Action::Send { n, body })
    };
    let mut simulation = Simulation::of(world, (0..MESSAGES).map(send).collect());
    // While a slow provider is called, the other messages of a batch would not go on either.
    simulation.batch = 1;
    let mut at = T0 + 2_000 + rng.below(15_000) as i64;
    for _ in 0..1 + rng.below(6) {
        simulation.restarts.push(at);
        at += 500 + rng.below(9_000) as i64;
    }
    let last = simulation.restarts.last().copied().unwrap_or(T0);
    simulation.run()?;
    let state = simulation.world.state();
    let mut open = 0;
    for key in state.communications() {
        open += check_attempts(&key, &state.history(&key.stream_id()), last)?;
    }
    Ok(open)
}

/// Returns how many attempts were open at the last restart.
fn check_attempts(key: &CommunicationKey, lines: &[String], last: i64) -> Result<usize, String> {
    let mut open = 0;
    let mut begun: Option<u16> = None;
    for line in lines {
        let record = events::decode::<CommunicationEvent>(line).map_err(|error| format!("I5: {error}"))?;
        let at = record.meta.at.0;
        match record.event {
            CommunicationEvent::DeliveryAttemptStarted { attempt, .. } => begun = (at < last).then_some(attempt),
            CommunicationEvent::DeliveryAttemptAccepted { attempt, .. }
            | CommunicationEvent::DeliveryAttemptRefused { attempt, .. }
            | CommunicationEvent::DeliveryAttemptResolved { attempt, .. }
                if begun == Some(attempt) =>
            {
                begun = None;
                open += usize::from(last <= at);
                if last + END_WITHIN_MS < at {
                    let late_s = (at - last) / 1_000;
                    return Err(format!(
                        "I15: attempt {attempt} of {} ended {late_s} s after the last restart",
                        key.id
                    ));
                }
            }
            _ => (),
        }
    }
    Ok(open)
}

#[test]
fn what_was_in_flight_ends_soon_after_the_last_of_many_restarts() {
    let open: usize = (0..SEEDS).map(|seed| run(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"))).sum();
    println!("{SEEDS} seeds, {open} attempts open at the last restart");
    assert!(open > 0, "some attempts must be open at the last restart");
}

#[test]
fn every_planted_bug_of_restarts_is_found() {
    for bug in [Bug::RestartMovesTimers, Bug::LeasesOutliveRestart] {
        let found = (0..SEEDS).find_map(|seed| run(seed, Some(bug)).err().map(|why| (seed, why)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
        println!("{bug:?}: found with seed {seed}: {why}");
        assert!(why.starts_with("I15"), "{bug:?} was found by another invariant: {why}");
    }
}
