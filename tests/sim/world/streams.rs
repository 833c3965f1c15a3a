//! Streams, timers and suppressions, and how two versions of the code read the same stream.

use async_trait::async_trait;
use domain::ports::{
    AddressKey, AddressRecord, AppendError, AppendRequest, DuePage, DueTimer, EventStore, Hint, Listed, ScanPage,
    StoreError, Stream, TIMER_SHARDS, TimerCursor,
};
use events::{StreamId, StreamKind, TenantId, Timestamp};

use super::World;
use super::faults::Fault;
use crate::bugs::Bug;

/// A line as the next version writes it.
pub fn as_next_version(line: &str) -> String {
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

impl World {
    /// A stream as this version of the code reads it.
    fn as_read(&self, stream: &Stream) -> Stream {
        let mut stream = stream.clone();
        if self.is_next {
            stream.lines.iter_mut().for_each(|line| *line = as_current_version(line));
        }
        stream
    }
}

#[async_trait]
impl EventStore for World {
    fn max_stream_bytes(&self) -> usize {
        self.state().max_stream_bytes
    }

    async fn read(&self, id: &StreamId) -> Result<Stream, StoreError> {
        self.read_io(if id.kind == StreamKind::COMMUNICATION { "read" } else { "read other kind" }).await?;
        let state = self.state();
        let mut stream = state.streams.get(id).map(|(stream, ..)| self.as_read(stream)).unwrap_or_default();
        if let Some(bug) = state.bug {
            bug.read(state.function_name, &mut stream);
        }
        Ok(stream)
    }

    async fn read_history(&self, id: &StreamId) -> Result<Vec<String>, StoreError> {
        self.read_io("history").await?;
        let lines = self.state().history(id);
        Ok(if self.is_next { lines.iter().map(|line| as_current_version(line)).collect() } else { lines })
    }

    async fn append(&self, id: &StreamId, mut append: AppendRequest) -> Result<(), AppendError> {
        let simulated = || "simulated".to_owned();
        let fault = self.io("append").await;
        let mut state = self.state();
        if self.is_next {
            append.encoded_events.iter_mut().for_each(|line| *line = as_next_version(line));
        }
        if let Some(bug) = state.bug {
            let first = state.streams.get(id).and_then(|(stream, ..)| stream.lines.first());
            bug.append(first, &mut append);
            if bug.loses_append(state.function_name, &append) && state.rng.percent(10) {
                return Ok(());
            }
        }
        match fault {
            Fault::Nothing => state.apply(id, &append),
            Fault::Error | Fault::Kill => Err(AppendError::NotApplied(simulated())),
            Fault::ErrorBeforeEffect => Err(AppendError::Unknown(simulated())),
            Fault::ErrorAfterEffect => {
                let done = state.apply(id, &append);
                done.and(Err(AppendError::Unknown(simulated())))
            }
        }
    }

    async fn list(
        &self,
        tenant: &TenantId,
        kinds: &[StreamKind],
        listed: Listed,
    ) -> Result<Vec<(StreamId, Stream)>, StoreError> {
        self.read_io("list").await?;
        let state = self.state();
        let is_match = |id: &StreamId, is_current: bool| {
            id.tenant == *tenant && kinds.contains(&id.kind) && (is_current || listed == Listed::Ever)
        };
        let ids = state.listed.iter().filter(|(id, is_current)| is_match(id, **is_current));
        let read = |id: &StreamId| {
            let mut stream = self.as_read(&state.streams.get(id)?.0);
            if let Some(bug) = state.bug {
                bug.read(state.function_name, &mut stream);
            }
            Some((id.clone(), stream))
        };
        Ok(ids.filter_map(|(id, _)| read(id)).collect())
    }

    async fn due_timers(
        &self,
        shard: u8,
        until: Timestamp,
        after: Option<&TimerCursor>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        self.read_io("due timers").await?;
        let mut state = self.state();
        let mut due: Vec<DueTimer> = Vec::new();
        for (id, (stream, queue, hints_sent)) in &state.streams {
            if let Some(wake) = stream.wake.filter(|wake| *wake <= until)
                && id.shard_byte() % TIMER_SHARDS == shard
            {
                let hint = Hint { queue: *queue, stream: id.clone() };
                due.push(DueTimer { hint, wake, hints_sent: *hints_sent });
            }
        }
        let cursor = |due: &DueTimer| TimerCursor { wake: due.wake, storage_key: due.hint.stream.storage_key() };
        due.retain(|due| after.is_none_or(|after| *after < cursor(due)));
        due.sort_by_key(cursor);
        due.truncate(limit);
        let next = due.last().filter(|_| due.len() == limit).map(cursor);
        if state.bug == Some(Bug::RestartMovesTimers) && state.function_name == "resume" {
            for due in &due {
                if let Some((stream, _, hints_sent)) = state.streams.get_mut(&due.hint.stream) {
                    stream.wake = Some(due.wake + domain::policy::repair_ms(*hints_sent));
                    *hints_sent += 1;
                }
            }
        }
        // The index is eventually consistent: some entries are not there yet.
        if state.faults {
            due.retain(|_| !state.rng.percent(5));
        }
        Ok(DuePage { timers: due, next })
    }

    async fn reschedule_timer(
        &self,
        id: &StreamId,
        from: Timestamp,
        to: Timestamp,
        sent: u32,
    ) -> Result<(), StoreError> {
        self.write_io("reschedule timer", |state| {
            let to = Some(to).filter(|_| !state.bug.is_some_and(|bug| bug.loses_timer(state.function_name)));
            if let Some((stream, _, hints_sent)) = state.streams.get_mut(id)
                && stream.wake == Some(from)
            {
                (stream.wake, *hints_sent) = (to, sent);
            }
        })
        .await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let state = self.state();
        let mut all: Vec<(String, &StreamId)> = state.streams.keys().map(|id| (id.storage_key(), id)).collect();
        all.retain(|(key, _)| after.is_none_or(|after| after < key.as_str()));
        all.sort();
        all.truncate(limit);
        let next = all.last().filter(|_| all.len() == limit).map(|(key, _)| key.clone());
        let streams = all.into_iter().map(|(_, id)| {
            let stream = &state.streams[id].0;
            let lines = stream.lines.iter().map(|line| as_current_version(line)).collect();
            (id.clone(), Stream { lines, ..stream.clone() })
        });
        Ok(ScanPage { streams: streams.collect(), next })
    }

    async fn address(&self, contact: &AddressKey) -> Result<AddressRecord, StoreError> {
        self.read_io("address").await?;
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        let state = self.state();
        let is_suppressed = state.suppressed.contains_key(&key) && state.bug != Some(Bug::OptOutIgnored);
        let people = state.people.get(&key).into_iter().flatten().cloned().collect();
        Ok(AddressRecord { suppressed: is_suppressed.then(|| "opted_out".to_owned()), people })
    }

    async fn link_person(&self, contact: &AddressKey, person: &str) -> Result<(), StoreError> {
        let key = (contact.tenant.to_string(), contact.contact_hash.clone());
        self.write_io("link person", |state| {
            if state.bug != Some(Bug::AddressNotLinked) {
                state.people.entry(key).or_default().insert(person.to_owned());
            }
        })
        .await
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
}
