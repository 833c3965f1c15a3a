//! Encodes and decodes events. A stored event is one line of JSON: `{type, version, at, command, actor, …, data}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CommunicationEvent, EventFamily, Timestamp};

/// The circumstances of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The time of storing, by the server's clock.
    pub at: Timestamp,
    /// The id of the append that wrote it: 16 hexadecimal digits, unique in its stream.
    pub command: String,
    /// The caller's id of the whole exchange. `None` means that the stream is the exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The queue message, callback or request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// The caller's actor id, or the function that caused the event.
    pub actor: String,
    /// The caller's W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// One event as read from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent<E = CommunicationEvent> {
    pub version: u16,
    pub meta: EventMetadata,
    pub event: E,
}

/// Why a stored event cannot be read. Decisions on its stream fail, and projections skip the stream.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type or version is unknown, because a newer version of this software wrote the event.
    #[error("unknown event {kind} v{version}")]
    Unknown { kind: String, version: u16 },
    #[error("not a stored event")]
    Malformed(#[source] serde_json::Error),
}

/// A stored line without its data, which is read in a second pass when its type is known. Nothing is kept in between.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    version: u16,
    at: Timestamp,
    command: String,
    correlation: Option<String>,
    causation: Option<String>,
    actor: String,
    traceparent: Option<String>,
}

/// Encodes an event in the newest version of its type.
pub fn encode<E: EventFamily>(event: &E, meta: &EventMetadata) -> String {
    #[derive(Serialize)]
    struct Out<'a, E> {
        #[serde(flatten)]
        event: &'a E,
        version: u16,
        #[serde(flatten)]
        meta: &'a EventMetadata,
    }
    let out = Out { event, version: E::version_of(event.name()).unwrap_or(1), meta };
    serde_json::to_string(&out).expect("events have text keys and no failing values")
}

/// Decodes an event of any version that was ever written.
///
/// # Errors
///
/// [`DecodeError`] if this build does not know the type or version, or the text is damaged.
pub fn decode<E: EventFamily>(line: &str) -> Result<RecordedEvent<E>, DecodeError> {
    let header: Header = serde_json::from_str(line).map_err(DecodeError::Malformed)?;
    let Header { kind, version, at, command, correlation, causation, actor, traceparent } = header;
    let event = match E::version_of(&kind) {
        Some(newest) if newest == version => serde_json::from_str(line),
        Some(newest) if (1..newest).contains(&version) => upcast::<E>(&kind, version, line),
        _ => return Err(DecodeError::Unknown { kind, version }),
    };
    let meta = EventMetadata { at, command, correlation, causation, actor, traceparent };
    Ok(RecordedEvent { version, meta, event: event.map_err(DecodeError::Malformed)? })
}

fn upcast<E: EventFamily>(kind: &str, version: u16, line: &str) -> serde_json::Result<E> {
    #[derive(Deserialize)]
    struct Line {
        data: Value,
    }
    let Line { data } = serde_json::from_str(line)?;
    serde_json::from_value(serde_json::json!({ "type": kind, "data": E::upcast(kind, version, data) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ApiKeyEvent, AutomationEvent, BackfillEvent, BusinessEventEvent, CollectionsEvent, DebtorEvent,
        EventMappingEvent, InboundMessageEvent, InvoiceEvent, NoticeEvent, PaymentLinkEvent, PreferenceEvent,
        ProviderConfigEvent, RoutingEvent, ScheduleEvent, TemplateEvent, TenantLimitsEvent, event_family,
    };

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

    fn read_and_write_back<E: EventFamily>() {
        for (kind, newest) in E::TYPES {
            for version in 1..=*newest {
                let path = format!("{FIXTURES}/{kind}.v{version}.json");
                let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path}"));
                let recorded = decode::<E>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!((recorded.event.name(), recorded.version), (*kind, version));
                if version == *newest {
                    let fixture: Value = serde_json::from_str(&text).expect("JSON");
                    let encoded = encode(&recorded.event, &recorded.meta);
                    assert_eq!(serde_json::from_str::<Value>(&encoded).expect("JSON"), fixture);
                }
            }
        }
    }

    #[test]
    fn every_type_and_version_has_a_fixture_that_survives_a_round_trip() {
        read_and_write_back::<CommunicationEvent>();
        read_and_write_back::<ProviderConfigEvent>();
        read_and_write_back::<RoutingEvent>();
        read_and_write_back::<InboundMessageEvent>();
        read_and_write_back::<TemplateEvent>();
        read_and_write_back::<PreferenceEvent>();
        read_and_write_back::<ApiKeyEvent>();
        read_and_write_back::<ScheduleEvent>();
        read_and_write_back::<TenantLimitsEvent>();
        read_and_write_back::<BusinessEventEvent>();
        read_and_write_back::<InvoiceEvent>();
        read_and_write_back::<CollectionsEvent>();
        read_and_write_back::<BackfillEvent>();
        read_and_write_back::<DebtorEvent>();
        read_and_write_back::<NoticeEvent>();
        read_and_write_back::<PaymentLinkEvent>();
        read_and_write_back::<EventMappingEvent>();
        read_and_write_back::<AutomationEvent>();
    }

    #[test]
    fn every_fixture_has_a_type() {
        for entry in std::fs::read_dir(FIXTURES).expect("fixtures") {
            let name = entry.expect("entry").file_name().into_string().expect("text");
            let kind = name.split('.').next().expect("a type").to_owned();
            assert!(crate::all_event_types().any(|known| known == kind), "{name}");
        }
    }

    #[test]
    fn events_of_a_newer_version_are_errors() {
        let newer = r#"{"type":"CommunicationErased","version":9,"at":1,"command":"c","actor":"a","data":{"by":"x"}}"#;
        assert!(matches!(decode::<CommunicationEvent>(newer), Err(DecodeError::Unknown { version: 9, .. })));
        let other = newer.replace("CommunicationErased", "MoonLanded");
        assert!(matches!(decode::<CommunicationEvent>(&other), Err(DecodeError::Unknown { .. })));
        assert!(matches!(decode::<CommunicationEvent>("{"), Err(DecodeError::Malformed(_))));
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Moon {
        /// v2. v1 had no `crew`, and is read with a crew of 1.
        MoonLanded { crew: u8 },
    }
    event_family!(Moon { MoonLanded: 2 }, add_crew);

    fn add_crew(name: &str, version: u16, mut data: Value) -> Value {
        if name == "MoonLanded" && version < 2 {
            data["crew"] = 1.into();
        }
        data
    }

    #[test]
    fn old_versions_are_upcast_to_the_newest() {
        let old = r#"{"type":"MoonLanded","version":1,"at":1,"command":"c","actor":"a","data":{}}"#;
        let read = decode::<Moon>(old).expect("an old version");
        assert_eq!((read.version, &read.event), (1, &Moon::MoonLanded { crew: 1 }));
        assert!(encode(&read.event, &read.meta).contains("\"version\":2"));
    }
}
