//! Items of addresses, beside the streams. `reason` and `at` exist once an address was suppressed, `lifted` once it no
//! longer is, and `people` holds those whose preferences apply to it.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use domain::ports::{AddressKey, AddressRecord, MAX_PEOPLE, StoreError};
use events::Timestamp;

use super::dynamodb::{DynamoStore, Item, has_failed_condition, number, read_string, text, unavailable};

fn address_key(contact: &AddressKey) -> Item {
    let AddressKey { tenant, channel, contact_hash } = contact;
    let pk = format!("{tenant}#suppressed#{}#{contact_hash}", channel.as_str());
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text("guard"))])
}

/// Treats a failed condition as success, because the change then does not apply.
pub(super) fn ignore_failed_condition<T>(result: Result<T, SdkError<UpdateItemError>>) -> Result<(), StoreError> {
    match result {
        Err(error) if has_failed_condition(&error) => Ok(()),
        other => other.map(|_| ()).map_err(unavailable),
    }
}

impl DynamoStore {
    pub(super) async fn read_address(&self, contact: &AddressKey) -> Result<AddressRecord, StoreError> {
        let get = self.client.get_item().table_name(&self.events_table).set_key(Some(address_key(contact)));
        let get = get.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let Some(item) = get.send().await.map_err(unavailable)?.item else { return Ok(AddressRecord::default()) };
        let is_suppressed = item.contains_key("reason") && !item.contains_key("lifted");
        let suppressed = is_suppressed.then(|| read_string(&item, "reason")).transpose()?;
        let people = item.get("people").and_then(|people| people.as_ss().ok()).cloned().unwrap_or_default();
        Ok(AddressRecord { suppressed, people })
    }

    pub(super) async fn add_person(&self, contact: &AddressKey, person: &str) -> Result<(), StoreError> {
        // These are updates, because no function is permitted to put items into this table.
        let update = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(address_key(contact)))
            .update_expression("ADD people :person")
            .condition_expression("attribute_not_exists(people) OR size(people) < :max")
            .expression_attribute_values(":person", AttributeValue::Ss(vec![person.to_owned()]))
            .expression_attribute_values(":max", number(MAX_PEOPLE as i64));
        ignore_failed_condition(update.send().await)
    }

    pub(super) async fn set_suppression(
        &self,
        contact: &AddressKey,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(address_key(contact)))
            .update_expression("SET reason = :reason, #at = :at REMOVE lifted")
            .condition_expression("attribute_not_exists(reason) OR attribute_exists(lifted)")
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":reason", text(reason))
            .expression_attribute_values(":at", number(at.0));
        ignore_failed_condition(update.send().await)
    }

    pub(super) async fn lift_suppression(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError> {
        // The suppression is marked rather than deleted, because no function may delete from this table.
        let update = self
            .client
            .update_item()
            .table_name(&self.events_table)
            .set_key(Some(address_key(contact)))
            .update_expression("SET lifted = :lifted")
            .condition_expression("reason = :reason")
            .expression_attribute_values(":lifted", AttributeValue::Bool(true))
            .expression_attribute_values(":reason", text(reason));
        ignore_failed_condition(update.send().await)
    }
}
