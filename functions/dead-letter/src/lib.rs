//! In: hints whose handler crashed repeatedly. Out: an event by which the stream gives up the failing work, and an
//! alert.
//! May touch: streams, alerts.
//! Never: sends a message, or returns a hint to its queue.

pub mod config;

use std::sync::Arc;

use application::kinds::rules_of;
use application::{CommandContext, CommandExecutor, ExecuteError};
use domain::ports::{AlertSink, ClockAndRng, EventStore, Hint};
use events::StreamId;

/// The ports of the function.
#[derive(Clone)]
pub struct DeadLetterHandler {
    pub store: Arc<dyn EventStore>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
}

impl DeadLetterHandler {
    /// Records the hints of a batch. Returns the ids of the messages that must be delivered again.
    pub async fn handle_batch(&self, messages: Vec<application::hint::QueueMessage>) -> Vec<String> {
        let mut failed = Vec::new();
        for message in messages {
            let result = match Hint::parse_body(&message.body) {
                Ok(id) => self.record(&id).await,
                Err(_) => {
                    self.alert(
                        "a message that is not a hint",
                        "The alert does not show its content. See the dead-letter queue.",
                    )
                    .await;
                    Ok(())
                }
            };
            if let Err(error) = result {
                tracing::error!(message_id = message.id, %error, "a dead letter was not recorded");
                failed.push(message.id);
            }
        }
        failed
    }

    /// Records that the queue gave up on the hint of a stream. Does nothing if the stream has ended in the meantime.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]: the hint must be delivered again.
    pub async fn record(&self, id: &StreamId) -> Result<(), ExecuteError<String>> {
        let Some(rules) = rules_of(id) else { return Ok(()) };
        let context = CommandContext::function("dead-letter");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        match (rules.dead_letter)(&executor, id).await {
            Ok(true) => {
                let events = rules.events_path.map(|path| path.replace("{id}", &id.id));
                let text = match events {
                    Some(path) => format!("{} {}: see GET {path}", id.tenant, id.id),
                    None => format!("{} {} {}", id.tenant, id.kind.as_str(), id.id),
                };
                self.alert("a hint crashed its handler repeatedly", &text).await;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(ExecuteError::Rejected(rejection)) => {
                tracing::warn!(stream = %id, %rejection, "the stream rejected a dead letter");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn alert(&self, what: &str, text: &str) {
        tracing::error!(what, "dead letter");
        if let Err(error) = self.alerts.raise(&format!("Tidings dead letter: {what}"), text).await {
            tracing::error!(%error, "an alert could not be raised");
        }
    }
}
