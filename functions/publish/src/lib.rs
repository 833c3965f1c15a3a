//! In: streams that changed. Out: public events on a bus, for other systems.
//! May touch: streams, to read them; the bus.
//! Never: writes a stream; publishes personal data; gives up on an event that the bus may still take.

pub mod config;

use std::sync::Arc;

use application::{StreamImage, kinds};
use domain::ports::{EventBus, EventStore, StoreError};
use domain::publication::PublicEvent;
use serde::Deserialize;

/// Maximum number of events in one call of the bus.
const MAX_BATCH: usize = 10;
/// How often an event is put before the whole batch is delivered again.
const MAX_TRIES: usize = 3;

/// The ports of the function.
#[derive(Clone)]
pub struct PublishHandler {
    pub store: Arc<dyn EventStore>,
    pub bus: Arc<dyn EventBus>,
}

impl PublishHandler {
    /// Publishes the newest append of each stream. An event may be published more than once, always with the same id.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: all images must be delivered again.
    pub async fn publish(&self, images: Vec<StreamImage>) -> Result<(), StoreError> {
        let changes = images.into_iter().map(|image| (newest_append(&image), image)).collect();
        self.publish_after(changes).await
    }

    /// Publishes the events of each stream after a position.
    ///
    /// # Errors
    ///
    /// As [`Self::publish`].
    pub async fn publish_after(&self, changes: Vec<(u64, StreamImage)>) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for (after, StreamImage { id, stream }) in changes {
            match kinds::public_events(&*self.store, &id, stream, after).await {
                Ok(found) => events.extend(found),
                Err(StoreError::Unreadable(error)) => {
                    tracing::error!(stream = %id, error, metric = "NotPublished", "a stream was skipped");
                }
                Err(error) => return Err(error),
            }
        }
        for batch in events.chunks(MAX_BATCH) {
            self.put(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn put(&self, mut events: Vec<PublicEvent>) -> Result<(), StoreError> {
        for _ in 0..MAX_TRIES {
            let mut left = Vec::new();
            for failure in self.bus.put(&events).await? {
                let Some(event) = events.get(failure.index) else { continue };
                if failure.is_transient {
                    left.push(event.clone());
                } else {
                    let code = failure.code;
                    tracing::error!(
                        event = event.id,
                        code,
                        metric = "NotPublished",
                        "the bus refused an event for good"
                    );
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            events = left;
        }
        Err(StoreError::Unavailable(format!("the bus did not take {} events", events.len())))
    }
}

/// The position before the newest append: its events share one command.
fn newest_append(image: &StreamImage) -> u64 {
    #[derive(Deserialize)]
    struct Line {
        command: String,
    }
    let command = |line: &String| serde_json::from_str::<Line>(line).ok().map(|line| line.command);
    let lines = &image.stream.lines;
    let newest = lines.last().and_then(command);
    let appended = lines.iter().rev().take_while(|line| newest.is_some() && command(line) == newest).count();
    image.stream.version - (appended as u64).min(image.stream.version)
}
