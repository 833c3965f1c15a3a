//! Batches of queue messages.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};

/// One message of a batch, whatever queue it came from.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub body: String,
}

/// The messages of one invocation.
pub fn messages(event: SqsEvent) -> Vec<Message> {
    let message = |record: SqsMessage| Message {
        id: record.message_id.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    };
    event.records.into_iter().map(message).collect()
}

/// Tells SQS which messages failed and must become visible again.
pub fn response(failed: Vec<String>) -> SqsBatchResponse {
    let failure = |id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    response
}
