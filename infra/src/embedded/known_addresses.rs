//! The addresses that the suppression list or people's preferences know, by hash. Most messages go to others, and then
//! nothing has to be read. One process alone writes the file, so the set is complete.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use domain::ports::AddressKey;
use rusqlite::Connection;

/// Maximum number of addresses that are held. With more, each message reads.
const MAX_HELD: usize = 100_000;

/// `None` if there are too many addresses.
#[derive(Default)]
pub(super) struct KnownAddresses(RwLock<Option<HashSet<u64>>>);

impl KnownAddresses {
    pub fn load(connection: &Connection) -> rusqlite::Result<KnownAddresses> {
        let mut query = connection.prepare(
            "SELECT tenant, channel, contact_hash FROM suppressed
             UNION ALL SELECT tenant, channel, contact_hash FROM address_people LIMIT ?1",
        )?;
        let rows = query.query_map([MAX_HELD as i64 + 1], |row| {
            let (tenant, channel, contact): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(hash(&tenant, &channel, &contact))
        })?;
        let found: HashSet<u64> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(KnownAddresses(RwLock::new((found.len() <= MAX_HELD).then_some(found))))
    }

    /// Whether something may be known of an address. If not, certainly nothing is.
    pub fn may_have(&self, address: &AddressKey) -> bool {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_none_or(|held| held.contains(&hash_of(address)))
    }

    /// Adds an address, before anything of it is written.
    pub fn add(&self, address: &AddressKey) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.as_mut() {
            known.insert(hash_of(address));
            if MAX_HELD < known.len() {
                *held = None;
            }
        }
    }
}

fn hash_of(address: &AddressKey) -> u64 {
    hash(address.tenant.as_str(), address.channel.as_str(), &address.contact_hash)
}

fn hash(tenant: &str, channel: &str, contact: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, channel, contact).hash(&mut hasher);
    hasher.finish()
}
