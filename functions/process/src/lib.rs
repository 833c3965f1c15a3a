//! In: hints of streams that make other streams act, such as schedules. Out: what they make happen.
//! May touch: everything that a use case may touch.
//! Never: calls a provider; creates anything whose id does not come from the stream.

use std::sync::Arc;

use application::App;
use application::hint::QueueMessage;
use application::kinds::rules_of;
use application::process::ProcessError;
use domain::ports::Hint;
use events::StreamId;
use futures_util::future::join_all;

/// The function, over the use cases.
#[derive(Clone)]
pub struct Process {
    pub app: Arc<App>,
}

impl Process {
    /// Runs a batch side by side. Returns the ids of the messages to be delivered again: only those that this version cannot
    /// read, which become dead letters in the end. Every other stream has a timer.
    pub async fn batch(&self, messages: Vec<QueueMessage>) -> Vec<String> {
        let one = async |message: QueueMessage| {
            let error = match Hint::parse_body(&message.body) {
                Ok(id) => self.run(&id).await.err()?,
                Err(error) => {
                    tracing::error!(message_id = message.id, error, "a message is not a hint");
                    return Some(message.id);
                }
            };
            tracing::error!(message_id = message.id, %error, "a process got less far than it could have");
            error.is_permanent().then_some(message.id)
        };
        join_all(messages.into_iter().map(one)).await.into_iter().flatten().collect()
    }

    /// Brings one stream as far as it can go now. A stream that is no process needs nothing.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: its timer starts it again.
    pub async fn run(&self, id: &StreamId) -> Result<(), ProcessError> {
        match rules_of(id).and_then(|rules| rules.process) {
            Some(run) => run(&self.app, id).await,
            None => Ok(()),
        }
    }
}
