//! MessageBird, now Bird: `POST /v1/sms/messages`, 202 with `id`. It takes an idempotency key and echoes metadata. Its
//! callbacks are Standard Webhooks; those of the older API, which are still sent, are signed with a JWT.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{
    CallbackRequest, Capabilities, ConsentChange, InboundMessage, InvalidSetting, MessageRef, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, QueryResult, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::signatures::{Keys, Verdict, claims, hmac_sha256, same, sha256_hex, verify_standard, within};
use super::{
    ConnectionSettings, Entry, classify_status, exchange, fault, field, query_by_idempotent_repeat, refused,
    report_with_consent, reports_only, text_with_links, unknown_code,
};

pub(super) const ENTRY: Entry = Entry {
    kind: &KIND,
    connect,
    schemes: &[
        ("standard-webhooks-v1", verify_standard),
        ("messagebird-jwt", verify_jwt),
        ("messagebird-hmac-sha256-legacy", verify_legacy),
    ],
};

static KIND: ProviderKind = ProviderKind {
    name: "messagebird",
    title: "MessageBird (Bird)",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::secret("apiKey", "bk_{region}_…: the region is part of it"),
        SettingSpec::required("from", "A number or name of yours"),
        SettingSpec::optional_secret("webhookSecret", "whsec_… of the webhook; without it callbacks are refused"),
        SettingSpec::optional_secret("signingKey", "Of the older API, where its reports still come"),
        SettingSpec::optional("category", "transactional (default) or marketing"),
    ],
    capabilities: CAN,
    signs: "Standard Webhooks; JWT for the older API",
};
const CAN: Capabilities = Capabilities { idempotency_key: true, query: true, ..Capabilities::TEXT };

const WINDOW_MS: i64 = 5 * 60_000;

struct MessageBird {
    link: ConnectionSettings,
    base: String,
    api_key: String,
    from: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let api_key = link.need("apiKey")?;
    let region = api_key.strip_prefix("bk_").and_then(|rest| rest.split_once('_')).map(|(region, _)| region);
    let region = region.filter(|region| !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric()));
    let region = region.ok_or_else(|| fault("apiKey", "apiKey begins with bk_ and its region: bk_eu1_…."))?;
    let base = link.base_url(&format!("https://{region}.platform.bird.com"));
    Ok(Arc::new(MessageBird { base, from: link.need("from")?, api_key, link }))
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
}

#[async_trait]
impl Provider for MessageBird {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAN.max_characters);
        let segments = domain::sms::segments(&text).count;
        let body = json!({
            "to": outbound.to,
            "from": self.from,
            "text": text,
            "category": self.link.or("category", "transactional"),
            "metadata": { "businessId": outbound.tenant, "attemptId": outbound.attempt.to_string() },
        });
        let request = self.link.http.client.post(format!("{}/v1/sms/messages", self.base));
        let request = request.bearer_auth(&self.api_key).header("idempotency-key", outbound.attempt.to_string());
        let exchange = match exchange(request.json(&body), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        let Some(no) = classify_status(&exchange, exchange.code()) else {
            let taken = exchange.json::<Taken>();
            return taken
                .map_or_else(|| exchange.unreadable_response(), |taken| exchange.accepted(taken.id, Some(segments)));
        };
        let Some(fault) = exchange.json::<Fault>() else { return no.into() };
        let code = fault.code.or(fault.kind.clone()).unwrap_or_else(|| exchange.code().to_owned());
        let class = match fault.kind.as_deref() {
            Some("auth_error" | "permission_error") => RefusalClass::Auth,
            Some("billing_error") => RefusalClass::Balance,
            Some("rate_limit_error") => RefusalClass::Throttled,
            Some("validation_error") => RefusalClass::Permanent,
            _ => return no.into(),
        };
        let opted_out = code == "recipient_opted_out";
        SendResult { opted_out, ..refused(class, code, exchange.retry_after_ms()).into() }
    }

    /// The same request with the same key: it is answered as the first one was, and makes no second message.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        _: Timestamp,
        _: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        query_by_idempotent_repeat(self.send(outbound, timeout_ms).await.answer)
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let (name, scheme): (_, super::signatures::SignatureCheck) = match request.header("messagebird-signature-jwt") {
            Some(_) => ("signingKey", verify_jwt),
            None => ("webhookSecret", verify_standard),
        };
        scheme(request, &Keys { secret: self.link.or(name, ""), ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.header("messagebird-signature-jwt") {
            Some(_) => parse_legacy_callback(request, now),
            None => hear(request, now),
        }
    }
}

/// Claims name the hashes of our address and of the body.
fn verify_jwt(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>) -> Verdict {
    let token = request.header("messagebird-signature-jwt").ok_or("no signature header")?;
    if keys.secret.is_empty() {
        return Err("there is no signing key to check it with");
    }
    let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let claims = claims(token, keys.secret.as_bytes(), &algorithms)?;
    if claims["iss"] != "MessageBird" {
        return Err("the token is somebody else's");
    }
    let url_hash = claims["url_hash"].as_str().ok_or("the token does not name our address")?;
    same(sha256_hex(request.url.as_bytes()).as_bytes(), url_hash.as_bytes())
        .map_err(|_| "it is for another address")?;
    match (claims["payload_hash"].as_str(), request.body.is_empty()) {
        (Some(hash), false) => {
            same(sha256_hex(&request.body).as_bytes(), hash.as_bytes()).map_err(|_| "the body's hash is wrong")?;
        }
        (None, true) => (),
        (Some(_), true) => return Err("the body is missing"),
        (None, false) => return Err("the token does not name the body's hash"),
    }
    let Some(now) = now else { return Ok(()) };
    // A second of grace: clocks are not the same.
    let seconds = now.0.div_euclid(1_000);
    match (claims["nbf"].as_i64(), claims["exp"].as_i64()) {
        (Some(nbf), _) if seconds + 1 < nbf => Err("its time is in the future"),
        (_, Some(exp)) if exp + 1 < seconds => Err("the token has expired"),
        (_, Some(_)) => Ok(()),
        (_, None) => Err("the token never expires"),
    }
}

/// Deprecated: over timestamp, sorted query and the body's hash. Read for those who debug it; never accepted.
fn verify_legacy(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>) -> Verdict {
    let given = request.header("messagebird-signature").ok_or("no signature header")?;
    let given = STANDARD.decode(given).map_err(|_| "the signature is not base64")?;
    let timestamp = request.header("messagebird-request-timestamp").ok_or("no timestamp header")?;
    let mut pairs: Vec<_> = form_urlencoded::parse(request.query().as_bytes()).collect();
    pairs.sort();
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let body = Sha256::digest(&request.body);
    let signed = [timestamp.as_bytes(), b"\n", query.as_bytes(), b"\n", &body];
    same(&hmac_sha256(keys.secret.as_bytes(), &signed), &given)?;
    within(now, timestamp.parse().map_err(|_| "the timestamp is no number")?, WINDOW_MS)
}

fn time(text: Option<&str>, now: Timestamp) -> Timestamp {
    let at = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.map_or(now, |at| Timestamp(at.as_millisecond()))
}

fn hear(request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| "not an event of Bird's")?;
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    let kind = text("/type").ok_or("an event without a type")?;
    let at = time(text("/timestamp"), now);
    match kind {
        "sms.received" => {
            let from = text("/data/from").ok_or("a message without a sender")?.to_owned();
            let id = text("/data/sms_id").or_else(|| text("/data/id")).unwrap_or_default().to_owned();
            let said = text("/data/text").map(str::to_owned);
            let inbound = InboundMessage { from, provider_message_id: id, kind: "text", text: said, keyword: None, at };
            return Ok(ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() });
        }
        "sms_suppression.created" => {
            let contact = text("/data/phone_number").or_else(|| text("/data/to")).ok_or("no number")?.to_owned();
            let consent = ConsentChange { contact, is_opt_out: true, reason: "provider_opt_out" };
            return Ok(ParsedCallback { consent_changes: vec![consent], ..ParsedCallback::default() });
        }
        _ => (),
    }
    let ours = |name: &str| body.pointer("/data/metadata")?.get(name)?.as_str();
    let ids = ours("businessId").and_then(|t| t.parse().ok()).zip(ours("attemptId").and_then(|a| a.parse().ok()));
    let Some(ids) = ids else { return Ok(ParsedCallback::default()) };
    let code = text("/data/error/code").map(str::to_owned);
    let opted_out = matches!(code.as_deref(), Some("blocked_by_recipient" | "recipient_opted_out"));
    let fact = match (kind, code.as_deref()) {
        ("sms.accepted", _) => ReportedStatus::Accepted,
        ("sms.sent", _) => ReportedStatus::Sent,
        ("sms.delivered", _) => ReportedStatus::Delivered,
        ("sms.failed", Some("invalid_destination" | "landline_unreachable")) => ReportedStatus::Bounced,
        ("sms.undelivered" | "sms.expired" | "sms.failed" | "sms.rejected", _) => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let id = request.header("webhook-id").map(str::to_owned);
    let code = if fact == ReportedStatus::Unknown { unknown_code(kind) } else { code };
    Ok(reports_only(report_with_consent(MessageRef::from_attempt(ids), (fact, code), id, at, opted_out)))
}

/// Reports of the older API: everything is in the address.
fn parse_legacy_callback(request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let get = |name: &str| field(request.query().as_bytes(), name);
    let (id, status) = (get("id").ok_or("it names no message")?, get("status").ok_or("it has no status")?);
    let reason = get("statusReason");
    let fact = match (status.as_str(), reason.as_deref()) {
        ("scheduled", _) => ReportedStatus::Accepted,
        ("sent" | "buffered", _) => ReportedStatus::Sent,
        ("delivered", _) => ReportedStatus::Delivered,
        ("delivery_failed", Some("unknown subscriber" | "incorrect number")) => ReportedStatus::Bounced,
        ("delivery_failed" | "expired", _) => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { get("statusErrorCode") };
    let opted_out = reason.as_deref() == Some("opted out");
    let about = match super::parse_attempt_ref(&get("reference").unwrap_or_default()) {
        Some(ids) => MessageRef::from_attempt(ids),
        None => MessageRef::ProviderMessageId(id.clone()),
    };
    let at = time(get("statusDatetime").as_deref(), now);
    Ok(reports_only(report_with_consent(about, (fact, code), Some(format!("{id}:{status}")), at, opted_out)))
}
