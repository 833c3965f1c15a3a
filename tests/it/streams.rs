//! Properties of every kind of stream: its registry entry is complete, and a long history costs no more than a short
//! one.

use std::fs;
use std::path::Path;

use application::kinds::KINDS;
use application::{CommandContext, CommandExecutor};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::ports::EventStore;
use domain::templates::{Command, TemplateState};
use events::{Channel, MessageType};
use tests::harness::{Harness, tenant};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The simulation is checked by its own test, `kinds::every_kind_is_simulated`.
#[test]
fn every_kind_has_fixtures_and_documentation() {
    let catalogue = fs::read_to_string(root().join("docs/events.md")).expect("docs/events.md");
    let mut missing = Vec::new();
    for rules in &KINDS {
        for (name, version) in rules.event_types {
            for version in 1..=*version {
                let fixture = format!("events/fixtures/{name}.v{version}.json");
                if !root().join(&fixture).exists() {
                    missing.push(format!("{}: {fixture}", rules.kind));
                }
            }
            if !catalogue.contains(&format!("\n### {name}\n")) {
                missing.push(format!("{}: a section on {name} in docs/events.md", rules.kind));
            }
        }
        if !catalogue.contains(&format!("`{}`", rules.kind)) {
            missing.push(format!("{}: its key in docs/events.md", rules.kind));
        }
    }
    let listed: Vec<&str> = KINDS.iter().flat_map(|rules| rules.event_types).map(|(name, _)| *name).collect();
    for name in events::all_event_types().filter(|name| !listed.contains(name)) {
        missing.push(format!("{name}: its kind in application::kinds::KINDS"));
    }
    assert!(missing.is_empty(), "missing: {missing:#?}");
}

#[test]
fn the_events_path_of_every_kind_is_a_route() {
    for rules in &KINDS {
        if let Some(path) = rules.events_path {
            assert!(api::ROUTES.iter().any(|route| route.path == path), "{path} is a route");
        }
    }
}

/// Bytes that a change reads and writes: the stream's item twice, and the events that it moves to a chunk.
async fn cost_of_change(harness: &Harness, id: &AggregateId<TemplateState>, n: usize) -> usize {
    let context = CommandContext::function("api");
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &context };
    let before = harness.store.read(&id.stream_id()).await.expect("a stream");
    let command = Command::Change {
        expected: None,
        kind: None,
        name: Some(format!("Name {n:06}")),
        description: None,
        text: None,
        is_active: None,
    };
    executor.execute(id, command).await.expect("a change");
    let after = harness.store.read(&id.stream_id()).await.expect("a stream");
    let size = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
    let item = |snapshot: &Option<String>, lines: &[String]| size(lines) + snapshot.as_ref().map_or(0, String::len);
    let archived = if after.lines.len() < before.lines.len() { size(&before.lines) } else { 0 };
    item(&before.snapshot, &before.lines) + item(&after.snapshot, &after.lines) + archived
}

/// A change costs more the longer ago the last roll-over was, so a whole cycle is compared.
#[tokio::test(flavor = "multi_thread")]
async fn the_2000th_change_costs_what_the_10th_does() {
    let harness = Harness::new();
    let id = AggregateId::<TemplateState>::new(&tenant(), "tpl_1");
    let context = CommandContext::function("api");
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &context };
    let create = Command::Create {
        code: "invoice".to_owned(),
        channel: Channel::Sms,
        locale: "default".to_owned(),
        kind: MessageType::Invoice,
        name: "Invoice".to_owned(),
        description: None,
        text: "text".to_owned(),
        variables: vec!["name".to_owned()],
        is_active: true,
        others: 0,
    };
    executor.execute(&id, create).await.expect("a template");
    let mut costs = Vec::new();
    for n in 0..2_000 {
        costs.push(cost_of_change(&harness, &id, n).await);
    }
    // The newest whole cycle ends with the change that rolls over.
    let last_roll_over = (0..costs.len() - 1).rev().find(|n| costs[n + 1] < costs[*n]).expect("a roll-over");
    let before = (0..last_roll_over).rev().find(|n| costs[n + 1] < costs[*n]).expect("a roll-over");
    let cycle = &costs[before + 1..=last_roll_over];
    let mean = cycle.iter().sum::<usize>() as f64 / cycle.len() as f64;
    let first_roll_over = (0..costs.len()).find(|n| costs[n + 1] < costs[*n]).expect("a roll-over");
    let (tenth, highest) = (costs[9] as f64, costs[last_roll_over] as f64);
    println!("bytes of a change: the 10th {tenth}, of the newest cycle {mean:.0} on average and {highest} at most");
    assert!(mean <= 1.2 * tenth, "{mean} > 1.2 * {tenth}");
    assert!(highest <= 1.2 * costs[first_roll_over] as f64, "the cost of a roll-over grows: {highest}");
    let history = harness.store.read_history(&id.stream_id()).await.expect("a history");
    assert_eq!(history.len(), 2_002, "the creation adds two events, and each change one");
}
