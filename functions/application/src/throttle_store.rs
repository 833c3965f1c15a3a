//! The throttle of each provider account: a record that is replaced by compare-and-swap.

use domain::ports::{CoordinationStore, StoreError, VersionedRecord};
use domain::throttle::ProviderThrottle;
use events::{RateLimit, TenantId};

use crate::document;

/// How often a change is tried again because another process changed the record.
const MAX_CONFLICT_RETRIES: usize = 8;

/// The record of a provider account.
pub fn throttle_key(config: &str) -> String {
    format!("gate#{config}")
}

/// The record of a tenant, which all of its messages share.
pub fn tenant_throttle_key(tenant: &TenantId) -> String {
    format!("tenant#{tenant}")
}

/// The throttle in a record. A missing or unreadable record is a new throttle.
pub fn read(record: Option<&VersionedRecord>, rate: RateLimit) -> ProviderThrottle {
    let mut throttle =
        record.and_then(|record| serde_json::from_str::<ProviderThrottle>(&record.body).ok()).unwrap_or_default();
    throttle.limiter.rate = rate;
    throttle
}

/// The current throttle of this name.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load(limits: &dyn CoordinationStore, name: &str, rate: RateLimit) -> Result<ProviderThrottle, StoreError> {
    Ok(read(limits.read_versioned(&[name.to_owned()]).await?.pop().flatten().as_ref(), rate))
}

/// The current throttle of all of a tenant's messages, if their rate is limited.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load_tenant(
    limits: &dyn CoordinationStore,
    tenant: &TenantId,
    rate: Option<RateLimit>,
) -> Result<Option<ProviderThrottle>, StoreError> {
    let Some(rate) = rate else { return Ok(None) };
    load(limits, &tenant_throttle_key(tenant), rate).await.map(Some)
}

/// Changes one throttle, even if others change it at the same time. An unchanged throttle is not written.
///
/// `known` is the record as last seen, and is kept up to date: the worker that wrote last needs no read.
///
/// # Errors
///
/// [`StoreError`]: the change was not made.
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
            // The cached record can be out of date.
            *known = limits.read_versioned(&[name.to_owned()]).await?.pop().flatten();
            is_fresh = true;
            continue;
        }
        let body = document::encode(&after)?;
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
