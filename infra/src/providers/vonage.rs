//! Vonage for SMS: `POST /sms/json` always answers 200. The body holds a status for each part of the message. Callbacks
//! echo `client-ref`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::prices;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use jsonwebtoken::Algorithm;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::Value;

use super::callback::{delivery_report, reports_only, unknown_code};
use super::http::{HttpExchange, balance, classify_status, exchange, lenient, query_api, unexpected_format};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{
    SignatureCheck, VerificationKeys, VerifyResult, check_freshness, constant_time_eq, decode_hex, hex, hmac_md5,
    hmac_sha1, hmac_sha256, hmac_sha512, sha256_hex, verify_jwt_claims,
};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration {
    kind: &KIND,
    connect,
    schemes: &[
        ("vonage-jwt-hs256", verify_jwt),
        ("vonage-jwt-hs256-token-only", verify_jwt),
        ("vonage-sms-sig-md5hash", |request, keys, now| verify_sig(request, keys, now, "md5hash")),
        ("vonage-sms-sig-md5", |request, keys, now| verify_sig(request, keys, now, "md5")),
        ("vonage-sms-sig-sha1", |request, keys, now| verify_sig(request, keys, now, "sha1")),
        ("vonage-sms-sig-sha256", |request, keys, now| verify_sig(request, keys, now, "sha256")),
        ("vonage-sms-sig-sha512", |request, keys, now| verify_sig(request, keys, now, "sha512")),
    ],
};

static KIND: ProviderKind = ProviderKind {
    name: "vonage",
    title: "Vonage (Nexmo)",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::required("apiKey", "The account's API key"),
        SettingSpec::secret("apiSecret", "The account's API secret"),
        SettingSpec::required("from", "Your number, or a sender name where the country allows one"),
        SettingSpec::optional_secret("signatureSecret", "The secret that signs callbacks; without it they are refused"),
        SettingSpec::optional(
            "signatureMethod",
            "sha256 (default), sha512, or jwt for signed webhooks of the Messages API",
        ),
    ],
    capabilities: CAPABILITIES,
    signs: "HMAC over the sorted parameters, or a JWT with the body's hash",
};
const CAPABILITIES: Capabilities = Capabilities { balance: true, ..Capabilities::TEXT };

/// Maximum age of a callback with a `sig` parameter, in milliseconds. Vonage retries a delivery receipt for a day.
const SIG_WINDOW_MS: i64 = 25 * 3_600_000;
/// Maximum age of a callback with a token, in milliseconds.
const JWT_WINDOW_MS: i64 = 5 * 60_000;

struct Vonage {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    api_secret: String,
    from: String,
    scheme: SignatureCheck,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let scheme: SignatureCheck = match connection.get_or("signatureMethod", "sha256").as_str() {
        "sha256" => |request, keys, now| verify_sig(request, keys, now, "sha256"),
        "sha512" => |request, keys, now| verify_sig(request, keys, now, "sha512"),
        "jwt" => verify_jwt,
        _ => return Err(invalid_setting("signatureMethod", "signatureMethod is sha256, sha512 or jwt.")),
    };
    Ok(Arc::new(Vonage {
        base: connection.base_url("https://rest.nexmo.com"),
        api_key: connection.require("apiKey")?,
        api_secret: connection.require("apiSecret")?,
        from: connection.require("from")?,
        scheme,
        connection,
    }))
}

#[derive(Deserialize)]
struct SendResponse {
    messages: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    status: String,
    #[serde(rename = "message-id")]
    id: Option<String>,
    /// In euros.
    #[serde(default, rename = "message-price", deserialize_with = "lenient")]
    price: Option<String>,
}

#[async_trait]
impl Provider for Vonage {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        let is_gsm = domain::sms::segments(&text).encoding == domain::sms::Encoding::Gsm7;
        // `client-ref` holds only 40 characters, so it does not name the tenant. The callback's address does.
        let reference = outbound.attempt.to_string();
        let fields = [
            ("api_key", self.api_key.as_str()),
            ("api_secret", &self.api_secret),
            ("from", &self.from),
            ("to", outbound.to.trim_start_matches('+')),
            ("text", &text),
            ("type", if is_gsm { "text" } else { "unicode" }),
            ("client-ref", &reference),
            ("status-report-req", "true"),
            ("callback", &self.connection.callback_url),
        ];
        let request = self.connection.http.client.post(format!("{}/sms/json", self.base)).form(&fields);
        match exchange(request, timeout_ms).await {
            Ok(exchange) => send_result(&exchange),
            Err(outcome) => outcome.into(),
        }
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct BalanceResponse {
            value: f64,
        }
        let BalanceResponse { value } = self.account_balance(timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(value, "EUR")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.account_balance(timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let keys =
            VerificationKeys { secret: self.connection.get_or("signatureSecret", ""), ..VerificationKeys::default() };
        (self.scheme)(request, &keys, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&parameters(request), now)
    }
}

impl Vonage {
    async fn account_balance(&self, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let request = self.connection.http.client.get(format!("{}/account/get-balance", self.base));
        query_api(request.basic_auth(&self.api_key, Some(&self.api_secret)), timeout_ms).await
    }
}

/// Derives the result from the status of each part. If one part is refused, the whole message counts as refused,
/// because a phone cannot assemble an incomplete message.
fn send_result(exchange: &HttpExchange) -> SendResult {
    if let Some(outcome) = classify_status(exchange, None) {
        return outcome.into();
    }
    let Some(response) = exchange.json::<SendResponse>().filter(|response| !response.messages.is_empty()) else {
        return exchange.unreadable_response();
    };
    let first_refusal = response.messages.iter().position(|part| part.status != "0");
    match first_refusal {
        None => {
            let id = response.messages[0].id.clone().unwrap_or_default();
            let parts = response.messages.iter().map(|part| prices::charged(part.price.as_deref()?, "EUR"));
            exchange.accepted(id, u16::try_from(response.messages.len()).ok()).costing(prices::total(parts))
        }
        // The parts before it are on their way, so a retry would send them twice.
        Some(index) if index > 0 => {
            refusal_outcome(RefusalClass::Permanent, response.messages[index].status.as_str(), None).into()
        }
        Some(index) => {
            let code = response.messages[index].status.as_str();
            let class = match code {
                "1" | "10" => RefusalClass::Throttled,
                "5" => RefusalClass::Transient,
                "4" | "8" | "11" | "14" | "29" | "32" => RefusalClass::Auth,
                "9" => RefusalClass::Balance,
                _ => RefusalClass::Permanent,
            };
            refusal_outcome(class, code, exchange.retry_after_ms()).into()
        }
    }
}

/// Returns the callback's parameters. They are in the query, a form or a JSON object, depending on the account's
/// settings.
fn parameters(request: &CallbackRequest) -> BTreeMap<String, String> {
    let parse_form = |form: &[u8]| form_urlencoded::parse(form).into_owned().collect::<BTreeMap<_, _>>();
    if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        return body.into_iter().map(|(name, value)| (name, text(value))).collect();
    }
    if request.body.is_empty() { parse_form(request.query().as_bytes()) } else { parse_form(&request.body) }
}

/// Checks the signature in the parameter `sig`. It covers `&name=value` for every other parameter, sorted by name, with
/// `&` and `=` in values replaced by `_`. The method `md5hash` appends the secret to that text. The others use the
/// secret as the key of an HMAC.
fn verify_sig(
    request: &CallbackRequest,
    keys: &VerificationKeys,
    now: Option<Timestamp>,
    method: &str,
) -> VerifyResult {
    let mut parameters = parameters(request);
    let signature = parameters.remove("sig").ok_or("no sig parameter")?;
    if keys.secret.is_empty() {
        return Err("no signature secret is configured");
    }
    let mut signed = String::new();
    for (name, value) in &parameters {
        signed.push_str(&format!("&{name}={}", value.replace(['&', '='], "_")));
    }
    let (key, text) = (keys.secret.as_bytes(), signed.as_bytes());
    let expected = match method {
        "md5hash" => {
            let hash = Md5::digest([text, key].concat());
            return constant_time_eq(hex(&hash).as_bytes(), signature.to_ascii_lowercase().as_bytes());
        }
        "md5" => hmac_md5(key, &[text]),
        "sha1" => hmac_sha1(key, &[text]),
        "sha256" => hmac_sha256(key, &[text]),
        _ => hmac_sha512(key, &[text]),
    };
    constant_time_eq(&expected, &decode_hex(&signature).ok_or("the signature is not hexadecimal")?)?;
    match parameters.get("timestamp") {
        Some(seconds) => {
            check_freshness(now, seconds.parse().map_err(|_| "the timestamp is not a number")?, SIG_WINDOW_MS)
        }
        None => Ok(()),
    }
}

/// Checks the token in the Authorization header, whose claims include the hash of the body.
fn verify_jwt(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let header = request.header("authorization").ok_or("no Authorization header")?;
    let token = header.strip_prefix("Bearer ").ok_or("the Authorization header holds no bearer token")?;
    if keys.secret.is_empty() {
        return Err("no signature secret is configured");
    }
    let claims = verify_jwt_claims(token, keys.secret.as_bytes(), &[Algorithm::HS256])?;
    match claims["payload_hash"].as_str() {
        Some(hash) => {
            let expected = hash.to_ascii_lowercase();
            constant_time_eq(sha256_hex(&request.body).as_bytes(), expected.as_bytes())
                .map_err(|_| "the body's hash is wrong")?;
        }
        None if request.body.is_empty() => (),
        None => return Err("the token does not hold the body's hash"),
    }
    if let Some(now) = now
        && claims["exp"].as_i64().is_some_and(|exp| exp < now.0.div_euclid(1_000))
    {
        return Err("the token has expired");
    }
    check_freshness(now, claims["iat"].as_i64().ok_or("the token does not say when it was issued")?, JWT_WINDOW_MS)
}

/// Reads a delivery receipt, of which there is one for each part, or an incoming message.
fn parse_callback(parameters: &BTreeMap<String, String>, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let get = |name: &str| parameters.get(name).map(String::as_str);
    // The SMS API and the Messages API name their parameters differently.
    let status = get("status");
    let reference = get("client-ref").or_else(|| get("client_ref"));
    let Some(status) = status else { return Ok(inbound(parameters, now)) };
    let message = match (reference, get("messageId").or_else(|| get("message_uuid"))) {
        (Some(reference), _) if reference.parse::<events::AttemptId>().is_ok() => {
            MessageRef::Attempt { tenant: None, attempt: reference.to_owned() }
        }
        (_, Some(id)) => MessageRef::ProviderMessageId(id.to_owned()),
        _ => return Err("the callback names no message"),
    };
    // The Messages API sends `{"title": "1190", …}`.
    let error = get("error").and_then(|error| serde_json::from_str::<Value>(error).ok());
    let error = error.and_then(|error| error["title"].as_str().map(str::to_owned));
    let code = get("err-code").filter(|code| *code != "0").map(str::to_owned).or(error);
    let fact = match (status, code.as_deref()) {
        ("accepted" | "buffered" | "submitted", _) => ReportedStatus::Sent,
        ("delivered", _) => ReportedStatus::Delivered,
        ("read", _) => ReportedStatus::Read,
        ("failed" | "rejected" | "undeliverable", Some("3" | "4" | "9" | "12" | "13" | "14")) => {
            ReportedStatus::Bounced
        }
        ("rejected", Some("1050" | "1170" | "1190" | "1240" | "1300")) => ReportedStatus::Bounced,
        ("failed" | "rejected" | "undeliverable" | "expired", _) => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let id = get("messageId").or_else(|| get("message_uuid")).map(|id| format!("{id}:{status}"));
    let code = if fact == ReportedStatus::Unknown { unknown_code(status) } else { code };
    Ok(reports_only(vec![delivery_report(message, (fact, code), id, time(parameters).unwrap_or(now))]))
}

/// Parses the time of a callback: RFC 3339, or UTC without a zone, such as `2026-11-21 10:00:00`.
fn time(parameters: &BTreeMap<String, String>) -> Option<Timestamp> {
    let text = parameters.get("message-timestamp").or_else(|| parameters.get("timestamp"))?;
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(at.as_millisecond()));
    }
    let civil: jiff::civil::DateTime = text.replace('+', " ").parse().ok()?;
    let at = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(at.timestamp().as_millisecond()))
}

fn inbound(parameters: &BTreeMap<String, String>, now: Timestamp) -> ParsedCallback {
    let get = |names: [&str; 2]| names.iter().find_map(|name| parameters.get(*name).cloned());
    let (Some(from), Some(id)) = (get(["msisdn", "from"]), get(["messageId", "message_uuid"])) else {
        return ParsedCallback::default();
    };
    let at = time(parameters).unwrap_or(now);
    let from = format!("+{}", from.trim_start_matches('+'));
    let text = get(["text", "body"]);
    let inbound = InboundMessage { from, provider_message_id: id, kind: "text", text, keyword: None, at };
    ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() }
}
