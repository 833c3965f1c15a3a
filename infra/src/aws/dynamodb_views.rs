//! The read models in DynamoDB. Rows have `pk` = tenant#mode#view, `sk` = created#id and `row` = JSON. The index by due
//! day is ordered by `due` = day#created#id, the others by `sk`. Counters have the partitions tenant#mode#view#day and tenant#mode#view#total. Each counter is spread over four items, so that the shards of the
//! table stream rarely write the same item.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use domain::ports::{ProjectedRow, RowIndex, RowRange, StoreError, StoredRow, ViewScope, ViewStore};
use domain::stats::{Counters, add_counters, utc_day};
use events::Timestamp;

use super::dynamodb::{Item, get_items, number, read_number, read_string, text, unavailable};

/// The number of items that one counter is spread over.
const COUNTER_SHARDS: u8 = 4;
/// How often a transaction is built and tried when others change the same items.
const MAX_TRANSACTION_TRIES: usize = 5;

/// The read models, all in one table.
#[derive(Clone)]
pub struct DynamoViewStore {
    pub client: Client,
    pub table: String,
}

fn partition(scope: &ViewScope, part: &str) -> String {
    format!("{}#{part}", scope.path())
}

fn row_key(scope: &ViewScope, key_of_row: &str) -> Item {
    key(scope.path(), key_of_row.to_owned())
}

/// The name of an index, and the attributes that are its partition key and its sort key.
fn index_names(index: RowIndex) -> (&'static str, &'static str, &'static str) {
    match index {
        RowIndex::Recipient => ("by_recipient", "rpk", "sk"),
        RowIndex::Entity => ("by_entity", "epk", "sk"),
        RowIndex::DeadLetters => ("dead_letters", "dpk", "sk"),
        RowIndex::ProviderMessage => ("by_provider_message", "mpk", "sk"),
        RowIndex::Due => ("by_due", "upk", "due"),
    }
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// The counter item of a row. The rows of one view spread over all of them.
fn counter_shard(row: &ProjectedRow) -> u8 {
    row.key.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % COUNTER_SHARDS
}

impl DynamoViewStore {
    /// The writes that store the rows and add the differences to the counters. Rows that are not newer than the stored
    /// ones are skipped.
    async fn transaction(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<Vec<TransactWriteItem>, StoreError> {
        let keys: Vec<Item> = rows.iter().map(|row| row_key(&row.scope, &row.key)).collect();
        let stored = get_items(&self.client, &self.table, &keys).await?;
        let mut items = Vec::new();
        let mut changes: BTreeMap<String, Counters> = BTreeMap::new();
        for ((row, stored), key) in rows.iter().zip(stored).zip(keys) {
            let body = stored.as_ref().map(|item| read_string(item, "row")).transpose()?;
            let Some(change) = row.counter_change(body.as_deref())? else { continue };
            add_counters(changes.entry(utc_day(row.created_at)).or_default(), &change);
            items.push(self.put(row, stored.as_ref(), key)?);
        }
        let Some(first) = rows.first().filter(|_| !items.is_empty()) else { return Ok(items) };
        let shard = counter_shard(first);
        let mut total = Counters::new();
        for (day, change) in &changes {
            add_counters(&mut total, change);
            let key = key(partition(&first.scope, "day"), format!("{day}#{shard}"));
            items.extend(self.add(key, change, None)?);
        }
        let total_key = key(partition(&first.scope, "total"), shard.to_string());
        items.extend(self.add(total_key, &total, Some(now))?);
        Ok(items)
    }

    fn put(&self, row: &ProjectedRow, stored: Option<&Item>, mut item: Item) -> Result<TransactWriteItem, StoreError> {
        item.insert("row".to_owned(), text(&row.body));
        item.insert("position".to_owned(), number(row.position));
        for (index, value) in &row.indexes {
            item.insert(index_names(*index).1.to_owned(), text(partition(&row.scope, value)));
        }
        item.extend(row.due_key.iter().map(|due_key| ("due".to_owned(), text(due_key))));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match stored.and_then(|item| item.get("position")) {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(old) => put
                .condition_expression("#position = :old")
                .expression_attribute_names("#position", "position")
                .expression_attribute_values(":old", old.clone()),
        };
        let put = put.build().map_err(|e| StoreError::Unreadable(e.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn add(
        &self,
        key: Item,
        change: &Counters,
        at: Option<Timestamp>,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        if change.is_empty() && at.is_none() {
            return Ok(None);
        }
        let mut update = Update::builder().table_name(&self.table).set_key(Some(key));
        let mut adds = Vec::new();
        for (index, (name, amount)) in change.iter().enumerate() {
            adds.push(format!("#{index} :{index}"));
            update = update
                .expression_attribute_names(format!("#{index}"), name)
                .expression_attribute_values(format!(":{index}"), number(amount));
        }
        let mut expression = String::new();
        if let Some(at) = at {
            expression.push_str("SET #at = :at ");
            update = update.expression_attribute_names("#at", "as_of").expression_attribute_values(":at", number(at.0));
        }
        if !adds.is_empty() {
            expression.push_str(&format!("ADD {}", adds.join(", ")));
        }
        let update = update.update_expression(expression).build();
        let update = update.map_err(|e| StoreError::Unreadable(e.to_string()))?;
        Ok(Some(TransactWriteItem::builder().update(update).build()))
    }

    async fn counters(&self, pk: String, from: &str, to: &str) -> Result<Vec<Item>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(pk))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to));
        let mut pages = query.into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(unavailable)?);
        }
        Ok(items)
    }
}

fn add_item_counters(item: &Item, sum: &mut Counters) {
    for (name, value) in item {
        let amount = value.as_n().ok().filter(|_| name != "as_of").and_then(|n| n.parse::<i64>().ok());
        *sum.entry(name.clone()).or_insert(0) += amount.unwrap_or(0);
    }
    sum.retain(|_, amount| *amount != 0);
}

#[async_trait]
impl ViewStore for DynamoViewStore {
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError> {
        let mut last = StoreError::Unavailable("dynamodb: too many concurrent changes of the views".to_owned());
        for attempt in 0..MAX_TRANSACTION_TRIES {
            let items = self.transaction(rows, now).await?;
            if items.is_empty() {
                return Ok(());
            }
            let write = self.client.transact_write_items().set_transact_items(Some(items));
            match write.return_consumed_capacity(ReturnConsumedCapacity::Indexes).send().await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let is_conflict = error
                        .as_service_error()
                        .is_some_and(TransactWriteItemsError::is_transaction_canceled_exception);
                    last = unavailable(error);
                    if !is_conflict {
                        return Err(last);
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10 << attempt)).await;
                }
            }
        }
        Err(last)
    }

    async fn list(&self, scope: &ViewScope, range: &RowRange, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        let RowRange { index, from, before } = range;
        if before <= from {
            return Ok(Vec::new());
        }
        let (index, name, order, pk) = match index {
            Some((index, value)) => {
                let (index, name, order) = index_names(*index);
                (Some(index), name, order, partition(scope, value))
            }
            None => (None, "pk", "sk", scope.path()),
        };
        let (mut rows, mut start) = (Vec::new(), None);
        loop {
            // BETWEEN includes its ends, so one more row is read.
            let response = self
                .client
                .query()
                .table_name(&self.table)
                .set_index_name(index.map(str::to_owned))
                .key_condition_expression(format!("{name} = :pk AND {order} BETWEEN :from AND :before"))
                .expression_attribute_values(":pk", text(&pk))
                .expression_attribute_values(":from", text(from))
                .expression_attribute_values(":before", text(before))
                .scan_index_forward(false)
                .limit((limit - rows.len()) as i32 + 1)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(unavailable)?;
            let items: Vec<Item> = response.items.unwrap_or_default();
            // The index may be behind the table, so the place in the list is the one in the index.
            let sort_keys = items.iter().map(|item| read_string(item, order)).collect::<Result<Vec<_>, _>>()?;
            let items = match index {
                None => items.into_iter().map(Some).collect(),
                Some(_) => {
                    let keys: Result<Vec<Item>, StoreError> =
                        items.iter().map(|i| Ok(key(read_string(i, "pk")?, read_string(i, "sk")?))).collect();
                    get_items(&self.client, &self.table, &keys?).await?
                }
            };
            for (sort_key, item) in sort_keys.into_iter().zip(&items) {
                if let Some(item) = item.as_ref().filter(|_| sort_key != *before) {
                    rows.push((sort_key, read_string(item, "row")?));
                }
                if rows.len() == limit {
                    return Ok(rows);
                }
            }
            start = response.last_evaluated_key;
            if start.is_none() {
                return Ok(rows);
            }
        }
    }

    async fn get_rows(&self, scope: &ViewScope, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(|key| row_key(scope, key)).collect();
        let items = get_items(&self.client, &self.table, &keys).await?;
        items.iter().map(|item| item.as_ref().map(|item| read_string(item, "row")).transpose()).collect()
    }

    async fn daily_counters(
        &self,
        scope: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        let items = self.counters(partition(scope, "day"), from, &format!("{to}~")).await?;
        let mut days: BTreeMap<String, Counters> = BTreeMap::new();
        for item in &items {
            let sk = read_string(item, "sk")?;
            let day = sk.split('#').next().unwrap_or(&sk).to_owned();
            add_item_counters(item, days.entry(day).or_default());
        }
        Ok(days)
    }

    async fn total_counters(&self, scope: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let items = self.counters(partition(scope, "total"), "0", "9").await?;
        let mut totals = Counters::new();
        items.iter().for_each(|item| add_item_counters(item, &mut totals));
        Ok((totals, items.iter().filter_map(|item| read_number(item, "as_of")).max().map(Timestamp)))
    }
}
