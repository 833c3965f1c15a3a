//! The OpenAPI document as a Postman collection (v2.1), which Bruno and Insomnia can import too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An example value of a path parameter.
fn sample(name: &str) -> &'static str {
    match name {
        "kind" => "customer",
        "slug" => "invalid",
        _ => "none",
    }
}

fn request(method: &str, path: &str, operation: &Value) -> Value {
    let parts: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(|part| part.strip_prefix('{').map_or(part.to_owned(), |name| format!(":{}", name.trim_end_matches('}'))))
        .collect();
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |place: &str| parameters.iter().filter(move |one| one["in"] == place).collect::<Vec<_>>();
    let named = |one: &&Value| {
        let is_needed = one["required"] == true;
        json!({ "key": one["name"], "value": "", "disabled": !is_needed })
    };
    let path_of =
        |one: &&Value| json!({ "key": one["name"], "value": sample(one["name"].as_str().unwrap_or_default()) });
    let mut headers: Vec<Value> = of("header").iter().map(named).collect();
    let mut request = json!({
        "method": method.to_uppercase(),
        "description": operation["description"],
        "url": {
            "raw": format!("{{{{baseUrl}}}}/{}", parts.join("/")),
            "host": ["{{baseUrl}}"],
            "path": parts,
            "variable": of("path").iter().map(path_of).collect::<Vec<_>>(),
            "query": of("query").iter().map(named).collect::<Vec<_>>(),
        },
    });
    for (media, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let text = match &body["example"] {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        headers.push(json!({ "key": "Content-Type", "value": media }));
        request["body"] = json!({ "mode": "raw", "raw": text });
    }
    request["header"] = json!(headers);
    if operation["security"] == json!([]) {
        request["auth"] = json!({ "type": "noauth" });
    }
    request
}

/// One folder for each tag.
pub fn collection(document: &Value) -> Value {
    let mut folders: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            let item = json!({ "name": operation["summary"], "request": request(method, path, operation) });
            folders.entry(tag).or_default().push(item);
        }
    }
    let folders = folders.into_iter().map(|(tag, items)| json!({ "name": tag, "item": items }));
    let test = "pm.test('responds without a server error', () => pm.expect(pm.response.code).to.be.below(500));";
    json!({
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["summary"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": { "type": "bearer", "bearer": [{ "key": "token", "value": "{{apiKey}}", "type": "string" }] },
        "variable": [{ "key": "baseUrl", "value": "http://localhost:7070" }, { "key": "apiKey", "value": "td_test_local" }],
        "event": [{ "listen": "test", "script": { "type": "text/javascript", "exec": [test] } }],
        "item": folders.collect::<Vec<_>>(),
    })
}
