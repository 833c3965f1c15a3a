//! In: hints that crashed their consumer too often. Out: an event that says so, and an alert.
//! May touch: streams, alerts.
//! Never: sends anything, or puts a hint back by itself.

pub mod config;

use std::sync::Arc;

use application::kinds::rules_of;
use application::{CommandContext, CommandExecutor, ExecuteError};
use domain::ports::{AlertSink, ClockAndRng, EventStore, Hint};
use events::StreamId;

/// Everything the door may touch.
#[derive(Clone)]
pub struct DeadLetterHandler {
    pub store: Arc<dyn EventStore>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
}

impl DeadLetterHandler {
    /// A batch; the ids of those to be shown again.
    pub async fn handle_batch(&self, messages: Vec<application::hint::Message>) -> Vec<String> {
        let mut again = Vec::new();
        for message in messages {
            let done = match Hint::parse_body(&message.body) {
                Ok(id) => self.record(&id).await,
                Err(_) => {
                    self.alert("a message that is not ours", "Its content is not shown; see the queue.").await;
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::error!(message_id = message.id, %error, "a dead letter is shown again");
                again.push(message.id);
            }
        }
        again
    }

    /// Records that the queue gave up on a stream. One that has ended since needs nothing.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]: deliver the hint again.
    pub async fn record(&self, id: &StreamId) -> Result<(), ExecuteError<String>> {
        let Some(rules) = rules_of(id) else { return Ok(()) };
        let origin = CommandContext::function("dead-letter");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        match (rules.dead_letter)(&executor, id).await {
            Ok(true) => {
                let text = format!("{} {}: see GET /api/communications/{}/events", id.tenant, id.id, id.id);
                self.alert("a communication crashed its consumer", &text).await;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(ExecuteError::Rejected(rejection)) => {
                tracing::warn!(stream = %id, %rejection, "a dead letter without its stream");
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
