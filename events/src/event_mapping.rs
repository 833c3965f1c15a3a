use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event_family;

crate::values::string_enum!(
    /// How the value of a field is read.
    FieldReader {
        /// A decimal number in a text or a number.
        Decimal = "decimal",
        /// An amount in minor units, such as cents.
        Minor = "minor",
        /// A day, or the day of an instant.
        Date = "date",
        /// Milliseconds since 1970.
        Milliseconds = "ms",
        /// Seconds since 1970.
        Seconds = "s",
    }
);

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMapping {
    /// JSON Pointer into the source's data. A text on its way that holds JSON is read.
    pub at: String,
    /// Absent means that the value is taken as it is.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub reader: Option<FieldReader>,
}

/// The type that a type of the source becomes, and fields that only this type has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedType {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldMapping>,
}

/// How the events of one source become events of our types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EventMapping {
    /// The beginning of the source's types, which `types` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_prefix: Option<String>,
    pub types: BTreeMap<String, MappedType>,
    /// Fields of every type, by dotted names such as `sale.number`. Without any, the data is taken as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldMapping>,
    /// JSON Pointer to the source's id of the event, for events from the bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_at: Option<String>,
    /// The system whose ids of invoices these are. Absent means the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// IANA name. A day that is given as an instant is a day of this zone. Absent means UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// A tenant's decisions about the events of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum EventMappingEvent {
    /// v1. From now on events of the source are read by this mapping.
    EventMappingSet { source: String, version: u32, mapping: EventMapping },
}

event_family!(EventMappingEvent { EventMappingSet: 1 });
