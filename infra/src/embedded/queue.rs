//! Queues in memory: lost with the process, rebuilt by the first sweep.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{ClockAndRng, Hint, QueueDepth, QueueId, StoreError, WorkQueue};
use events::{Channel, Timestamp};
use tokio::sync::Notify;

/// A host whose clock may run faster than the wall's.
pub trait WaitingClock: ClockAndRng {
    /// How long to wait, by the wall, until the clock shows `until`.
    fn wait(&self, until: Timestamp) -> Duration;
}

/// How often a message is shown before it is given up.
const MAX_RECEIVES: u32 = 5;
/// Messages of one receive.
const BATCH: usize = 10;

/// A message taken from a queue; it must be acknowledged or it is shown again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedHint {
    pub id: u64,
    pub hint: Hint,
}

#[derive(Default)]
struct Lines {
    /// By the time they become visible, then in the order sent.
    ready: BinaryHeap<Reverse<(Timestamp, u64)>>,
    in_flight: HashMap<u64, Timestamp>,
}

#[derive(Default)]
struct Inside {
    lanes: BTreeMap<QueueId, Lines>,
    messages: HashMap<u64, (Hint, u32)>,
    dead: Vec<Hint>,
    next: u64,
}

/// Every lane of every channel, with redrive to a dead-letter list.
pub struct MemoryWorkQueue {
    inside: Mutex<Inside>,
    arrived: BTreeMap<Channel, Notify>,
    died: Notify,
    host: Arc<dyn WaitingClock>,
    visibility_ms: i64,
}

impl MemoryWorkQueue {
    /// `visibility_ms`: how long a received message stays hidden, by the host's clock.
    pub fn new(host: Arc<dyn WaitingClock>, visibility_ms: i64) -> Self {
        let arrived = Channel::ALL.iter().map(|channel| (*channel, Notify::new())).collect();
        MemoryWorkQueue { inside: Mutex::default(), arrived, died: Notify::new(), host, visibility_ms }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for up to ten messages of a channel, urgent ones first.
    pub async fn receive(&self, channel: Channel) -> Vec<ReceivedHint> {
        loop {
            let arrived = self.arrived[&channel].notified();
            let (taken, next) = self.take(channel);
            if !taken.is_empty() {
                if next.is_some_and(|next| next <= self.host.now()) {
                    self.arrived[&channel].notify_one();
                }
                return taken;
            }
            match next {
                None => arrived.await,
                // A jump of the clock is noticed within half a second.
                Some(next) => {
                    let wait = self.host.wait(next).min(Duration::from_millis(500));
                    tokio::select! { () = arrived => (), () = tokio::time::sleep(wait) => () }
                }
            }
        }
    }

    /// What is visible now, and when the next one will be.
    fn take(&self, channel: Channel) -> (Vec<ReceivedHint>, Option<Timestamp>) {
        let now = self.host.now();
        let mut inside = self.inside();
        let Inside { lanes, messages, dead, .. } = &mut *inside;
        let (mut taken, mut next) = (Vec::new(), None::<Timestamp>);
        for high in [true, false] {
            let lines = lanes.entry(QueueId { channel, high }).or_default();
            let expired: Vec<u64> =
                lines.in_flight.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
            for id in expired {
                lines.in_flight.remove(&id);
                lines.ready.push(Reverse((now, id)));
            }
            while let Some(Reverse((at, id))) = lines.ready.peek().copied() {
                if now < at || taken.len() == BATCH {
                    next = Some(next.map_or(at, |next| next.min(at)));
                    break;
                }
                lines.ready.pop();
                let Some((hint, receives)) = messages.get_mut(&id) else { continue };
                *receives += 1;
                if MAX_RECEIVES < *receives {
                    dead.extend(messages.remove(&id).map(|(hint, _)| hint));
                    self.died.notify_one();
                    continue;
                }
                taken.push(ReceivedHint { id, hint: hint.clone() });
                lines.in_flight.insert(id, now + self.visibility_ms);
            }
            let hidden = lines.in_flight.values().min().copied();
            next = [next, hidden].into_iter().flatten().min();
        }
        (taken, next)
    }

    /// Done with: never shown again.
    pub fn acknowledge(&self, received: &ReceivedHint) {
        let mut inside = self.inside();
        inside.messages.remove(&received.id);
        inside.lanes.entry(received.hint.lane).or_default().in_flight.remove(&received.id);
    }

    /// Waits for messages that were shown too often.
    pub async fn receive_dead_letters(&self) -> Vec<Hint> {
        loop {
            let died = self.died.notified();
            let dead = std::mem::take(&mut self.inside().dead);
            if !dead.is_empty() {
                return dead;
            }
            died.await;
        }
    }

    /// Looks again at what is visible: the clock has jumped.
    pub fn look_again(&self) {
        self.arrived.values().for_each(Notify::notify_waiters);
    }
}

#[async_trait]
impl WorkQueue for MemoryWorkQueue {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        let now = self.host.now();
        let mut inside = self.inside();
        for (hint, delay_s) in hints {
            let id = inside.next;
            inside.next += 1;
            inside.messages.insert(id, (hint.clone(), 0));
            let at = now + i64::from(*delay_s) * 1_000;
            inside.lanes.entry(hint.lane).or_default().ready.push(Reverse((at, id)));
            self.arrived[&hint.lane.channel].notify_one();
        }
        Ok(())
    }

    async fn depth(&self, lane: QueueId) -> Result<QueueDepth, StoreError> {
        let now = self.host.now();
        let inside = self.inside();
        let dead = inside.dead.iter().filter(|hint| hint.lane == lane).count() as u64;
        let Some(lines) = inside.lanes.get(&lane) else { return Ok(QueueDepth { dead, ..QueueDepth::default() }) };
        let waiting = lines.ready.iter().filter(|Reverse((at, _))| *at <= now).count();
        Ok(QueueDepth {
            waiting: waiting as u64,
            in_flight: lines.in_flight.len() as u64,
            delayed: (lines.ready.len() - waiting) as u64,
            dead,
        })
    }
}
