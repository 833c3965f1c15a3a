//! Encodes and decodes events. A stored event is one line of JSON: `{type, version, at, command, actor, …, data}`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CommunicationEvent, Timestamp, upcast};

/// The events of one kind of stream.
pub trait EventFamily: Serialize + DeserializeOwned {
    /// The types that this build knows. All of them are still at version 1.
    const TYPES: &[&str];

    /// The type as stored.
    fn name(&self) -> &'static str;
}

impl EventFamily for CommunicationEvent {
    const TYPES: &[&str] = CommunicationEvent::TYPES;

    fn name(&self) -> &'static str {
        CommunicationEvent::name(self)
    }
}

/// The version that `encode` writes for a type. Returns `None` for a type that this build does not know.
fn newest_version<E: EventFamily>(kind: &str) -> Option<u16> {
    E::TYPES.contains(&kind).then_some(1)
}

/// The circumstances of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// When it was stored, by the server's clock.
    pub at: Timestamp,
    /// The id of the append that wrote it: 16 hexadecimal digits, unique in its stream.
    pub command: String,
    /// The id of the whole exchange. `None` if that is the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The queue message, callback or request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// Who caused it: the actor of an API key, or the function.
    pub actor: String,
    /// The caller's W3C `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// One event as read from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<E = CommunicationEvent> {
    pub version: u16,
    pub meta: EventMetadata,
    pub event: E,
}

/// Why a stored event cannot be read. Deciding on its stream fails, and projections skip it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It was written by a newer version of this software, or is damaged.
    #[error("unknown event {kind} v{version}")]
    Unknown { kind: String, version: u16 },
    #[error("not a stored event")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    version: u16,
    #[serde(flatten)]
    meta: EventMetadata,
    data: Value,
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
    let out = Out { event, version: newest_version::<E>(event.name()).unwrap_or(1), meta };
    serde_json::to_string(&out).expect("events have text keys and no failing values")
}

/// Decodes an event of any version that was ever written.
///
/// # Errors
///
/// [`DecodeError`]: this build does not know the type or version, or the text is damaged.
pub fn decode<E: EventFamily>(line: &str) -> Result<Recorded<E>, DecodeError> {
    let Line { kind, version, meta, data } = serde_json::from_str(line).map_err(DecodeError::Malformed)?;
    match newest_version::<E>(&kind) {
        Some(newest) if (1..=newest).contains(&version) => (),
        _ => return Err(DecodeError::Unknown { kind, version }),
    }
    let data = upcast(&kind, version, data);
    let event = serde_json::from_value(serde_json::json!({ "type": kind, "data": data }));
    Ok(Recorded { version, meta, event: event.map_err(DecodeError::Malformed)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiKeyEvent, InboundMessageEvent, PreferenceEvent, ProviderConfigEvent, TemplateEvent};

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

    fn read_and_write_back<E: EventFamily>() {
        for kind in E::TYPES {
            let newest = newest_version::<E>(kind).expect("a version");
            for version in 1..=newest {
                let path = format!("{FIXTURES}/{kind}.v{version}.json");
                let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path}"));
                let recorded = decode::<E>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!((recorded.event.name(), recorded.version), (*kind, version));
                if version == newest {
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
        read_and_write_back::<InboundMessageEvent>();
        read_and_write_back::<TemplateEvent>();
        read_and_write_back::<PreferenceEvent>();
        read_and_write_back::<ApiKeyEvent>();
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
}
