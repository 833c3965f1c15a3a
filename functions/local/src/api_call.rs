//! Calls of an API over HTTP, as another program makes them.

use axum::http::Method;
use infra::providers::http_client;
use serde_json::Value;

/// Calls the API. Returns the body of an answer with a 2xx status, or its problem as text.
pub async fn call(method: Method, url: &str, key: &str, body: Option<&Value>) -> Result<Value, String> {
    let client = http_client();
    let request = client.request(method.clone(), url).bearer_auth(key);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let answer = request.send().await.map_err(|error| format!("{url} did not answer: {error}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(body);
    }
    Err(format!("{method} {url} answered {status}: {}", body["detail"].as_str().unwrap_or("without a reason")))
}
