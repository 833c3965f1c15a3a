//! Hints in SQS standard queues. The message group is the tenant, so a flood from one tenant delays only its own hints.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use domain::ports::{
    Hint, MAX_QUEUE_DELAY_S, QueueDepth, QueueId, RepairQueue, StoreError, UnmatchedQueue, UnmatchedRetry, WorkQueue,
};
use events::StreamId;

/// Maximum number of messages in one batch request.
const MAX_BATCH: usize = 10;

/// The work queues, each an SQS queue.
pub struct SqsWorkQueue {
    pub client: aws_sdk_sqs::Client,
    pub urls: BTreeMap<QueueId, String>,
}

impl SqsWorkQueue {
    fn url(&self, queue: QueueId) -> Result<&String, StoreError> {
        let missing = || StoreError::Unavailable(format!("no queue for {}", queue.name()));
        self.urls.get(&queue).ok_or_else(missing)
    }
}

fn to_store_error(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("sqs: {error}"))
}

#[async_trait]
impl WorkQueue for SqsWorkQueue {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        if let [(hint, delay)] = hints {
            let send = self
                .client
                .send_message()
                .queue_url(self.url(hint.queue)?)
                .message_body(hint.body())
                .message_group_id(hint.stream.tenant.as_str())
                .delay_seconds((*delay).min(MAX_QUEUE_DELAY_S) as i32);
            return send.send().await.map(|_| ()).map_err(|e| to_store_error(e.into_service_error()));
        }
        let mut by_queue: BTreeMap<QueueId, Vec<&(Hint, u32)>> = BTreeMap::new();
        hints.iter().for_each(|hint| by_queue.entry(hint.0.queue).or_default().push(hint));
        for (queue, hints) in by_queue {
            for chunk in hints.chunks(MAX_BATCH) {
                let entries = chunk.iter().enumerate().map(|(index, (hint, delay))| {
                    SendMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .message_body(hint.body())
                        .message_group_id(hint.stream.tenant.as_str())
                        .delay_seconds((*delay).min(MAX_QUEUE_DELAY_S) as i32)
                        .build()
                        .expect("id and body are set")
                });
                let send = self.client.send_message_batch().queue_url(self.url(queue)?);
                let sent = send.set_entries(Some(entries.collect())).send().await;
                let sent = sent.map_err(|e| to_store_error(e.into_service_error()))?;
                if let Some(failed) = sent.failed().first() {
                    return Err(to_store_error(format!(
                        "{} of {} messages were not accepted: {}",
                        sent.failed().len(),
                        chunk.len(),
                        failed.code()
                    )));
                }
            }
        }
        Ok(())
    }

    async fn depth(&self, queue: QueueId) -> Result<QueueDepth, StoreError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.client.get_queue_attributes().queue_url(self.url(queue)?);
        let response = request.set_attribute_names(Some(names.to_vec())).send().await;
        let response = response.map_err(|e| to_store_error(e.into_service_error()))?;
        let number = |name| {
            let text = response.attributes().and_then(|all| all.get(name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let [waiting, in_flight, delayed] = names.each_ref().map(number);
        Ok(QueueDepth { waiting, in_flight, delayed, dead: 0 })
    }
}

/// The queue of streams whose last change reached no row. Each message holds the key of one stream.
pub struct SqsRepairQueue {
    pub client: aws_sdk_sqs::Client,
    pub url: String,
}

#[async_trait]
impl RepairQueue for SqsRepairQueue {
    async fn enqueue(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        for chunk in streams.chunks(MAX_BATCH) {
            let entry = |(index, stream): (usize, &StreamId)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
                let entry = entry.message_body(stream.storage_key()).message_group_id(stream.tenant.as_str());
                entry.build().expect("id and body are set")
            };
            let entries = chunk.iter().enumerate().map(entry).collect();
            let send = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            let sent = send.map_err(|e| to_store_error(e.into_service_error()))?;
            if let Some(failed) = sent.failed().first() {
                return Err(to_store_error(format!("not every stream was accepted for repair: {}", failed.code())));
            }
        }
        Ok(())
    }
}

/// The queue of delivery reports whose message is not known yet.
pub struct SqsUnmatchedQueue {
    pub client: aws_sdk_sqs::Client,
    pub url: String,
}

#[async_trait]
impl UnmatchedQueue for SqsUnmatchedQueue {
    async fn enqueue(&self, retry: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        let body = serde_json::to_string(retry).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let send = self.client.send_message().queue_url(&self.url).message_body(body);
        let send = send.message_group_id(retry.tenant.as_str()).delay_seconds(delay_s.min(MAX_QUEUE_DELAY_S) as i32);
        send.send().await.map(|_| ()).map_err(|e| to_store_error(e.into_service_error()))
    }
}
