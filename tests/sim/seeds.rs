//! Runs by seed: with faults nothing is lost, without faults nothing is late, and a seed is reproducible.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::actions::{Action, contact};
use crate::bugs::Bug;
use crate::simulation::{Figures, Simulation};
use crate::world::{Call, World};
use crate::{BATCH, COMMUNICATIONS, T0};
use events::{CommunicationId, Timestamp};
use serde_json::json;
use tests::invariants::{SentMessage, urgent_first};

/// Number of seeds that are run, unless `SIM_SEEDS` is set.
const SEEDS: u64 = 200;

/// Reads a number from the environment.
pub fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_is_sent_twice_unexplained() {
    let seeds = match env_number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env_number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (count, next) = (seeds.end - seeds.start, AtomicU64::new(seeds.start));
    let work = || {
        let mut done = Vec::new();
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
            let figures = Simulation::new(seed).run();
            done.push(figures.unwrap_or_else(|why| {
                panic!("{why}\nreplay: SIM_SEED={seed} cargo test -p tests --test sim -- --nocapture whatever");
            }));
        }
        done
    };
    let figures: Vec<Figures> = std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no seed fails")).collect()
    });
    let mut sum = Figures::default();
    for figures in figures {
        sum.communications += figures.communications;
        sum.sends += figures.sends;
        sum.failovers += figures.failovers;
        sum.duplicates += figures.duplicates;
        sum.fallbacks += figures.fallbacks;
        sum.faults += figures.faults;
        sum.kills += figures.kills;
        sum.steps += figures.steps;
    }
    println!("{count} seeds: {sum:?}");
    let reached = [sum.duplicates, sum.failovers, sum.fallbacks];
    let faults_occurred = sum.faults > 0 && sum.kills > 0;
    assert!(
        count == 1 || (faults_occurred && reached.iter().all(|n| *n > 0)),
        "the seeds must include faults, kills, duplicates, failovers and fallbacks"
    );
}

/// Without faults nothing is sent early, and nothing more than two seconds late.
#[test]
fn without_faults_everything_is_on_time() {
    let mut late: Vec<i64> = Vec::new();
    for seed in 0..10 {
        let world = World::new(seed, T0);
        let scheduled = |n: usize| {
            let due = T0 + 5_000 + (n as i64 * 7_919_003) % 3_000_000;
            let at = api::fields::show_time(Timestamp(due));
            let body = json!({
                "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "S", "content": "C",
                "scheduledAt": at,
            });
            (T0 + 10 * n as i64, Action::Send { n, body })
        };
        world.state().faults = false;
        let mut simulation = Simulation::of(world, (0..COMMUNICATIONS).map(scheduled).collect());
        simulation.run().expect("a run without faults");
        let state = simulation.world.state();
        let due = |id: CommunicationId| {
            let (_, (stream, ..)) =
                state.streams.iter().find(|(stream, _)| stream.id == id.to_string()).expect("a stream");
            match events::decode(&stream.lines[0]).expect("an event").event {
                events::CommunicationEvent::CommunicationRequested(request) => request.scheduled_at.expect("a time").0,
                other => panic!("{} comes first", other.name()),
            }
        };
        late.extend(state.calls.iter().map(|call| call.at - due(call.attempt.communication)));
    }
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    println!(
        "{} scheduled sends: late by p50 {} ms, p99 {p99} ms, at most {} ms",
        late.len(),
        late[late.len() / 2],
        late[late.len() - 1]
    );
    assert!((0..2_000).contains(&late[0]) && late[late.len() - 1] <= 2_000);
}

/// The most messages that may be sent before an urgent one that is due: those that two batches have taken, and one of
/// ten of the others.
const MAX_OVERTAKING: usize = 2 * BATCH + 2;

/// Sends eighty messages at once, and then twenty urgent ones while they wait.
fn send_urgent_behind_others(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let world = World::new(seed, T0);
    let send = |n: usize| {
        let is_urgent = n.is_multiple_of(5);
        let at = if is_urgent { T0 + 10_000 + 3_000 * (n as i64 / 5) } else { T0 + 10 * n as i64 };
        let priority = if is_urgent { "urgent" } else { ["low", "normal", "high"][n % 3] };
        let body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "S", "content": "C",
            "priority": priority,
        });
        (at, Action::Send { n, body })
    };
    let mut actions: Vec<_> = (0..COMMUNICATIONS).map(send).collect();
    actions.sort_by_key(|(at, _)| *at);
    world.state().faults = false;
    world.state().bug = bug;
    let mut simulation = Simulation::of(world, actions);
    simulation.run()?;
    let state = simulation.world.state();
    let message = |call: &Call| {
        let id = call.attempt.communication.to_string();
        let (stream, ..) = state.streams.iter().find(|(stream, _)| stream.id == id).expect("a stream").1;
        let first = events::decode(&stream.lines[0]).expect("an event");
        let events::CommunicationEvent::CommunicationRequested(request) = first.event else {
            panic!("the request comes first")
        };
        SentMessage { priority: request.priority, due: first.meta.at.0, sent: call.at }
    };
    let sent: Vec<SentMessage> = state.calls.iter().map(message).collect();
    urgent_first(&sent, MAX_OVERTAKING)
}

#[test]
fn urgent_messages_overtake_those_that_wait() {
    for seed in 0..10 {
        assert_eq!(send_urgent_behind_others(seed, None), Ok(()), "seed {seed}");
        let why = send_urgent_behind_others(seed, Some(Bug::PriorityIgnored)).expect_err("the planted bug");
        assert!(why.starts_with("I37"), "{why}");
    }
}

#[test]
fn a_seed_is_reproducible() {
    let run = || Simulation::new(42).run().map(|figures| format!("{figures:?}"));
    assert_eq!(run(), run());
}
