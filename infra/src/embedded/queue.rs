//! Work queues in memory. They are lost when the process ends, and resuming afterwards sends all hints again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{ClockAndRng, Hint, QueueDepth, QueueId, StoreError, WorkQueue};
use events::{Channel, Timestamp};
use tokio::sync::Notify;

/// A clock that may run faster than real time.
pub trait WaitingClock: ClockAndRng {
    /// How long to wait in real time until the clock shows `until`.
    fn wait(&self, until: Timestamp) -> Duration;
}

/// How often a message is received before it becomes a dead letter.
const MAX_RECEIVES: u32 = 5;
/// Maximum number of messages received at once.
const MAX_BATCH: usize = 10;

/// A message received from a queue. Unless it is acknowledged, it becomes visible again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedHint {
    pub id: u64,
    pub hint: Hint,
}

#[derive(Default)]
struct Queue {
    /// Ordered by the time at which they become visible, then in the order sent.
    ready: BinaryHeap<Reverse<(Timestamp, u64)>>,
    /// Received messages, with the time at which each becomes visible again.
    in_flight: HashMap<u64, Timestamp>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<QueueId, Queue>,
    /// Each message with the number of times it was received.
    messages: HashMap<u64, (Hint, u32)>,
    dead: Vec<Hint>,
    next_id: u64,
}

/// A consumer, which receives from one or more queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueConsumer {
    /// Delivers the messages of one channel.
    Delivery(Channel),
    Process,
}

impl QueueConsumer {
    fn all() -> impl Iterator<Item = QueueConsumer> {
        Channel::ALL.iter().copied().map(QueueConsumer::Delivery).chain([QueueConsumer::Process])
    }

    fn of(queue: QueueId) -> QueueConsumer {
        match queue {
            QueueId::Delivery { channel, .. } => QueueConsumer::Delivery(channel),
            QueueId::Process => QueueConsumer::Process,
        }
    }

    /// Returns the consumer's queues, the most urgent first.
    fn queues(self) -> Vec<QueueId> {
        match self {
            QueueConsumer::Delivery(channel) => {
                [true, false].map(|is_high_priority| QueueId::Delivery { channel, is_high_priority }).to_vec()
            }
            QueueConsumer::Process => vec![QueueId::Process],
        }
    }
}

/// All work queues, and a list of dead letters.
pub struct MemoryWorkQueue {
    state: Mutex<State>,
    arrived: BTreeMap<QueueConsumer, Notify>,
    dead_letter_added: Notify,
    host: Arc<dyn WaitingClock>,
    visibility_ms: i64,
}

impl MemoryWorkQueue {
    /// `visibility_ms` is how long a received message stays hidden, by the host's clock.
    pub fn new(host: Arc<dyn WaitingClock>, visibility_ms: i64) -> Self {
        let arrived = QueueConsumer::all().map(|consumer| (consumer, Notify::new())).collect();
        MemoryWorkQueue { state: Mutex::default(), arrived, dead_letter_added: Notify::new(), host, visibility_ms }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for up to ten messages. Those of the high priority queue come first.
    pub async fn receive(&self, consumer: QueueConsumer) -> Vec<ReceivedHint> {
        loop {
            let arrived = self.arrived[&consumer].notified();
            let (taken, next) = self.take(consumer);
            if !taken.is_empty() {
                if next.is_some_and(|next| next <= self.host.now()) {
                    self.arrived[&consumer].notify_one();
                }
                return taken;
            }
            match next {
                None => arrived.await,
                // The wait is short, so that a jump of the clock is noticed within half a second.
                Some(next) => {
                    let wait = self.host.wait(next).min(Duration::from_millis(500));
                    tokio::select! { () = arrived => (), () = tokio::time::sleep(wait) => () }
                }
            }
        }
    }

    /// Takes up to ten visible messages. Also returns when the next message becomes visible, if there is one.
    fn take(&self, consumer: QueueConsumer) -> (Vec<ReceivedHint>, Option<Timestamp>) {
        let now = self.host.now();
        let mut state = self.lock();
        let State { queues, messages, dead, .. } = &mut *state;
        let (mut taken, mut next) = (Vec::new(), None::<Timestamp>);
        for queue in consumer.queues() {
            let queue = queues.entry(queue).or_default();
            let expired: Vec<u64> =
                queue.in_flight.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
            for id in expired {
                queue.in_flight.remove(&id);
                queue.ready.push(Reverse((now, id)));
            }
            while let Some(Reverse((at, id))) = queue.ready.peek().copied() {
                if now < at || taken.len() == MAX_BATCH {
                    next = Some(next.map_or(at, |next| next.min(at)));
                    break;
                }
                queue.ready.pop();
                let Some((hint, receives)) = messages.get_mut(&id) else { continue };
                *receives += 1;
                if MAX_RECEIVES < *receives {
                    dead.extend(messages.remove(&id).map(|(hint, _)| hint));
                    self.dead_letter_added.notify_one();
                    continue;
                }
                taken.push(ReceivedHint { id, hint: hint.clone() });
                queue.in_flight.insert(id, now + self.visibility_ms);
            }
            let hidden = queue.in_flight.values().min().copied();
            next = [next, hidden].into_iter().flatten().min();
        }
        (taken, next)
    }

    /// Removes a received message, because it has been processed.
    pub fn acknowledge(&self, received: &ReceivedHint) {
        let mut state = self.lock();
        state.messages.remove(&received.id);
        state.queues.entry(received.hint.queue).or_default().in_flight.remove(&received.id);
    }

    /// Waits for dead letters and takes them.
    pub async fn receive_dead_letters(&self) -> Vec<Hint> {
        loop {
            let dead_letter_added = self.dead_letter_added.notified();
            let dead = std::mem::take(&mut self.lock().dead);
            if !dead.is_empty() {
                return dead;
            }
            dead_letter_added.await;
        }
    }

    /// Makes all receivers check for visible messages again, after the clock was moved.
    pub fn wake_receivers(&self) {
        self.arrived.values().for_each(Notify::notify_waiters);
    }
}

#[async_trait]
impl WorkQueue for MemoryWorkQueue {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        let now = self.host.now();
        let mut state = self.lock();
        for (hint, delay_s) in hints {
            let id = state.next_id;
            state.next_id += 1;
            state.messages.insert(id, (hint.clone(), 0));
            let at = now + i64::from(*delay_s) * 1_000;
            state.queues.entry(hint.queue).or_default().ready.push(Reverse((at, id)));
            self.arrived[&QueueConsumer::of(hint.queue)].notify_one();
        }
        Ok(())
    }

    async fn depth(&self, queue: QueueId) -> Result<QueueDepth, StoreError> {
        let now = self.host.now();
        let state = self.lock();
        let dead = state.dead.iter().filter(|hint| hint.queue == queue).count() as u64;
        let Some(queue) = state.queues.get(&queue) else { return Ok(QueueDepth { dead, ..QueueDepth::default() }) };
        let waiting = queue.ready.iter().filter(|Reverse((at, _))| *at <= now).count();
        Ok(QueueDepth {
            waiting: waiting as u64,
            in_flight: queue.in_flight.len() as u64,
            delayed: (queue.ready.len() - waiting) as u64,
            dead,
        })
    }
}
