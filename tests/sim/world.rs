//! The outside, in memory and at the mercy of a seed: one I/O is one await, and dropping the future there is a kill.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use async_trait::async_trait;
use domain::communication::{AttemptOutcome, DeliveryReport};
use domain::communication_view::{CommunicationRow, utc_day};
use domain::message::MessageContent;
use domain::ports::{
    AddressKey, AlertSink, ApiKeyStore, Append, AppendError, ClockAndRng, ContentKey, CoordinationStore, DocumentKey,
    DocumentStore, Due, EventStore, FetchError, FileFetcher, Hint, JournalKey, Journals, ListFilter, ObjectKey,
    ObjectStore, OutboundMessage, PresignedUpload, Principal, ProjectedRow, Provider, ProviderConfig, QueryResult,
    QueueDepth, QueueId, RowKey, RowPage, ScanPage, SecretCipher, SendResult, StoreError, Stream, StreamKey,
    TIMER_SHARDS, UnmatchedQueue, UnmatchedRetry, Vault, VersionedRecord, ViewScope, ViewStore, WorkQueue,
};
use domain::provider::{Capabilities, InvalidSetting, ProviderFactory, ProviderKind};
use domain::stats::{Counters, add_counters, contribution, counter_delta};
use events::{
    AttemptId, Channel, CommunicationId, EventMetadata, InDoubtCause, Mode, ProviderConfigEvent, RefusalClass,
    ReportedStatus, TenantId, Timestamp,
};
use project::Image;
use tests::rng::SeededRng;

use crate::bugs::Bug;

/// A message on a queue.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: u64,
    pub hint: Hint,
    pub visible_at: i64,
    pub receives: u32,
}

/// A provider was called.
#[derive(Debug, Clone)]
pub struct Call {
    pub tenant: TenantId,
    pub attempt: AttemptId,
    pub config: String,
    pub at: i64,
    /// Whether it took the message.
    pub taken: bool,
}

/// Something that a provider will call back.
#[derive(Debug, Clone)]
pub struct Callback {
    pub at: i64,
    pub key: StreamKey,
    pub report: DeliveryReport,
    /// By which name of its own the provider speaks of it; none where it echoes ours.
    pub by: Option<String>,
}

/// A stream, its lane, and the hints sent for its timer.
pub type StoredRecords = (Stream, QueueId, u32);

pub struct WorldState {
    pub now: i64,
    pub rng: SeededRng,
    pub faults: bool,
    pub injected: u64,
    pub streams: BTreeMap<StreamKey, StoredRecords>,
    pub vault: BTreeMap<ContentKey, MessageContent>,
    /// By tenant and contact: when it was suppressed.
    pub suppressed: BTreeMap<(String, String), i64>,
    pub records: BTreeMap<String, VersionedRecord>,
    pub rows: BTreeMap<(ViewScope, String), CommunicationRow>,
    pub counters: BTreeMap<(ViewScope, String), Counters>,
    /// The table's stream: images by shard, in order.
    pub feed: [VecDeque<Image>; FEEDS],
    /// A projection is wanted; the bounded runs do without.
    pub projects: bool,
    pub messages: Vec<Message>,
    pub calls: Vec<Call>,
    pub callbacks: Vec<Callback>,
    pub journals: BTreeMap<JournalKey, Stream>,
    pub documents: BTreeMap<DocumentKey, String>,
    pub objects: BTreeMap<ObjectKey, Vec<u8>>,
    /// Facts that found no message, and when they are looked at again.
    pub inbox: Vec<(i64, UnmatchedRetry)>,
    /// Providers that are down, from and to.
    pub outages: Vec<(String, i64, i64)>,
    /// When the task being polled may go on; set by an I/O that takes time.
    pub resume_at: i64,
    /// Faults by the number of the I/O they strike: the bounded exhaustive runs.
    pub script: BTreeMap<usize, Fault>,
    /// Every I/O so far, named by function and port.
    pub trace: Vec<String>,
    pub function_name: &'static str,
    pub killed: bool,
    /// No callback ever comes.
    pub is_silent: bool,
    /// What is broken on purpose, to see that it is found.
    pub bug: Option<Bug>,
    next: u64,
}

/// Shards of the table's stream.
pub const FEEDS: usize = 4;

/// Every port at once, as one version of the code sees it.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<WorldState>>,
    /// The version after this one: it writes callbacks in a form that this one cannot read.
    is_next: bool,
}

/// What an I/O fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Nothing,
    /// Fails and does nothing.
    Error,
    /// Fails, and has done nothing, but nobody can tell.
    ErrorBeforeEffect,
    /// Is done, but the answer is lost.
    ErrorAfterEffect,
    /// The process dies here.
    Kill,
}

/// Lets the scheduler choose who goes on.
struct YieldPoint(bool);

impl Future for YieldPoint {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("simulated".to_owned())
}

impl World {
    pub fn new(seed: u64, now: i64) -> Self {
        let state = Arc::new(Mutex::new(WorldState {
            now,
            rng: SeededRng::new(seed),
            faults: true,
            injected: 0,
            streams: BTreeMap::new(),
            vault: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            records: BTreeMap::new(),
            rows: BTreeMap::new(),
            counters: BTreeMap::new(),
            feed: Default::default(),
            projects: true,
            messages: Vec::new(),
            calls: Vec::new(),
            callbacks: Vec::new(),
            // Half of all seeds: in the others both tenants crowd the same accounts.
            journals: if seed % 4 < 2 { initial_journals() } else { BTreeMap::new() },
            documents: BTreeMap::from([(tenant_secret(), "{}".to_owned())]),
            objects: BTreeMap::new(),
            inbox: Vec::new(),
            outages: Vec::new(),
            resume_at: 0,
            script: BTreeMap::new(),
            trace: Vec::new(),
            function_name: "",
            killed: false,
            is_silent: false,
            bug: None,
            next: 0,
        }));
        World { state, is_next: false }
    }

    /// The same world, as the next version sees it.
    pub fn next_version(&self) -> World {
        World { is_next: true, ..self.clone() }
    }

    pub fn state(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().expect("one thread")
    }

    /// Waits for its turn, and fault what the script has for it. A kill never goes on.
    async fn yield_point(&self, port: &str) -> Fault {
        YieldPoint(false).await;
        let fault = {
            let mut guard = self.state();
            let state = &mut *guard;
            let fault = state.script.get(&state.trace.len()).copied().unwrap_or(Fault::Nothing);
            if !state.faults {
                state.trace.push(format!("{} {port}", state.function_name));
            }
            state.killed |= fault == Fault::Kill;
            fault
        };
        if fault == Fault::Kill {
            std::future::pending::<()>().await;
        }
        fault
    }

    async fn io(&self, port: &str) -> Fault {
        let scripted = self.yield_point(port).await;
        let mut state = self.state();
        if scripted != Fault::Nothing || !state.faults || !state.rng.percent(4) {
            return scripted;
        }
        state.injected += 1;
        match state.rng.below(3) {
            0 => Fault::Error,
            1 => Fault::ErrorBeforeEffect,
            _ => Fault::ErrorAfterEffect,
        }
    }

    /// A read either answers or does not.
    async fn read_io(&self, port: &str) -> Result<(), StoreError> {
        if self.io(port).await == Fault::Nothing { Ok(()) } else { Err(unavailable()) }
    }

    /// A write of which any failure is told as "not done", whatever became of it.
    async fn write_io(&self, port: &str, write: impl FnOnce(&mut WorldState) + Send) -> Result<(), StoreError> {
        match self.io(port).await {
            Fault::Nothing => {
                write(&mut self.state());
                Ok(())
            }
            Fault::ErrorAfterEffect => {
                write(&mut self.state());
                Err(unavailable())
            }
            Fault::Error | Fault::ErrorBeforeEffect | Fault::Kill => Err(unavailable()),
        }
    }
}

impl WorldState {
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn apply(&mut self, key: &StreamKey, append: &Append) -> Result<(), AppendError> {
        let entry = self.streams.entry(key.clone());
        let (stream, lane, hints) = entry.or_insert_with(|| (Stream::default(), append.lane, 0));
        let is_blind = self.bug.is_some_and(|bug| bug.is_blind(self.function_name));
        if stream.version != append.expected && !is_blind {
            return if stream.writer == append.writer { Ok(()) } else { Err(AppendError::Conflict) };
        }
        stream.lines.extend(append.lines.iter().cloned());
        stream.version += append.lines.len() as u64;
        stream.wake = append.wake;
        stream.writer.clone_from(&append.writer);
        (*lane, *hints) = (append.lane, 0);
        if self.projects {
            let image = Image { key: key.clone(), lines: stream.lines.clone() };
            self.feed[usize::from(key.id.shard_byte()) % FEEDS].push_back(image);
        }
        Ok(())
    }

    pub fn is_down(&self, config: &str) -> bool {
        self.outages.iter().any(|(down, from, to)| down == config && (*from..*to).contains(&self.now))
    }
}

impl ClockAndRng for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.state().now)
    }

    fn random(&self) -> u128 {
        let mut state = self.state();
        (u128::from(state.rng.next_u64()) << 64) | u128::from(state.rng.next_u64())
    }
}

/// What the next version writes for a callback.
fn as_next_version(line: &str) -> String {
    replace_version(line, r#""version":1,"#, r#""version":2,"#)
}

/// A line as this version can read it.
pub fn as_current_version(line: &str) -> String {
    replace_version(line, r#""version":2,"#, r#""version":1,"#)
}

fn replace_version(line: &str, from: &str, to: &str) -> String {
    match line.starts_with(r#"{"type":"DeliveryReported""#) {
        true => line.replacen(from, to, 1),
        false => line.to_owned(),
    }
}

#[async_trait]
impl EventStore for World {
    async fn read(&self, key: &StreamKey) -> Result<Stream, StoreError> {
        self.read_io("read").await?;
        let state = self.state();
        let mut stream = state.streams.get(key).map(|(stream, ..)| stream.clone()).unwrap_or_default();
        if self.is_next {
            stream.lines.iter_mut().for_each(|line| *line = as_current_version(line));
        }
        if let Some(bug) = state.bug {
            bug.read(state.function_name, &mut stream);
        }
        Ok(stream)
    }

    async fn append(&self, key: &StreamKey, mut append: Append) -> Result<(), AppendError> {
        let simulated = || "simulated".to_owned();
        let fault = self.io("append").await;
        let mut state = self.state();
        if self.is_next {
            append.lines.iter_mut().for_each(|line| *line = as_next_version(line));
        }
        if let Some(bug) = state.bug {
            let first = state.streams.get(key).and_then(|(stream, ..)| stream.lines.first());
            bug.append(first, &mut append);
        }
        match fault {
            Fault::Nothing => state.apply(key, &append),
            Fault::Error | Fault::Kill => Err(AppendError::NotApplied(simulated())),
            Fault::ErrorBeforeEffect => Err(AppendError::Unknown(simulated())),
            Fault::ErrorAfterEffect => {
                let done = state.apply(key, &append);
                done.and(Err(AppendError::Unknown(simulated())))
            }
        }
    }

    async fn due_timers(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.read_io("due").await?;
        let mut state = self.state();
        let mut due: Vec<Due> = Vec::new();
        for (key, (stream, lane, hints)) in &state.streams {
            if let Some(wake) = stream.wake.filter(|wake| *wake <= until)
                && key.id.shard_byte() % TIMER_SHARDS == shard
            {
                let hint = Hint { lane: *lane, key: key.clone() };
                due.push(Due { hint, wake, hints: *hints });
            }
        }
        due.sort_by_key(|due| due.wake);
        due.truncate(limit);
        // The index lags: some of it is not there yet.
        if state.faults {
            due.retain(|_| !state.rng.percent(5));
        }
        Ok(due)
    }

    async fn reschedule_timer(
        &self,
        key: &StreamKey,
        from: Timestamp,
        to: Timestamp,
        sent: u32,
    ) -> Result<(), StoreError> {
        self.write_io("rearm", |state| {
            let to = Some(to).filter(|_| state.bug != Some(Bug::HintsAreTruth));
            if let Some((stream, _, hints)) = state.streams.get_mut(key)
                && stream.wake == Some(from)
            {
                (stream.wake, *hints) = (to, sent);
            }
        })
        .await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let state = self.state();
        let later = |(key, _): &(&StreamKey, &StoredRecords)| after.is_none_or(|after| after < key.path().as_str());
        let mut all: Vec<_> = state.streams.iter().filter(later).collect();
        all.sort_by_key(|(key, _)| key.path());
        let some = all.into_iter().take(limit).map(|(key, (stream, ..))| {
            let lines = stream.lines.iter().map(|line| as_current_version(line)).collect();
            (key.clone(), Stream { lines, ..stream.clone() })
        });
        let some: Vec<_> = some.collect();
        let next = some.last().filter(|_| some.len() == limit).map(|(key, _)| key.path());
        Ok(ScanPage { streams: some, next })
    }

    async fn is_suppressed(&self, contact: &AddressKey) -> Result<bool, StoreError> {
        self.read_io("is_suppressed").await?;
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        let state = self.state();
        Ok(state.suppressed.contains_key(&key) && state.bug != Some(Bug::OptOutIgnored))
    }

    async fn suppress(&self, contact: &AddressKey, _: &str, _: Timestamp) -> Result<(), StoreError> {
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        self.write_io("suppress", |state| {
            let now = state.now;
            state.suppressed.entry(key).or_insert(now);
        })
        .await
    }

    async fn unsuppress(&self, contact: &AddressKey, _: &str) -> Result<(), StoreError> {
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        self.write_io("unsuppress", |state| {
            state.suppressed.remove(&key);
        })
        .await
    }

    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError> {
        let is = self.is_suppressed(contact).await?;
        Ok(is.then(|| "opted_out".to_owned()))
    }
}

#[async_trait]
impl Vault for World {
    async fn put(&self, key: &ContentKey, content: &MessageContent, _: Timestamp) -> Result<(), StoreError> {
        self.write_io("vault put", |state| drop(state.vault.insert(key.clone(), content.clone()))).await
    }

    async fn get(&self, key: &ContentKey, _: Timestamp) -> Result<Option<MessageContent>, StoreError> {
        self.read_io("vault get").await?;
        Ok(self.state().vault.get(key).cloned())
    }

    async fn get_many(&self, keys: &[ContentKey], _: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError> {
        self.read_io("vault get").await?;
        let state = self.state();
        Ok(keys.iter().map(|key| state.vault.get(key).cloned()).collect())
    }

    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        _: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError> {
        self.read_io("vault of subject").await?;
        let state = self.state();
        let on_it = |key: &ContentKey| key.tenant == *tenant && key.subject == subject;
        let of_it = state.vault.iter().rev().filter(|(key, _)| on_it(key));
        let of_it = of_it.filter(|(key, _)| before.is_none_or(|before| key.path().1.as_str() < before));
        Ok(of_it.take(limit).map(|(key, content)| (key.clone(), content.clone())).collect())
    }

    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError> {
        self.write_io("vault erase", |state| drop(state.vault.remove(key))).await
    }
}

#[async_trait]
impl WorkQueue for World {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        self.write_io("queue send", |state| {
            for (hint, delay) in hints {
                // Once in a while a queue loses a message, or has it twice.
                let copies = match state.faults.then(|| state.rng.below(50)) {
                    Some(0) => 0,
                    Some(1) => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let visible_at = state.now + i64::from(*delay) * 1_000;
                    let id = state.next_id();
                    state.messages.push(Message { id, hint: hint.clone(), visible_at, receives: 0 });
                }
            }
        })
        .await
    }

    async fn depth(&self, _: QueueId) -> Result<QueueDepth, StoreError> {
        Ok(QueueDepth::default())
    }
}

/// Two tenants, by their keys.
pub const TENANTS: [(&str, &str); 2] = [("td_sim_acme", "acme"), ("td_sim_other", "other")];

#[async_trait]
impl ApiKeyStore for World {
    async fn find(&self, hash: &str) -> Result<Option<Principal>, StoreError> {
        let found = TENANTS.iter().find(|(key, _)| application::hash::key_hash(key) == hash);
        let principal = |(_, tenant): &(&str, &str)| {
            let tenant = tenant.parse().map_err(|_| unavailable())?;
            Ok(Principal::admin(tenant, "sim", Mode::Live))
        };
        found.map(principal).transpose()
    }

    async fn put(&self, _: &str, _: &Principal) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl CoordinationStore for World {
    async fn record_heartbeat(&self, _: &str, _: Timestamp) -> Result<(), StoreError> {
        self.read_io("beat").await
    }

    async fn last_heartbeat(&self, _: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError> {
        self.read_io("records").await?;
        let state = self.state();
        Ok(names.iter().map(|name| state.records.get(name).cloned()).collect())
    }

    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError> {
        let mut found = None;
        self.write_io("swap", |state| {
            if state.bug == Some(Bug::LimitsNotShared) {
                return;
            }
            let there = state.records.get(name);
            if there.map_or(0, |there| there.version) == expected {
                let next = VersionedRecord { version: expected + 1, body: body.to_owned() };
                state.records.insert(name.to_owned(), next);
            } else {
                found = there.cloned();
            }
        })
        .await?;
        Ok(found)
    }
}

/// The second tenant's own channel: its provider echoes nothing of ours and cannot be asked.
pub const TENANT_CONFIG: &str = "other.own";

fn second_tenant() -> TenantId {
    TENANTS[1].1.parse().expect("a tenant")
}

fn tenant_secret() -> DocumentKey {
    DocumentKey { tenant: second_tenant(), collection: "secret", name: format!("{TENANT_CONFIG}#1") }
}

/// What the second tenant decided before it all began.
fn initial_journals() -> BTreeMap<JournalKey, Stream> {
    let added = ProviderConfigEvent::ChannelAdded {
        config: TENANT_CONFIG.to_owned(),
        provider: "sim".to_owned(),
        channel: Channel::Email,
        name: "Own".to_owned(),
        settings: BTreeMap::new(),
        secret: 1,
        rate: None,
    };
    let meta = EventMetadata {
        at: Timestamp(0),
        command: "decided".to_owned(),
        correlation: None,
        causation: None,
        actor: "sim".to_owned(),
        traceparent: None,
    };
    let stream = Stream { version: 1, lines: vec![events::encode(&added, &meta)], ..Stream::default() };
    BTreeMap::from([(JournalKey::channels(&second_tenant()), stream)])
}

#[async_trait]
impl Journals for World {
    async fn read_journal(&self, key: &JournalKey) -> Result<Stream, StoreError> {
        self.read_io("journal").await?;
        Ok(self.state().journals.get(key).cloned().unwrap_or_default())
    }

    async fn append_journal(&self, _: &JournalKey, _: u64, _: Vec<String>, _: &str) -> Result<(), AppendError> {
        Err(AppendError::NotApplied("not simulated".to_owned()))
    }
}

#[async_trait]
impl DocumentStore for World {
    async fn put_document(&self, key: &DocumentKey, body: &str, _: Option<Timestamp>) -> Result<(), StoreError> {
        self.write_io("document put", |state| drop(state.documents.insert(key.clone(), body.to_owned()))).await
    }

    async fn get_document(&self, key: &DocumentKey, _: Timestamp) -> Result<Option<String>, StoreError> {
        self.read_io("document").await?;
        Ok(self.state().documents.get(key).cloned())
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        self.write_io("document remove", |state| drop(state.documents.remove(key))).await
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        shelf: &'static str,
        before: Option<&str>,
        limit: usize,
        _: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.read_io("shelf").await?;
        let state = self.state();
        let on_it = |key: &DocumentKey| key.tenant == *tenant && key.collection == shelf;
        let later = state.documents.iter().rev().filter(|(key, _)| on_it(key));
        let later = later.filter(|(key, _)| before.is_none_or(|before| key.name.as_str() < before));
        Ok(later.take(limit).map(|(key, body)| (key.name.clone(), body.clone())).collect())
    }
}

#[async_trait]
impl UnmatchedQueue for World {
    async fn enqueue(&self, again: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        self.write_io("inbox", |state| {
            let at = state.now + i64::from(delay_s) * 1_000;
            state.inbox.push((at, again.clone()));
        })
        .await
    }
}

/// Sealed as it is: what is simulated is that the key may not answer.
#[async_trait]
impl SecretCipher for World {
    async fn encrypt(&self, _: &str, plain: &str) -> Result<String, StoreError> {
        self.read_io("seal").await.map(|()| plain.to_owned())
    }

    async fn decrypt(&self, _: &str, sealed: &str) -> Result<String, StoreError> {
        self.read_io("open").await.map(|()| sealed.to_owned())
    }
}

impl ProviderFactory for World {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        Vec::new()
    }

    fn create(
        &self,
        account: ProviderConfig,
        _: &BTreeMap<String, String>,
        _: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let account = ProviderConfig { rate: crate::RATE, ..account };
        Ok(Arc::new(SimProvider { world: self.clone(), account, answers: false, echoes: false }))
    }
}

#[async_trait]
impl FileFetcher for World {
    async fn fetch(&self, _: &str, _: usize) -> Result<(Vec<u8>, String), FetchError> {
        self.read_io("fetch").await.map_err(|_| FetchError::NoResponse)?;
        Ok((b"%PDF".to_vec(), "application/pdf".to_owned()))
    }
}

#[async_trait]
impl ObjectStore for World {
    async fn upload_to(&self, _: &ObjectKey, _: &str, _: u64, _: Timestamp) -> Result<PresignedUpload, StoreError> {
        Err(unavailable())
    }

    async fn download_from(&self, _: &ObjectKey, _: &str, _: &str, _: Timestamp) -> Result<String, StoreError> {
        Err(unavailable())
    }

    async fn read(&self, key: &ObjectKey, _: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_io("object read").await?;
        Ok(self.state().objects.get(key).cloned())
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, _: &str) -> Result<(), StoreError> {
        self.write_io("object write", |state| drop(state.objects.insert(key.clone(), bytes))).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.write_io("object delete", |state| drop(state.objects.remove(key))).await
    }
}

#[async_trait]
impl AlertSink for World {
    async fn raise(&self, _: &str, _: &str) -> Result<(), StoreError> {
        self.read_io("alert").await
    }
}

impl WorldState {
    fn count(&mut self, projected: &ProjectedRow, change: &Counters) {
        for day in [utc_day(projected.row.created_at), "all".to_owned()] {
            add_counters(self.counters.entry((projected.view.clone(), day)).or_default(), change);
        }
    }
}

#[async_trait]
impl ViewStore for World {
    /// A transaction: all of it or nothing.
    async fn apply(&self, rows: &[ProjectedRow], _: Timestamp) -> Result<(), StoreError> {
        let mut late: Vec<(ProjectedRow, Counters)> = Vec::new();
        self.write_io("views", |state| {
            for projected in rows {
                let place = (projected.view.clone(), RowKey::of(&projected.row).path());
                let old = state.rows.get(&place);
                if old.is_some_and(|old| projected.row.position <= old.position) {
                    continue;
                }
                let change = counter_delta(&contribution(&projected.row), old.map(contribution).as_ref());
                state.rows.insert(place, projected.row.clone());
                match state.bug {
                    Some(Bug::CountersApart) => late.push((projected.clone(), change)),
                    _ => state.count(projected, &change),
                }
            }
        })
        .await?;
        if !late.is_empty() {
            self.write_io("counters", |state| {
                late.iter().for_each(|(projected, change)| state.count(projected, change));
            })
            .await?;
        }
        Ok(())
    }

    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError> {
        self.read_io("list").await?;
        let state = self.state();
        let mine = state.rows.iter().rev().filter(|((of, _), row)| of == view && filter.matches(row));
        let mut rest = mine.filter(|((_, place), _)| after.is_none_or(|after| place.as_str() < after));
        let rows: Vec<CommunicationRow> = rest.by_ref().take(size).map(|(_, row)| row.clone()).collect();
        let next = rest.next().and(rows.last()).map(|row| RowKey::of(row).path());
        Ok(RowPage { rows, next })
    }

    async fn get_rows(&self, view: &ViewScope, of: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError> {
        let state = self.state();
        Ok(of.iter().map(|key| state.rows.get(&(view.clone(), key.path())).cloned()).collect())
    }

    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        let state = self.state();
        let mine =
            state.counters.iter().filter(|((of, day), _)| of == view && from <= day.as_str() && day.as_str() <= to);
        Ok(mine.map(|((_, day), counters)| (day.clone(), counters.clone())).collect())
    }

    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let state = self.state();
        Ok((state.counters.get(&(view.clone(), "all".to_owned())).cloned().unwrap_or_default(), None))
    }
}

/// One account of a simulated provider.
pub struct SimProvider {
    pub world: World,
    pub account: ProviderConfig,
    /// It can be asked about a doubt.
    pub answers: bool,
    /// Its callbacks name our attempt.
    pub echoes: bool,
}

#[async_trait]
impl Provider for SimProvider {
    fn config(&self) -> &ProviderConfig {
        &self.account
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { echoes_our_id: self.echoes, query: self.answers, ..Capabilities::TEXT }
    }

    /// Takes it or not, answers or not, early or late; calls back or not, once or twice, in any order.
    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let scripted = self.world.yield_point("provider call").await;
        let plain = |answer: AttemptOutcome| SendResult::from(answer);
        let refused =
            |class, after| plain(AttemptOutcome::Refused { class, code: "sim".to_owned(), retry_after_ms: after });
        let (draw, latency, bug) = {
            let mut state = self.world.state();
            let draw = match scripted {
                Fault::Error => 0,
                Fault::ErrorAfterEffect => 14,
                Fault::ErrorBeforeEffect => 20,
                Fault::Nothing | Fault::Kill if state.is_down(&self.account.id) => {
                    // Refuses; or hangs, if the seed decides.
                    8 + if state.faults { 12 * state.rng.below(2) } else { 0 }
                }
                Fault::Nothing | Fault::Kill if state.faults => state.rng.below(100),
                Fault::Nothing | Fault::Kill => 99,
            };
            (draw, state.rng.below(300) as i64, state.bug)
        };
        // What it does comes first; what it says, later.
        let taken = !(draw < 14 || (20..26).contains(&draw));
        let by = (!self.echoes).then(|| format!("sim-{}", outbound.attempt));
        self.world.call(outbound, &self.account.id, taken, by);
        let hangs = (14..26).contains(&draw);
        {
            let mut state = self.world.state();
            state.injected += u64::from(draw < 32);
            state.resume_at = state.now + if hangs { timeout_ms as i64 } else { latency };
        }
        self.world.yield_point("provider answer").await;
        match draw {
            0..5 => refused(RefusalClass::Transient, None),
            5..8 => refused(RefusalClass::Throttled, Some(5_000)),
            8..11 => refused(RefusalClass::Unavailable, None),
            11..12 => refused(RefusalClass::Permanent, None),
            12..14 => refused(RefusalClass::Auth, None),
            14..32 if bug == Some(Bug::AmbiguousIsFailed) => refused(RefusalClass::Transient, None),
            14..26 => plain(AttemptOutcome::InDoubt(InDoubtCause::Timeout)),
            26..32 => plain(AttemptOutcome::InDoubt(InDoubtCause::ServerError)),
            _ => plain(AttemptOutcome::Accepted {
                provider_message_id: format!("sim-{}", outbound.attempt),
                segments: None,
                cost_micros: None,
                latency_ms: latency as u32,
            }),
        }
    }

    async fn query_delivery(&self, outbound: &OutboundMessage, _: Timestamp, _: Timestamp, _: u64) -> QueryResult {
        if !self.answers {
            return QueryResult::Unsupported;
        }
        if self.world.read_io("query").await.is_err() {
            return QueryResult::NoResponse;
        }
        let state = self.world.state();
        match state.calls.iter().any(|call| call.taken && call.attempt == outbound.attempt) {
            true => QueryResult::Accepted(format!("sim-{}", outbound.attempt)),
            false => QueryResult::NotAccepted,
        }
    }
}

impl World {
    /// As the erasure of a person does: everything of theirs in the vault is gone.
    pub async fn erase(&self, id: CommunicationId) -> Result<(), StoreError> {
        self.write_io("erase", |state| state.vault.retain(|key, _| key.id != id)).await
    }

    fn call(&self, outbound: &OutboundMessage, config: &str, taken: bool, by: Option<String>) {
        let mut state = self.state();
        let at = state.now;
        let (tenant, attempt, config) = (outbound.tenant.clone(), outbound.attempt, config.to_owned());
        state.calls.push(Call { tenant, attempt, config, at, taken });
        if !taken {
            return;
        }
        let facts: &[ReportedStatus] = match state.rng.below(10) {
            0 => &[ReportedStatus::Accepted, ReportedStatus::Bounced],
            1 => &[ReportedStatus::Accepted, ReportedStatus::Undelivered],
            2..4 => {
                &[ReportedStatus::Accepted, ReportedStatus::Delivered, ReportedStatus::Opened, ReportedStatus::Clicked]
            }
            _ => &[ReportedStatus::Accepted, ReportedStatus::Delivered],
        };
        let silent = state.is_silent || state.faults && state.rng.percent(15);
        for fact in facts.iter().filter(|_| !silent) {
            let copies = 1 + u64::from(state.faults && state.rng.percent(10));
            for _ in 0..copies {
                let wait = match state.rng.below(20) {
                    0 if state.faults => 400_000,
                    _ => state.rng.below(60_000) as i64,
                };
                let key = StreamKey { tenant: outbound.tenant.clone(), id: outbound.attempt.communication };
                let report = DeliveryReport {
                    attempt: by.is_none().then_some(outbound.attempt.number),
                    fact: *fact,
                    event_id: None,
                    at: Timestamp(at),
                    code: None,
                };
                state.callbacks.push(Callback { at: at + wait, key, report, by: by.clone() });
            }
        }
    }
}
