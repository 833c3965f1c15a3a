//! Any provider with an HTTP API. The tenant configures the request, how the response is read and how callbacks are
//! read. Only public https addresses are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback, Provider,
    ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde_json::{Value, json};

use super::attempt_ids::{encode_attempt_ref, parse_attempt_ref};
use super::callback::{delivery_report, reports_only, unknown_code};
use super::http::{classify_status, exchange};
use super::outcome::refusal_outcome;
use super::public_fetch::check_public_url;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{VerificationKeys, VerifyResult, constant_time_eq, decode_hex, hmac_sha256, verify_standard};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "custom",
    title: "Custom HTTP",
    channels: Channel::ALL,
    settings: &[
        SettingSpec::required("url", "A public https address that accepts POST"),
        SettingSpec::required(
            "body",
            "A JSON object; {{to}}, {{text}}, {{subject}}, {{reference}} and {{callbackUrl}} in its strings are replaced",
        ),
        SettingSpec::optional("format", "json (default) or form"),
        SettingSpec::optional_secret("authorization", "The Authorization header, such as Bearer … or Basic …"),
        SettingSpec::optional("idPointer", "JSON pointer to the message's id in the response, such as /data/id"),
        SettingSpec::optional("successPointer", "JSON pointer to a value of the response that must equal successValue"),
        SettingSpec::optional("successValue", "The value at successPointer that means success"),
        SettingSpec::optional("errorPointer", "JSON pointer to the error code in the response"),
        SettingSpec::optional(
            "errorClasses",
            "A JSON object from codes to permanent, transient, throttled, auth or balance",
        ),
        SettingSpec::optional("callbackScheme", "path-secret (default), hmac-sha256 or standard-webhooks"),
        SettingSpec::optional_secret("callbackKey", "The key for hmac-sha256 and standard-webhooks"),
        SettingSpec::optional("statusPointer", "JSON pointer to the status in a callback, /status by default"),
        SettingSpec::optional("referencePointer", "JSON pointer to our reference in a callback, /reference by default"),
        SettingSpec::optional(
            "statuses",
            "A JSON object from the provider's statuses to ours, such as {\"DELIVRD\": \"delivered\"}",
        ),
    ],
    capabilities: CAPABILITIES,
    signs: "as configured: the secret in the address, HMAC-SHA256 or Standard Webhooks",
};
const CAPABILITIES: Capabilities = Capabilities { inbound: false, ..Capabilities::TEXT };

struct Custom {
    connection: ConnectionSettings,
    url: String,
    body: BTreeMap<String, Value>,
    is_form: bool,
    classes: BTreeMap<String, RefusalClass>,
    statuses: BTreeMap<String, ReportedStatus>,
}

/// Reads a setting that maps the provider's codes or statuses to ours.
fn read_mapping<T: std::str::FromStr>(
    connection: &ConnectionSettings,
    setting: &'static str,
) -> Result<BTreeMap<String, T>, InvalidSetting> {
    let invalid =
        || invalid_setting(setting, format!("{setting} is a JSON object from the provider's values to ours."));
    let Some(text) = connection.get(setting) else { return Ok(BTreeMap::new()) };
    let map: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|_| invalid())?;
    map.into_iter().map(|(name, value)| Ok((name, value.parse().map_err(|_| invalid())?))).collect()
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let address = connection.require("url")?;
    let checked = check_public_url(&address)
        .map_err(|error| invalid_setting("url", format!("url cannot be called: {error}.")))?;
    let url = match &connection.base_override {
        Some(base) => format!("{base}{}", &checked[url::Position::BeforePath..]),
        None => address,
    };
    let invalid = |_| invalid_setting("body", "body is a JSON object.");
    let body = serde_json::from_str(&connection.require("body")?).map_err(invalid)?;
    let is_form = match connection.get_or("format", "json").as_str() {
        "json" => false,
        "form" => true,
        _ => return Err(invalid_setting("format", "format is json or form.")),
    };
    if !["path-secret", "hmac-sha256", "standard-webhooks"]
        .contains(&connection.get_or("callbackScheme", "path-secret").as_str())
    {
        return Err(invalid_setting(
            "callbackScheme",
            "callbackScheme is path-secret, hmac-sha256 or standard-webhooks.",
        ));
    }
    let (classes, statuses) = (read_mapping(&connection, "errorClasses")?, read_mapping(&connection, "statuses")?);
    Ok(Arc::new(Custom { url, body, is_form, classes, statuses, connection }))
}

#[async_trait]
impl Provider for Custom {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let http = &self.connection.http;
        let client = if self.connection.base_override.is_some() { &http.client } else { &http.public };
        let body: BTreeMap<&String, Value> =
            self.body.iter().map(|(name, value)| (name, self.fill_in(value, outbound))).collect();
        let mut request = client.post(&self.url).header("idempotency-key", outbound.attempt.to_string());
        if let Some(authorization) = self.connection.get("authorization") {
            request = request.header("authorization", authorization);
        }
        let request = if self.is_form {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            request.form(&body.iter().map(|(name, value)| (*name, text(value))).collect::<Vec<_>>())
        } else {
            request.json(&body)
        };
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        let response = exchange.json::<Value>();
        if exchange.is_success() && (exchange.is_html() || (self.reads_response() && response.is_none())) {
            return exchange.unreadable_response();
        }
        let response = response.unwrap_or_default();
        let at = |setting: &str| {
            let value = response.pointer(&self.connection.get(setting)?)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let code = at("errorPointer");
        let class = code.as_ref().and_then(|code| self.classes.get(code));
        if let (Some(class), Some(code)) = (class, &code) {
            return refusal_outcome(*class, code, exchange.retry_after_ms()).into();
        }
        if let Some(outcome) = classify_status(&exchange, code.as_deref()) {
            return outcome.into();
        }
        let is_success = self.connection.get("successPointer").is_none()
            || at("successPointer") == self.connection.get("successValue");
        if is_success {
            match at("idPointer") {
                None if self.connection.get("idPointer").is_some() => exchange.unreadable_response(),
                id => exchange.accepted_without_id(id.unwrap_or_default(), None),
            }
        } else {
            let code = code.unwrap_or_else(|| "not_successful".to_owned());
            refusal_outcome(RefusalClass::Permanent, code, None).into()
        }
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let keys =
            VerificationKeys { secret: self.connection.get_or("callbackKey", ""), ..VerificationKeys::default() };
        match self.connection.get_or("callbackScheme", "path-secret").as_str() {
            "standard-webhooks" => verify_standard(request, &keys, Some(now)),
            "hmac-sha256" => {
                let header = request.header("x-signature").ok_or("no x-signature header")?;
                let signature = header.strip_prefix("sha256=").unwrap_or(header);
                let signature = decode_hex(signature).ok_or("the signature is not hexadecimal")?;
                if keys.secret.is_empty() {
                    return Err("no callbackKey is configured");
                }
                constant_time_eq(&hmac_sha256(keys.secret.as_bytes(), &[&request.body]), &signature)
            }
            // The secret in the callback's address was compared before this is called.
            _ => Ok(()),
        }
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| "the body is not JSON")?;
        let at = |setting: &str, default: &str| {
            body.pointer(&self.connection.get_or(setting, default)).and_then(Value::as_str).map(str::to_owned)
        };
        let status = at("statusPointer", "/status").ok_or("the body holds no status")?;
        let ids = at("referencePointer", "/reference").and_then(|text| parse_attempt_ref(&text));
        let Some(ids) = ids else { return Ok(ParsedCallback::default()) };
        let fact = self.statuses.get(&status).copied().or_else(|| status.parse().ok());
        let fact = fact.unwrap_or(ReportedStatus::Unknown);
        let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { None };
        Ok(reports_only(vec![delivery_report(MessageRef::from_attempt(ids), (fact, code), None, now)]))
    }
}

impl Custom {
    /// Whether the settings say what a response contains. Otherwise every 2xx status means success.
    fn reads_response(&self) -> bool {
        ["idPointer", "successPointer", "errorPointer"].iter().any(|name| self.connection.get(name).is_some())
    }

    /// Replaces the placeholders in the strings of the configured body. The result is serialised afterwards, so a value
    /// cannot change the structure of the body.
    fn fill_in(&self, value: &Value, outbound: &OutboundMessage) -> Value {
        match value {
            Value::String(text) => json!(replace_placeholders(text, |name| self.value_of(name, outbound))),
            Value::Array(items) => items.iter().map(|item| self.fill_in(item, outbound)).collect(),
            Value::Object(map) => {
                map.iter().map(|(name, value)| (name.clone(), self.fill_in(value, outbound))).collect()
            }
            other => other.clone(),
        }
    }

    /// The value of a placeholder. Returns `None` if there is no such placeholder.
    fn value_of(&self, name: &str, outbound: &OutboundMessage) -> Option<String> {
        Some(match name {
            "to" => outbound.to.clone(),
            "subject" => outbound.message.subject.clone().unwrap_or_default(),
            "reference" => encode_attempt_ref(outbound),
            "callbackUrl" => self.connection.callback_url.clone(),
            "text" => text_with_links(outbound, CAPABILITIES.max_characters),
            _ => return None,
        })
    }
}

/// Replaces each `{{name}}` that has a value. Text that was put in is not searched again, so that a message cannot ask
/// for the other values, of which the callback address is a secret.
fn replace_placeholders(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("{{") {
        let name_and_rest = rest[start + 2..].split_once("}}");
        let value = name_and_rest.and_then(|(name, after)| Some((value_of(name)?, after)));
        let (before, (value, after)) = (&rest[..start], value.unwrap_or_else(|| ("{".to_owned(), &rest[start + 1..])));
        filled.push_str(before);
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_in_a_message_are_text() {
        let value_of = |name: &str| match name {
            "subject" => Some("{{callbackUrl}} {{subject}}".to_owned()),
            "text" => Some("}}{{".to_owned()),
            "callbackUrl" => Some("secret".to_owned()),
            _ => None,
        };
        let fill_in = |text: &str| replace_placeholders(text, value_of);
        assert_eq!(fill_in("a {{subject}} b"), "a {{callbackUrl}} {{subject}} b");
        assert_eq!(fill_in("{{text}}callbackUrl{{text}}"), "}}{{callbackUrl}}{{");
        assert_eq!(fill_in("{{{callbackUrl}}}"), "{secret}");
        assert_eq!(fill_in("{{unknown}} {{ {{callbackUrl}} {{"), "{{unknown}} {{ secret {{");
    }
}
