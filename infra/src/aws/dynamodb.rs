//! Personal data, API keys and small records, each in its table.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use domain::message::MessageContent;
use domain::ports::{
    Addition, ApiKeyStore, ContentKey, CoordinationStore, DocumentKey, DocumentStore, Principal, StoreError, Vault,
    VersionedRecord,
};
use events::{TenantId, Timestamp};
use serde::de::DeserializeOwned;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Maximum number of keys in one `BatchGetItem` request.
const MAX_BATCH: usize = 100;
/// How often unprocessed keys are requested again. All retries together take about two seconds, because a caller waits.
const MAX_RETRIES: u32 = 8;

/// The tables of the deployment.
#[derive(Clone)]
pub struct DynamoStore {
    pub client: Client,
    pub events_table: String,
    pub vault_table: String,
    pub limits_table: String,
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn read_string(item: &Item, name: &str) -> Result<String, StoreError> {
    let found = item.get(name).and_then(|value| value.as_s().ok());
    found.cloned().ok_or_else(|| StoreError::Unreadable(format!("the item has no text attribute `{name}`")))
}

pub(super) fn read_number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(super) fn unavailable<E, R>(error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug,
{
    let code = error.code().unwrap_or("no answer").to_owned();
    StoreError::Unavailable(format!("dynamodb: {code}: {}", error.message().unwrap_or("")))
}

pub(super) fn has_failed_condition(error: &SdkError<UpdateItemError>) -> bool {
    error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

pub(super) fn parse<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn content_key(key: &ContentKey) -> Item {
    let (pk, sk) = key.path();
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

#[async_trait]
impl Vault for DynamoStore {
    async fn put(&self, key: &ContentKey, content: &MessageContent, until: Timestamp) -> Result<(), StoreError> {
        let body = serde_json::to_string(content).map_err(|e| StoreError::Unreadable(e.to_string()))?;
        let mut item = content_key(key);
        item.insert("body".to_owned(), text(body));
        item.insert("ttl".to_owned(), number(until.0 / 1_000));
        let put = self.client.put_item().table_name(&self.vault_table).set_item(Some(item));
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        put.map(|_| ()).map_err(unavailable)
    }

    async fn get(&self, key: &ContentKey, now: Timestamp) -> Result<Option<MessageContent>, StoreError> {
        let get = self.client.get_item().table_name(&self.vault_table).set_key(Some(content_key(key)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let item = get.send().await.map_err(unavailable)?.item;
        item.filter(|item| is_unexpired(item, now)).map(|item| parse(&read_string(&item, "body")?)).transpose()
    }

    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(content_key).collect();
        let found = get_items(&self.client, &self.vault_table, &keys).await?;
        let found = found.into_iter().map(|item| item.filter(|item| is_unexpired(item, now)));
        found.map(|item| item.map(|item| parse(&read_string(&item, "body")?)).transpose()).collect()
    }

    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError> {
        let is_current = |item: &Item| is_unexpired(item, now);
        let found = self.partition(ContentKey::partition(tenant, subject), before, limit, is_current).await?;
        let key = |sort_key: &str| ContentKey::parse(tenant, subject, sort_key);
        let entries = found.into_iter().filter_map(|(sort_key, body)| Some((key(&sort_key)?, body)));
        entries.map(|(key, body)| Ok((key, parse(&body)?))).collect()
    }

    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.vault_table).set_key(Some(content_key(key)));
        delete.send().await.map(|_| ()).map_err(unavailable)
    }
}

impl DynamoStore {
    /// Returns sort keys and bodies of one partition of the vault, in descending order of the sort key. Skips items for
    /// which `is_current` returns false.
    async fn partition(
        &self,
        partition: String,
        before: Option<&str>,
        limit: usize,
        is_current: impl Fn(&Item) -> bool,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.vault_table)
            .scan_index_forward(false)
            .consistent_read(true)
            .expression_attribute_values(":pk", text(partition));
        let query = match before {
            None => query.key_condition_expression("pk = :pk"),
            Some(before) => query
                .key_condition_expression("pk = :pk AND sk < :before")
                .expression_attribute_values(":before", text(before)),
        };
        let mut pages = query.into_paginator().items().send();
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(item) = pages.next().await
        {
            let item = item.map_err(unavailable)?;
            if is_current(&item) {
                found.push((read_string(&item, "sk")?, read_string(&item, "body")?));
            }
        }
        Ok(found)
    }
}

/// Reads any number of items by key, in the order of `keys`. Returns `None` for an item that does not exist. Requests
/// keys again that a response leaves unprocessed.
pub(super) async fn get_items(client: &Client, table: &str, keys: &[Item]) -> Result<Vec<Option<Item>>, StoreError> {
    let name = |item: &Item| {
        let range = item.get("sk").and_then(|sk| sk.as_s().ok()).cloned();
        Ok::<_, StoreError>((read_string(item, "pk")?, range))
    };
    let mut found = HashMap::new();
    let mut distinct: HashMap<(String, Option<String>), Item> = HashMap::new();
    for key in keys {
        distinct.insert(name(key)?, key.clone());
    }
    let mut pending: Vec<Item> = distinct.into_values().collect();
    let mut retries = 0;
    while !pending.is_empty() {
        let rest = pending.split_off(pending.len().min(MAX_BATCH));
        let batch = KeysAndAttributes::builder().set_keys(Some(pending)).consistent_read(true).build();
        let batch = batch.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let get = client.batch_get_item().request_items(table, batch);
        let response = get.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(unavailable)?;
        for item in response.responses.unwrap_or_default().remove(table).unwrap_or_default() {
            found.insert(name(&item)?, item);
        }
        pending = rest;
        let unprocessed = response.unprocessed_keys.unwrap_or_default().remove(table);
        if let Some(unprocessed) = unprocessed {
            retries += 1;
            if retries > MAX_RETRIES {
                return Err(StoreError::Unavailable("dynamodb: some keys were not processed".to_owned()));
            }
            tokio::time::sleep(std::time::Duration::from_millis((20 << retries).min(320))).await;
            pending.extend(unprocessed.keys);
        }
    }
    keys.iter().map(|key| Ok(found.get(&name(key)?).cloned())).collect()
}

fn api_key(hash: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(format!("key#{hash}"))), ("sk".to_owned(), text("principal"))])
}

#[async_trait]
impl ApiKeyStore for DynamoStore {
    async fn find(&self, key_hash: &str) -> Result<Option<Principal>, StoreError> {
        let get = self.client.get_item().table_name(&self.vault_table).set_key(Some(api_key(key_hash)));
        let item = get.send().await.map_err(unavailable)?.item;
        item.map(|item| parse(&read_string(&item, "body")?)).transpose()
    }

    async fn put(&self, key_hash: &str, principal: &Principal) -> Result<(), StoreError> {
        let body = serde_json::to_string(principal).map_err(|e| StoreError::Unreadable(e.to_string()))?;
        let mut item = api_key(key_hash);
        item.insert("body".to_owned(), text(body));
        let put = self.client.put_item().table_name(&self.vault_table).set_item(Some(item)).send().await;
        put.map(|_| ()).map_err(unavailable)
    }

    async fn remove(&self, key_hash: &str) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.vault_table).set_key(Some(api_key(key_hash)));
        delete.send().await.map(|_| ()).map_err(unavailable)
    }
}

#[async_trait]
impl CoordinationStore for DynamoStore {
    async fn record_heartbeat(&self, name: &str, at: Timestamp) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.limits_table);
        let put = put.item("pk", text(format!("beat#{name}"))).item("at", number(at.0));
        put.send().await.map(|_| ()).map_err(unavailable)
    }

    async fn last_heartbeat(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let get = self.client.get_item().table_name(&self.limits_table);
        let item = get.key("pk", text(format!("beat#{name}"))).send().await.map_err(unavailable)?.item;
        Ok(item.and_then(|item| read_number(&item, "at")).map(Timestamp))
    }

    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError> {
        let keys: Vec<Item> = names.iter().map(|name| HashMap::from([("pk".to_owned(), text(name))])).collect();
        let found = get_items(&self.client, &self.limits_table, &keys).await?;
        found.into_iter().map(|item| item.as_ref().map(versioned).transpose()).collect()
    }

    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.limits_table)
            .key("pk", text(name))
            .update_expression("SET v = :next, body = :body")
            .expression_attribute_values(":next", number(expected + 1))
            .expression_attribute_values(":body", text(body))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let update = match expected {
            0 => update.condition_expression("attribute_not_exists(pk)"),
            seen => update.condition_expression("v = :seen").expression_attribute_values(":seen", number(seen)),
        };
        match update.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(lost)) => {
                    lost.item().map_or(Ok(Some(VersionedRecord { version: 0, body: String::new() })), |item| {
                        versioned(item).map(Some)
                    })
                }
                _ => Err(unavailable(error)),
            },
        }
    }

    async fn add_within(&self, name: &str, amount: i64, most: i64, until: Timestamp) -> Result<Addition, StoreError> {
        let room = most.saturating_sub(amount);
        let condition = if 0 <= room { "attribute_not_exists(tally) OR tally <= :room" } else { "tally <= :room" };
        let update = self
            .client
            .update_item()
            .table_name(&self.limits_table)
            .key("pk", text(name))
            .update_expression("ADD tally :amount SET #ttl = :ttl")
            .condition_expression(condition)
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":amount", number(amount))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":ttl", number(until.0 / 1_000))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let tally = |item: Option<&Item>| item.and_then(|item| read_number(item, "tally")).unwrap_or(0);
        match update.send().await {
            Ok(updated) => Ok(Addition::Added(tally(updated.attributes()))),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Addition::Refused(tally(refused.item())))
                }
                _ => Err(unavailable(error)),
            },
        }
    }

    async fn read_counters(&self, names: &[String]) -> Result<Vec<i64>, StoreError> {
        let keys: Vec<Item> = names.iter().map(|name| HashMap::from([("pk".to_owned(), text(name))])).collect();
        let found = get_items(&self.client, &self.limits_table, &keys).await?;
        Ok(found.iter().map(|item| item.as_ref().and_then(|item| read_number(item, "tally")).unwrap_or(0)).collect())
    }
}

fn versioned(item: &Item) -> Result<VersionedRecord, StoreError> {
    Ok(VersionedRecord { version: read_number(item, "v").unwrap_or(0) as u64, body: read_string(item, "body")? })
}

fn document_key(key: &DocumentKey) -> Item {
    let (pk, sk) = key.path();
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn document_item(key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Item {
    let mut item = document_key(key);
    item.insert("body".to_owned(), text(body));
    item.extend(until.map(|until| ("ttl".to_owned(), number(until.0 / 1_000))));
    item
}

/// Whether an item has not expired. DynamoDB deletes expired items up to a few days late, so reads must skip them.
fn is_unexpired(item: &Item, now: Timestamp) -> bool {
    read_number(item, "ttl").is_none_or(|ttl| now.0 / 1_000 < ttl)
}

#[async_trait]
impl DocumentStore for DynamoStore {
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.vault_table).set_item(Some(document_item(key, body, until)));
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        put.map(|_| ()).map_err(unavailable)
    }

    async fn replace_document(
        &self,
        key: &DocumentKey,
        seen: Option<&str>,
        body: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let put = self.client.put_item().table_name(&self.vault_table).set_item(Some(document_item(key, body, until)));
        let put = match seen {
            None => put
                .condition_expression("attribute_not_exists(pk) OR #ttl <= :now")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":now", number(now.0 / 1_000)),
            Some(seen) => put.condition_expression("body = :seen").expression_attribute_values(":seen", text(seen)),
        };
        let is_condition_failed = PutItemError::is_conditional_check_failed_exception;
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(is_condition_failed) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError> {
        let get = self.client.get_item().table_name(&self.vault_table).set_key(Some(document_key(key)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let item = get.send().await.map_err(unavailable)?.item;
        item.filter(|item| is_unexpired(item, now)).map(|item| read_string(&item, "body")).transpose()
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.vault_table).set_key(Some(document_key(key)));
        delete.send().await.map(|_| ()).map_err(unavailable)
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.partition(format!("{tenant}#{collection}"), before, limit, |item| is_unexpired(item, now)).await
    }
}
