//! Everything that the simulated world stores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use application::StreamImage;
use domain::communication::DeliveryReport;
use domain::message::MessageContent;
use domain::ports::{
    AppendError, AppendRequest, CommunicationKey, ContentKey, DocumentKey, Hint, Listing, ObjectKey, ProjectedRow,
    QueueId, Stream, UnmatchedRetry, VersionedRecord, ViewScope,
};
use domain::publication::PublicEvent;
use domain::stats::Counters;
use events::{AttemptId, StreamId, TenantId};
use tests::rng::SeededRng;

use super::faults::Fault;
use crate::bugs::Bug;

/// A message on a queue.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: u64,
    pub hint: Hint,
    pub visible_at: i64,
    pub receives: u32,
}

/// A call of a provider.
#[derive(Debug, Clone)]
pub struct Call {
    pub tenant: TenantId,
    pub attempt: AttemptId,
    pub config: String,
    pub at: i64,
    /// Whether it accepted the message.
    pub taken: bool,
    /// What the message says. Empty unless texts are kept.
    pub text: String,
}

/// A callback that a provider will make.
#[derive(Debug, Clone)]
pub struct Callback {
    pub at: i64,
    pub key: CommunicationKey,
    pub report: DeliveryReport,
    /// The provider's own id of the message. `None` if it echoes ours.
    pub by: Option<String>,
}

/// A stream, its queue, and the number of hints sent for its timer.
pub type StoredRecords = (Stream, QueueId, u32);

pub struct WorldState {
    pub now: i64,
    pub rng: SeededRng,
    pub faults: bool,
    pub injected: u64,
    pub streams: BTreeMap<StreamId, StoredRecords>,
    /// Events that were moved out of their stream's item.
    pub chunks: BTreeMap<StreamId, Vec<String>>,
    /// Streams that were ever listed. False if a stream is no longer listed.
    pub listed: BTreeMap<StreamId, bool>,
    pub vault: BTreeMap<ContentKey, MessageContent>,
    /// Time of suppression by tenant and contact.
    pub suppressed: BTreeMap<(String, String), i64>,
    /// The people of an address, by tenant and contact.
    pub people: BTreeMap<(String, String), BTreeSet<String>>,
    pub tallies: BTreeMap<String, i64>,
    pub records: BTreeMap<String, VersionedRecord>,
    pub rows: BTreeMap<(ViewScope, String), ProjectedRow>,
    pub counters: BTreeMap<(ViewScope, String), Counters>,
    /// The table's change stream: images of streams in order, by shard.
    pub feed: [VecDeque<StreamImage>; FEEDS],
    /// Whether projections run.
    pub projects: bool,
    /// The change stream as the function publish reads it. `None` if it does not run.
    pub outbox: Option<[VecDeque<StreamImage>; FEEDS]>,
    /// The public events on the bus, in the order in which it took them.
    pub bus: Vec<PublicEvent>,
    pub messages: Vec<Message>,
    pub calls: Vec<Call>,
    /// Whether calls keep what their messages say.
    pub keeps_texts: bool,
    /// Every append in order: the stream, and its version afterwards.
    pub appends: Vec<(StreamId, u64)>,
    pub callbacks: Vec<Callback>,
    pub documents: BTreeMap<DocumentKey, String>,
    pub objects: BTreeMap<ObjectKey, Vec<u8>>,
    /// Delivery reports whose message was unknown, and when they are matched again.
    pub unmatched: Vec<(i64, UnmatchedRetry)>,
    /// Outages: the provider configuration, start and end.
    pub outages: Vec<(String, i64, i64)>,
    /// When the task being polled may continue. Set by an I/O that takes time.
    pub resume_at: i64,
    /// Faults by the number of the I/O, for the exhaustive runs.
    pub script: BTreeMap<usize, Fault>,
    /// Every I/O so far, named by function and I/O.
    pub trace: Vec<String>,
    pub function_name: &'static str,
    pub killed: bool,
    /// Whether callbacks never come.
    pub is_silent: bool,
    /// Whether each provider takes its whole time to answer.
    pub is_slow: bool,
    /// The size limit of a stream's item.
    pub max_stream_bytes: usize,
    /// The type of an event that does not fit into any stream.
    pub refused_event: Option<&'static str>,
    /// The planted bug.
    pub bug: Option<Bug>,
    pub last_id: u64,
}

/// Shards of the table's change stream.
pub const FEEDS: usize = 4;

impl WorldState {
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub fn apply(&mut self, id: &StreamId, append: &AppendRequest) -> Result<(), AppendError> {
        let version_of = |id| self.streams.get(id).map_or(0, |(stream, ..): &(Stream, _, _)| stream.version);
        let is_unmoved = append.unmoved.iter().all(|(id, version)| version_of(id) == *version);
        let entry = self.streams.entry(id.clone());
        let (stream, queue, hints_sent) = entry.or_insert_with(|| (Stream::default(), append.queue, 0));
        let is_blind = self.bug.is_some_and(|bug| bug.is_blind(self.function_name));
        if (stream.version != append.expected_version || !is_unmoved) && !is_blind {
            return if stream.writer_id == append.writer_id { Ok(()) } else { Err(AppendError::Conflict) };
        }
        if let Some(refused) = self.refused_event
            && append.encoded_events.iter().any(|line| line.starts_with(&format!(r#"{{"type":"{refused}""#)))
        {
            return Err(AppendError::TooLarge);
        }
        let size = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
        let kept = match &append.roll_over {
            Some(roll_over) => roll_over.snapshot.len(),
            None => stream.snapshot.as_ref().map_or(0, String::len) + size(&stream.lines),
        };
        let archived = if self.bug == Some(Bug::HistoryFull) {
            size(self.chunks.get(id).map_or(&[][..], Vec::as_slice)) + size(&stream.lines)
        } else {
            0
        };
        if self.max_stream_bytes < archived + kept + size(&append.encoded_events) {
            return Err(AppendError::TooLarge);
        }
        if let Some(roll_over) = &append.roll_over {
            self.chunks.entry(id.clone()).or_default().extend(roll_over.archived.iter().cloned());
            stream.lines.clear();
            stream.snapshot = Some(roll_over.snapshot.clone());
        }
        stream.lines.extend(append.encoded_events.iter().cloned());
        stream.version += append.encoded_events.len() as u64;
        stream.wake = append.wake;
        self.appends.push((id.clone(), stream.version));
        stream.writer_id.clone_from(&append.writer_id);
        (*queue, *hints_sent) = (append.queue, 0);
        match append.listing {
            Listing::Unchanged => (),
            Listing::Add => drop(self.listed.insert(id.clone(), true)),
            Listing::Remove => drop(self.listed.insert(id.clone(), false)),
        }
        if let Some(outbox) = &mut self.outbox {
            let image = StreamImage { id: id.clone(), stream: stream.clone() };
            outbox[usize::from(id.shard_byte()) % FEEDS].push_back(image);
        }
        if self.projects {
            let image = StreamImage { id: id.clone(), stream: stream.clone() };
            self.feed[usize::from(id.shard_byte()) % FEEDS].push_back(image);
        }
        Ok(())
    }

    /// Every event of a stream, as stored.
    pub fn history(&self, id: &StreamId) -> Vec<String> {
        let recent = self.streams.get(id).map(|(stream, ..)| stream.lines.as_slice()).unwrap_or_default();
        self.chunks.get(id).into_iter().flatten().chain(recent).cloned().collect()
    }

    /// The streams of communications.
    pub fn communications(&self) -> impl Iterator<Item = CommunicationKey> {
        self.streams.keys().filter_map(CommunicationKey::from_stream)
    }

    pub fn is_down(&self, config: &str) -> bool {
        self.outages.iter().any(|(down, from, to)| down == config && (*from..*to).contains(&self.now))
    }
}
