//! In: streams that changed. Out: their rows and counters.
//! May touch: views; streams that have rolled over, to read them.
//! Never: writes a stream; stops at a stream that it cannot read.

pub mod config;

use std::collections::BTreeMap;
use std::sync::Arc;

use application::kinds::rules_of;
use domain::ports::{ClockAndRng, EventStore, ProjectedRow, StoreError, Stream, ViewScope, ViewStore};
use events::StreamId;

/// Maximum number of rows in one transaction.
const MAX_ROWS_PER_TRANSACTION: usize = 20;

/// The ports of the function.
#[derive(Clone)]
pub struct ProjectHandler {
    pub store: Arc<dyn EventStore>,
    pub views: Arc<dyn ViewStore>,
    pub host: Arc<dyn ClockAndRng>,
}

/// A stream's content after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamImage {
    pub id: StreamId,
    pub stream: Stream,
}

impl ProjectHandler {
    /// Folds each stream into its row. Only the newest image of a stream counts, and a replay changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: all images must be delivered again. A stream that cannot be read is logged and
    /// skipped.
    pub async fn project(&self, images: Vec<StreamImage>) -> Result<(), StoreError> {
        let mut newest: BTreeMap<StreamId, Stream> = BTreeMap::new();
        for StreamImage { id, stream } in images {
            let image = newest.entry(id).or_default();
            if image.version < stream.version {
                *image = stream;
            }
        }
        let mut by_view: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
        for (id, stream) in newest {
            match self.row(&id, stream).await {
                Ok(row) => row.into_iter().for_each(|row| by_view.entry(row.view.clone()).or_default().push(row)),
                Err(StoreError::Unreadable(error)) => tracing::error!(stream = %id, error, "a stream was skipped"),
                Err(error) => return Err(error),
            }
        }
        for rows in by_view.values() {
            for chunk in rows.chunks(MAX_ROWS_PER_TRANSACTION) {
                match self.views.apply(chunk, self.host.now()).await {
                    Err(StoreError::Unreadable(error)) => tracing::error!(error, "rows were skipped"),
                    other => other?,
                }
            }
        }
        Ok(())
    }

    async fn row(&self, id: &StreamId, stream: Stream) -> Result<Option<ProjectedRow>, StoreError> {
        let Some(project) = rules_of(id).and_then(|rules| rules.project) else { return Ok(None) };
        let lines = if stream.first() == 0 { stream.lines } else { self.store.read_history(id).await? };
        project(id, &lines)
    }
}
