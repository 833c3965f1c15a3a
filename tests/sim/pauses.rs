//! A channel is paused and resumed while messages are accepted, retried and fall back. It checks I42: no attempt begins
//! while the channel is paused, but for the time in which workers notice; and nothing that waited is lost.

use application::directory::CHANNELS_TTL_MS;
use domain::aggregate::Aggregate;
use domain::communication::{Lifecycle, State, evolve};
use domain::ports::CommunicationKey;
use domain::tenant_limits::{LIMITS, TenantLimits};
use events::{CommunicationEvent, DeadLetterReason, RecordedEvent, StreamId, TenantLimitsEvent, Timestamp};
use serde_json::json;
use tests::rng::SeededRng;

use crate::actions::{Action, contact, tenant};
use crate::bugs::Bug;
use crate::simulation::Simulation;
use crate::world::{World, WorldState, as_current_version};
use crate::{INVOCATION_MS, T0};

const SEEDS: u64 = 40;
const MESSAGES: usize = 40;
const PAUSED_AT: i64 = T0 + 5 * 60_000;
const RESUMED_AT: i64 = T0 + 65 * 60_000;
/// How long after a pause a worker may still claim: its cache, and the rest of its invocation.
const NOTICED_WITHIN_MS: i64 = CHANNELS_TTL_MS + INVOCATION_MS;
/// How long after the end of the pause the last message of a run without faults has its attempt, at the rate of the
/// providers.
const SENT_WITHIN_MS: i64 = 60_000;

fn plan(seed: u64) -> Vec<(i64, Action)> {
    let mut rng = SeededRng::new(seed);
    let time = |at: i64| json!(api::fields::show_time(Timestamp(at)));
    let mut actions = Vec::new();
    for n in 0..MESSAGES {
        let at = T0 + rng.below(30 * 60_000) as i64;
        let mut body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "S", "content": "C",
        });
        match n % 5 {
            // It is due while the channel is paused.
            1 => body["scheduledAt"] = time(T0 + 40 * 60_000 + rng.below(60_000) as i64),
            // It expires while the channel is paused.
            2 => body["expiresAt"] = time(T0 + 45 * 60_000),
            3 => {
                let to = format!("person-{n}-b@example.com");
                body["fallback"] = json!([{
                    "channel": "email", "recipientContact": to, "after": "10m", "unless": "read",
                }]);
            }
            _ => (),
        }
        actions.push((at, Action::Send { n, body }));
    }
    actions.push((PAUSED_AT, Action::Pause { tenant: 0, is_paused: true }));
    actions.push((RESUMED_AT, Action::Pause { tenant: 0, is_paused: false }));
    actions
}

fn run(seed: u64, faults: bool, bug: Option<Bug>) -> Result<Simulation, String> {
    let world = World::new(seed, T0);
    {
        let mut state = world.state();
        state.faults = faults;
        state.bug = bug;
    }
    let mut simulation = Simulation::of(world, plan(seed));
    simulation.run()?;
    check_pauses(&simulation.world.state())?;
    Ok(simulation)
}

fn records(state: &WorldState, key: &CommunicationKey) -> Vec<RecordedEvent> {
    let lines = state.history(&key.stream_id());
    lines.iter().map(|line| events::decode(&as_current_version(line)).expect("an event")).collect()
}

fn attempts(records: &[RecordedEvent]) -> impl Iterator<Item = i64> {
    let begun = records.iter().filter(|r| matches!(r.event, CommunicationEvent::DeliveryAttemptStarted { .. }));
    begun.map(|record| record.meta.at.0)
}

/// When the first tenant's channel was paused and resumed, as its stream has it.
fn pauses(state: &WorldState) -> Vec<(i64, i64)> {
    let lines = state.history(&StreamId::new(&tenant(0), TenantLimits::KIND, LIMITS));
    let decoded = lines.iter().map(|line| events::decode(line).expect("an event"));
    let mut pauses = Vec::new();
    for record in decoded {
        let record: RecordedEvent<TenantLimitsEvent> = record;
        match record.event {
            TenantLimitsEvent::SendingPaused { .. } => pauses.push((record.meta.at.0, i64::MAX)),
            TenantLimitsEvent::SendingResumed { .. } => pauses.last_mut().expect("a pause").1 = record.meta.at.0,
            TenantLimitsEvent::LimitsChanged { .. } => (),
        }
    }
    pauses
}

/// I42: no attempt begins while the channel is paused.
fn check_pauses(state: &WorldState) -> Result<(), String> {
    let pauses = pauses(state);
    if pauses.len() != 1 {
        return Err(format!("the channel was paused {} times", pauses.len()));
    }
    for key in state.communications().filter(|key| key.tenant == tenant(0)) {
        let records = records(state, &key);
        let within = |at: &i64| pauses.iter().any(|(from, until)| from + NOTICED_WITHIN_MS < *at && at < until);
        if let Some(at) = attempts(&records).find(within) {
            return Err(format!("I42: an attempt of {} began at {at}, while its channel was paused", key.id));
        }
    }
    Ok(())
}

#[test]
fn a_paused_channel_begins_no_attempt_and_loses_nothing() {
    for seed in 0..SEEDS {
        if let Err(why) = run(seed, true, None) {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn a_resumed_channel_sends_at_once_what_has_not_expired() {
    for seed in 0..10 {
        let simulation = run(seed, false, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let state = simulation.world.state();
        let (mut expired, mut waited) = (0, 0);
        for (n, key) in simulation.accepted.iter().filter(|(_, key)| key.tenant == tenant(0)) {
            let records = records(&state, key);
            let lifecycle = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
            let lifecycle = lifecycle.requested().expect("a request").lifecycle.clone();
            let first = attempts(&records).next();
            if lifecycle == Lifecycle::DeadLettered(DeadLetterReason::Expired) {
                assert_eq!((n % 5, first), (2, None), "seed {seed}: only what expires meanwhile is expired");
                expired += 1;
            }
            if let Some(first) = first.filter(|first| PAUSED_AT + NOTICED_WITHIN_MS < *first) {
                let late = first - RESUMED_AT;
                assert!((0..SENT_WITHIN_MS).contains(&late), "seed {seed}: message {n} was sent {late} ms later");
                waited += 1;
            }
        }
        assert!(expired > 0 && waited > 0, "seed {seed}: {expired} expired and {waited} waited");
    }
}

#[test]
fn workers_that_do_not_see_a_pause_are_found() {
    for seed in 0..5 {
        let why = run(seed, false, Some(Bug::ChannelPauseIgnored)).err().expect("the planted bug");
        assert!(why.starts_with("I42"), "{why}");
    }
}
