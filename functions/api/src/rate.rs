//! The rate limit of each API key. A worker claims several requests at a time from the shared record, so that most
//! requests need no call. If the record cannot be reached, the request is allowed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use application::throttle_store;
use domain::ports::{CoordinationStore, VersionedRecord};
use events::RateLimit;
use events::Timestamp;
use problem::{Problem, ProblemKind};

/// The burst divided by this is the size of one claim.
const CLAIM_DIVISOR: u32 = 20;
/// The most keys that are cached.
const KEPT: usize = 10_000;

/// The requests that one worker has claimed for one key.
#[derive(Default)]
struct ClaimedTokens {
    left: u32,
    refused_until: Option<Timestamp>,
    record: Option<VersionedRecord>,
}

/// The rate limiters of the keys. Without a limit every request is allowed.
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
    /// [`ProblemKind::TooManyRequests`], with the time of the next allowed request.
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
