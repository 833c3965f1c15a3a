//! Mappings: how the events of one source become events of our types. They have pointers and readers, and no
//! expressions.

use std::collections::BTreeMap;

use events::{DataFault, EventMapping, FieldMapping, FieldReader, MappedType};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::data::EventData;
use super::read::read;
use super::schema::fault;
use super::types::EventType;
use crate::amount;

/// How an event is understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Interpretation {
    Known(Box<EventData>),
    /// No type has this name, so nothing handles it.
    Unknown,
    /// The version of the type is newer than ours.
    NewerVersion,
    Invalid(Vec<DataFault>),
}

/// An event's type, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpreted {
    pub kind: String,
    pub meaning: Interpretation,
    /// The data as the mapping made it.
    pub mapped: Value,
}

/// Interprets an event by the mapping of its source, if there is one. A type that the mapping does not name is taken as
/// it is.
pub fn interpret(
    mapping: Option<&EventMapping>,
    (kind, version): (&str, u16),
    data: &Value,
    zone: &TimeZone,
) -> Interpreted {
    let named = mapping.and_then(|mapping| mapped_type(mapping, kind).map(|mapped| (mapping, mapped)));
    let (kind, mapped, targets) = match named {
        None => (kind.to_owned(), data.clone(), BTreeMap::new()),
        Some((mapping, MappedType { kind, fields })) if fields.is_empty() && mapping.fields.is_empty() => {
            (kind.clone(), data.clone(), BTreeMap::new())
        }
        Some((mapping, MappedType { kind, fields })) => {
            let mut all = mapping.fields.clone();
            all.extend(fields.clone());
            let (mapped, faults) = apply(&all, data, zone);
            if !faults.is_empty() {
                return Interpreted { kind: kind.clone(), meaning: Interpretation::Invalid(faults), mapped };
            }
            (kind.clone(), mapped, all)
        }
    };
    let meaning = match EventType::find(&kind) {
        None => Interpretation::Unknown,
        Some(known) if known.version < version => Interpretation::NewerVersion,
        Some(known) => match read(known, &mapped, zone) {
            Ok(data) => Interpretation::Known(Box::new(data)),
            Err(faults) => {
                Interpretation::Invalid(faults.into_iter().map(|fault| at_source(fault, &targets)).collect())
            }
        },
    };
    Interpreted { kind, meaning, mapped }
}

fn mapped_type<'a>(mapping: &'a EventMapping, kind: &str) -> Option<&'a MappedType> {
    let short = mapping.type_prefix.as_deref().and_then(|prefix| kind.strip_prefix(prefix));
    mapping.types.get(kind).or_else(|| mapping.types.get(short?))
}

/// Moves a fault from the field of our type to where its value comes from.
fn at_source(found: DataFault, targets: &BTreeMap<String, FieldMapping>) -> DataFault {
    let field = found.pointer.strip_prefix("/data/").unwrap_or_default().replace('/', ".");
    match targets.get(&field) {
        Some(source) => fault(format!("/data{}", source.at), &found.code, format!("{field} {}", found.detail)),
        None => found,
    }
}

/// Builds the data of our type. A value that is not there leaves its field out.
fn apply(fields: &BTreeMap<String, FieldMapping>, data: &Value, zone: &TimeZone) -> (Value, Vec<DataFault>) {
    let (mut mapped, mut faults) = (Value::Object(Map::new()), Vec::new());
    // Minor units need the currency, so they are read last.
    let is_minor = |field: &&(&String, &FieldMapping)| field.1.reader == Some(FieldReader::Minor);
    let (last, first): (Vec<_>, Vec<_>) = fields.iter().partition(|field| is_minor(&field));
    for (target, field) in first.into_iter().chain(last) {
        let Some(value) = find(data, &field.at).filter(|value| !value.is_null()) else { continue };
        let currency = currency_beside(&mapped, target);
        match convert(&value, field.reader, currency.as_deref(), zone) {
            Ok(value) => insert(&mut mapped, target, value),
            Err((code, detail)) => {
                faults.push(fault(format!("/data{}", field.at), code, format!("{target} {detail}")));
            }
        }
    }
    (mapped, faults)
}

/// The value at a JSON Pointer. A text on the way that holds JSON is read.
fn find(data: &Value, pointer: &str) -> Option<Value> {
    let mut value = data.clone();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Value::String(text) = &value {
            value = serde_json::from_str(text).ok()?;
        }
        value = match &mut value {
            Value::Object(map) => map.remove(&part)?,
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?)?.take(),
            _ => return None,
        };
    }
    Some(value)
}

fn currency_beside(mapped: &Value, target: &str) -> Option<String> {
    let parent = target.rsplit_once('.').map_or(String::new(), |(parent, _)| format!("/{}", parent.replace('.', "/")));
    Some(mapped.pointer(&format!("{parent}/currency"))?.as_str()?.to_owned())
}

type Unreadable = (&'static str, &'static str);

fn convert(
    value: &Value,
    reader: Option<FieldReader>,
    currency: Option<&str>,
    zone: &TimeZone,
) -> Result<Value, Unreadable> {
    let Some(reader) = reader else { return Ok(value.clone()) };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(("not_a_value", "must be a string or a number here.")),
    };
    let instant = |ms: Option<i64>| {
        let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.ok_or(("not_a_time", "must be a time here."))
    };
    Ok(match reader {
        FieldReader::Decimal => text.into(),
        FieldReader::Minor => {
            let minor: i64 = text.parse().map_err(|_| ("not_an_amount", "must be a whole number here."))?;
            let currency = currency.ok_or(("required", "needs a currency beside it."))?;
            if minor < 0 {
                return Err(("negative", "must not be negative."));
            }
            amount::show(minor, currency).into()
        }
        FieldReader::Date => {
            let day = text.get(..10).filter(|day| super::schema::is_date(day)).map(str::to_owned);
            let of_instant = text.parse::<jiff::Timestamp>().map(|time| time.to_zoned(zone.clone()).date().to_string());
            of_instant.ok().or(day).ok_or(("not_a_date", "must be a date here."))?.into()
        }
        FieldReader::Milliseconds => instant(text.parse().ok())?.to_string().into(),
        FieldReader::Seconds => {
            instant(text.parse::<i64>().ok().and_then(|s| s.checked_mul(1_000)))?.to_string().into()
        }
    })
}

/// Sets a field by its dotted name.
fn insert(into: &mut Value, target: &str, value: Value) {
    let mut place = into;
    for part in target.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

/// The mapping of FlowPOS: its event names and the shapes of its records.
pub fn built_in(name: &str) -> Option<EventMapping> {
    (name == "flowpos").then(|| {
        let text = include_str!("../../schemas/mappings/flowpos.json");
        serde_json::from_str(text).expect("a mapping that is compiled in can be read")
    })
}
