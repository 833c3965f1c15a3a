//! The read models in DynamoDB. Rows have `pk` = tenant#mode#com, `sk` = created#id and `row` = JSON. Counters have the
//! partitions tenant#mode#day and tenant#mode#total. Each counter is spread over four items, so that the shards of the
//! table stream rarely write the same item.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, ReturnConsumedCapacity, TransactWriteItem, Update};
use domain::communication_view::{CommunicationRow, utc_day};
use domain::ports::{ListFilter, ProjectedRow, RowKey, RowPage, StoreError, ViewScope, ViewStore, entity_index_key};
use domain::stats::{Counters, add_counters, contribution, counter_delta};
use events::Timestamp;

use super::dynamodb::{Item, get_items, number, parse, read_number, read_string, text, unavailable};

/// Maximum number of rows that are examined for one page.
const MAX_EXAMINED: usize = 500;
/// The number of items that one counter is spread over.
const COUNTER_SHARDS: u8 = 4;
/// How often a transaction is built and tried if others change the same items at the same time.
const MAX_TRANSACTION_TRIES: usize = 5;

/// The read models, all in one table.
#[derive(Clone)]
pub struct DynamoViewStore {
    pub client: Client,
    pub table: String,
}

fn partition(view: &ViewScope, name: &str) -> String {
    format!("{}#{}#{name}", view.tenant, view.mode.as_str())
}

fn row_key(view: &ViewScope, row: &RowKey) -> Item {
    key(partition(view, "com"), row.path())
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn parse_row(item: &Item) -> Result<CommunicationRow, StoreError> {
    parse(&read_string(item, "row")?)
}

impl DynamoViewStore {
    /// Builds the writes that store the rows and add the differences to the counters. Rows that are not newer than the
    /// stored ones are skipped.
    async fn transaction(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<Vec<TransactWriteItem>, StoreError> {
        let keys: Vec<Item> = rows.iter().map(|p| row_key(&p.view, &RowKey::of(&p.row))).collect();
        let old = get_items(&self.client, &self.table, &keys).await?;
        let mut items = Vec::new();
        let mut changes: BTreeMap<String, Counters> = BTreeMap::new();
        for ((projected, old), key) in rows.iter().zip(old).zip(keys) {
            let row = &projected.row;
            let old = old.as_ref().map(parse_row).transpose()?;
            if old.as_ref().is_some_and(|old| row.position <= old.position) {
                continue;
            }
            let change = counter_delta(&contribution(row), old.as_ref().map(contribution).as_ref());
            add_counters(changes.entry(utc_day(row.created_at)).or_default(), &change);
            items.push(self.put(&projected.view, row, old.as_ref(), key)?);
        }
        let Some(first) = rows.first().filter(|_| !items.is_empty()) else { return Ok(items) };
        let shard = first.row.id.shard_byte() % COUNTER_SHARDS;
        let mut total = Counters::new();
        for (day, change) in &changes {
            add_counters(&mut total, change);
            let key = key(partition(&first.view, "day"), format!("{day}#{shard}"));
            items.extend(self.add(key, change, None)?);
        }
        let total_key = key(partition(&first.view, "total"), shard.to_string());
        items.extend(self.add(total_key, &total, Some(now))?);
        Ok(items)
    }

    fn put(
        &self,
        view: &ViewScope,
        row: &CommunicationRow,
        old: Option<&CommunicationRow>,
        mut item: Item,
    ) -> Result<TransactWriteItem, StoreError> {
        let body = serde_json::to_string(row).map_err(|e| StoreError::Unreadable(e.to_string()))?;
        item.insert("row".to_owned(), text(body));
        item.insert("position".to_owned(), number(row.position));
        if let Some(recipient) = &row.recipient_id {
            item.insert("rpk".to_owned(), text(partition(view, recipient)));
        }
        if let Some(entity) = entity_index_key(&row.entity_type, &row.entity_id) {
            item.insert("epk".to_owned(), text(partition(view, &entity)));
        }
        if row.dead_letter_outcome.is_some() {
            item.insert("dpk".to_owned(), text(partition(view, "dead")));
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match old {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(old) => put
                .condition_expression("#position = :old")
                .expression_attribute_names("#position", "position")
                .expression_attribute_values(":old", number(old.position)),
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

    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError> {
        let (index, name, pk) = match (&filter.recipient_id, entity_index_key(&filter.entity_type, &filter.entity_id)) {
            _ if filter.dead_letters_only => (Some("dead_letters"), "dpk", partition(view, "dead")),
            (Some(recipient), _) => (Some("by_recipient"), "rpk", partition(view, recipient)),
            (None, Some(entity)) => (Some("by_entity"), "epk", partition(view, &entity)),
            (None, None) => (None, "pk", partition(view, "com")),
        };
        let bound = filter.to.map(|to| format!("{:013}", to.0));
        // Keys consist of digits, `#`, lower-case letters and `_`, so `~` sorts after all of them. BETWEEN includes its
        // ends.
        let upper = bound.as_deref().unwrap_or("~");
        let upper = after.map_or(upper, |after| after.min(upper));
        let lower = filter.from.map_or("0".to_owned(), |from| format!("{:013}", from.0));
        if upper < lower.as_str() {
            return Ok(RowPage::default());
        }
        let (mut page, mut examined, mut start) = (RowPage::default(), 0, None);
        loop {
            let response = self
                .client
                .query()
                .table_name(&self.table)
                .set_index_name(index.map(str::to_owned))
                .key_condition_expression(format!("{name} = :pk AND sk BETWEEN :lower AND :upper"))
                .expression_attribute_values(":pk", text(&pk))
                .expression_attribute_values(":lower", text(&lower))
                .expression_attribute_values(":upper", text(upper))
                .scan_index_forward(false)
                .limit(size as i32 + 1)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(unavailable)?;
            let mut items: Vec<Item> = response.items.unwrap_or_default();
            if index.is_some() {
                let keys: Result<Vec<Item>, StoreError> =
                    items.iter().map(|i| Ok(key(read_string(i, "pk")?, read_string(i, "sk")?))).collect();
                items = get_items(&self.client, &self.table, &keys?).await?.into_iter().flatten().collect();
            }
            for item in &items {
                let sk = read_string(item, "sk")?;
                if after == Some(sk.as_str()) {
                    continue;
                }
                examined += 1;
                let row = parse_row(item)?;
                if filter.matches(&row) {
                    page.rows.push(row);
                }
                if page.rows.len() == size || MAX_EXAMINED <= examined {
                    page.next = Some(sk);
                    return Ok(page);
                }
            }
            start = response.last_evaluated_key;
            if start.is_none() {
                return Ok(page);
            }
        }
    }

    async fn get_rows(&self, view: &ViewScope, keys: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(|row| row_key(view, row)).collect();
        let items = get_items(&self.client, &self.table, &keys).await?;
        items.iter().map(|item| item.as_ref().map(parse_row).transpose()).collect()
    }

    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        let items = self.counters(partition(view, "day"), from, &format!("{to}~")).await?;
        let mut days: BTreeMap<String, Counters> = BTreeMap::new();
        for item in &items {
            let sk = read_string(item, "sk")?;
            let day = sk.split('#').next().unwrap_or(&sk).to_owned();
            add_item_counters(item, days.entry(day).or_default());
        }
        Ok(days)
    }

    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        let items = self.counters(partition(view, "total"), "0", "9").await?;
        let mut totals = Counters::new();
        items.iter().for_each(|item| add_item_counters(item, &mut totals));
        Ok((totals, items.iter().filter_map(|item| read_number(item, "as_of")).max().map(Timestamp)))
    }
}
