//! Compares the OpenAPI document with that of the last release, `docs/openapi.json`. Each breaking change needs its
//! line in the changelog. A release runs `UPDATE_OPENAPI=1 cargo test -p tests --test it openapi`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

/// The direction of values. A request schema must not become narrower, and a response schema must not become wider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    breaks: BTreeSet<String>,
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn values(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(Value::to_string).collect()
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    name.and_then(|name| document.pointer(name)).unwrap_or(schema)
}

/// The schema itself, or the first of its alternatives, such as the type beside null.
fn main_schema<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolve(document, schema);
    schema["anyOf"].get(0).map_or(schema, |first| main_schema(document, first))
}

/// The types of a schema. An empty set means any type.
fn types(document: &Value, schema: &Value) -> BTreeSet<String> {
    let schema = resolve(document, schema);
    match &schema["type"] {
        Value::Array(all) => all.iter().map(Value::to_string).collect(),
        Value::String(one) => BTreeSet::from([json!(one).to_string()]),
        _ => schema["anyOf"].as_array().into_iter().flatten().flat_map(|one| types(document, one)).collect(),
    }
}

impl Comparison<'_> {
    fn broken(&mut self, place: &str, what: String) {
        self.breaks.insert(format!("{place}: {what}"));
    }

    fn schema(&mut self, place: &str, path: &str, direction: Direction, (old, new): (&Value, &Value), depth: usize) {
        if depth > 8 {
            return;
        }
        let (before, after) = (types(self.old, old), types(self.new, new));
        let lost = before.difference(&after).next().is_some() && !after.is_empty();
        let gained = after.difference(&before).next().is_some() || (after.is_empty() && !before.is_empty());
        let is_limited = before.is_empty() && !after.is_empty();
        if (direction == Direction::Request && (lost || is_limited))
            || (direction == Direction::Response && gained && !before.is_empty())
        {
            self.broken(place, format!("{path} has another type"));
            return;
        }
        let (old, new) = (main_schema(self.old, old), main_schema(self.new, new));
        if direction == Direction::Request {
            values(&old["enum"]).difference(&values(&new["enum"])).for_each(|value| {
                self.breaks.insert(format!("{place}: {path} no longer accepts {value}"));
            });
            for limit in ["maxLength", "maxItems", "maximum"] {
                let shrunk = new[limit].as_f64().is_some_and(|new| old[limit].as_f64().is_none_or(|old| new < old));
                if shrunk {
                    self.broken(place, format!("{path} has a lower {limit}"));
                }
            }
        }
        let (had, has) = (values(&old["required"]), values(&new["required"]));
        for (name, of) in entries(&old["properties"]) {
            let inner = format!("{path}.{name}");
            match new["properties"].get(name) {
                None => self.broken(place, format!("{inner} is gone")),
                Some(now) => self.schema(place, &inner, direction, (of, now), depth + 1),
            }
        }
        if old.get("properties").is_some() {
            let changed = if direction == Direction::Request { has.difference(&had) } else { had.difference(&has) };
            for name in changed.filter(|name| {
                direction == Direction::Request || new["properties"].get(name.trim_matches('"')).is_some()
            }) {
                let what = if direction == Direction::Request { "is required now" } else { "may be missing now" };
                self.breaks.insert(format!("{place}: {path}.{} {what}", name.trim_matches('"')));
            }
        }
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.schema(place, &format!("{path}[]"), direction, (old, new), depth + 1);
        }
    }

    fn operation(&mut self, place: &str, old: &Value, new: &Value) {
        let find = |all: &Value, of: &Value| {
            all.as_array()?.iter().find(|one| one["name"] == of["name"] && one["in"] == of["in"]).cloned()
        };
        for one in old["parameters"].as_array().into_iter().flatten() {
            let name = format!("parameter {}", one["name"].as_str().unwrap_or_default());
            match find(&new["parameters"], one) {
                None => self.broken(place, format!("{name} is gone")),
                Some(now) => self.schema(place, &name, Direction::Request, (&one["schema"], &now["schema"]), 0),
            }
        }
        for one in new["parameters"].as_array().into_iter().flatten().filter(|one| one["required"] == true) {
            if find(&old["parameters"], one).is_none_or(|before| before["required"] != true) {
                self.broken(place, format!("parameter {} is required now", one["name"].as_str().unwrap_or_default()));
            }
        }
        for (media, of) in entries(&old["requestBody"]["content"]) {
            match new["requestBody"]["content"].get(media) {
                None => self.broken(place, format!("{media} is no longer accepted")),
                Some(now) => self.schema(place, "body", Direction::Request, (&of["schema"], &now["schema"]), 0),
            }
        }
        if new["requestBody"]["required"] == true && old["requestBody"]["required"] != true {
            self.broken(place, "the body is required now".to_owned());
        }
        for (status, answer) in entries(&old["responses"]).filter(|(status, _)| status.starts_with('2')) {
            let Some(now) = new["responses"].get(status) else {
                self.broken(place, format!("{status} is no longer returned"));
                continue;
            };
            for (media, of) in entries(&answer["content"]) {
                match now["content"].get(media) {
                    None => self.broken(place, format!("{status} no longer returns {media}")),
                    Some(now) => self.schema(place, status, Direction::Response, (&of["schema"], &now["schema"]), 0),
                }
            }
        }
    }
}

/// The changes from `old` to `new` that can break a client.
fn breaks(old: &Value, new: &Value) -> BTreeSet<String> {
    let mut comparison = Comparison { old, new, breaks: BTreeSet::new() };
    for (path, methods) in entries(&old["paths"]) {
        for (method, operation) in entries(methods) {
            let place = format!("{} {path}", method.to_uppercase());
            match new["paths"][path].get(method) {
                None => comparison.broken(&place, "is gone".to_owned()),
                Some(now) => comparison.operation(&place, operation, now),
            }
        }
    }
    comparison.breaks
}

/// The document without its examples, which are not part of the contract.
fn without_examples(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "example");
            kept.map(|(name, value)| (name.clone(), without_examples(value))).collect()
        }
        Value::Array(all) => all.iter().map(without_examples).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_breaking_change_is_in_the_changelog() {
    let document = api::openapi::document();
    let path = file("docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        let text = serde_json::to_string_pretty(&without_examples(document)).expect("JSON");
        std::fs::write(&path, text + "\n").expect("written");
    }
    let released = std::fs::read_to_string(&path).expect("docs/openapi.json");
    let released: Value = serde_json::from_str(&released).expect("JSON");
    let changelog = std::fs::read_to_string(file("CHANGELOG.md")).expect("CHANGELOG.md");
    let unnoted: Vec<String> =
        breaks(&released, document).into_iter().filter(|line| !changelog.contains(line.as_str())).collect();
    assert!(unnoted.is_empty(), "breaking changes without their lines in CHANGELOG.md: {unnoted:#?}");
}

#[test]
fn every_kind_of_breaking_change_is_found() {
    let old = api::openapi::document();
    assert_eq!(breaks(old, old), BTreeSet::new());
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        breaks(old, &new).into_iter().collect::<Vec<_>>().join("\n")
    };
    let of = "components/schemas";
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let remove = |pointer: String, name: &'static str| -> Change<'_> {
        Box::new(move |new| {
            drop(new.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("an object").remove(name))
        })
    };
    let add = |pointer: String, name: &'static str| -> Change<'_> {
        Box::new(move |new| new.pointer_mut(&pointer).expect("an object")[name] = json!({ "type": "string" }))
    };
    let push = |pointer: String, value: Value| -> Change<'_> {
        Box::new(move |new| {
            new.pointer_mut(&pointer).and_then(Value::as_array_mut).expect("a list").push(value.clone())
        })
    };
    let set = |pointer: String, value: Value| -> Change<'_> {
        Box::new(move |new| *new.pointer_mut(&pointer).expect("a place") = value.clone())
    };
    for (change, expected) in [
        (remove("/paths".to_owned(), "/api/audit"), "GET /api/audit: is gone"),
        (remove(format!("/{of}/Key/properties"), "role"), "GET /api/keys: 200.keys[].role is gone"),
        (set(format!("/{of}/Key/required"), json!([])), "200.keys[].name may be missing now"),
        (set(format!("/{of}/Key/properties/name/type"), json!("integer")), "200.keys[].name has another type"),
        (push(format!("/{of}/NewKey/required"), json!("mode")), "POST /api/keys: body.mode is required now"),
        (set(format!("/{of}/KeyMode/enum"), json!(["live"])), "body.mode no longer accepts \"test\""),
        (set(format!("/{of}/NewKey/properties/name/maxLength"), json!(5)), "body.name has a lower maxLength"),
        (set("/paths/~1api~1keys/post/responses".to_owned(), json!({})), "POST /api/keys: 201 is no longer returned"),
        (
            push(
                "/paths/~1api~1keys/get/parameters".to_owned(),
                json!({ "name": "page", "in": "query", "required": true }),
            ),
            "GET /api/keys: parameter page is required now",
        ),
    ] {
        let found = broken(&*change);
        assert!(found.contains(expected), "{expected} in {found}");
    }
    // A further enum value in requests, a further response field and a field that becomes optional break no client.
    for change in [
        push(format!("/{of}/KeyMode/enum"), json!("dream")),
        add(format!("/{of}/Key/properties"), "colour"),
        set(format!("/{of}/NewKey/required"), json!(["name"])),
    ] {
        assert_eq!(broken(&*change), "");
    }
}
