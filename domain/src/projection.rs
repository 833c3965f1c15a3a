//! The projection of a kind of stream into a view, a pure function of its events.

use events::{Mode, RecordedEvent, StreamId};

use crate::aggregate::Aggregate;
use crate::ports::ViewRow;

/// A kind of stream that has a view. The project function keeps the view up to date, a rebuild rewrites it, and the audit
/// compares it.
pub trait Projection: Aggregate {
    type Row: ViewRow;

    /// The row of a stream and its mode. Returns `None` for a stream without a row.
    fn project(id: &StreamId, records: &[RecordedEvent<Self::Event>]) -> Option<(Mode, Self::Row)>;
}
