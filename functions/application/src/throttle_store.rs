//! Gates as they are kept: records that whoever changes them swaps whole.

use domain::ports::{CoordinationStore, StoreError, VersionedRecord};
use domain::throttle::ProviderThrottle;
use events::RateLimit;

/// Lost races in a row before the limits count as out of reach.
const MAX_CONFLICT_RETRIES: usize = 8;

/// The record of a provider account.
pub fn throttle_key(config: &str) -> String {
    format!("gate#{config}")
}

/// What a record holds; a gate as new where there is none, or none that can be read.
pub fn read(record: Option<&VersionedRecord>, rate: RateLimit) -> ProviderThrottle {
    let mut gate =
        record.and_then(|record| serde_json::from_str::<ProviderThrottle>(&record.body).ok()).unwrap_or_default();
    gate.limiter.rate = rate;
    gate
}

/// Changes one gate, whoever else does so at the same time. A change that changes nothing is not written.
///
/// `known` is the record as last seen, and is kept up to date: a worker that was the last to write needs no read.
///
/// # Errors
///
/// [`StoreError`]: the limits cannot be reached. What was asked for was not granted.
pub async fn update<T>(
    limits: &dyn CoordinationStore,
    name: &str,
    rate: RateLimit,
    known: &mut Option<VersionedRecord>,
    mut decide: impl FnMut(&mut ProviderThrottle) -> T,
) -> Result<T, StoreError> {
    let mut is_fresh = false;
    for _ in 0..MAX_CONFLICT_RETRIES {
        let before = read(known.as_ref(), rate);
        let mut after = before.clone();
        let decided = decide(&mut after);
        if after == before {
            if is_fresh || known.is_none() {
                return Ok(decided);
            }
            // A "no" from memory may be out of date.
            *known = limits.read_versioned(&[name.to_owned()]).await?.pop().flatten();
            is_fresh = true;
            continue;
        }
        let body = serde_json::to_string(&after).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let expected = known.as_ref().map_or(0, |known| known.version);
        match limits.compare_and_swap(name, expected, &body).await? {
            None => {
                *known = Some(VersionedRecord { version: expected + 1, body });
                return Ok(decided);
            }
            Some(found) => *known = Some(found).filter(|found| found.version > 0),
        }
        is_fresh = true;
    }
    Err(StoreError::Unavailable(format!("{name} is contended")))
}
