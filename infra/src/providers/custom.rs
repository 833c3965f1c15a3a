//! Any provider with an HTTP API: the tenant says what is sent where, and how its answer is read. Only public https
//! addresses are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback, Provider,
    ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde_json::{Value, json};

use super::signatures::{Keys, Verdict, decode_hex, hmac_sha256, same, verify_standard};
use super::{
    ConnectionSettings, Entry, check_public_url, classify_status, encode_attempt_ref, exchange, fault,
    parse_attempt_ref, refused, reports_only, text_with_links, told, unknown_code,
};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "custom",
    title: "Custom HTTP",
    channels: Channel::ALL,
    settings: &[
        SettingSpec::required("url", "A public https address that takes POST"),
        SettingSpec::required(
            "body",
            "A JSON object; {{to}}, {{text}}, {{subject}}, {{reference}}, {{callbackUrl}} in its texts are filled in",
        ),
        SettingSpec::optional("format", "json (default) or form"),
        SettingSpec::optional_secret("authorization", "The Authorization header: Bearer …, Basic …"),
        SettingSpec::optional("idPointer", "Where the answer holds the message's id: /data/id"),
        SettingSpec::optional("successPointer", "A place of the answer that must hold successValue"),
        SettingSpec::optional("successValue", "What it must hold"),
        SettingSpec::optional("errorPointer", "Where the answer holds an error's code"),
        SettingSpec::optional(
            "errorClasses",
            "A JSON object from codes to permanent, transient, throttled, auth or balance",
        ),
        SettingSpec::optional("callbackScheme", "path-secret (default), hmac-sha256 or standard-webhooks"),
        SettingSpec::optional_secret("callbackKey", "What hmac-sha256 and standard-webhooks are checked with"),
        SettingSpec::optional("statusPointer", "Where a callback holds the status: /status is the default"),
        SettingSpec::optional("referencePointer", "Where it holds our reference: /reference is the default"),
        SettingSpec::optional("statuses", "A JSON object from its statuses to our facts: {\"DELIVRD\": \"delivered\"}"),
    ],
    capabilities: CAN,
    signs: "as configured: the secret in the address, HMAC-SHA256 or Standard Webhooks",
};
const CAN: Capabilities = Capabilities { inbound: false, ..Capabilities::TEXT };

struct Custom {
    link: ConnectionSettings,
    url: String,
    body: BTreeMap<String, Value>,
    is_form: bool,
    classes: BTreeMap<String, RefusalClass>,
    statuses: BTreeMap<String, ReportedStatus>,
}

fn named<T: std::str::FromStr>(
    link: &ConnectionSettings,
    setting: &'static str,
) -> Result<BTreeMap<String, T>, InvalidSetting> {
    let wrong = || fault(setting, format!("{setting} is a JSON object from its words to ours."));
    let Some(text) = link.get(setting) else { return Ok(BTreeMap::new()) };
    let map: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|_| wrong())?;
    map.into_iter().map(|(name, value)| Ok((name, value.parse().map_err(|_| wrong())?))).collect()
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let given = link.need("url")?;
    let checked = check_public_url(&given).map_err(|error| fault("url", format!("url cannot be called: {error}.")))?;
    let url = match &link.at {
        Some(at) => format!("{at}{}", &checked[url::Position::BeforePath..]),
        None => given,
    };
    let wrong = |_| fault("body", "body is a JSON object.");
    let body = serde_json::from_str(&link.need("body")?).map_err(wrong)?;
    let is_form = match link.or("format", "json").as_str() {
        "json" => false,
        "form" => true,
        _ => return Err(fault("format", "format is json or form.")),
    };
    if !["path-secret", "hmac-sha256", "standard-webhooks"].contains(&link.or("callbackScheme", "path-secret").as_str())
    {
        return Err(fault("callbackScheme", "callbackScheme is path-secret, hmac-sha256 or standard-webhooks."));
    }
    let (classes, statuses) = (named(&link, "errorClasses")?, named(&link, "statuses")?);
    Ok(Arc::new(Custom { url, body, is_form, classes, statuses, link }))
}

#[async_trait]
impl Provider for Custom {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let http = &self.link.http;
        let client = if self.link.at.is_some() { &http.client } else { &http.public };
        let body: BTreeMap<&String, Value> =
            self.body.iter().map(|(name, value)| (name, self.filled(value, outbound))).collect();
        let mut request = client.post(&self.url).header("idempotency-key", outbound.attempt.to_string());
        if let Some(authorization) = self.link.get("authorization") {
            request = request.header("authorization", authorization);
        }
        let request = match self.is_form {
            true => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                request.form(&body.iter().map(|(name, value)| (*name, text(value))).collect::<Vec<_>>())
            }
            false => request.json(&body),
        };
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        let answer = exchange.json::<Value>().unwrap_or_default();
        let at = |setting: &str| {
            let found = answer.pointer(&self.link.get(setting)?)?;
            Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
        };
        let code = at("errorPointer").map(|code| code.chars().take(40).collect::<String>());
        let class = code.as_ref().and_then(|code| self.classes.get(code));
        if let (Some(class), Some(code)) = (class, &code) {
            return refused(*class, code, exchange.retry_after_ms()).into();
        }
        if let Some(no) = classify_status(&exchange, code.as_deref().unwrap_or(exchange.code())) {
            return no.into();
        }
        let is_success =
            self.link.get("successPointer").is_none() || at("successPointer") == self.link.get("successValue");
        match is_success {
            true => exchange.accepted(at("idPointer").unwrap_or_default(), None),
            false => refused(RefusalClass::Permanent, code.unwrap_or_else(|| "not_successful".to_owned()), None).into(),
        }
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let keys = Keys { secret: self.link.or("callbackKey", ""), ..Keys::default() };
        match self.link.or("callbackScheme", "path-secret").as_str() {
            "standard-webhooks" => verify_standard(request, &keys, Some(now)),
            "hmac-sha256" => {
                let given = request.header("x-signature").ok_or("no x-signature header")?;
                let given = given.strip_prefix("sha256=").unwrap_or(given);
                let given = decode_hex(given).ok_or("the signature is not hexadecimal")?;
                if keys.secret.is_empty() {
                    return Err("there is no callbackKey to check it with");
                }
                same(&hmac_sha256(keys.secret.as_bytes(), &[&request.body]), &given)
            }
            // The secret in its address was compared before.
            _ => Ok(()),
        }
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| "not JSON")?;
        let at = |setting: &str, default: &str| {
            body.pointer(&self.link.or(setting, default)).and_then(Value::as_str).map(str::to_owned)
        };
        let status = at("statusPointer", "/status").ok_or("no status")?;
        let ids = at("referencePointer", "/reference").and_then(|text| parse_attempt_ref(&text));
        let Some(ids) = ids else { return Ok(ParsedCallback::default()) };
        let known = self.statuses.get(&status).copied().or_else(|| status.parse().ok());
        let fact = known.unwrap_or(ReportedStatus::Unknown);
        let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { None };
        Ok(reports_only(vec![told(MessageRef::from_attempt(ids), (fact, code), None, now)]))
    }
}

impl Custom {
    /// Texts alone are filled in, whole values at a time: nothing that is sent can change the form around it.
    fn filled(&self, value: &Value, outbound: &OutboundMessage) -> Value {
        match value {
            Value::String(text) => {
                let fields = [
                    ("{{to}}", outbound.to.clone()),
                    ("{{subject}}", outbound.message.subject.clone().unwrap_or_default()),
                    ("{{reference}}", encode_attempt_ref(outbound)),
                    ("{{callbackUrl}}", self.link.callback_url.clone()),
                    // Last: what a person wrote is not looked through for fields.
                    ("{{text}}", text_with_links(outbound, CAN.max_characters)),
                ];
                let text = fields.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value));
                json!(text)
            }
            Value::Array(items) => items.iter().map(|item| self.filled(item, outbound)).collect(),
            Value::Object(map) => {
                map.iter().map(|(name, value)| (name.clone(), self.filled(value, outbound))).collect()
            }
            other => other.clone(),
        }
    }
}
