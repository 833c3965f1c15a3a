//! The types of business events: their schemas and examples.

use std::sync::OnceLock;

use serde_json::Value;

/// One version of a type.
#[derive(Debug, Clone, Copy)]
pub struct EventType {
    pub name: &'static str,
    pub version: u16,
    /// JSON Schema 2020-12 of its data.
    pub schema: &'static str,
    /// Data that is valid.
    pub example: &'static str,
}

macro_rules! types {
    ($($name:literal),* $(,)?) => {
        &[$(EventType {
            name: $name,
            version: 1,
            schema: include_str!(concat!("../../schemas/", $name, ".v1.json")),
            example: include_str!(concat!("../../schemas/", $name, ".v1.example.json")),
        }),*]
    };
}

/// Every type.
pub const EVENT_TYPES: &[EventType] = types![
    "sale.created",
    "ar_invoice.created",
    "ar_invoice.changed",
    "ar_invoice.statement",
    "ar_invoice.voided",
    "ar_invoice.disputed",
    "ar_invoice.written_off",
    "ar_invoice.reinstated",
    "ar_invoice.dispute_resolved",
    "payment.received",
    "payment.refunded",
    "payment.failed",
    "payment_link.requested",
    "user.invited",
    "low_stock.detected",
    "customer.created",
    "customer.changed",
    "customer.erased",
    "user.created",
    "user.changed",
    "user.removed",
];

impl EventType {
    pub fn find(name: &str) -> Option<&'static EventType> {
        EVENT_TYPES.iter().find(|known| known.name == name)
    }

    /// The schema, parsed once.
    pub fn parsed_schema(&self) -> &'static Value {
        static PARSED: OnceLock<Vec<(&'static str, Value)>> = OnceLock::new();
        let parse = |known: &EventType| (known.name, serde_json::from_str(known.schema).expect("schemas are JSON"));
        let all = PARSED.get_or_init(|| EVENT_TYPES.iter().map(parse).collect());
        all.iter().find(|(name, _)| *name == self.name).map_or(&Value::Null, |(_, schema)| schema)
    }
}
