//! Hints by SQS standard queues; the message group is the tenant, so one tenant's flood delays itself alone.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use domain::ports::{
    Hint, MAX_QUEUE_DELAY_S, QueueDepth, QueueId, StoreError, UnmatchedQueue, UnmatchedRetry, WorkQueue,
};

/// Messages of one batch request, at most.
const BATCH: usize = 10;

/// One queue URL for each lane.
pub struct SqsWorkQueue {
    pub client: aws_sdk_sqs::Client,
    pub urls: BTreeMap<QueueId, String>,
}

impl SqsWorkQueue {
    fn url(&self, lane: QueueId) -> Result<&String, StoreError> {
        let none = || StoreError::Unavailable(format!("no queue for {}", lane.name()));
        self.urls.get(&lane).ok_or_else(none)
    }
}

fn body(hint: &Hint) -> String {
    serde_json::json!({ "tenant": hint.key.tenant, "id": hint.key.id }).to_string()
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("sqs: {error}"))
}

#[async_trait]
impl WorkQueue for SqsWorkQueue {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        if let [(hint, delay)] = hints {
            let send = self
                .client
                .send_message()
                .queue_url(self.url(hint.lane)?)
                .message_body(body(hint))
                .message_group_id(hint.key.tenant.as_str())
                .delay_seconds((*delay).min(MAX_QUEUE_DELAY_S) as i32);
            return send.send().await.map(|_| ()).map_err(|e| unavailable(e.into_service_error()));
        }
        let mut by_lane: BTreeMap<QueueId, Vec<&(Hint, u32)>> = BTreeMap::new();
        hints.iter().for_each(|hint| by_lane.entry(hint.0.lane).or_default().push(hint));
        for (lane, hints) in by_lane {
            for chunk in hints.chunks(BATCH) {
                let entries = chunk.iter().enumerate().map(|(place, (hint, delay))| {
                    SendMessageBatchRequestEntry::builder()
                        .id(place.to_string())
                        .message_body(body(hint))
                        .message_group_id(hint.key.tenant.as_str())
                        .delay_seconds((*delay).min(MAX_QUEUE_DELAY_S) as i32)
                        .build()
                        .expect("id and body are set")
                });
                let send = self.client.send_message_batch().queue_url(self.url(lane)?);
                let sent = send.set_entries(Some(entries.collect())).send().await;
                let sent = sent.map_err(|e| unavailable(e.into_service_error()))?;
                if let Some(failed) = sent.failed().first() {
                    return Err(unavailable(format!(
                        "{} of {} not taken: {}",
                        sent.failed().len(),
                        chunk.len(),
                        failed.code()
                    )));
                }
            }
        }
        Ok(())
    }

    async fn depth(&self, lane: QueueId) -> Result<QueueDepth, StoreError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let ask = self.client.get_queue_attributes().queue_url(self.url(lane)?);
        let answer = ask.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|e| unavailable(e.into_service_error()))?;
        let number = |name| {
            let text = answer.attributes().and_then(|all| all.get(name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let [waiting, in_flight, delayed] = names.each_ref().map(number);
        Ok(QueueDepth { waiting, in_flight, delayed, dead: 0 })
    }
}

/// Where facts wait that found no message.
pub struct SqsUnmatchedQueue {
    pub client: aws_sdk_sqs::Client,
    pub url: String,
}

#[async_trait]
impl UnmatchedQueue for SqsUnmatchedQueue {
    async fn enqueue(&self, again: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        let body = serde_json::to_string(again).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let send = self.client.send_message().queue_url(&self.url).message_body(body);
        let send = send.message_group_id(again.tenant.as_str()).delay_seconds(delay_s.min(MAX_QUEUE_DELAY_S) as i32);
        send.send().await.map(|_| ()).map_err(|e| unavailable(e.into_service_error()))
    }
}
