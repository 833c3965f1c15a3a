//! Checks every request and response of the tests against the OpenAPI document: each response is documented, and so is
//! each accepted request body.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The operation that serves a path. Of the matching routes, the one with the fewest parameters wins.
fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let fits = |route: &str| {
        let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
        route.len() == path.len() && route.iter().zip(&path).all(|(of, is)| of.starts_with('{') || of == is)
    };
    let fitting = api::ROUTES.iter().map(|route| route.path).filter(|route| fits(route));
    let route = fitting.min_by_key(|route| route.matches('{').count())?;
    Some((route, api::openapi::document()["paths"][route].get(method.as_str().to_lowercase())?))
}

/// The validator of a schema, compiled once.
fn validator(schema: &Value) -> Arc<Validator> {
    static CACHE: OnceLock<Mutex<HashMap<String, Arc<Validator>>>> = OnceLock::new();
    let mut cache = CACHE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let whole = json!({ "allOf": [schema], "components": api::openapi::document()["components"] });
        Arc::new(jsonschema::draft202012::new(&whole).expect("a schema"))
    };
    cache.entry(schema.to_string()).or_insert_with(make).clone()
}

fn faults(schema: &Value, value: &Value) -> Vec<String> {
    validator(schema).iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect()
}

/// Maximum size of an example, in bytes of JSON.
const MAX_EXAMPLE_BYTES: usize = 1_800;

/// Keeps only the first item of each list, so that an example stays short.
fn shortened(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().take(1).map(shortened).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shortened(value))).collect(),
        other => other.clone(),
    }
}

/// `RECORD_EXAMPLES=functions/api/src/openapi/examples.json cargo test -p tests --test it` writes the response with the
/// most data of each operation.
fn record(operation: &Value, body: &Value) {
    static EXAMPLES: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    let (Some(path), Some(id)) = (std::env::var_os("RECORD_EXAMPLES"), operation["operationId"].as_str()) else {
        return;
    };
    if !(body.is_object() || body.is_array()) || id.ends_with("V1") {
        return;
    }
    let body = shortened(body);
    let data_len = |value: &Value| value.to_string().replace("null", "").len();
    let mut examples = EXAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    let is_better = examples.get(id).is_none_or(|before| data_len(before) < data_len(&body));
    if is_better && body.to_string().len() <= MAX_EXAMPLE_BYTES {
        examples.insert(id.to_owned(), body);
        let text = serde_json::to_string_pretty(&*examples).expect("JSON");
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
        std::fs::write(path, text + "\n").expect("written");
    }
}

pub fn check(method: &Method, path: &str, sent: Option<&[u8]>, status: StatusCode, body: &Value) {
    let Some((route, operation)) = operation(method, path) else { return };
    let answer = &operation["responses"][status.as_str()];
    assert!(!answer.is_null(), "{method} {route} answers {status}, which is not documented: {body}");
    for (media, of) in answer["content"].as_object().into_iter().flatten() {
        if media.ends_with("json") {
            let faults = faults(&of["schema"], body);
            assert!(
                faults.is_empty(),
                "{method} {route}: the body of {status} does not match the document: {faults:#?}\n{body}"
            );
        }
    }
    if status.is_success() {
        record(operation, body);
    }
    let request_schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let sent = sent.and_then(|sent| serde_json::from_slice::<Value>(sent).ok());
    if let Some(sent) = sent.filter(|_| status.is_success() && !request_schema.is_null()) {
        let faults = faults(request_schema, &sent);
        assert!(faults.is_empty(), "{method} {route} accepts an undocumented body: {faults:#?}\n{sent}");
    }
}
