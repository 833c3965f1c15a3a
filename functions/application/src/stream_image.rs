//! The change stream of the event store.

use domain::ports::Stream;
use events::StreamId;

/// A stream as it was after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamImage {
    pub id: StreamId,
    pub stream: Stream,
}
