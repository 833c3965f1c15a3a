//! The projection of a kind of stream into the views, a pure function of its events.

use events::{RecordedEvent, StreamId};

use crate::aggregate::Aggregate;
use crate::communication::State;
use crate::communication_view;
use crate::ports::{CommunicationKey, ProjectedRow, ViewScope};

/// A kind of stream that has views. The project function keeps them up to date, a rebuild rewrites them, and the audit
/// compares them.
pub trait Projection: Aggregate {
    /// The row of a stream. Returns `None` for a stream without one.
    fn project(id: &StreamId, records: &[RecordedEvent<Self::Event>]) -> Option<ProjectedRow>;
}

impl Projection for State {
    fn project(id: &StreamId, records: &[RecordedEvent]) -> Option<ProjectedRow> {
        let key = CommunicationKey::from_stream(id)?;
        let row = communication_view::project(key.id, records)?;
        let events::CommunicationEvent::CommunicationRequested(request) = &records.first()?.event else { return None };
        Some(ProjectedRow { view: ViewScope { tenant: key.tenant, mode: request.mode }, row })
    }
}
