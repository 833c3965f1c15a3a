//! The deterministic simulation: the real handlers over simulated ports. A seed decides which task runs next, which I/O
//! fails and which process is killed. Then the faults stop, all work must finish, and the streams must agree with the
//! calls that reached the providers.
//!
//! `SIM_SEEDS=2000` runs more seeds than the default, `SIM_SEED=17` replays one, and `SIM_EVERY_NTH_PAIR=1` runs all
//! pairs of faults.

mod actions;
mod backfills;
mod bugs;
mod business_events;
mod business_plan;
mod collection_invariants;
mod collection_plan;
mod collections;
mod exhaustive;
mod full;
mod invariants;
mod jobs;
mod kinds;
mod manual_sends;
mod pauses;
mod payment_links;
mod publishing;
mod restarts;
mod schedule_history;
mod scheduler;
mod schedules;
mod seeds;
mod simulation;
mod world;

use std::future::Future;
use std::task::{Context, Poll, Waker};

use events::RateLimit;

const T0: i64 = 1_800_000_000_000;
const COMMUNICATIONS: usize = 100;
/// Callers act during this time; faults go on for longer.
const CALLERS_ACT_MS: i64 = 20 * 60_000;
const FAULTS_STOP_MS: i64 = 60 * 60_000;
/// All work must be finished by then.
const END_MS: i64 = 5 * 24 * 3_600_000;
const INVOCATION_MS: i64 = 30_000;
const VISIBILITY_MS: i64 = 180_000;
const MAX_RECEIVES: u32 = 5;
/// Processes of the deliver function. Each has its own cache of the rate limits.
const PROCESSES: u64 = 8;
/// Maximum number of messages in one invocation.
const BATCH: usize = 3;

/// Rate limit of each provider.
pub const RATE: RateLimit = RateLimit { burst: 8, per_second: 1 };
/// High enough never to limit anything.
const REQUEST_RATE: RateLimit = RateLimit { burst: 10_000, per_second: 10_000 };

/// The result of a future whose I/O is that of the simulated world, without faults and beside no other work.
fn run_to_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
