//! The forms in which an event can arrive: CloudEvents 1.0, our short form, and the envelope of EventBridge.

use events::{DataFault, Timestamp};
use serde_json::{Map, Value};

use super::schema::fault;

/// Maximum length of ids, types and sources, in characters.
const MAX_TEXT: usize = 255;
/// The source of events in the short form that name none.
pub const DEFAULT_SOURCE: &str = "api";

/// An event without its form.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The id that the source gave it.
    pub id: String,
    /// The type that the source gave it, without its version.
    pub kind: String,
    /// From the type's end, such as `.v2`, or else 1.
    pub version: u16,
    pub source: String,
    pub time: Option<Timestamp>,
    pub data: Value,
}

/// An event of EventBridge, with what the bus says about it. `account` is set by AWS and cannot be forged.
#[derive(Debug, Clone, PartialEq)]
pub struct BusEnvelope {
    pub envelope: Envelope,
    pub account: String,
}

/// Whether a source is one of ours or of AWS. Nobody else may use its name.
pub fn is_reserved(source: &str) -> bool {
    source == "tidings" || source.starts_with("tidings.") || source.starts_with("aws.")
}

/// Reads a CloudEvent in the structured form, or an event in the short form `{id, type, source, time, data}`.
///
/// # Errors
///
/// Everything that is wrong with its attributes.
pub fn parse(event: Value) -> Result<Envelope, Vec<DataFault>> {
    let Value::Object(mut map) = event else {
        return Err(vec![not_an_object()]);
    };
    let mut attributes = Attributes { faults: Vec::new() };
    let is_cloud_event = map.contains_key("specversion");
    if is_cloud_event && map["specversion"] != "1.0" {
        attributes.faults.push(fault("/specversion", "not_one_of", "must be 1.0."));
    }
    if map.contains_key("data_base64") {
        attributes.faults.push(fault("/data_base64", "not_json", "is not supported. Send the data as JSON in data."));
    }
    let data = map.remove("data");
    if data.is_none() && !map.contains_key("data_base64") {
        attributes.faults.push(fault("/data", "required", "is required."));
    }
    if !is_cloud_event {
        map.entry("source").or_insert_with(|| DEFAULT_SOURCE.into());
        for name in map.keys().filter(|name| !["id", "type", "source", "time"].contains(&name.as_str())) {
            attributes.faults.push(fault(
                format!("/{}", super::schema::escape(name)),
                "unknown_field",
                "is not known.",
            ));
        }
    }
    attributes.finish(&map, data.unwrap_or_default())
}

/// Reads a CloudEvent in the binary form: its attributes are headers, without `ce-`, and its data is the body.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_binary(attributes: Map<String, Value>, data: Value) -> Result<Envelope, Vec<DataFault>> {
    let mut event = attributes;
    event.entry("specversion").or_insert(Value::Null);
    event.insert("data".to_owned(), data);
    parse(Value::Object(event))
}

/// Reads the envelope of EventBridge. Its `detail` can be a CloudEvent. `id_at` is a JSON Pointer to the source's own id
/// in the detail. The bus gives a repeated event a new id, so that is only the last resort.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_bus(mut event: Value, id_at: Option<&str>) -> Result<BusEnvelope, Vec<DataFault>> {
    if !event.is_object() {
        return Err(vec![not_an_object()]);
    }
    let account = event["account"].as_str().unwrap_or_default().to_owned();
    let source = event["source"].as_str().unwrap_or_default().to_owned();
    let mut detail = event["detail"].take();
    if detail.get("specversion").is_some() {
        // The source is the bus's, because the rule and the list of trusted sources speak of it.
        detail["source"] = source.into();
        return Ok(BusEnvelope { envelope: parse(detail)?, account });
    }
    let own_id = id_at.and_then(|at| detail.pointer(at)).or_else(|| detail.get("id")).and_then(id_text);
    let id = own_id.map_or_else(|| event["id"].clone(), Value::String);
    let named =
        [("id", id), ("type", event["detail-type"].take()), ("source", source.into()), ("time", event["time"].take())];
    let map: Map<String, Value> =
        named.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect();
    let attributes = Attributes { faults: Vec::new() };
    Ok(BusEnvelope { envelope: attributes.finish(&map, detail)?, account })
}

fn not_an_object() -> DataFault {
    fault("", "wrong_type", "must be an object.")
}

fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

struct Attributes {
    faults: Vec<DataFault>,
}

impl Attributes {
    fn text(&mut self, map: &Map<String, Value>, name: &str) -> String {
        let pointer = format!("/{name}");
        let problem = match map.get(name) {
            None | Some(Value::Null) => ("required", "is required."),
            Some(Value::String(text)) if text.is_empty() => ("empty", "must not be empty."),
            Some(Value::String(text)) if MAX_TEXT < text.chars().count() => {
                ("too_long", "must be at most 255 characters.")
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                ("control_characters", "must not contain control characters.")
            }
            Some(Value::String(text)) => return text.clone(),
            Some(_) => ("wrong_type", "must be a string."),
        };
        self.faults.push(fault(pointer, problem.0, problem.1));
        String::new()
    }

    fn finish(mut self, map: &Map<String, Value>, data: Value) -> Result<Envelope, Vec<DataFault>> {
        let id = self.text(map, "id");
        let given = self.text(map, "type");
        let source = self.text(map, "source");
        if given.contains(' ') {
            self.faults.push(fault("/type", "spaces", "must not contain spaces."));
        }
        if is_reserved(&source) {
            self.faults.push(fault("/source", "reserved", "is reserved."));
        }
        let time = match map.get("time") {
            None | Some(Value::Null) => None,
            Some(time) => {
                let read = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
                if read.is_none() {
                    let detail = "must be an RFC 3339 time such as 2026-12-01T09:00:00Z.";
                    self.faults.push(fault("/time", "not_a_time", detail));
                }
                read.map(|time| Timestamp(time.as_millisecond()))
            }
        };
        let (kind, version) = split_version(&given);
        if self.faults.is_empty() {
            Ok(Envelope { id, kind: kind.to_owned(), version, source, time, data })
        } else {
            Err(self.faults)
        }
    }
}

/// Splits `sale.created.v2` into the type and its version. Without a version it is 1.
fn split_version(kind: &str) -> (&str, u16) {
    let split = kind.rsplit_once(".v").and_then(|(name, version)| Some((name, version.parse().ok()?)));
    split.filter(|(name, version)| !name.is_empty() && 0 < *version).unwrap_or((kind, 1))
}
