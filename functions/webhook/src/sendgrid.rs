//! SendGrid's Event Webhook: ECDSA P-256 over the timestamp header and the raw body.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::Report;
use domain::ports::StreamKey;
use events::{AttemptId, Fact, TenantId, Timestamp};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

use crate::Callback;

/// SendGrid tries for a day; a request older than two is not one of its retries.
const WINDOW_MS: i64 = 48 * 3_600_000;

/// Holds the webhook's public key.
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// `key`: base64 of the public key, as SendGrid's settings show it. None: not a P-256 key.
    pub fn new(key: &str) -> Option<Self> {
        let der = STANDARD.decode(key.trim()).ok()?;
        VerifyingKey::from_public_key_der(&der).ok().map(Verifier)
    }

    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let Some(timestamp) = header("x-twilio-email-event-webhook-timestamp") else { return false };
        let Some(signature) = header("x-twilio-email-event-webhook-signature") else { return false };
        let Ok(seconds) = timestamp.parse::<i64>() else { return false };
        if WINDOW_MS < now.since(Timestamp(seconds.saturating_mul(1_000))).abs() {
            return false;
        }
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let Ok(signature) = DerSignature::try_from(signature.as_slice()) else { return false };
        let signed = [timestamp.as_bytes(), body].concat();
        self.0.verify(&signed, &signature).is_ok()
    }
}

#[derive(Deserialize)]
struct Event {
    event: String,
    timestamp: i64,
    sg_event_id: Option<String>,
    /// SMTP status, such as 5.1.1. Its long text is not kept: it may hold addresses.
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "businessId")]
    tenant: Option<String>,
    #[serde(rename = "attemptId")]
    attempt: Option<String>,
}

/// The facts of a callback that are about communications of ours.
///
/// # Errors
///
/// Not a JSON list. An element that is not an event is left out: its neighbours count.
pub fn parse(body: &[u8]) -> Result<Vec<Callback>, serde_json::Error> {
    let items: Vec<serde_json::Value> = serde_json::from_slice(body)?;
    let events = items.into_iter().filter_map(|item| serde_json::from_value::<Event>(item).ok());
    Ok(events.filter_map(callback).collect())
}

fn callback(event: Event) -> Option<Callback> {
    let tenant: TenantId = event.tenant?.parse().ok()?;
    let attempt: AttemptId = event.attempt?.parse().ok()?;
    let fact = match (event.event.as_str(), event.kind.as_deref()) {
        ("processed", _) => Fact::Accepted,
        ("deferred", _) => Fact::Deferred,
        ("delivered", _) => Fact::Delivered,
        ("bounce", Some("blocked")) => Fact::Undelivered,
        ("bounce", _) => Fact::Bounced,
        ("dropped", _) => Fact::Dropped,
        ("open", _) => Fact::Opened,
        ("click", _) => Fact::Clicked,
        ("spamreport", _) => Fact::Complained,
        ("unsubscribe" | "group_unsubscribe", _) => Fact::Unsubscribed,
        _ => Fact::Unknown,
    };
    let code = match fact {
        Fact::Unknown => Some(event.event.chars().take(40).collect()),
        _ => event.status.filter(|s| s.len() <= 12 && s.chars().all(|c| c.is_ascii_digit() || c == '.')),
    };
    let report = Report {
        attempt: Some(attempt.number),
        fact,
        event_id: event.sg_event_id.filter(|id| id.len() <= 100),
        at: Timestamp(event.timestamp.saturating_mul(1_000)),
        code,
    };
    Some(Callback { key: StreamKey { tenant, id: attempt.communication }, report })
}
