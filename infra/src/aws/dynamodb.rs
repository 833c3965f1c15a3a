//! One item per stream: `pk` = tenant#com#id, `sk` = stream, `v` = its position, `ev` = its events (list of text).
//! An append is one conditional update. `shard` and `wake` are there while the stream is unfinished: the sparse index
//! `work` holds no others.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use domain::message::MessageContent;
use domain::ports::{
    AddressKey, ApiKeyStore, Append, AppendError, ContentKey, CoordinationStore, DocumentKey, DocumentStore, Due,
    EventStore, Hint, JournalKey, Journals, MAX_STREAM_BYTES, Principal, QueueId, ScanPage, StoreError, Stream,
    StreamKey, TIMER_SHARDS, Vault, VersionedRecord,
};
use events::{TenantId, Timestamp};
use serde::de::DeserializeOwned;

pub(super) type Item = HashMap<String, AttributeValue>;

/// Keys of one BatchGetItem, at most.
const BATCH: usize = 100;
/// Times that keys left unprocessed are asked for again: about two seconds, for a caller waits.
const MAX_ROUNDS: u32 = 8;

/// Streams, guards, vault, keys and limits, each in its table.
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
    found.cloned().ok_or_else(|| StoreError::Unreadable(format!("no text `{name}`")))
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

pub(super) fn parse<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Unreadable(error.to_string()))
}

fn stream_key(key: &StreamKey) -> Item {
    HashMap::from([("pk".to_owned(), text(key.path())), ("sk".to_owned(), text("stream"))])
}

fn stream(item: &Item) -> Result<Stream, StoreError> {
    let unreadable = |what: &str| StoreError::Unreadable(format!("stream without {what}"));
    let lines = item.get("ev").and_then(|ev| ev.as_l().ok()).ok_or_else(|| unreadable("events"))?;
    let lines = lines.iter().map(|line| line.as_s().cloned().map_err(|_| unreadable("text")));
    Ok(Stream {
        version: read_number(item, "v").ok_or_else(|| unreadable("a position"))? as u64,
        lines: lines.collect::<Result<_, _>>()?,
        wake: read_number(item, "wake").map(Timestamp),
        writer: read_string(item, "writer")?,
    })
}

#[async_trait]
impl EventStore for DynamoStore {
    async fn read(&self, key: &StreamKey) -> Result<Stream, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table).set_key(Some(stream_key(key)));
        let answer = get
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(unavailable)?;
        answer.item.as_ref().map_or(Ok(Stream::default()), stream)
    }

    async fn append(&self, key: &StreamKey, append: Append) -> Result<(), AppendError> {
        let bytes: usize = append.lines.iter().map(String::len).sum();
        if MAX_STREAM_BYTES < bytes {
            return Err(AppendError::TooLarge);
        }
        let timer = match append.wake {
            Some(_) => "v = :next, wake = :wake, #shard = :shard REMOVE hints",
            None => "v = :next REMOVE wake, #shard, hints",
        };
        let lines = append.lines.iter().map(text).collect();
        let next = append.expected + append.lines.len() as u64;
        let mut update = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(stream_key(key)))
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":new", AttributeValue::L(lines))
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":me", text(&append.writer))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        update = match append.expected {
            0 => update
                .update_expression(format!("SET ev = :new, writer = :me, lane = :lane, {timer}"))
                .condition_expression("attribute_not_exists(pk)")
                .expression_attribute_values(":lane", text(append.lane.name())),
            expected => update
                .update_expression(format!("SET ev = list_append(ev, :new), writer = :me, {timer}"))
                .condition_expression("v = :expected")
                .expression_attribute_values(":expected", number(expected)),
        };
        if let Some(wake) = append.wake {
            let shard = key.id.shard_byte() % TIMER_SHARDS;
            update = update
                .expression_attribute_values(":wake", number(wake.0))
                .expression_attribute_values(":shard", number(shard));
        }
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_own(&error, &append.writer) => Ok(()),
            Err(error) => Err(classify(error)),
        }
    }

    async fn due_timers(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.events_table)
            .index_name("work")
            .key_condition_expression("#shard = :shard AND wake <= :until")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":shard", number(shard))
            .expression_attribute_values(":until", number(until.0));
        let mut pages = query.into_paginator().items().send();
        let mut due = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(unavailable)?;
            let (pk, lane) = (read_string(&item, "pk")?, read_string(&item, "lane")?);
            let wrong = || StoreError::Unreadable(format!("key {pk}, lane {lane}"));
            let hint = Hint {
                key: StreamKey::parse_storage_key(&pk).ok_or_else(wrong)?,
                lane: QueueId::parse(&lane).ok_or_else(wrong)?,
            };
            let wake = Timestamp(read_number(&item, "wake").ok_or_else(wrong)?);
            let hints = read_number(&item, "hints").unwrap_or(0) as u32;
            due.push(Due { hint, wake, hints });
            if due.len() == limit {
                break;
            }
        }
        Ok(due)
    }

    async fn reschedule_timer(
        &self,
        key: &StreamKey,
        from: Timestamp,
        to: Timestamp,
        hints: u32,
    ) -> Result<(), StoreError> {
        let moved = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(stream_key(key)))
            .update_expression("SET wake = :wake, hints = :hints")
            .condition_expression("wake = :seen")
            .expression_attribute_values(":wake", number(to.0))
            .expression_attribute_values(":hints", number(hints))
            .expression_attribute_values(":seen", number(from.0))
            .send()
            .await;
        unless_condition(moved)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let start = after.and_then(|after| after.split_once(' '));
        let start = start.map(|(sk, pk)| HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]));
        let scan = self.client.scan().table_name(&self.events_table).limit(limit as i32);
        let scan = scan.filter_expression("sk = :stream").expression_attribute_values(":stream", text("stream"));
        let answer = scan.consistent_read(true).set_exclusive_start_key(start).send().await.map_err(unavailable)?;
        let one = |item: &Item| {
            let pk = read_string(item, "pk")?;
            let key = StreamKey::parse_storage_key(&pk).ok_or_else(|| StoreError::Unreadable(format!("key {pk}")))?;
            Ok((key, stream(item)?))
        };
        let streams = answer.items().iter().map(one).collect::<Result<_, StoreError>>()?;
        // The last item looked at may be a guard, so both parts of its key are kept.
        let next = answer.last_evaluated_key();
        let next =
            next.map(|key| Ok::<_, StoreError>(format!("{} {}", read_string(key, "sk")?, read_string(key, "pk")?)));
        let next = next.transpose()?;
        Ok(ScanPage { streams, next })
    }

    async fn is_suppressed(&self, contact: &AddressKey) -> Result<bool, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table);
        let answer = get
            .set_key(Some(guard_key(contact)))
            .projection_expression("lifted")
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        Ok(answer.map_err(unavailable)?.item.is_some_and(|guard| !guard.contains_key("lifted")))
    }

    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError> {
        // An update, so that no function needs the right to put items into this table.
        let first = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(guard_key(contact)))
            .update_expression("SET reason = :reason, #at = :at REMOVE lifted")
            .condition_expression("attribute_not_exists(pk) OR attribute_exists(lifted)")
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":at", number(at.0));
        unless_condition(first.send().await)
    }

    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError> {
        // Marked, not deleted: no function may delete from this table.
        let lift = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(guard_key(contact)))
            .update_expression("SET lifted = :lifted")
            .condition_expression("reason = :reason")
            .expression_attribute_values(":lifted", AttributeValue::Bool(true))
            .expression_attribute_values(":reason", text(reason));
        unless_condition(lift.send().await)
    }

    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table).set_key(Some(guard_key(contact)));
        let item = get.consistent_read(true).send().await.map_err(unavailable)?.item;
        item.filter(|guard| !guard.contains_key("lifted")).map(|guard| read_string(&guard, "reason")).transpose()
    }
}

/// A condition that does not hold is nothing to do.
fn unless_condition<T>(done: Result<T, SdkError<UpdateItemError>>) -> Result<(), StoreError> {
    match done {
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(())
        }
        other => other.map(|_| ()).map_err(unavailable),
    }
}

fn guard_key(contact: &AddressKey) -> Item {
    let AddressKey { tenant, channel, contact_hash } = contact;
    let pk = format!("{tenant}#suppressed#{}#{contact_hash}", channel.as_str());
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text("guard"))])
}

/// The condition failed because this very append has already been done.
fn is_own(error: &SdkError<UpdateItemError>, me: &str) -> bool {
    let Some(UpdateItemError::ConditionalCheckFailedException(lost)) = error.as_service_error() else {
        return false;
    };
    lost.item().and_then(|item| item.get("writer")?.as_s().ok()).is_some_and(|writer| writer == me)
}

fn classify(error: SdkError<UpdateItemError>) -> AppendError {
    let code = error.code().unwrap_or("no answer").to_owned();
    let detail = format!("dynamodb: {code}: {}", error.message().unwrap_or(""));
    match &error {
        SdkError::ServiceError(answer) => match answer.err() {
            UpdateItemError::ConditionalCheckFailedException(_) => AppendError::Conflict,
            UpdateItemError::InternalServerError(_) => AppendError::Unknown(detail),
            _ if code == "ValidationException" && detail.contains("size") => AppendError::TooLarge,
            _ => AppendError::NotApplied(detail),
        },
        SdkError::ConstructionFailure(_) => AppendError::NotApplied(detail),
        SdkError::DispatchFailure(failure) if failure.is_user() => AppendError::NotApplied(detail),
        _ => AppendError::Unknown(detail),
    }
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
        item.filter(|item| is_in_time(item, now)).map(|item| parse(&read_string(&item, "body")?)).transpose()
    }

    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(content_key).collect();
        let found = get_items(&self.client, &self.vault_table, &keys).await?;
        let found = found.into_iter().map(|item| item.filter(|item| is_in_time(item, now)));
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
        let is_there = |item: &Item| is_in_time(item, now);
        let found = self.partition(ContentKey::partition(tenant, subject), before, limit, is_there).await?;
        let key = |place: &str| ContentKey::parse(tenant, subject, place);
        let of_it = found.into_iter().filter_map(|(place, body)| Some((key(&place)?, body)));
        of_it.map(|(key, body)| Ok((key, parse(&body)?))).collect()
    }

    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.vault_table).set_key(Some(content_key(key)));
        delete.send().await.map(|_| ()).map_err(unavailable)
    }
}

impl DynamoStore {
    /// Places and bodies of one partition of the vault, the greatest place first.
    async fn partition(
        &self,
        partition: String,
        before: Option<&str>,
        limit: usize,
        is_there: impl Fn(&Item) -> bool,
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
            if is_there(&item) {
                found.push((read_string(&item, "sk")?, read_string(&item, "body")?));
            }
        }
        Ok(found)
    }
}

/// Any number of items by key, in the order asked; what a request leaves out is asked for again.
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
    let mut open: Vec<Item> = distinct.into_values().collect();
    let mut rounds = 0;
    while !open.is_empty() {
        let rest = open.split_off(open.len().min(BATCH));
        let ask = KeysAndAttributes::builder().set_keys(Some(open)).consistent_read(true).build();
        let ask = ask.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let get = client.batch_get_item().request_items(table, ask);
        let answer = get.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(unavailable)?;
        for item in answer.responses.unwrap_or_default().remove(table).unwrap_or_default() {
            found.insert(name(&item)?, item);
        }
        open = rest;
        let left = answer.unprocessed_keys.unwrap_or_default().remove(table);
        if let Some(left) = left {
            rounds += 1;
            if rounds > MAX_ROUNDS {
                return Err(StoreError::Unavailable("dynamodb: keys left unprocessed".to_owned()));
            }
            tokio::time::sleep(std::time::Duration::from_millis((20 << rounds).min(320))).await;
            open.extend(left.keys);
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
}

fn versioned(item: &Item) -> Result<VersionedRecord, StoreError> {
    Ok(VersionedRecord { version: read_number(item, "v").unwrap_or(0) as u64, body: read_string(item, "body")? })
}

fn journal_key(key: &JournalKey) -> Item {
    HashMap::from([("pk".to_owned(), text(key.path())), ("sk".to_owned(), text("journal"))])
}

#[async_trait]
impl Journals for DynamoStore {
    async fn read_journal(&self, key: &JournalKey) -> Result<Stream, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table).set_key(Some(journal_key(key)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let item = get.send().await.map_err(unavailable)?.item;
        item.as_ref().map_or(Ok(Stream::default()), stream)
    }

    async fn append_journal(
        &self,
        key: &JournalKey,
        expected: u64,
        lines: Vec<String>,
        writer: &str,
    ) -> Result<(), AppendError> {
        let next = expected + lines.len() as u64;
        let update = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(journal_key(key)))
            .expression_attribute_values(":new", AttributeValue::L(lines.iter().map(text).collect()))
            .expression_attribute_values(":next", number(next))
            .expression_attribute_values(":me", text(writer))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let update = match expected {
            0 => update
                .update_expression("SET ev = :new, v = :next, writer = :me")
                .condition_expression("attribute_not_exists(pk)"),
            expected => update
                .update_expression("SET ev = list_append(ev, :new), v = :next, writer = :me")
                .condition_expression("v = :expected")
                .expression_attribute_values(":expected", number(expected)),
        };
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_own(&error, writer) => Ok(()),
            Err(error) => Err(classify(error)),
        }
    }
}

fn document_key(key: &DocumentKey) -> Item {
    let (pk, sk) = key.path();
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// DynamoDB deletes what is past its time some days late: until then it is passed over.
fn is_in_time(item: &Item, now: Timestamp) -> bool {
    read_number(item, "ttl").is_none_or(|ttl| now.0 / 1_000 < ttl)
}

#[async_trait]
impl DocumentStore for DynamoStore {
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError> {
        let mut item = document_key(key);
        item.insert("body".to_owned(), text(body));
        item.extend(until.map(|until| ("ttl".to_owned(), number(until.0 / 1_000))));
        let put = self.client.put_item().table_name(&self.vault_table).set_item(Some(item));
        let put = put.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        put.map(|_| ()).map_err(unavailable)
    }

    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError> {
        let get = self.client.get_item().table_name(&self.vault_table).set_key(Some(document_key(key)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let item = get.send().await.map_err(unavailable)?.item;
        item.filter(|item| is_in_time(item, now)).map(|item| read_string(&item, "body")).transpose()
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.vault_table).set_key(Some(document_key(key)));
        delete.send().await.map(|_| ()).map_err(unavailable)
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        shelf: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.partition(format!("{tenant}#{shelf}"), before, limit, |item| is_in_time(item, now)).await
    }
}
