//! In: hints that crashed their consumer too often. Out: an event that says so, and an alert.
//! May touch: streams, alerts.
//! Never: sends anything, or puts a hint back by itself.

pub mod config;

use std::sync::Arc;

use application::{CommandContext, CommandExecutor, ExecuteError};
use domain::communication::Command;
use domain::ports::{AlertSink, ClockAndRng, EventStore, StreamKey};
use events::DeadLetterReason;

/// Everything the door may touch.
#[derive(Clone)]
pub struct DeadLetter {
    pub store: Arc<dyn EventStore>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
}

impl DeadLetter {
    /// A batch; the ids of those to be shown again.
    pub async fn batch(&self, messages: Vec<application::hint::Message>) -> Vec<String> {
        let mut again = Vec::new();
        for message in messages {
            let done = match application::hint::parse(&message.body) {
                Ok(key) => self.bury(&key).await,
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

    /// Records that the queue gave a communication up. One that has ended since needs nothing.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]: show it again.
    pub async fn bury(&self, key: &StreamKey) -> Result<(), ExecuteError> {
        let origin = CommandContext::function("dead-letter");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        let command = Command::DeadLetter(DeadLetterReason::Poison);
        match executor.execute(key, command).await {
            Ok(after) if after.appended > 0 => {
                let text = format!("{} {}: see GET /api/communications/{}/events", key.tenant, key.id, key.id);
                self.alert("a communication crashed its consumer", &text).await;
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(ExecuteError::Rejected(rejection)) => {
                tracing::warn!(id = %key.id, %rejection, "a dead letter without its stream");
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
