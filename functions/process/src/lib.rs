//! In: hints of processes, which are streams that make other streams act, such as schedules. Out: the effects of a
//! process, such as the messages of a schedule.
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

/// The handler of the function, with the use cases that it calls.
#[derive(Clone)]
pub struct Process {
    pub app: Arc<App>,
}

impl Process {
    /// Runs the processes of a batch concurrently. Returns the ids of the messages that must be delivered again. Those
    /// are only messages that this version cannot handle, which in the end become dead letters. Every other stream has
    /// a timer.
    pub async fn batch(&self, messages: Vec<QueueMessage>) -> Vec<String> {
        let handle = async |message: QueueMessage| {
            let error = match Hint::parse_body(&message.body) {
                Ok(id) => self.run(&id).await.err()?,
                Err(error) => {
                    tracing::error!(message_id = message.id, error, "a message is not a hint");
                    return Some(message.id);
                }
            };
            tracing::error!(message_id = message.id, %error, "a process did not complete its step");
            error.is_permanent().then_some(message.id)
        };
        join_all(messages.into_iter().map(handle)).await.into_iter().flatten().collect()
    }

    /// Runs one process until it waits or ends. Does nothing if the stream is not a process.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: the process did not complete its step. Its timer sends another hint.
    pub async fn run(&self, id: &StreamId) -> Result<(), ProcessError> {
        match rules_of(id).and_then(|rules| rules.process) {
            Some(run) => run(&self.app, id).await,
            None => Ok(()),
        }
    }
}
