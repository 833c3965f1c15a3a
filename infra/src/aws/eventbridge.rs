//! Public events on EventBridge.

use async_trait::async_trait;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use domain::ports::{EventBus, NotTaken, StoreError};
use domain::publication::PublicEvent;

/// The source of all our events. No rule of ours listens to it.
const SOURCE: &str = "tidings";
/// What the bus may take the next time.
const TRANSIENT: [&str; 3] = ["InternalFailure", "InternalException", "ThrottlingException"];

/// A bus of EventBridge.
pub struct EventBridgeBus {
    pub client: aws_sdk_eventbridge::Client,
    /// Its name.
    pub bus: String,
}

#[async_trait]
impl EventBus for EventBridgeBus {
    async fn put(&self, events: &[PublicEvent]) -> Result<Vec<NotTaken>, StoreError> {
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            let detail = serde_json::to_string(event).map_err(|error| StoreError::Unreadable(error.to_string()))?;
            let entry = PutEventsRequestEntry::builder().event_bus_name(&self.bus).source(SOURCE);
            entries.push(entry.detail_type(&event.kind).detail(detail).build());
        }
        let put = self.client.put_events().set_entries(Some(entries)).send().await;
        let put =
            put.map_err(|error| StoreError::Unavailable(format!("eventbridge: {}", error.into_service_error())))?;
        // The call succeeds although some of its entries fail. The results are in the order of the entries.
        let results = put.entries().iter().enumerate();
        let failed = results.filter_map(|(index, result)| {
            let code = result.error_code()?.to_owned();
            Some(NotTaken { index, is_transient: TRANSIENT.contains(&&*code), code })
        });
        Ok(failed.collect())
    }
}
