//! The simulated outside world, in memory. Each I/O is one await, and dropping the future there kills the process. The
//! seed decides what fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use domain::ports::{ClockAndRng, MAX_STREAM_BYTES, QueueId};
use events::Timestamp;
use tests::rng::SeededRng;

mod content;
mod faults;
mod provider;
mod queues;
mod state;
mod streams;
mod tenants;
mod views;

pub use faults::Fault;
pub use provider::SimProvider;
pub use state::{Call, Callback, FEEDS, Message, WorldState};
pub use streams::as_current_version;
pub use tenants::{TENANT_CONFIG, TENANTS};

use tenants::{tenant_config_stream, tenant_secret};

/// Implements every port, as one version of the code sees it.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<WorldState>>,
    /// Whether this is the next version, which writes delivery reports in a form that this one cannot read.
    is_next: bool,
}

impl World {
    pub fn new(seed: u64, now: i64) -> Self {
        // In half of the seeds one tenant has its own channel; in the others both share the same accounts.
        let channel = if seed % 4 < 2 { Some(tenant_config_stream()) } else { None };
        let listed = channel.iter().map(|(id, _)| (id.clone(), true)).collect();
        let state = Arc::new(Mutex::new(WorldState {
            now,
            rng: SeededRng::new(seed),
            faults: true,
            injected: 0,
            streams: channel.into_iter().map(|(id, stream)| (id, (stream, QueueId::Process, 0))).collect(),
            chunks: BTreeMap::new(),
            listed,
            vault: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            people: BTreeMap::new(),
            tallies: BTreeMap::new(),
            records: BTreeMap::new(),
            rows: BTreeMap::new(),
            counters: BTreeMap::new(),
            feed: Default::default(),
            projects: true,
            outbox: None,
            bus: Vec::new(),
            messages: Vec::new(),
            calls: Vec::new(),
            keeps_texts: false,
            appends: Vec::new(),
            callbacks: Vec::new(),
            documents: BTreeMap::from([(tenant_secret(), "{}".to_owned())]),
            objects: BTreeMap::new(),
            unmatched: Vec::new(),
            outages: Vec::new(),
            resume_at: 0,
            script: BTreeMap::new(),
            trace: Vec::new(),
            function_name: "",
            killed: false,
            is_silent: false,
            is_slow: false,
            max_stream_bytes: MAX_STREAM_BYTES,
            refused_event: None,
            bug: None,
            last_id: 0,
        }));
        World { state, is_next: false }
    }

    /// The same world, as the next version of the code sees it.
    pub fn next_version(&self) -> World {
        World { is_next: true, ..self.clone() }
    }

    pub fn state(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().expect("one thread")
    }
}

impl ClockAndRng for World {
    fn now(&self) -> Timestamp {
        let state = self.state();
        Timestamp(state.now + state.bug.map_or(0, |bug| bug.clock_ahead_ms(state.function_name)))
    }

    fn random(&self) -> u128 {
        let mut state = self.state();
        (u128::from(state.rng.next_u64()) << 64) | u128::from(state.rng.next_u64())
    }
}
