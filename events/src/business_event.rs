use serde::{Deserialize, Serialize};

use crate::{Channel, Mode, Timestamp, event_family};

crate::values::string_enum!(
    /// How a business event arrived.
    IntakeChannel { Http = "http", Bus = "bus", Dev = "dev" }
);

crate::values::string_enum!(
    /// Why a business event waits for a person.
    ParkReason {
        /// No entry of the deployment's sources has this source and account.
        UnknownSource = "unknown_source",
        /// The event does not name a tenant that its source may speak for.
        TenantUnknown = "tenant_unknown",
        /// Its data does not match the schema of its type.
        Invalid = "invalid",
        /// Its version of the type is newer than the one this software knows.
        UnknownVersion = "unknown_version",
        /// An earlier event of the source has the same id and another body.
        IdReused = "id_reused",
        /// It occurred more than 400 days ago.
        TooOld = "too_old",
        /// It occurred, or speaks of a time, more than a day in the future.
        InFuture = "in_future",
        /// It is about an invoice that did not become known within a day.
        UnknownInvoice = "unknown_invoice",
        /// Handling it failed repeatedly.
        HandlerFailed = "handler_failed",
        /// Its data was erased before it was handled.
        Erased = "erased",
    }
);

/// How a business event was understood: its type, and the references in it. Its data is in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventClassification {
    /// Such as `sale.created`. A type that no mapping knows is the one that the source gave.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the type's schema.
    pub version: u16,
    /// The version of the mapping by which it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<u32>,
    /// The data subject that it is about, such as `customer:7`. Absent if it names none, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// References to invoices, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// Names the data in the vault.
    pub content: String,
}

/// One thing that is wrong with the data of an event. It quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFault {
    /// JSON Pointer into the event.
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

/// What became of one act that an event asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActOutcome {
    /// Such as `invitation` or `low_stock_alert`.
    pub act: String,
    /// Whom it concerns, such as `user:9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The id of what it created, such as a communication.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it was not carried out. Absent if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Why it was carried out without the document that was wanted, such as `no_glyph`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What happened to one event of another business system. Each event has its own stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum BusinessEventEvent {
    /// v1. The event arrived, and will be handled.
    BusinessEventReceived {
        source: String,
        /// The id that the source gave it.
        event_id: String,
        occurred_at: Timestamp,
        /// A hash of its type, time and data. The same id with another hash is another event.
        body_hash: String,
        via: IntakeChannel,
        mode: Mode,
        classification: EventClassification,
    },
    /// v1. It was handled: each act was carried out or skipped.
    BusinessEventHandled { acts: Vec<ActOutcome> },
    /// v1. It could not be handled completely, and will be tried again.
    BusinessEventDeferred { acts: Vec<ActOutcome>, until: Timestamp, reason: String },
    /// v1. Nothing handles events of its type.
    BusinessEventUnhandled {},
    /// v1. It is not handled until a person replays or discards it.
    BusinessEventParked {
        reason: ParkReason,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        faults: Vec<DataFault>,
        /// A sentence for people. It quotes no value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// v1. It will be handled again, as it is understood now.
    BusinessEventReplayed { by: String, classification: EventClassification },
    /// v1. A person decided that it will not be handled.
    BusinessEventDiscarded {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// v1. Its data was deleted from the vault.
    BusinessEventErased { by: String },
}

event_family!(BusinessEventEvent {
    BusinessEventReceived: 1,
    BusinessEventHandled: 1,
    BusinessEventDeferred: 1,
    BusinessEventUnhandled: 1,
    BusinessEventParked: 1,
    BusinessEventReplayed: 1,
    BusinessEventDiscarded: 1,
    BusinessEventErased: 1,
});
