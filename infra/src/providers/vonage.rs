//! Vonage SMS: `POST /sms/json`, always 200; the status of each part is in the body. `client-ref` comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use jsonwebtoken::Algorithm;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::Value;

use super::signatures::{
    Keys, SignatureCheck, Verdict, claims, decode_hex, hex, hmac_md5, hmac_sha1, hmac_sha256, hmac_sha512, same,
    sha256_hex, within,
};
use super::{
    ConnectionSettings, Entry, HttpExchange, balance, classify_status, exchange, fault, query_api, refused,
    reports_only, text_with_links, told, unexpected_format, unknown_code,
};

pub(super) const ENTRY: Entry = Entry {
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
        SettingSpec::secret("apiSecret", "Its API secret"),
        SettingSpec::required("from", "A number of yours, or a name where the country takes one"),
        SettingSpec::optional_secret("signatureSecret", "Signs its callbacks; without it they are refused"),
        SettingSpec::optional(
            "signatureMethod",
            "sha256 (default), sha512, or jwt for signed webhooks of the Messages API",
        ),
    ],
    capabilities: CAN,
    signs: "HMAC over the sorted parameters, or a JWT with the body's hash",
};
const CAN: Capabilities = Capabilities { balance: true, ..Capabilities::TEXT };

/// A delivery receipt is tried for a day.
const SIG_WINDOW_MS: i64 = 25 * 3_600_000;
const JWT_WINDOW_MS: i64 = 5 * 60_000;

struct Vonage {
    link: ConnectionSettings,
    base: String,
    api_key: String,
    api_secret: String,
    from: String,
    scheme: SignatureCheck,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let scheme: SignatureCheck = match link.or("signatureMethod", "sha256").as_str() {
        "sha256" => |request, keys, now| verify_sig(request, keys, now, "sha256"),
        "sha512" => |request, keys, now| verify_sig(request, keys, now, "sha512"),
        "jwt" => verify_jwt,
        _ => return Err(fault("signatureMethod", "signatureMethod is sha256, sha512 or jwt.")),
    };
    Ok(Arc::new(Vonage {
        base: link.base_url("https://rest.nexmo.com"),
        api_key: link.need("apiKey")?,
        api_secret: link.need("apiSecret")?,
        from: link.need("from")?,
        scheme,
        link,
    }))
}

#[derive(Deserialize)]
struct Taken {
    messages: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    status: String,
    #[serde(rename = "message-id")]
    id: Option<String>,
}

#[async_trait]
impl Provider for Vonage {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAN.max_characters);
        let is_gsm = domain::sms::segments(&text).encoding == domain::sms::Encoding::Gsm7;
        // `client-ref` takes 40 characters: the tenant is known by the configuration that is called back.
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
            ("callback", &self.link.callback_url),
        ];
        let request = self.link.http.client.post(format!("{}/sms/json", self.base)).form(&fields);
        match exchange(request, timeout_ms).await {
            Ok(exchange) => answered(&exchange),
            Err(answer) => answer.into(),
        }
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct Left {
            value: f64,
        }
        let Left { value } = self.account_balance(timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(value, "EUR")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.account_balance(timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let keys = Keys { secret: self.link.or("signatureSecret", ""), ..Keys::default() };
        (self.scheme)(request, &keys, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        hear(&parameters(request), now)
    }
}

impl Vonage {
    async fn account_balance(&self, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let request = self.link.http.client.get(format!("{}/account/get-balance", self.base));
        query_api(request.basic_auth(&self.api_key, Some(&self.api_secret)), timeout_ms).await
    }
}

/// One part refused refuses the whole: the phone cannot put together what is left.
fn answered(exchange: &HttpExchange) -> SendResult {
    if let Some(no) = classify_status(exchange, exchange.code()) {
        return no.into();
    }
    let Some(taken) = exchange.json::<Taken>().filter(|taken| !taken.messages.is_empty()) else {
        return exchange.unreadable_response();
    };
    let first_refused = taken.messages.iter().position(|part| part.status != "0");
    match first_refused {
        None => {
            let id = taken.messages[0].id.clone().unwrap_or_default();
            exchange.accepted(id, u16::try_from(taken.messages.len()).ok())
        }
        // Some parts are on their way: sending all of it again would repeat them.
        Some(place) if place > 0 => {
            refused(RefusalClass::Permanent, taken.messages[place].status.as_str(), None).into()
        }
        Some(place) => {
            let code = taken.messages[place].status.as_str();
            let class = match code {
                "1" | "10" => RefusalClass::Throttled,
                "5" => RefusalClass::Transient,
                "4" | "8" | "11" | "14" | "29" | "32" => RefusalClass::Auth,
                "9" => RefusalClass::Balance,
                _ => RefusalClass::Permanent,
            };
            refused(class, code, exchange.retry_after_ms()).into()
        }
    }
}

/// Whatever the account is set to: a query, a form or JSON.
fn parameters(request: &CallbackRequest) -> BTreeMap<String, String> {
    let of_form = |form: &[u8]| form_urlencoded::parse(form).into_owned().collect::<BTreeMap<_, _>>();
    if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        return body.into_iter().map(|(name, value)| (name, text(value))).collect();
    }
    if request.body.is_empty() { of_form(request.query().as_bytes()) } else { of_form(&request.body) }
}

/// `&name=value` of every parameter, sorted by name, `&` and `=` in values as `_`; then the secret, or keyed with it.
fn verify_sig(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>, method: &str) -> Verdict {
    let mut parameters = parameters(request);
    let given = parameters.remove("sig").ok_or("no sig")?;
    if keys.secret.is_empty() {
        return Err("there is no signature secret to check it with");
    }
    let mut signed = String::new();
    for (name, value) in &parameters {
        signed.push_str(&format!("&{name}={}", value.replace(['&', '='], "_")));
    }
    let (key, text) = (keys.secret.as_bytes(), signed.as_bytes());
    let expected = match method {
        "md5hash" => {
            let hash = Md5::digest([text, key].concat());
            return same(hex(&hash).as_bytes(), given.to_ascii_lowercase().as_bytes());
        }
        "md5" => hmac_md5(key, &[text]),
        "sha1" => hmac_sha1(key, &[text]),
        "sha256" => hmac_sha256(key, &[text]),
        _ => hmac_sha512(key, &[text]),
    };
    same(&expected, &decode_hex(&given).ok_or("the signature is not hexadecimal")?)?;
    match parameters.get("timestamp") {
        Some(seconds) => within(now, seconds.parse().map_err(|_| "the timestamp is no number")?, SIG_WINDOW_MS),
        None => Ok(()),
    }
}

/// A token in the Authorization header, with the hash of the body among its claims.
fn verify_jwt(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>) -> Verdict {
    let header = request.header("authorization").ok_or("no Authorization header")?;
    let token = header.strip_prefix("Bearer ").ok_or("the Authorization header holds no bearer token")?;
    if keys.secret.is_empty() {
        return Err("there is no signature secret to check it with");
    }
    let claims = claims(token, keys.secret.as_bytes(), &[Algorithm::HS256])?;
    match claims["payload_hash"].as_str() {
        Some(hash) => {
            let given = hash.to_ascii_lowercase();
            same(sha256_hex(&request.body).as_bytes(), given.as_bytes()).map_err(|_| "the body's hash is wrong")?;
        }
        None if request.body.is_empty() => (),
        None => return Err("the token does not name the body's hash"),
    }
    if let Some(now) = now
        && claims["exp"].as_i64().is_some_and(|exp| exp < now.0.div_euclid(1_000))
    {
        return Err("the token has expired");
    }
    within(now, claims["iat"].as_i64().ok_or("the token says not when it was made")?, JWT_WINDOW_MS)
}

/// A delivery receipt, one for each part; or a message to us.
fn hear(parameters: &BTreeMap<String, String>, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let get = |name: &str| parameters.get(name).map(String::as_str);
    // The Messages API has names of its own.
    let status = get("status");
    let reference = get("client-ref").or_else(|| get("client_ref"));
    let Some(status) = status else { return Ok(inbound(parameters, now)) };
    let about = match (reference, get("messageId").or_else(|| get("message_uuid"))) {
        (Some(reference), _) if reference.parse::<events::AttemptId>().is_ok() => {
            MessageRef::Attempt { tenant: None, attempt: reference.to_owned() }
        }
        (_, Some(id)) => MessageRef::ProviderMessageId(id.to_owned()),
        _ => return Err("it names no message"),
    };
    // `{"title": "1190", …}` in the Messages API.
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
    Ok(reports_only(vec![told(about, (fact, code), id, time(parameters).unwrap_or(now))]))
}

/// UTC, without a zone: `2026-11-21 10:00:00`.
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
