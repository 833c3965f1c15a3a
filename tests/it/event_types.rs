//! The types of business events: their schemas say what the code does.

use domain::business_event::{EVENT_TYPES, EventType};
use serde_json::{Value, json};

/// Every value of the examples, replaced by others or removed. The schemas say the same as the code.
#[test]
fn schemas_and_code_agree_on_mutated_examples() {
    let replacements = [
        json!(null),
        json!(""),
        json!(5),
        json!(true),
        json!([]),
        json!({}),
        json!("x".repeat(6_000)),
        json!(-1),
        json!(0.5),
    ];
    let semantic = ["not_an_amount", "negative", "too_precise", "not_a_date", "not_a_time", "not_a_time_zone"];
    let semantic = [&semantic[..], &["not_a_locale", "not_a_duration", "not_a_url", "over_amount"]].concat();
    let (mut count, mut refused) = (0, 0);
    for known in EVENT_TYPES {
        let example: Value = serde_json::from_str(known.example).expect("JSON");
        let validator = jsonschema::draft202012::new(known.parsed_schema()).expect("a schema");
        for pointer in pointers(&example, "") {
            for replacement in replacements.iter().map(Some).chain([None]) {
                let mut mutated = example.clone();
                replace(&mut mutated, &pointer, replacement);
                let (by_schema, faults) = (validator.is_valid(&mutated), faults(known, &mutated));
                let is_structural = faults.iter().any(|code| !semantic.contains(&code.as_str()));
                let is_beside = faults.iter().any(|code| code == "required") && by_schema;
                assert!(
                    by_schema != is_structural || is_beside,
                    "{} at {pointer} = {replacement:?}: by schema {by_schema}, by code {faults:?}",
                    known.name
                );
                count += 1;
                refused += usize::from(!faults.is_empty());
            }
        }
    }
    println!("{count} mutated examples, {refused} refused");
    assert!(400 < refused);
}

fn faults(known: &EventType, data: &Value) -> Vec<String> {
    let read = domain::business_event::read(known, data, &jiff::tz::TimeZone::UTC);
    read.err().unwrap_or_default().into_iter().map(|fault| fault.code).collect()
}

fn pointers(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (format!("{at}/{index}"), value)).collect()
        }
        _ => Vec::new(),
    };
    inner.into_iter().flat_map(|(at, value)| [vec![at.clone()], pointers(value, &at)].concat()).collect()
}

fn replace(value: &mut Value, pointer: &str, by: Option<&Value>) {
    match by {
        Some(by) => *value.pointer_mut(pointer).expect("a value") = by.clone(),
        None => {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            match value.pointer_mut(parent).expect("a parent") {
                Value::Object(map) => drop(map.remove(name)),
                Value::Array(items) => drop(items.remove(name.parse().expect("an index"))),
                _ => (),
            }
        }
    }
}
