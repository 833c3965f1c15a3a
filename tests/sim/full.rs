//! Streams that are filled to the brim: what callers repeat has a limit, and what must always work works beyond it.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use domain::communication::{Lifecycle, State, evolve};
use domain::policy;
use domain::ports::CommunicationKey;
use events::{CommunicationEvent, RecordedEvent, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::actions::{Action, contact, tenant};
use crate::bugs::Bug;
use crate::simulation::Simulation;
use crate::world::{TENANTS, World};
use crate::{T0, run_to_end};

/// A size that a few events of a communication fill.
const MAX_STREAM_BYTES: usize = 8_000;
const MESSAGES: usize = 4;
const CHANGES: i64 = 130;

/// Callers change each message more often than they may, and cancel every second one.
fn run(bug: Option<Bug>) -> Result<Simulation, String> {
    let world = World::new(3, T0);
    {
        let mut state = world.state();
        state.faults = false;
        state.max_stream_bytes = MAX_STREAM_BYTES;
        state.bug = bug;
    }
    let due = T0 + 30 * 60_000;
    let mut actions = Vec::new();
    for n in 0..MESSAGES {
        let body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "S", "content": "C",
            "scheduledAt": api::fields::show_time(Timestamp(due)),
        });
        actions.push((T0, Action::Send { n, body }));
        for change in 1..=CHANGES {
            actions.push((T0 + change * 2_000, Action::Reschedule { n, at: due + change * 1_000 }));
        }
        if n % 2 == 1 {
            actions.push((T0 + (CHANGES + 1) * 2_000, Action::Cancel { n }));
        }
    }
    let mut simulation = Simulation::of(world, actions);
    simulation.end_ms = 3_600_000;
    simulation.run()?;
    Ok(simulation)
}

fn records_of(simulation: &Simulation, key: &CommunicationKey) -> Vec<RecordedEvent> {
    let lines = simulation.world.state().history(&key.stream_id());
    lines.iter().map(|line| events::decode(line).expect("an event")).collect()
}

#[test]
fn a_message_that_was_changed_too_often_is_still_sent_or_cancelled() {
    let simulation = run(None).unwrap_or_else(|why| panic!("{why}"));
    for (n, key) in &simulation.accepted {
        let records = records_of(&simulation, key);
        let is_change =
            |record: &&RecordedEvent| matches!(record.event, CommunicationEvent::CommunicationRescheduled { .. });
        let changes = records.iter().filter(is_change).count();
        assert_eq!(changes, usize::from(policy::MAX_CHANGES), "changes of message {n}");
        let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
        let lifecycle = &state.requested().expect("a request").lifecycle;
        let expected = if n % 2 == 1 { Lifecycle::Cancelled } else { Lifecycle::Sent };
        assert_eq!(*lifecycle, expected, "message {n}");
        let state = simulation.world.state();
        assert!(!state.chunks[&key.stream_id()].is_empty(), "the stream of message {n} was full");
    }
}

#[test]
fn a_history_that_refuses_what_must_always_work_is_found() {
    let why = run(Some(Bug::HistoryFull)).err().expect("a violation");
    println!("HistoryFull: {}", why.chars().take(120).collect::<String>());
    assert!(why.starts_with("I12"), "{why}");
}

#[test]
fn personal_data_is_erased_even_if_no_event_fits() {
    let world = World::new(3, T0);
    world.state().faults = false;
    let later = api::fields::show_time(Timestamp(T0 + 3_600_000));
    let body = json!({
        "channel": "email", "type": "invoice", "recipientContact": contact(0), "recipientId": "ada", "subject": "S",
        "content": "C", "scheduledAt": later,
    });
    let mut simulation = Simulation::of(world.clone(), vec![(T0, Action::Send { n: 0, body })]);
    let router = simulation.router.clone();
    let erase = async || {
        let request = Request::delete("/api/subjects/customer/ada");
        let request = request.header("authorization", format!("Bearer {}", TENANTS[0].0));
        let answer = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
        let text = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    simulation.start_due(T0);
    while !simulation.tasks.is_empty() {
        simulation.step(0, T0);
    }
    assert_eq!(world.state().vault.len(), 1, "a message of {}", tenant(0));
    world.state().refused_event = Some("CommunicationErased");
    let answer = run_to_end(erase());
    assert_eq!((&answer["erased"], &answer["unrecorded"]), (&json!(1), &json!(1)), "{answer}");
    assert!(world.state().vault.is_empty(), "the content is erased");
    simulation.run().unwrap_or_else(|why| panic!("{why}"));
    assert!(world.state().calls.is_empty(), "nothing is sent");
}
