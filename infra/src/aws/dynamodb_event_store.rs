//! Streams of every kind in one table.
//!
//! A stream is one item, with `sk = stream`: `ev` holds its newest events as a list of text, `v` counts all of them,
//! and `snap` is the fold of those before `ev`. An append is one conditional update. Older events are in
//! `chunk#<first>` items of the same partition. `shard` and `wake` exist while the stream has a timer, so that the
//! sparse index `work` contains no other streams. A listed stream has an item in the partition `<tenant>#index#<kind>`.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    Update,
};
use domain::ports::{
    AddressKey, AddressRecord, AppendError, AppendRequest, DuePage, DueTimer, EventStore, Hint, Listed, Listing,
    MAX_LISTED, MAX_STREAM_BYTES, ScanPage, StoreError, Stream, TIMER_SHARDS, TimerCursor,
};
use events::{StreamId, StreamKind, TenantId, Timestamp};

use super::dynamodb::{DynamoStore, Item, get_items, number, read_number, read_string, text, unavailable};
use super::dynamodb_addresses::ignore_failed_condition;
use crate::{known_queue, known_stream};

/// How often a history is read if a roll-over happens each time between two of its pages.
const MAX_HISTORY_READS: usize = 3;

fn item_key(pk: String, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn stream_key(id: &StreamId) -> Item {
    item_key(id.storage_key(), "stream")
}

fn index_partition(tenant: &TenantId, kind: &StreamKind) -> String {
    format!("{tenant}#index#{kind}")
}

fn encoded_events(item: &Item) -> Result<Vec<String>, StoreError> {
    let unreadable = || StoreError::Unreadable("the stream has no events".to_owned());
    let lines = item.get("ev").and_then(|ev| ev.as_l().ok()).ok_or_else(unreadable)?;
    lines.iter().map(|line| line.as_s().cloned().map_err(|_| unreadable())).collect()
}

/// Reads a stream from its item.
fn read_stream(item: &Item) -> Result<Stream, StoreError> {
    let version =
        read_number(item, "v").ok_or_else(|| StoreError::Unreadable("the stream has no version".to_owned()))?;
    Ok(Stream {
        version: version as u64,
        lines: encoded_events(item)?,
        snapshot: item.get("snap").and_then(|snapshot| snapshot.as_s().ok()).cloned(),
        wake: read_number(item, "wake").map(Timestamp),
        writer_id: read_string(item, "writer")?,
    })
}

fn texts(lines: &[String]) -> AttributeValue {
    AttributeValue::L(lines.iter().map(text).collect())
}

/// An update of one item, as a request of its own or as a part of a transaction.
struct ItemUpdate {
    key: Item,
    expression: String,
    condition: Option<&'static str>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl ItemUpdate {
    /// Appends the events to the stream's item.
    fn append_events(id: &StreamId, append: &AppendRequest) -> ItemUpdate {
        let next = append.expected_version + append.encoded_events.len() as u64;
        let mut values = HashMap::from([
            (":new".to_owned(), texts(&append.encoded_events)),
            (":next".to_owned(), number(next)),
            (":me".to_owned(), text(&append.writer_id)),
        ]);
        let timer = match append.wake {
            Some(wake) => {
                values.insert(":wake".to_owned(), number(wake.0));
                values.insert(":shard".to_owned(), number(id.shard_byte() % TIMER_SHARDS));
                "v = :next, wake = :wake, #shard = :shard REMOVE hints"
            }
            None => "v = :next REMOVE wake, #shard, hints",
        };
        let (expression, condition) = match (append.expected_version, &append.roll_over) {
            (0, _) => {
                values.insert(":lane".to_owned(), text(append.queue.name()));
                (format!("SET ev = :new, writer = :me, lane = :lane, {timer}"), "attribute_not_exists(pk)")
            }
            (expected, None) => {
                values.insert(":expected".to_owned(), number(expected));
                (format!("SET ev = list_append(ev, :new), writer = :me, {timer}"), "v = :expected")
            }
            (expected, Some(roll_over)) => {
                values.insert(":expected".to_owned(), number(expected));
                values.insert(":snap".to_owned(), text(&roll_over.snapshot));
                (format!("SET ev = :new, snap = :snap, writer = :me, {timer}"), "v = :expected")
            }
        };
        let names = HashMap::from([("#shard".to_owned(), "shard".to_owned())]);
        ItemUpdate { key: stream_key(id), expression, condition: Some(condition), names, values }
    }

    /// Stores the events that a roll-over moves out of the stream's item. Returns `None` without a roll-over.
    fn archive_events(id: &StreamId, append: &AppendRequest) -> Option<ItemUpdate> {
        let archived = &append.roll_over.as_ref()?.archived;
        let first = append.expected_version - (archived.len() as u64).min(append.expected_version);
        Some(ItemUpdate {
            key: item_key(id.storage_key(), format!("chunk#{first:010}")),
            expression: "SET ev = :archived".to_owned(),
            condition: None,
            names: HashMap::new(),
            values: HashMap::from([(":archived".to_owned(), texts(archived))]),
        })
    }

    /// Adds the stream to its index or marks it there as removed. Returns `None` if the listing does not change. It is
    /// an update, not a deletion, because no function may delete from this table.
    fn update_index(id: &StreamId, listing: Listing) -> Option<ItemUpdate> {
        let is_removed = match listing {
            Listing::Unchanged => return None,
            Listing::Add => false,
            Listing::Remove => true,
        };
        Some(ItemUpdate {
            key: item_key(index_partition(&id.tenant, &id.kind), format!("id#{}", id.id)),
            expression: "SET removed = :removed".to_owned(),
            condition: None,
            names: HashMap::new(),
            values: HashMap::from([(":removed".to_owned(), AttributeValue::Bool(is_removed))]),
        })
    }

    fn into_transaction_part(self, table: &str) -> Result<TransactWriteItem, AppendError> {
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(self.key))
            .update_expression(self.expression)
            .set_condition_expression(self.condition.map(str::to_owned))
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build();
        let update = update.map_err(|error| AppendError::NotApplied(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

impl DynamoStore {
    async fn update(&self, update: ItemUpdate, writer_id: &str) -> Result<(), AppendError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(update.key))
            .update_expression(update.expression)
            .set_condition_expression(update.condition.map(str::to_owned))
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_own_write(&error, writer_id) => Ok(()),
            Err(error) => Err(classify(error)),
        }
    }

    async fn transact(
        &self,
        updates: Vec<ItemUpdate>,
        unmoved: &[(StreamId, u64)],
        writer_id: &str,
    ) -> Result<(), AppendError> {
        let updates = updates.into_iter().map(|update| update.into_transaction_part(&self.events_table));
        let parts = updates.chain(unmoved.iter().map(|(id, version)| self.version_check(id, *version)));
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(parts.collect::<Result<_, _>>()?))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => classify_transaction(error, writer_id),
        }
    }

    /// A part of a transaction: the stream is at this version.
    fn version_check(&self, id: &StreamId, version: u64) -> Result<TransactWriteItem, AppendError> {
        let check = ConditionCheck::builder().table_name(&self.events_table).set_key(Some(stream_key(id)));
        let check = match version {
            0 => check.condition_expression("attribute_not_exists(pk)"),
            _ => check.condition_expression("v = :v").expression_attribute_values(":v", number(version)),
        };
        let check = check.build().map_err(|error| AppendError::NotApplied(error.to_string()))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Returns the items of a stream's partition that hold events: its chunks, oldest first, then the stream's own
    /// item.
    async fn event_items(&self, id: &StreamId) -> Result<Vec<Item>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.events_table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":pk", text(id.storage_key()))
            .expression_attribute_values(":first", text("chunk#"))
            .expression_attribute_values(":last", text("stream"));
        let mut pages = query.into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(unavailable)?);
        }
        Ok(items)
    }

    /// Returns the ids of a kind's streams in the index, at most [`MAX_LISTED`] of them.
    async fn listed_ids(
        &self,
        tenant: &TenantId,
        kind: &StreamKind,
        listed: Listed,
    ) -> Result<Vec<StreamId>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.events_table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(index_partition(tenant, kind)));
        let query = match listed {
            Listed::Ever => query,
            Listed::Current => query
                .filter_expression("removed = :removed")
                .expression_attribute_values(":removed", AttributeValue::Bool(false)),
        };
        let mut pages = query.into_paginator().items().send();
        let mut ids = Vec::new();
        while ids.len() < MAX_LISTED
            && let Some(item) = pages.next().await
        {
            let sk = read_string(&item.map_err(unavailable)?, "sk")?;
            ids.extend(sk.strip_prefix("id#").map(|id| StreamId::new(tenant, kind.clone(), id)));
        }
        Ok(ids)
    }
}

#[async_trait]
impl EventStore for DynamoStore {
    async fn read(&self, id: &StreamId) -> Result<Stream, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table).set_key(Some(stream_key(id)));
        let response = get
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(unavailable)?;
        response.item.as_ref().map_or(Ok(Stream::default()), read_stream)
    }

    async fn read_history(&self, id: &StreamId) -> Result<Vec<String>, StoreError> {
        for _ in 0..MAX_HISTORY_READS {
            let items = self.event_items(id).await?;
            let mut lines = Vec::new();
            for item in &items {
                lines.extend(encoded_events(item)?);
            }
            let version = items.last().and_then(|item| read_number(item, "v")).unwrap_or(0);
            if version == lines.len() as i64 {
                return Ok(lines);
            }
        }
        Err(StoreError::Unavailable("the stream changed while its history was read".to_owned()))
    }

    async fn append(&self, id: &StreamId, append: AppendRequest) -> Result<(), AppendError> {
        let snapshot = append.roll_over.as_ref().map_or(0, |roll_over| roll_over.snapshot.len());
        let bytes = snapshot + append.encoded_events.iter().map(String::len).sum::<usize>();
        if MAX_STREAM_BYTES < bytes {
            return Err(AppendError::TooLarge);
        }
        let stream = ItemUpdate::append_events(id, &append);
        let others: Vec<ItemUpdate> =
            [ItemUpdate::archive_events(id, &append), ItemUpdate::update_index(id, append.listing)]
                .into_iter()
                .flatten()
                .collect();
        if others.is_empty() && append.unmoved.is_empty() {
            self.update(stream, &append.writer_id).await
        } else {
            let updates = std::iter::once(stream).chain(others).collect();
            self.transact(updates, &append.unmoved, &append.writer_id).await
        }
    }

    async fn list(
        &self,
        tenant: &TenantId,
        kinds: &[StreamKind],
        listed: Listed,
    ) -> Result<Vec<(StreamId, Stream)>, StoreError> {
        let mut ids = Vec::new();
        for kind in kinds {
            ids.extend(self.listed_ids(tenant, kind, listed).await?);
        }
        let keys: Vec<Item> = ids.iter().map(stream_key).collect();
        let items = get_items(&self.client, &self.events_table, &keys).await?;
        let found = ids.into_iter().zip(items).filter_map(|(id, item)| Some((id, item?)));
        found.map(|(id, item)| Ok((id, read_stream(&item)?))).collect()
    }

    async fn due_timers(
        &self,
        shard: u8,
        until: Timestamp,
        after: Option<&TimerCursor>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let start = after.map(|TimerCursor { wake, storage_key }| {
            let mut key = item_key(storage_key.clone(), "stream");
            key.extend([("shard".to_owned(), number(shard)), ("wake".to_owned(), number(wake.0))]);
            key
        });
        let query = self
            .client
            .query()
            .table_name(&self.events_table)
            .index_name("work")
            .key_condition_expression("#shard = :shard AND wake <= :until")
            .expression_attribute_names("#shard", "shard")
            .expression_attribute_values(":shard", number(shard))
            .expression_attribute_values(":until", number(until.0))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let response = query.send().await.map_err(unavailable)?;
        let mut timers = Vec::new();
        for item in response.items() {
            let (stream, queue) = (known_stream(&read_string(item, "pk")?), known_queue(&read_string(item, "lane")?));
            let wake = read_number(item, "wake").map(Timestamp);
            if let (Some(stream), Some(queue), Some(wake)) = (stream, queue, wake) {
                let hints_sent = read_number(item, "hints").unwrap_or(0) as u32;
                timers.push(DueTimer { hint: Hint { queue, stream }, wake, hints_sent });
            }
        }
        let cursor = |key: &Item| {
            let wake = Timestamp(read_number(key, "wake")?);
            Some(TimerCursor { wake, storage_key: read_string(key, "pk").ok()? })
        };
        Ok(DuePage { timers, next: response.last_evaluated_key().and_then(cursor) })
    }

    async fn reschedule_timer(
        &self,
        id: &StreamId,
        from: Timestamp,
        to: Timestamp,
        hints_sent: u32,
    ) -> Result<(), StoreError> {
        let updated = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(stream_key(id)))
            .update_expression("SET wake = :wake, hints = :hints")
            .condition_expression("wake = :seen")
            .expression_attribute_values(":wake", number(to.0))
            .expression_attribute_values(":hints", number(hints_sent))
            .expression_attribute_values(":seen", number(from.0))
            .send()
            .await;
        ignore_failed_condition(updated)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let start = after.and_then(|after| after.split_once(' '));
        let start = start.map(|(sk, pk)| item_key(pk.to_owned(), sk));
        let scan = self.client.scan().table_name(&self.events_table).limit(limit as i32);
        let scan = scan.filter_expression("sk = :stream").expression_attribute_values(":stream", text("stream"));
        let response = scan.consistent_read(true).set_exclusive_start_key(start).send().await.map_err(unavailable)?;
        let mut streams = Vec::new();
        for item in response.items() {
            if let Some(id) = known_stream(&read_string(item, "pk")?) {
                streams.push((id, read_stream(item)?));
            }
        }
        // The last examined item may not be a stream, so the cursor holds both parts of its key.
        let next = response.last_evaluated_key();
        let next =
            next.map(|key| Ok::<_, StoreError>(format!("{} {}", read_string(key, "sk")?, read_string(key, "pk")?)));
        Ok(ScanPage { streams, next: next.transpose()? })
    }

    async fn address(&self, contact: &AddressKey) -> Result<AddressRecord, StoreError> {
        self.read_address(contact).await
    }

    async fn link_person(&self, contact: &AddressKey, person: &str) -> Result<(), StoreError> {
        self.add_person(contact, person).await
    }

    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError> {
        self.set_suppression(contact, reason, at).await
    }

    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError> {
        self.lift_suppression(contact, reason).await
    }
}

/// Whether the condition failed because this append had already been applied.
fn is_own_write(error: &SdkError<UpdateItemError>, writer_id: &str) -> bool {
    let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
        return false;
    };
    failed.item().and_then(|item| item.get("writer")?.as_s().ok()).is_some_and(|writer| writer == writer_id)
}

fn classify(error: SdkError<UpdateItemError>) -> AppendError {
    let code = error.code().unwrap_or("no answer").to_owned();
    let detail = format!("dynamodb: {code}: {}", error.message().unwrap_or(""));
    match &error {
        SdkError::ServiceError(response) => match response.err() {
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

fn classify_transaction(error: SdkError<TransactWriteItemsError>, writer_id: &str) -> Result<(), AppendError> {
    let code = error.code().unwrap_or("no answer").to_owned();
    let detail = format!("dynamodb: {code}: {}", error.message().unwrap_or(""));
    let Some(service_error) = error.as_service_error() else {
        return match &error {
            SdkError::ConstructionFailure(_) => Err(AppendError::NotApplied(detail)),
            SdkError::DispatchFailure(failure) if failure.is_user() => Err(AppendError::NotApplied(detail)),
            _ => Err(AppendError::Unknown(detail)),
        };
    };
    match service_error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => {
            let reasons = cancelled.cancellation_reasons();
            let has = |code: &str| reasons.iter().any(|reason| reason.code() == Some(code));
            let writer = reasons.iter().find_map(|reason| reason.item()?.get("writer")?.as_s().ok());
            if writer.is_some_and(|writer| writer == writer_id) {
                Ok(())
            } else if has("ConditionalCheckFailed") || has("TransactionConflict") {
                Err(AppendError::Conflict)
            } else if has("ItemCollectionSizeLimitExceeded") || has("ValidationError") {
                Err(AppendError::TooLarge)
            } else {
                Err(AppendError::NotApplied(detail))
            }
        }
        TransactWriteItemsError::InternalServerError(_)
        | TransactWriteItemsError::TransactionInProgressException(_) => Err(AppendError::Unknown(detail)),
        _ => Err(AppendError::NotApplied(detail)),
    }
}
