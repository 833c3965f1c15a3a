//! Schemas written short: `id string, sentAt time?, tags? [string:50], by {integer}`.
//!
//! A name with `?` may be left out; a type with `?` may be null. Types: `string`, `string:500` (characters at most),
//! `integer`, `integer:1..100`, `number`, `boolean`, `time`, `day`, `uri`, `object`, `any`, `[T]` a list, `{T}` a map
//! of names to it, `'a'|'b'` words, and the name of another schema.

use serde_json::{Map, Value, json};

/// An object that has these fields and no others.
pub fn object(fields: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in split(fields, ',').into_iter().map(str::trim).filter(|field| !field.is_empty()) {
        let (name, kind) = field.split_once(' ').unwrap_or((field, "any"));
        let name = match name.strip_suffix('?') {
            Some(optional) => optional,
            None => {
                required.push(name);
                name
            }
        };
        properties.insert(name.to_owned(), schema(kind.trim()));
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

pub fn schema(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return nullable(schema(kind));
    }
    let inner = |open: char, close: char| kind.strip_prefix(open)?.strip_suffix(close);
    if let Some(item) = inner('[', ']') {
        return json!({ "type": "array", "items": schema(item) });
    }
    if let Some(item) = inner('{', '}') {
        return json!({ "type": "object", "additionalProperties": schema(item) });
    }
    if kind.starts_with('\'') {
        return words(kind.split('|').map(|word| word.trim_matches('\'')));
    }
    let (name, limit) = kind.split_once(':').unwrap_or((kind, ""));
    match name {
        "string" => match limit.parse::<u32>() {
            Ok(most) => json!({ "type": "string", "maxLength": most }),
            Err(_) => json!({ "type": "string" }),
        },
        "integer" => match limit.split_once("..").and_then(|(a, z)| Some((a.parse().ok()?, z.parse().ok()?))) {
            Some((least, most)) => integer(least, most),
            None => json!({ "type": "integer" }),
        },
        "number" | "boolean" | "object" => json!({ "type": name }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "day" => json!({ "type": "string", "format": "date" }),
        "uri" => json!({ "type": "string", "format": "uri" }),
        "any" => json!({}),
        other => json!({ "$ref": format!("#/components/schemas/{other}") }),
    }
}

fn integer(least: i64, most: i64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

pub fn nullable(mut schema: Value) -> Value {
    let is_so = schema["type"].is_array() || schema.get("anyOf").is_some() || schema == json!({});
    match schema["type"].as_str() {
        _ if is_so => schema,
        Some(name) if schema.get("enum").is_none() => {
            schema["type"] = json!([name, "null"]);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// Splits at a sign where no bracket is open.
fn split(text: &str, sign: char) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (place, letter) in text.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            letter if letter == sign && depth == 0 => {
                parts.push(&text[start..place]);
                start = place + letter.len_utf8();
            }
            _ => (),
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_notation_is_json_schema() {
        let read = object("id string, at? time?, n integer:1..5, by {integer}, one [Channel], of? 'a'|'b'");
        assert_eq!(read["required"], json!(["id", "n", "by", "one"]));
        let of = |name: &str| read["properties"][name].clone();
        assert_eq!(of("at"), json!({ "type": ["string", "null"], "format": "date-time" }));
        assert_eq!(of("n"), json!({ "type": "integer", "minimum": 1, "maximum": 5 }));
        assert_eq!(of("by"), json!({ "type": "object", "additionalProperties": { "type": "integer" } }));
        assert_eq!(of("one"), json!({ "type": "array", "items": { "$ref": "#/components/schemas/Channel" } }));
        assert_eq!(of("of"), json!({ "type": "string", "enum": ["a", "b"] }));
        let null = schema("Channel?");
        assert_eq!(null["anyOf"][1], json!({ "type": "null" }));
    }
}
