use std::borrow::Cow;
use std::fmt;

use crate::{CommunicationId, TenantId};

/// The kind of a stream. It is text, so that a build can name and skip a kind that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKind(Cow<'static, str>);

impl StreamKind {
    pub const COMMUNICATION: StreamKind = StreamKind::new("com");
    pub const TEMPLATE: StreamKind = StreamKind::new("template");
    pub const PROVIDER_CONFIG: StreamKind = StreamKind::new("provider-config");
    pub const ROUTING: StreamKind = StreamKind::new("routing");
    pub const PREFERENCE: StreamKind = StreamKind::new("preference");
    pub const API_KEY: StreamKind = StreamKind::new("api-key");
    pub const SCHEDULE: StreamKind = StreamKind::new("schedule");
    pub const TENANT_LIMITS: StreamKind = StreamKind::new("tenant-limits");
    pub const BUSINESS_EVENT: StreamKind = StreamKind::new("business-event");
    pub const EVENT_MAPPING: StreamKind = StreamKind::new("event-mapping");
    pub const AUTOMATION: StreamKind = StreamKind::new("automation");
    pub const INBOUND_MESSAGE: StreamKind = StreamKind::new("inbound-message");
    pub const INVOICE: StreamKind = StreamKind::new("invoice");
    pub const COLLECTIONS: StreamKind = StreamKind::new("collections");
    pub const DEBTOR: StreamKind = StreamKind::new("debtor");
    pub const NOTICE: StreamKind = StreamKind::new("notice");
    pub const BACKFILL: StreamKind = StreamKind::new("backfill");
    pub const PAYMENT_LINK: StreamKind = StreamKind::new("payment-link");

    /// A kind of `a-z` and `-`. It is part of every stored key, so it never changes.
    pub const fn new(kind: &'static str) -> StreamKind {
        StreamKind(Cow::Borrowed(kind))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one stream: a tenant, a kind, and an id that is unique within both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub tenant: TenantId,
    pub kind: StreamKind,
    pub id: String,
}

impl StreamId {
    pub fn new(tenant: &TenantId, kind: StreamKind, id: impl Into<String>) -> StreamId {
        StreamId { tenant: tenant.clone(), kind, id: id.into() }
    }

    /// The key under which every store keeps the stream, such as `acme#com#com_019a…`. The tenant comes first.
    pub fn storage_key(&self) -> String {
        format!("{}#{}#{}", self.tenant, self.kind, self.id)
    }

    /// Parses a storage key of any kind, including kinds that this build does not know.
    pub fn parse_storage_key(key: &str) -> Option<StreamId> {
        let (tenant, rest) = key.split_once('#')?;
        let (kind, id) = rest.split_once('#').filter(|(kind, id)| !kind.is_empty() && !id.is_empty())?;
        let kind = StreamKind(Cow::Owned(kind.to_owned()));
        Some(StreamId { tenant: tenant.parse().ok()?, kind, id: id.to_owned() })
    }

    /// An evenly distributed byte that decides the stream's shard of the timer index.
    pub fn shard_byte(&self) -> u8 {
        match self.id.parse::<CommunicationId>() {
            Ok(id) => id.shard_byte(),
            // FNV-1a, folded to a byte.
            Err(_) => {
                let hash = self
                    .id
                    .bytes()
                    .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
                hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
            }
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.tenant, self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_key_of_any_kind_can_be_parsed() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        for (kind, id) in [("com", "com_1"), ("moon", "landing#1969"), ("preference", "customer:7")] {
            let stream =
                StreamId { tenant: tenant.clone(), kind: StreamKind(kind.to_owned().into()), id: id.to_owned() };
            assert_eq!(StreamId::parse_storage_key(&stream.storage_key()), Some(stream));
        }
        for key in ["", "acme", "acme#com", "acme##x", "acme#com#", "ACME#com#x"] {
            assert_eq!(StreamId::parse_storage_key(key), None, "{key}");
        }
    }
}
