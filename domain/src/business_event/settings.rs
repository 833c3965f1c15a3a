//! The streams of a tenant's mappings and automations. Each change replaces the settings before it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use events::{
    AutomationEvent, AutomationSettings, EventMapping, EventMappingEvent, MessageType, RecordedEvent, StreamKind,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use super::types::EVENT_TYPES;
use crate::aggregate::{Aggregate, Erasure};

/// Maximum number of fields that a mapping has together.
pub const MAX_FIELDS: usize = 500;
/// Maximum number of types that a mapping names.
pub const MAX_TYPES: usize = 100;

/// The state of a mapping's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MappingState {
    /// `None` before it is set.
    pub mapping: Option<EventMapping>,
    /// Counts the changes.
    pub version: u32,
    pub updated_at: Option<Timestamp>,
    pub updated_by: Option<String>,
}

/// Replaces a mapping that is still at the expected version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMapping {
    pub source: String,
    pub expected: Option<u32>,
    pub mapping: EventMapping,
}

/// The settings have another version than the change is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the settings have changed: the newest version is {0}")]
pub struct Changed(pub u32);

impl Aggregate for MappingState {
    const KIND: StreamKind = StreamKind::EVENT_MAPPING;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = EventMappingEvent;
    type Command = SetMapping;
    type Rejection = Changed;

    fn decide(&self, command: SetMapping) -> Result<Vec<EventMappingEvent>, Changed> {
        let SetMapping { source, expected, mapping } = command;
        if expected.is_some_and(|expected| expected != self.version) {
            return Err(Changed(self.version));
        }
        let is_same = self.mapping.as_ref() == Some(&mapping);
        let set = EventMappingEvent::EventMappingSet { source, version: self.version + 1, mapping };
        Ok(if is_same { Vec::new() } else { vec![set] })
    }

    fn evolve(self, record: &RecordedEvent<EventMappingEvent>) -> Self {
        match record.event.clone() {
            EventMappingEvent::EventMappingSet { version, mapping, .. } => MappingState {
                mapping: Some(mapping),
                version,
                updated_at: Some(record.meta.at),
                updated_by: Some(record.meta.actor.clone()),
            },
        }
    }

    fn is_listed(&self) -> bool {
        self.mapping.is_some()
    }
}

/// The state of an automation's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AutomationState {
    pub kind: Option<MessageType>,
    pub settings: AutomationSettings,
    /// Counts the changes.
    pub revision: u32,
    pub updated_at: Option<Timestamp>,
    pub updated_by: Option<String>,
}

/// Replaces the settings of an automation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeAutomation {
    pub kind: MessageType,
    pub settings: AutomationSettings,
}

impl Aggregate for AutomationState {
    const KIND: StreamKind = StreamKind::AUTOMATION;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = AutomationEvent;
    type Command = ChangeAutomation;
    type Rejection = Infallible;

    fn decide(
        &self,
        ChangeAutomation { kind, settings }: ChangeAutomation,
    ) -> Result<Vec<AutomationEvent>, Infallible> {
        let is_same = self.settings == settings;
        let changed = AutomationEvent::AutomationChanged { kind, revision: self.revision + 1, settings };
        Ok(if is_same { Vec::new() } else { vec![changed] })
    }

    fn evolve(self, record: &RecordedEvent<AutomationEvent>) -> Self {
        match record.event.clone() {
            AutomationEvent::AutomationChanged { kind, revision, settings } => AutomationState {
                kind: Some(kind),
                settings,
                revision,
                updated_at: Some(record.meta.at),
                updated_by: Some(record.meta.actor.clone()),
            },
        }
    }

    fn is_listed(&self) -> bool {
        self.revision > 0
    }
}

/// What is wrong with a mapping, by the dotted name or the type. Empty if it can be used.
pub fn mapping_faults(mapping: &EventMapping) -> BTreeMap<String, &'static str> {
    let mut faults = BTreeMap::new();
    let is_pointer = |text: &str| text.starts_with('/') && text.len() <= 255;
    let is_name = |name: &str| {
        let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
        name.len() <= 100 && name.split('.').count() <= 4 && name.split('.').all(is_part)
    };
    for (theirs, mapped) in &mapping.types {
        let at = format!("types.{theirs}");
        if !EVENT_TYPES.iter().any(|known| known.name == mapped.kind) {
            faults.insert(format!("{at}.type"), "must be a type that GET /api/event-types lists");
        }
        for (name, field) in &mapped.fields {
            if !is_name(name) {
                faults.insert(format!("{at}.fields.{name}"), "must be a dotted name such as sale.number");
            }
            if !is_pointer(&field.at) {
                faults.insert(format!("{at}.fields.{name}.at"), "must be a JSON Pointer such as /sale/documentNumber");
            }
        }
    }
    for (name, field) in &mapping.fields {
        if !is_name(name) {
            faults.insert(format!("fields.{name}"), "must be a dotted name such as sale.number");
        }
        if !is_pointer(&field.at) {
            faults.insert(format!("fields.{name}.at"), "must be a JSON Pointer such as /sale/documentNumber");
        }
    }
    if mapping.id_at.as_ref().is_some_and(|at| !is_pointer(at)) {
        faults.insert("idAt".to_owned(), "must be a JSON Pointer such as /event/id");
    }
    if mapping.time_zone.as_ref().is_some_and(|zone| !super::schema::is_zone(zone)) {
        faults.insert("timeZone".to_owned(), "must be an IANA name such as America/Mexico_City");
    }
    let count = mapping.fields.len() + mapping.types.values().map(|mapped| mapped.fields.len()).sum::<usize>();
    if MAX_FIELDS < count {
        faults.insert("fields".to_owned(), "must be at most 500 with those of all types");
    }
    if MAX_TYPES < mapping.types.len() {
        faults.insert("types".to_owned(), "must be at most 100");
    }
    faults
}
