use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::Timestamp;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("not a communication id: `com_` and 32 hexadecimal digits")]
    Communication,
    #[error("not an attempt id: `att_`, 32 hexadecimal digits, `_` and a number")]
    Attempt,
    #[error("not a tenant id: 1 to 40 of a-z, 0-9 and -")]
    Tenant,
}

/// The owner of a stream. Every key begins with it, so it contains only `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

impl TenantId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=40).contains(&text.len()) && text.chars().all(allowed) {
            Ok(TenantId(text.to_owned()))
        } else {
            Err(IdError::Tenant)
        }
    }
}

impl TenantId {
    /// The same UUID (version 5) whenever this tenant names the same thing.
    fn derive_uuid(&self, name: &str) -> Uuid {
        let tenant = Uuid::new_v5(&Uuid::NAMESPACE_OID, self.as_str().as_bytes());
        Uuid::new_v5(&tenant, name.as_bytes())
    }
}

/// The id of a communication: `com_` and a UUID without hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunicationId(Uuid);

impl CommunicationId {
    /// Derives the id from the tenant and the idempotency key (UUIDv5). The same request therefore always has the same
    /// id.
    pub fn from_idempotency_key(tenant: &TenantId, key: &str) -> Self {
        CommunicationId(tenant.derive_uuid(&format!("idem:{key}")))
    }

    /// Derives the id of another communication's fallback. No caller's idempotency key contains a zero byte, and no
    /// other derived key begins with `fallback`, so the kinds of ids cannot collide.
    pub fn for_fallback_of(tenant: &TenantId, other: CommunicationId) -> Self {
        CommunicationId::from_idempotency_key(tenant, &format!("fallback\0{other}"))
    }

    /// Generates an id (UUIDv7) from the time and 80 random bits.
    pub fn generate(now: Timestamp, random: u128) -> Self {
        let random: [u8; 10] = random.to_le_bytes()[..10].try_into().expect("10 of 16 bytes");
        CommunicationId(Builder::from_unix_timestamp_millis(now.0 as u64, &random).into_uuid())
    }

    /// The last byte. It is evenly distributed for derived and generated ids.
    pub fn shard_byte(&self) -> u8 {
        self.0.as_bytes()[15]
    }
}

/// Derives the id of a stream from the names of what it is about (UUIDv5), such as `bev_` and 32 hexadecimal digits. The
/// first part says what kind of id it is. No part contains a zero byte.
pub fn derived_id(prefix: &str, tenant: &TenantId, parts: &[&str]) -> String {
    format!("{prefix}_{}", tenant.derive_uuid(&parts.join("\0")).simple())
}

impl FromStr for CommunicationId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let hex = text.strip_prefix("com_").filter(|hex| hex.len() == 32);
        let uuid = hex.and_then(|hex| Uuid::try_parse(hex).ok());
        uuid.map(CommunicationId).ok_or(IdError::Communication)
    }
}

/// The id of a delivery attempt, as providers echo it: `att_`, the communication's UUID, `_` and a number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    pub communication: CommunicationId,
    pub number: u16,
}

impl FromStr for AttemptId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = text.strip_prefix("att_").and_then(|rest| rest.split_once('_'));
        let (uuid, number) = parts.ok_or(IdError::Attempt)?;
        let communication = format!("com_{uuid}").parse().map_err(|_| IdError::Attempt)?;
        let number = number.parse().map_err(|_| IdError::Attempt)?;
        Ok(AttemptId { communication, number })
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CommunicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "com_{}", self.0.simple())
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "att_{}_{}", self.communication.0.simple(), self.number)
    }
}

macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(TenantId, CommunicationId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_id_can_be_parsed() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let id = CommunicationId::from_idempotency_key(&tenant, "order-1");
        assert_eq!(id.to_string().parse(), Ok(id));
        let attempt = AttemptId { communication: id, number: 12 };
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
    }

    #[test]
    fn a_key_has_one_id_per_tenant() {
        let [a, b]: [TenantId; 2] = ["a", "b"].map(|t| t.parse().expect("a tenant"));
        assert_eq!(CommunicationId::from_idempotency_key(&a, "k"), CommunicationId::from_idempotency_key(&a, "k"));
        assert_ne!(CommunicationId::from_idempotency_key(&a, "k"), CommunicationId::from_idempotency_key(&b, "k"));
    }

    #[test]
    fn invalid_ids_are_rejected() {
        for text in ["", "com_", "com_12", "019a", "com_zz9a0000000000000000000000000000"] {
            assert_eq!(text.parse::<CommunicationId>(), Err(IdError::Communication));
        }
        for text in ["", "Acme", "a#b", "a b", &"x".repeat(41)] {
            assert_eq!(text.parse::<TenantId>(), Err(IdError::Tenant));
        }
        assert_eq!("att_12_x".parse::<AttemptId>(), Err(IdError::Attempt));
    }
}
