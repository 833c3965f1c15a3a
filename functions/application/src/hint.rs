//! A queue message's body: `{"tenant": …, "id": …}`.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use domain::ports::StreamKey;
use serde::Deserialize;

/// One message of a batch, whatever queue it came from.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub body: String,
}

/// The stream that a message names.
///
/// # Errors
///
/// `serde_json::Error`: not a hint of ours.
pub fn parse(body: &str) -> Result<StreamKey, serde_json::Error> {
    #[derive(Deserialize)]
    struct Body {
        tenant: events::TenantId,
        id: events::CommunicationId,
    }
    serde_json::from_str(body).map(|Body { tenant, id }| StreamKey { tenant, id })
}

/// The messages of one invocation.
pub fn messages(event: SqsEvent) -> Vec<Message> {
    let message = |record: SqsMessage| Message {
        id: record.message_id.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    };
    event.records.into_iter().map(message).collect()
}

/// Tells SQS which messages to show again; the others are done with.
pub fn response(again: Vec<String>) -> SqsBatchResponse {
    let failure = |id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = again.into_iter().map(failure).collect();
    response
}
