//! The function publish in the simulation: it reads the change stream in shards, the bus takes some of the events of a
//! call, and processes die. Then the bus has each public event that was stored, and no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use application::StreamImage;
use application::kinds::rules_of;
use domain::publication::PublicEvent;
use publish::PublishHandler;

use crate::world::{FEEDS, World, WorldState};

/// Maximum number of changes in one invocation.
const BATCH: usize = 5;

pub fn handler(world: &World) -> PublishHandler {
    world.state().outbox = Some(Default::default());
    let port = Arc::new(world.clone());
    PublishHandler { store: port.clone(), bus: port }
}

/// The next changes of a shard. They stay until they were published.
pub fn next(state: &WorldState, shard: usize) -> Vec<StreamImage> {
    let queue: Option<&VecDeque<StreamImage>> = state.outbox.as_ref().map(|outbox| &outbox[shard]);
    queue.into_iter().flatten().take(BATCH).cloned().collect()
}

/// The shards that have changes.
pub fn waiting(state: &WorldState) -> Vec<usize> {
    (0..FEEDS).filter(|shard| !next(state, *shard).is_empty()).collect()
}

/// So many changes of a shard were published.
pub fn advance(state: &mut WorldState, shard: usize, count: usize) {
    state.outbox.iter_mut().for_each(|outbox| drop(outbox[shard].drain(..count)));
}

/// I40: each public event that was stored was put on the bus at least once, with the position that it has in its stream, and
/// none that was not stored. Returns the number of events, and of those that were put more than once.
///
/// # Errors
///
/// The first difference.
pub fn check(state: &WorldState) -> Result<(usize, usize), String> {
    let mut stored: BTreeMap<String, PublicEvent> = BTreeMap::new();
    for id in state.streams.keys() {
        let Some(publish) = rules_of(id).and_then(|rules| rules.publish) else { continue };
        let events = publish(id, &state.history(id), 0).map_err(|error| format!("I40: {id}: {error}"))?;
        stored.extend(events.into_iter().map(|event| (event.id.clone(), event)));
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &state.bus {
        if stored.get(&event.id) != Some(event) {
            return Err(format!("I40: the bus has an event that is not stored: {event:?}"));
        }
        if serde_json::to_string(event).expect("JSON").contains("person-") {
            return Err(format!("I10: personal data on the bus: {event:?}"));
        }
        *times.entry(&event.id).or_default() += 1;
    }
    match stored.keys().find(|id| !times.contains_key(id.as_str())) {
        Some(missing) => Err(format!("I40: an event was never put on the bus: {:?}", stored[missing])),
        None => Ok((stored.len(), times.values().filter(|times| **times > 1).count())),
    }
}
