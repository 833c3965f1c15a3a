//! The cache of values that may be slightly out of date. Entries expire, and a full cache drops its oldest entries.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::Timestamp;

/// Values by key, for a time. Values are cloned out, so large ones belong in an `Arc`.
#[derive(Debug)]
pub struct Cached<K, V> {
    ttl_ms: Option<i64>,
    capacity: usize,
    entries: Mutex<Entries<K, V>>,
}

#[derive(Debug)]
struct Entries<K, V> {
    map: HashMap<K, Entry<V>>,
    inserted: u64,
    /// Number of calls of `invalidate`.
    invalidated: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Option<Timestamp>,
    serial: u64,
}

impl<K: Eq + Hash, V: Clone> Cached<K, V> {
    /// Entries expire after `ttl_ms`. At most `capacity` of them are held.
    pub fn new(ttl_ms: i64, capacity: usize) -> Self {
        Cached { ttl_ms: Some(ttl_ms), ..Cached::unexpiring(capacity) }
    }

    /// Creates a cache for values that never change under their key.
    pub fn unexpiring(capacity: usize) -> Self {
        let entries = Entries { map: HashMap::new(), inserted: 0, invalidated: 0 };
        Cached { ttl_ms: None, capacity, entries: Mutex::new(entries) }
    }

    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entries = self.lock();
        let entry = entries.map.get(key).filter(|entry| entry.until.is_none_or(|until| now < until));
        entry.map(|entry| entry.value.clone())
    }

    pub fn insert(&self, key: K, value: V, now: Timestamp) {
        self.insert_until(key, value, now, None);
    }

    /// Inserts a value that must not be used after `end`.
    pub fn insert_until(&self, key: K, value: V, now: Timestamp, end: Option<Timestamp>) {
        let ttl_end = self.ttl_ms.map(|ttl_ms| now + ttl_ms);
        let until = ttl_end.into_iter().chain(end).min();
        let mut entries = self.lock();
        if self.capacity <= entries.map.len() && !entries.map.contains_key(&key) {
            entries.make_space(self.capacity, now);
        }
        entries.inserted += 1;
        let serial = entries.inserted;
        entries.map.insert(key, Entry { value, until, serial });
    }

    /// Removes an entry. Values whose load began before are not inserted any more.
    pub fn invalidate<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut entries = self.lock();
        entries.invalidated += 1;
        entries.map.remove(key);
    }

    /// The value of a key, which `load` reads from the store if it is not cached.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub async fn get_or_load<E>(
        &self,
        key: &K,
        now: Timestamp,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E>
    where
        K: Clone,
    {
        if let Some(value) = self.get(key, now) {
            return Ok(value);
        }
        self.reload(key, now, load).await
    }

    /// The value of a key, which `load` reads from the store even if it is cached.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub async fn reload<E>(&self, key: &K, now: Timestamp, load: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        K: Clone,
    {
        let invalidated = self.lock().invalidated;
        let value = load.await?;
        // Another request may have changed what was read.
        if self.lock().invalidated == invalidated {
            self.insert(key.clone(), value.clone(), now);
        }
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Entries<K, V> {
    /// Drops the expired entries, and then the oldest ones until a quarter of the capacity is free.
    fn make_space(&mut self, capacity: usize, now: Timestamp) {
        self.map.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        let keep = capacity - capacity.div_ceil(4).min(capacity);
        let Some(excess) = self.map.len().checked_sub(keep).filter(|excess| *excess > 0) else { return };
        let mut serials: Vec<u64> = self.map.values().map(|entry| entry.serial).collect();
        let (_, newest_dropped, _) = serials.select_nth_unstable(excess - 1);
        let newest_dropped = *newest_dropped;
        self.map.retain(|_, entry| newest_dropped < entry.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_expires_at_its_end() {
        let cache: Cached<String, u8> = Cached::new(1_000, 10);
        cache.insert("a".to_owned(), 1, Timestamp(0));
        cache.insert_until("b".to_owned(), 2, Timestamp(0), Some(Timestamp(500)));
        assert_eq!((cache.get("a", Timestamp(999)), cache.get("a", Timestamp(1_000))), (Some(1), None));
        assert_eq!((cache.get("b", Timestamp(499)), cache.get("b", Timestamp(500))), (Some(2), None));
        cache.invalidate("a");
        assert_eq!(cache.get("a", Timestamp(0)), None);
    }

    #[tokio::test]
    async fn a_value_whose_load_began_before_a_change_is_not_cached() {
        let cache: Cached<u32, u32> = Cached::new(1_000, 10);
        let load = async |value| cache.get_or_load(&1, Timestamp(0), async move { Ok::<_, ()>(value) }).await;
        let overtaken = cache.get_or_load(&1, Timestamp(0), async {
            cache.invalidate(&1);
            Ok::<_, ()>(1)
        });
        assert_eq!((overtaken.await, cache.get(&1, Timestamp(0))), (Ok(1), None));
        assert_eq!((load(2).await, load(3).await), (Ok(2), Ok(2)));
    }

    #[test]
    fn a_full_cache_drops_what_expired_and_then_its_oldest_quarter() {
        let cache: Cached<u32, u32> = Cached::unexpiring(8);
        (0..8).for_each(|key| cache.insert(key, key, Timestamp(0)));
        cache.insert(7, 70, Timestamp(0));
        assert_eq!(cache.get(&0, Timestamp(0)), Some(0), "replacing an entry needs no space");
        cache.insert(8, 8, Timestamp(0));
        let held: Vec<u32> = (0..9).filter(|key| cache.get(key, Timestamp(0)).is_some()).collect();
        assert_eq!(held, [2, 3, 4, 5, 6, 7, 8]);

        let cache: Cached<u32, u32> = Cached::new(10, 2);
        cache.insert(0, 0, Timestamp(0));
        cache.insert(1, 1, Timestamp(9));
        cache.insert(2, 2, Timestamp(10));
        assert_eq!([0, 1, 2].map(|key| cache.get(&key, Timestamp(10))), [None, Some(1), Some(2)]);
    }

    #[test]
    fn a_cache_of_one_holds_the_latest() {
        let cache: Cached<u32, u32> = Cached::unexpiring(1);
        (0..3).for_each(|key| cache.insert(key, key, Timestamp(0)));
        assert_eq!((cache.get(&1, Timestamp(0)), cache.get(&2, Timestamp(0))), (None, Some(2)));
    }
}
