//! Converts the batches that Lambda delivers to the types of the functions.

use application::StreamImage;
use application::hint::QueueMessage;
use aws_lambda_events::dynamodb;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use domain::ports::Stream;
use events::{StreamId, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A batch of the function `project`: of the table's change stream, or of the queue of repairs.
#[derive(Debug)]
pub enum ProjectRequest {
    Changes(dynamodb::Event),
    Repairs(SqsEvent),
}

impl<'de> Deserialize<'de> for ProjectRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Value::deserialize(deserializer)?;
        let parsed = match event.pointer("/Records/0/eventSource").and_then(Value::as_str) {
            Some("aws:sqs") => serde_json::from_value(event).map(ProjectRequest::Repairs),
            _ => serde_json::from_value(event).map(ProjectRequest::Changes),
        };
        parsed.map_err(D::Error::custom)
    }
}

/// Whether a batch comes from a dead-letter queue. All messages of a batch come from one queue.
pub fn is_of_dead_letters(event: &SqsEvent) -> bool {
    let queue = event.records.first().and_then(|record| record.event_source_arn.as_deref());
    queue.is_some_and(|arn| arn.ends_with("-dead"))
}

/// Returns the messages of one batch.
pub fn messages(event: SqsEvent) -> Vec<QueueMessage> {
    let message = |record: SqsMessage| QueueMessage {
        id: record.message_id.unwrap_or_default(),
        body: record.body.unwrap_or_default(),
    };
    event.records.into_iter().map(message).collect()
}

/// Asks SQS to deliver these messages again and to delete the others.
pub fn failures(ids: Vec<String>) -> SqsBatchResponse {
    let failure = |id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = ids.into_iter().map(failure).collect();
    response
}

/// Returns the streams of one batch. The change stream of the table also carries other items, which are left out.
pub fn images(event: dynamodb::Event) -> Vec<StreamImage> {
    event.records.into_iter().filter_map(image).collect()
}

fn image(record: dynamodb::EventRecord) -> Option<StreamImage> {
    #[derive(Deserialize)]
    struct Item {
        pk: String,
        sk: String,
        v: u64,
        ev: Vec<String>,
        snap: Option<String>,
        wake: Option<i64>,
        writer: String,
    }
    let item: Item = serde_dynamo::from_item(record.change.new_image).ok()?;
    let Item { pk, v, ev, snap, wake, writer, .. } = Some(item).filter(|item| item.sk == "stream")?;
    let stream = Stream { version: v, snapshot: snap, lines: ev, wake: wake.map(Timestamp), writer_id: writer };
    Some(StreamImage { id: StreamId::parse_storage_key(&pk)?, stream })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_payloads_are_parsed() {
        let deliver = serde_json::from_str(include_str!("../../../events/invocations/deliver/hint.json"));
        let parsed = messages(deliver.expect("an SQS batch"));
        assert_eq!(parsed.len(), 1);
        assert!(parsed[0].id == "m-1" && parsed[0].body.starts_with('{'));
        let project = serde_json::from_str(include_str!("../../../events/invocations/project/requested.json"));
        let Ok(ProjectRequest::Changes(changes)) = project else { panic!("not a batch of the change stream") };
        let parsed = images(changes);
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].stream.lines.len(), 1);
    }

    #[test]
    fn a_batch_of_repairs_is_told_from_changes() {
        let repairs = serde_json::from_str(include_str!("../../../events/invocations/deliver/hint.json"));
        assert!(matches!(repairs, Ok(ProjectRequest::Repairs(batch)) if batch.records.len() == 1));
    }

    #[test]
    fn failures_are_reported_in_the_format_of_sqs() {
        let response = serde_json::to_value(failures(vec!["m-1".into()])).expect("JSON");
        assert_eq!(response, serde_json::json!({ "batchItemFailures": [{ "itemIdentifier": "m-1" }] }));
    }
}
