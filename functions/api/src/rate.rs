//! How often a key may ask. A worker claims some requests at a time from the record that all of them share, so that most
//! requests cost nothing; where the record is out of reach, the key may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use application::throttle_store;
use domain::ports::{CoordinationStore, VersionedRecord};
use events::RateLimit;
use events::Timestamp;
use problem::{Problem, ProblemKind};

/// A claim is this part of the burst.
const CLAIM_DIVISOR: u32 = 20;
/// Keys remembered, at most.
const KEPT: usize = 10_000;

/// What one worker has claimed for one key.
#[derive(Default)]
struct ClaimedTokens {
    left: u32,
    refused_until: Option<Timestamp>,
    record: Option<VersionedRecord>,
}

/// The limit of each key; none: as often as it likes.
#[derive(Default)]
pub struct RequestLimiter {
    rate: Option<RateLimit>,
    shares: Mutex<HashMap<String, ClaimedTokens>>,
}

impl RequestLimiter {
    pub fn new(rate: Option<RateLimit>) -> Self {
        RequestLimiter { rate, shares: Mutex::default() }
    }

    fn share<T>(&self, key: &str, change: impl FnOnce(&mut ClaimedTokens) -> T) -> T {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if KEPT <= shares.len() && !shares.contains_key(key) {
            shares.clear();
        }
        change(shares.entry(key.to_owned()).or_default())
    }

    /// # Errors
    ///
    /// [`ProblemKind::TooManyRequests`], with when to ask again.
    pub async fn allow(&self, limits: &dyn CoordinationStore, key: &str, now: Timestamp) -> Result<(), Problem> {
        let Some(rate) = self.rate else { return Ok(()) };
        let too_many = |until: Timestamp| {
            let wait_s = u32::try_from(until.millis_since(now).max(1)).unwrap_or(u32::MAX).div_ceil(1_000);
            let RateLimit { burst, per_second } = rate;
            let detail = format!("An API key may send {burst} requests in a burst, then {per_second} per second.");
            Problem { retry_after_s: Some(wait_s), ..Problem::new(ProblemKind::TooManyRequests, detail) }
        };
        let mut record = match self.share(key, |share| {
            let has_some = share.left > 0;
            share.left = share.left.saturating_sub(1);
            let until = share.refused_until.filter(|until| now < *until);
            (has_some, until, share.record.clone())
        }) {
            (true, ..) => return Ok(()),
            (false, Some(until), _) => return Err(too_many(until)),
            (false, None, record) => record,
        };
        let claim = (rate.burst / CLAIM_DIVISOR).max(1);
        let name = format!("requests#{key}");
        let claimed = throttle_store::update(limits, &name, rate, &mut record, |gate| {
            (gate.limiter.try_take(claim, now), gate.quota(now).available_at)
        });
        let (granted, next) = match claimed.await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "could not count the requests of an API key");
                return Ok(());
            }
        };
        self.share(key, |share| {
            share.record = record;
            share.left += granted.saturating_sub(1);
            share.refused_until = (granted == 0).then_some(next);
        });
        if granted == 0 { Err(too_many(next)) } else { Ok(()) }
    }
}
