//! Streams, timers and suppressions; and how two versions of the code read the same stream.

use async_trait::async_trait;
use domain::ports::{
    AddressKey, Append, AppendError, CommunicationKey, Due, EventStore, Hint, ScanPage, StoreError, Stream,
    TIMER_SHARDS,
};
use events::Timestamp;

use super::World;
use super::faults::Fault;
use super::state::StoredRecords;
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

#[async_trait]
impl EventStore for World {
    async fn read(&self, key: &CommunicationKey) -> Result<Stream, StoreError> {
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

    async fn append(&self, key: &CommunicationKey, mut append: Append) -> Result<(), AppendError> {
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
        // The index is eventually consistent: some entries are not there yet.
        if state.faults {
            due.retain(|_| !state.rng.percent(5));
        }
        Ok(due)
    }

    async fn reschedule_timer(
        &self,
        key: &CommunicationKey,
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
        let later =
            |(key, _): &(&CommunicationKey, &StoredRecords)| after.is_none_or(|after| after < key.path().as_str());
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
