//! Names of communications and addresses.

use events::{Channel, CommunicationId, StreamId, StreamKind, TenantId};

/// Names the stream of one communication.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunicationKey {
    pub tenant: TenantId,
    pub id: CommunicationId,
}

impl CommunicationKey {
    pub fn stream_id(&self) -> StreamId {
        StreamId::new(&self.tenant, StreamKind::COMMUNICATION, self.id.to_string())
    }

    /// The communication that a stream is; none for a stream of another kind.
    pub fn from_stream(id: &StreamId) -> Option<CommunicationKey> {
        let is_communication = id.kind == StreamKind::COMMUNICATION;
        let communication = id.id.parse().ok().filter(|_| is_communication)?;
        Some(CommunicationKey { tenant: id.tenant.clone(), id: communication })
    }
}

/// An address, by its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressKey {
    pub tenant: TenantId,
    pub channel: Channel,
    pub contact_hash: String,
}
