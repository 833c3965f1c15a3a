//! Documents of the vault: what cannot be encoded is not stored, and concurrent changes are all kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use application::document;
use application::hash::{body_hash, hash_of};
use async_trait::async_trait;
use domain::communication::DeliveryReport;
use domain::ports::{AddressKey, DocumentKey, DocumentStore, EventStore, StoreError};
use events::{Channel, ReportedStatus, TenantId, Timestamp};
use infra::embedded::Database;
use serde_json::json;
use tests::harness::{DiscardingUnmatchedQueue, Harness, T0, request, tenant, tenant_ports};
use tokio::sync::Barrier;
use webhook::{StreamReport, WebhookHandler};

#[test]
fn what_has_no_json_form_is_neither_stored_nor_hashed() {
    let unencodable = BTreeMap::from([((1, 2), "a JSON key is a text")]);
    assert!(matches!(document::encode(&unencodable), Err(StoreError::Unreadable(_))));
    assert!(matches!(hash_of(&unencodable), Err(StoreError::Unreadable(_))));
    assert_eq!(hash_of(&("a", 1)).expect("a hash"), body_hash(&json!(["a", 1])));
}

/// Callbacks that count soft bounces at the same time.
const CALLBACKS: usize = 5;

/// Gives the first callbacks their counts only when all of them have read, so that each reads the same.
struct SimultaneousReads {
    store: Arc<Database>,
    reads: AtomicUsize,
    all_have_read: Barrier,
}

#[async_trait]
impl DocumentStore for SimultaneousReads {
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError> {
        self.store.put_document(key, body, until).await
    }

    async fn replace_document(
        &self,
        key: &DocumentKey,
        seen: Option<&str>,
        body: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store.replace_document(key, seen, body, until, now).await
    }

    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError> {
        let body = self.store.get_document(key, now).await?;
        if key.collection == "returned" && self.reads.fetch_add(1, Ordering::SeqCst) < CALLBACKS {
            self.all_have_read.wait().await;
        }
        Ok(body)
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        self.store.delete_document(key).await
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.store.list_documents(tenant, collection, before, limit, now).await
    }
}

#[tokio::test]
async fn soft_bounces_reported_at_the_same_time_are_all_counted() {
    let harness = Harness::new();
    let documents = Arc::new(SimultaneousReads {
        store: harness.store.clone(),
        reads: AtomicUsize::new(0),
        all_have_read: Barrier::new(CALLBACKS),
    });
    let webhook = WebhookHandler {
        store: harness.store.clone(),
        vault: harness.store.clone(),
        documents,
        unmatched: Arc::new(DiscardingUnmatchedQueue),
        providers: Vec::new(),
        tenant_ports: tenant_ports(harness.store.clone(), harness.host.clone()),
        directory: Default::default(),
        queue: harness.queue.clone(),
        contact_key: vec![7; 32],
        views: harness.store.clone(),
        deployment_tenant: None,
        host: harness.host.clone(),
    };
    let mut reports = Vec::new();
    for n in 0..CALLBACKS {
        let key = harness.accept(|_| ()).await;
        harness.hint(&key).await;
        let (fact, event_id) = (ReportedStatus::Undelivered, Some(format!("event-{n}")));
        let report = DeliveryReport { attempt: Some(1), fact, event_id, at: Timestamp(T0), code: None };
        reports.push(StreamReport { key, report });
    }
    let contact =
        AddressKey { tenant: tenant(), channel: Channel::Email, contact_hash: request(Timestamp(T0)).contact_hash };
    let suppression = async || harness.store.suppression(&contact).await.expect("an answer");
    assert_eq!(suppression().await, None);
    webhook.append_reports("sendgrid", reports).await.expect("stored");
    assert_eq!(suppression().await.as_deref(), Some("soft_bounces"), "five messages in a row came back");
}
