//! In: streams that changed, and a queue of streams whose change could not be projected. Out: their rows and counters.
//! May touch: views; streams, to read them; the queue.
//! Never: writes a stream; stops at a stream that it cannot read.

pub mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use application::hint::QueueMessage;
use application::{StreamImage, kinds};
use domain::ports::{ClockAndRng, EventStore, ProjectedRow, RepairQueue, StoreError, Stream, ViewScope, ViewStore};
use events::StreamId;

/// The ports of the function.
#[derive(Clone)]
pub struct ProjectHandler {
    pub store: Arc<dyn EventStore>,
    pub views: Arc<dyn ViewStore>,
    pub host: Arc<dyn ClockAndRng>,
}

impl ProjectHandler {
    /// As [`Self::project`]. Streams that cannot be projected now go to the queue, so that those behind them need not
    /// wait.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: not even the queue took them, so all images must be delivered again.
    pub async fn project_or_enqueue(
        &self,
        images: Vec<StreamImage>,
        repairs: &dyn RepairQueue,
    ) -> Result<(), StoreError> {
        let streams: BTreeSet<StreamId> = images.iter().map(|image| image.id.clone()).collect();
        let Err(error) = self.project(images).await else { return Ok(()) };
        let streams: Vec<StreamId> = streams.into_iter().collect();
        tracing::warn!(%error, streams = streams.len(), "changes were not projected and are queued for repair");
        repairs.enqueue(&streams).await
    }

    /// Projects the streams of one batch of that queue as they are now. Returns the ids of the messages to deliver again.
    pub async fn repair(&self, messages: Vec<QueueMessage>) -> Vec<String> {
        let mut failed = Vec::new();
        for QueueMessage { id, body } in messages {
            let repaired = match StreamId::parse_storage_key(&body) {
                Some(stream) => self.repair_stream(stream).await,
                None => Err(StoreError::Unreadable("the message names no stream".to_owned())),
            };
            if let Err(error) = repaired {
                tracing::error!(message = id, %error, "a stream was not repaired; it is tried again");
                failed.push(id);
            }
        }
        failed
    }

    async fn repair_stream(&self, id: StreamId) -> Result<(), StoreError> {
        let stream = self.store.read(&id).await?;
        self.project(vec![StreamImage { id, stream }]).await
    }

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
        let mut by_scope: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
        for (id, stream) in newest {
            match kinds::row_of(&*self.store, &id, stream).await {
                Ok(row) => row.into_iter().for_each(|row| by_scope.entry(row.scope.clone()).or_default().push(row)),
                Err(StoreError::Unreadable(error)) => tracing::error!(stream = %id, error, "a stream was skipped"),
                Err(error) => return Err(error),
            }
        }
        for rows in by_scope.values() {
            for chunk in rows.chunks(self.views.max_rows()) {
                match self.views.apply(chunk, self.host.now()).await {
                    Err(StoreError::Unreadable(error)) => tracing::error!(error, "rows were skipped"),
                    other => other?,
                }
            }
        }
        Ok(())
    }
}
