//! MessageBird, now Bird: `POST /v1/sms/messages` answers 202 with an `id`. It accepts an idempotency key and echoes
//! metadata. Callbacks are Standard Webhooks. Those of the older API, which are still sent, are signed with a JWT.

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

use super::attempt_ids::{form_field, parse_attempt_ref};
use super::callback::{report_with_consent, reports_only, unknown_code};
use super::http::{classify_status, exchange};
use super::outcome::{query_by_idempotent_repeat, refusal_outcome};
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{
    SignatureCheck, VerificationKeys, VerifyResult, check_freshness, constant_time_eq, hmac_sha256, sha256_hex,
    verify_jwt_claims, verify_standard,
};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration {
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
        SettingSpec::secret("apiKey", "The key bk_{region}_…, which contains the region"),
        SettingSpec::required("from", "Your number or sender name"),
        SettingSpec::optional_secret("webhookSecret", "The webhook's secret whsec_…; without it callbacks are refused"),
        SettingSpec::optional_secret("signingKey", "The signing key of the older API, if its reports still arrive"),
        SettingSpec::optional("category", "transactional (default) or marketing"),
    ],
    capabilities: CAPABILITIES,
    signs: "Standard Webhooks; JWT for the older API",
};
const CAPABILITIES: Capabilities = Capabilities { idempotency_key: true, query: true, ..Capabilities::TEXT };

/// Maximum age of a callback with the deprecated signature, in milliseconds.
const WINDOW_MS: i64 = 5 * 60_000;

struct MessageBird {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    from: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let api_key = connection.require("apiKey")?;
    let region = api_key.strip_prefix("bk_").and_then(|rest| rest.split_once('_')).map(|(region, _)| region);
    let region = region.filter(|region| !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric()));
    let region =
        region.ok_or_else(|| invalid_setting("apiKey", "apiKey begins with bk_ and its region, such as bk_eu1_…."))?;
    let base = connection.base_url(&format!("https://{region}.platform.bird.com"));
    Ok(Arc::new(MessageBird { base, from: connection.require("from")?, api_key, connection }))
}

#[derive(Deserialize)]
struct SendResponse {
    id: String,
}

#[derive(Deserialize)]
struct ErrorResponse {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
}

#[async_trait]
impl Provider for MessageBird {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        let segments = domain::sms::segments(&text).count;
        let body = json!({
            "to": outbound.to,
            "from": self.from,
            "text": text,
            "category": self.connection.get_or("category", "transactional"),
            "metadata": { "businessId": outbound.tenant, "attemptId": outbound.attempt.to_string() },
        });
        let request = self.connection.http.client.post(format!("{}/v1/sms/messages", self.base));
        let request = request.bearer_auth(&self.api_key).header("idempotency-key", outbound.attempt.to_string());
        let exchange = match exchange(request.json(&body), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        let error =
            exchange.json::<ErrorResponse>().and_then(|error| Some((error.kind.clone(), error.code.or(error.kind)?)));
        let Some(outcome) = classify_status(&exchange, error.as_ref().map(|(_, code)| code.as_str())) else {
            let response = exchange.json::<SendResponse>();
            return response.map_or_else(
                || exchange.unreadable_response(),
                |response| exchange.accepted(response.id, Some(segments)),
            );
        };
        let Some((kind, code)) = error else { return outcome.into() };
        let class = match kind.as_deref() {
            Some("auth_error" | "permission_error") => RefusalClass::Auth,
            Some("billing_error") => RefusalClass::Balance,
            Some("rate_limit_error") => RefusalClass::Throttled,
            Some("validation_error") => RefusalClass::Permanent,
            _ => return outcome.into(),
        };
        let opted_out = code == "recipient_opted_out";
        SendResult { opted_out, ..refusal_outcome(class, code, exchange.retry_after_ms()).into() }
    }

    /// Repeats the request. With the same idempotency key, it is answered as the first one was and creates no second
    /// message.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        _: Timestamp,
        _: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        query_by_idempotent_repeat(self.send(outbound, timeout_ms).await.answer)
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let (name, scheme): (_, SignatureCheck) = match request.header("messagebird-signature-jwt") {
            Some(_) => ("signingKey", verify_jwt),
            None => ("webhookSecret", verify_standard),
        };
        scheme(
            request,
            &VerificationKeys { secret: self.connection.get_or(name, ""), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.header("messagebird-signature-jwt") {
            Some(_) => parse_legacy_callback(request, now),
            None => parse_callback(request, now),
        }
    }
}

/// Checks the token in the signature header, whose claims hold the hashes of our address and of the body.
fn verify_jwt(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let token = request.header("messagebird-signature-jwt").ok_or("no signature header")?;
    if keys.secret.is_empty() {
        return Err("no signing key is configured");
    }
    let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let claims = verify_jwt_claims(token, keys.secret.as_bytes(), &algorithms)?;
    if claims["iss"] != "MessageBird" {
        return Err("the token was not issued by MessageBird");
    }
    let url_hash = claims["url_hash"].as_str().ok_or("the token does not hold our address's hash")?;
    constant_time_eq(sha256_hex(request.url.as_bytes()).as_bytes(), url_hash.as_bytes())
        .map_err(|_| "the token is for another address")?;
    match (claims["payload_hash"].as_str(), request.body.is_empty()) {
        (Some(hash), false) => {
            constant_time_eq(sha256_hex(&request.body).as_bytes(), hash.as_bytes())
                .map_err(|_| "the body's hash is wrong")?;
        }
        (None, true) => (),
        (Some(_), true) => return Err("the body is missing"),
        (None, false) => return Err("the token does not hold the body's hash"),
    }
    let Some(now) = now else { return Ok(()) };
    // Clocks may differ by a second.
    let seconds = now.0.div_euclid(1_000);
    match (claims["nbf"].as_i64(), claims["exp"].as_i64()) {
        (Some(nbf), _) if seconds + 1 < nbf => Err("its time is in the future"),
        (_, Some(exp)) if exp + 1 < seconds => Err("the token has expired"),
        (_, Some(_)) => Ok(()),
        (_, None) => Err("the token never expires"),
    }
}

/// Checks the deprecated signature: an HMAC over the timestamp, the sorted query and the body's hash. It is only used
/// to examine recorded callbacks. Real callbacks that use it are refused.
fn verify_legacy(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let signature = request.header("messagebird-signature").ok_or("no signature header")?;
    let signature = STANDARD.decode(signature).map_err(|_| "the signature is not base64")?;
    let timestamp = request.header("messagebird-request-timestamp").ok_or("no timestamp header")?;
    let mut pairs: Vec<_> = form_urlencoded::parse(request.query().as_bytes()).collect();
    pairs.sort();
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let body = Sha256::digest(&request.body);
    let signed = [timestamp.as_bytes(), b"\n", query.as_bytes(), b"\n", &body];
    constant_time_eq(&hmac_sha256(keys.secret.as_bytes(), &signed), &signature)?;
    check_freshness(now, timestamp.parse().map_err(|_| "the timestamp is not a number")?, WINDOW_MS)
}

fn time(text: Option<&str>, now: Timestamp) -> Timestamp {
    let at = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.map_or(now, |at| Timestamp(at.as_millisecond()))
}

fn parse_callback(request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| "the body is not a Bird event")?;
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    let kind = text("/type").ok_or("the event has no type")?;
    let at = time(text("/timestamp"), now);
    match kind {
        "sms.received" => {
            let from = text("/data/from").ok_or("the message has no sender")?.to_owned();
            let id = text("/data/sms_id").or_else(|| text("/data/id")).unwrap_or_default().to_owned();
            let text = text("/data/text").map(str::to_owned);
            let inbound = InboundMessage { from, provider_message_id: id, kind: "text", text, keyword: None, at };
            return Ok(ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() });
        }
        "sms_suppression.created" => {
            let contact = text("/data/phone_number")
                .or_else(|| text("/data/to"))
                .ok_or("the suppression names no number")?
                .to_owned();
            let consent = ConsentChange { contact, is_opt_out: true, reason: "provider_opt_out" };
            return Ok(ParsedCallback { consent_changes: vec![consent], ..ParsedCallback::default() });
        }
        _ => (),
    }
    let metadata = |name: &str| body.pointer("/data/metadata")?.get(name)?.as_str();
    let ids =
        metadata("businessId").and_then(|t| t.parse().ok()).zip(metadata("attemptId").and_then(|a| a.parse().ok()));
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

/// Reads a report of the older API, whose fields are all in the query.
fn parse_legacy_callback(request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let get = |name: &str| form_field(request.query().as_bytes(), name);
    let (id, status) =
        (get("id").ok_or("the report names no message")?, get("status").ok_or("the report has no status")?);
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
    let message = match parse_attempt_ref(&get("reference").unwrap_or_default()) {
        Some(ids) => MessageRef::from_attempt(ids),
        None => MessageRef::ProviderMessageId(id.clone()),
    };
    let at = time(get("statusDatetime").as_deref(), now);
    Ok(reports_only(report_with_consent(message, (fact, code), Some(format!("{id}:{status}")), at, opted_out)))
}
