//! Keys of communications and addresses.

use events::{Channel, CommunicationId, StreamId, StreamKind, TenantId};

/// The key of one communication.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunicationKey {
    pub tenant: TenantId,
    pub id: CommunicationId,
}

impl CommunicationKey {
    pub fn stream_id(&self) -> StreamId {
        StreamId::new(&self.tenant, StreamKind::COMMUNICATION, self.id.to_string())
    }

    /// The communication of a stream. Returns `None` for a stream of another kind.
    pub fn from_stream(id: &StreamId) -> Option<CommunicationKey> {
        let is_communication = id.kind == StreamKind::COMMUNICATION;
        let communication = id.id.parse().ok().filter(|_| is_communication)?;
        Some(CommunicationKey { tenant: id.tenant.clone(), id: communication })
    }
}

/// The key of an address, with its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressKey {
    pub tenant: TenantId,
    pub channel: Channel,
    pub contact_hash: String,
}
