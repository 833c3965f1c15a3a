//! The outside, in memory and at the mercy of a seed: one I/O is one await, and dropping the future there is a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use async_trait::async_trait;
use domain::communication::{Answer, Report};
use domain::ports::{
    Alerts, Append, AppendError, ContactKey, Content, ContentKey, Depth, Due, EventStore, Filter, Hint, Host, Keys,
    Lane, Limits, Outbound, Page, Principal, Projected, Provider, Queue, SHARDS, Sent, StoreError, Stream, StreamKey,
    Vault, ViewKey, Views,
};
use domain::stats::Counters;
use events::{AttemptId, Channel, DoubtCause, Fact, Mode, RefusalClass, Timestamp};

/// xorshift64*: small, seeded, the same everywhere.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            chance.draw();
        }
        chance
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.draw() >> 11) % n.max(1)
    }

    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// A message on a queue.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: u64,
    pub hint: Hint,
    pub visible_at: i64,
    pub receives: u32,
}

/// A provider took a message.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub attempt: AttemptId,
    pub at: i64,
}

/// Something that a provider will call back.
#[derive(Debug, Clone)]
pub struct Callback {
    pub at: i64,
    pub key: StreamKey,
    pub report: Report,
}

pub struct Inside {
    pub now: i64,
    pub chance: Chance,
    pub faults: bool,
    pub injected: u64,
    pub streams: BTreeMap<StreamKey, (Stream, Lane, u32)>,
    pub vault: BTreeMap<ContentKey, Content>,
    pub suppressed: BTreeMap<(String, String), i64>,
    pub messages: Vec<Message>,
    pub deliveries: Vec<Delivery>,
    pub callbacks: Vec<Callback>,
    /// When the task being polled may go on; set by an I/O that takes time.
    pub resume_at: i64,
    pub sent_hints: u64,
    /// Faults by the number of the I/O they strike: the bounded exhaustive runs.
    pub script: BTreeMap<usize, Meets>,
    /// Every I/O so far, named by door and port.
    pub trace: Vec<String>,
    pub door: &'static str,
    pub killed: bool,
    /// No callback ever comes.
    pub is_silent: bool,
    next: u64,
}

/// Every port at once.
#[derive(Clone)]
pub struct World(pub Arc<Mutex<Inside>>);

/// What an I/O meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meets {
    Nothing,
    /// Fails and does nothing.
    Refused,
    /// Fails, and has done nothing, but nobody can tell.
    LostBefore,
    /// Is done, but the answer is lost.
    LostAfter,
    /// The process dies here.
    Kill,
}

/// Lets the scheduler choose who goes on.
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

fn down() -> StoreError {
    StoreError::Unavailable("simulated".to_owned())
}

impl World {
    pub fn new(seed: u64, now: i64) -> Self {
        World(Arc::new(Mutex::new(Inside {
            now,
            chance: Chance::new(seed),
            faults: true,
            injected: 0,
            streams: BTreeMap::new(),
            vault: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            messages: Vec::new(),
            deliveries: Vec::new(),
            callbacks: Vec::new(),
            resume_at: 0,
            sent_hints: 0,
            script: BTreeMap::new(),
            trace: Vec::new(),
            door: "",
            killed: false,
            is_silent: false,
            next: 0,
        })))
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().expect("one thread")
    }

    /// Waits for its turn, and meets what the script has for it. A kill never goes on.
    async fn turn(&self, port: &str) -> Meets {
        Turn(false).await;
        let meets = {
            let mut guard = self.inside();
            let inside = &mut *guard;
            let meets = inside.script.get(&inside.trace.len()).copied().unwrap_or(Meets::Nothing);
            if !inside.faults {
                inside.trace.push(format!("{} {port}", inside.door));
            }
            inside.killed |= meets == Meets::Kill;
            meets
        };
        if meets == Meets::Kill {
            std::future::pending::<()>().await;
        }
        meets
    }

    async fn io(&self, port: &str) -> Meets {
        let scripted = self.turn(port).await;
        let mut inside = self.inside();
        if scripted != Meets::Nothing || !inside.faults || !inside.chance.percent(4) {
            return scripted;
        }
        inside.injected += 1;
        match inside.chance.below(3) {
            0 => Meets::Refused,
            1 => Meets::LostBefore,
            _ => Meets::LostAfter,
        }
    }

    /// A read either answers or does not.
    async fn read_io(&self, port: &str) -> Result<(), StoreError> {
        if self.io(port).await == Meets::Nothing { Ok(()) } else { Err(down()) }
    }

    /// A write of which any failure is told as "not done", whatever became of it.
    async fn write_io(&self, port: &str, write: impl FnOnce(&mut Inside) + Send) -> Result<(), StoreError> {
        match self.io(port).await {
            Meets::Nothing => {
                write(&mut self.inside());
                Ok(())
            }
            Meets::LostAfter => {
                write(&mut self.inside());
                Err(down())
            }
            Meets::Refused | Meets::LostBefore | Meets::Kill => Err(down()),
        }
    }
}

impl Inside {
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn apply(&mut self, key: &StreamKey, append: &Append) -> Result<(), AppendError> {
        let entry = self.streams.entry(key.clone());
        let (stream, lane, hints) = entry.or_insert_with(|| (Stream::default(), append.lane, 0));
        if stream.version != append.expected {
            return if stream.writer == append.writer { Ok(()) } else { Err(AppendError::Conflict) };
        }
        stream.lines.extend(append.lines.iter().cloned());
        stream.version += append.lines.len() as u64;
        stream.wake = append.wake;
        stream.writer.clone_from(&append.writer);
        (*lane, *hints) = (append.lane, 0);
        Ok(())
    }
}

impl Host for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.inside().now)
    }

    fn random(&self) -> u128 {
        let mut inside = self.inside();
        (u128::from(inside.chance.draw()) << 64) | u128::from(inside.chance.draw())
    }
}

#[async_trait]
impl EventStore for World {
    async fn read(&self, key: &StreamKey) -> Result<Stream, StoreError> {
        self.read_io("read").await?;
        Ok(self.inside().streams.get(key).map(|(stream, ..)| stream.clone()).unwrap_or_default())
    }

    async fn append(&self, key: &StreamKey, append: Append) -> Result<(), AppendError> {
        let simulated = || "simulated".to_owned();
        match self.io("append").await {
            Meets::Nothing => self.inside().apply(key, &append),
            Meets::Refused | Meets::Kill => Err(AppendError::NotApplied(simulated())),
            Meets::LostBefore => Err(AppendError::Unknown(simulated())),
            Meets::LostAfter => {
                let done = self.inside().apply(key, &append);
                done.and(Err(AppendError::Unknown(simulated())))
            }
        }
    }

    async fn due(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.read_io("due").await?;
        let mut inside = self.inside();
        let mut due: Vec<Due> = Vec::new();
        for (key, (stream, lane, hints)) in &inside.streams {
            if let Some(wake) = stream.wake.filter(|wake| *wake <= until)
                && key.id.spread() % SHARDS == shard
            {
                let hint = Hint { lane: *lane, key: key.clone() };
                due.push(Due { hint, wake, hints: *hints });
            }
        }
        due.sort_by_key(|due| due.wake);
        due.truncate(limit);
        // The index lags: some of it is not there yet.
        if inside.faults {
            due.retain(|_| !inside.chance.percent(5));
        }
        Ok(due)
    }

    async fn rearm(&self, due: &Due, wake: Timestamp) -> Result<(), StoreError> {
        self.write_io("rearm", |inside| {
            if let Some((stream, _, hints)) = inside.streams.get_mut(&due.hint.key)
                && stream.wake == Some(due.wake)
            {
                (stream.wake, *hints) = (Some(wake), due.hints + 1);
            }
        })
        .await
    }

    async fn is_suppressed(&self, contact: &ContactKey) -> Result<bool, StoreError> {
        self.read_io("is_suppressed").await?;
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        Ok(self.inside().suppressed.contains_key(&key))
    }

    async fn suppress(&self, contact: &ContactKey, _: &str, _: Timestamp) -> Result<(), StoreError> {
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        self.write_io("suppress", |inside| {
            let now = inside.now;
            inside.suppressed.entry(key).or_insert(now);
        })
        .await
    }
}

#[async_trait]
impl Vault for World {
    async fn put(&self, key: &ContentKey, content: &Content, _: Timestamp) -> Result<(), StoreError> {
        self.write_io("vault put", |inside| drop(inside.vault.insert(key.clone(), content.clone()))).await
    }

    async fn get(&self, key: &ContentKey) -> Result<Option<Content>, StoreError> {
        self.read_io("vault get").await?;
        Ok(self.inside().vault.get(key).cloned())
    }

    async fn get_many(&self, keys: &[ContentKey]) -> Result<Vec<Option<Content>>, StoreError> {
        self.read_io("vault get").await?;
        let inside = self.inside();
        Ok(keys.iter().map(|key| inside.vault.get(key).cloned()).collect())
    }
}

#[async_trait]
impl Queue for World {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        self.write_io("queue send", |inside| {
            for (hint, delay) in hints {
                inside.sent_hints += 1;
                // Once in a while a queue loses a message, or has it twice.
                let copies = match inside.faults.then(|| inside.chance.below(50)) {
                    Some(0) => 0,
                    Some(1) => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let visible_at = inside.now + i64::from(*delay) * 1_000;
                    let id = inside.fresh();
                    inside.messages.push(Message { id, hint: hint.clone(), visible_at, receives: 0 });
                }
            }
        })
        .await
    }

    async fn depth(&self, _: Lane) -> Result<Depth, StoreError> {
        Ok(Depth::default())
    }
}

#[async_trait]
impl Keys for World {
    async fn find(&self, _: &str) -> Result<Option<Principal>, StoreError> {
        let tenant = "acme".parse().map_err(|_| down())?;
        Ok(Some(Principal { tenant, actor: "sim".to_owned(), mode: Mode::Live }))
    }

    async fn put(&self, _: &str, _: &Principal) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Limits for World {
    async fn beat(&self, _: &str, _: Timestamp) -> Result<(), StoreError> {
        self.read_io("beat").await
    }

    async fn last_beat(&self, _: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Alerts for World {
    async fn raise(&self, _: &str, _: &str) -> Result<(), StoreError> {
        self.read_io("alert").await
    }
}

/// No view is asked for in the simulation; rows are checked by the contracts.
#[async_trait]
impl Views for World {
    async fn apply(&self, _: &[Projected], _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _: &ViewKey, _: &Filter, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    async fn days(&self, _: &ViewKey, _: &str, _: &str) -> Result<BTreeMap<String, Counters>, StoreError> {
        Ok(BTreeMap::new())
    }

    async fn totals(&self, _: &ViewKey) -> Result<(Counters, Option<Timestamp>), StoreError> {
        Ok((Counters::new(), None))
    }
}

#[async_trait]
impl Provider for World {
    fn name(&self) -> &str {
        "sim"
    }

    fn config(&self) -> &str {
        "sim"
    }

    fn channel(&self) -> Channel {
        Channel::Email
    }

    fn mode(&self) -> Mode {
        Mode::Live
    }

    /// Takes it or not, answers or not, early or late; calls back or not, once or twice, in any order.
    async fn send(&self, outbound: &Outbound, timeout_ms: u64) -> Sent {
        let scripted = self.turn("provider call").await;
        let plain = |answer| Sent { answer, opted_out: false };
        let refused = |class, after| plain(Answer::Refused { class, code: "sim".to_owned(), retry_after_ms: after });
        let (draw, latency) = {
            let mut inside = self.inside();
            let draw = match scripted {
                Meets::Refused => 0,
                Meets::LostAfter => 14,
                Meets::LostBefore => 20,
                Meets::Nothing | Meets::Kill if inside.faults => inside.chance.below(100),
                Meets::Nothing | Meets::Kill => 99,
            };
            (draw, inside.chance.below(300) as i64)
        };
        // What it does comes first; what it says, later.
        let takes = !(draw < 14 || (20..26).contains(&draw));
        if takes {
            self.take(outbound);
        }
        let hangs = (14..26).contains(&draw);
        {
            let mut inside = self.inside();
            inside.injected += u64::from(draw < 32);
            inside.resume_at = inside.now + if hangs { timeout_ms as i64 } else { latency };
        }
        self.turn("provider answer").await;
        match draw {
            0..5 => refused(RefusalClass::Transient, None),
            5..8 => refused(RefusalClass::Throttled, Some(5_000)),
            8..11 => refused(RefusalClass::Unavailable, None),
            11..12 => refused(RefusalClass::Permanent, None),
            12..14 => refused(RefusalClass::Auth, None),
            14..26 => plain(Answer::InDoubt(DoubtCause::Timeout)),
            26..32 => plain(Answer::InDoubt(DoubtCause::ServerError)),
            _ => plain(Answer::Accepted {
                provider_message_id: format!("sim-{}", outbound.attempt),
                segments: None,
                cost_micros: None,
                latency_ms: latency as u32,
            }),
        }
    }
}

impl World {
    fn take(&self, outbound: &Outbound) {
        let mut inside = self.inside();
        let at = inside.now;
        inside.deliveries.push(Delivery { attempt: outbound.attempt, at });
        let facts: &[Fact] = match inside.chance.below(10) {
            0 => &[Fact::Accepted, Fact::Bounced],
            1 => &[Fact::Accepted, Fact::Undelivered],
            2..4 => &[Fact::Accepted, Fact::Delivered, Fact::Opened, Fact::Clicked],
            _ => &[Fact::Accepted, Fact::Delivered],
        };
        let silent = inside.is_silent || inside.faults && inside.chance.percent(15);
        for fact in facts.iter().filter(|_| !silent) {
            let copies = 1 + u64::from(inside.faults && inside.chance.percent(10));
            for _ in 0..copies {
                let wait = match inside.chance.below(20) {
                    0 if inside.faults => 400_000,
                    _ => inside.chance.below(60_000) as i64,
                };
                let key = StreamKey { tenant: outbound.tenant.clone(), id: outbound.attempt.communication };
                let report = Report {
                    attempt: Some(outbound.attempt.number),
                    fact: *fact,
                    event_id: None,
                    at: Timestamp(at),
                    code: None,
                };
                inside.callbacks.push(Callback { at: at + wait, key, report });
            }
        }
    }
}

/// Names that appear more than once.
pub fn repeated<T: Ord + Clone>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        if !seen.insert(item.clone()) {
            twice.insert(item);
        }
    }
    twice
}
