//! Functions that read requests, for the provider files.

use std::collections::HashMap;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub type Fields = HashMap<String, String>;

pub fn form(raw: &[u8]) -> Fields {
    form_urlencoded::parse(raw).into_owned().collect()
}

/// Returns a field's value, or an empty text if there is no such field.
pub fn get(fields: &Fields, name: &str) -> String {
    fields.get(name).cloned().unwrap_or_default()
}

pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns the idempotency key of a request, if it has one.
pub fn idempotency_key(headers: &HeaderMap) -> Option<String> {
    Some(header(headers, "idempotency-key").to_owned()).filter(|key| !key.is_empty())
}

pub fn bearer(headers: &HeaderMap) -> &str {
    header(headers, "authorization").strip_prefix("Bearer ").unwrap_or_default()
}

/// Returns user and password of basic authentication.
pub fn basic(headers: &HeaderMap) -> (String, String) {
    let given = header(headers, "authorization").strip_prefix("Basic ").unwrap_or_default();
    let plain = STANDARD.decode(given).unwrap_or_default();
    let plain = String::from_utf8_lossy(&plain).into_owned();
    plain.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned())).unwrap_or_default()
}

/// Returns the sender of an email, with the display name if there is one.
pub fn sender(email: String, name: &str) -> String {
    if name.is_empty() { email } else { format!("{name} <{email}>") }
}

/// Returns the string at a JSON pointer, or an empty one if there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    optional_text(value, pointer).unwrap_or_default()
}

/// Returns the string at a JSON pointer.
pub fn optional_text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// Splits a reference `tenant/attempt` into tenant and attempt.
pub fn split_reference(reference: &str) -> (Option<String>, Option<String>) {
    reference.split_once('/').map_or((None, None), |(tenant, attempt)| (Some(tenant.into()), Some(attempt.into())))
}

/// Returns the address in a List-Unsubscribe header, if the List-Unsubscribe-Post header allows one-click
/// unsubscribing.
pub fn one_click_url(list: Option<&str>, post: Option<&str>) -> Option<String> {
    let url = list?.strip_prefix('<')?.strip_suffix('>')?;
    (post == Some("List-Unsubscribe=One-Click")).then(|| url.to_owned())
}

/// Whether a text is a phone number in international form, without the plus.
pub fn is_phone_number(text: &str) -> bool {
    (7..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
