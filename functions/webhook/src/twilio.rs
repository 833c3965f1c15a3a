//! Twilio's status callbacks: HMAC-SHA1 over our address as configured and the sorted form fields.

use axum::http::{HeaderMap, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::Report;
use domain::ports::StreamKey;
use events::{AttemptId, Fact, TenantId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::Callback;

/// Holds the account's token and our own address, which is part of what is signed.
pub struct Verifier {
    pub auth_token: String,
    /// Never taken from the Host header. Without a slash at the end.
    pub public_url: String,
}

impl Verifier {
    pub fn verify(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
        let signature = headers.get("x-twilio-signature").and_then(|value| value.to_str().ok());
        let Some(signature) = signature.and_then(|text| STANDARD.decode(text).ok()) else { return false };
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        self.mac(&format!("{}{path}", self.public_url), body).verify_slice(&signature).is_ok()
    }

    /// What Twilio would sign: the address, then each field's name and value, sorted; repeated values once.
    pub fn mac(&self, url: &str, body: &[u8]) -> Hmac<Sha1> {
        let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
        fields.sort();
        fields.dedup();
        let mut mac = Hmac::<Sha1>::new_from_slice(self.auth_token.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(url.as_bytes());
        for (name, value) in fields {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
        mac
    }
}

/// The fact of a callback; none when it names no attempt of ours. Twilio gives no time, so it is ours.
pub fn parse(query: &str, body: &[u8], now: Timestamp) -> Option<Callback> {
    let ours = |name: &str| {
        let found = form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name);
        found.map(|(_, value)| value.into_owned())
    };
    let field = |name: &str| {
        let found = form_urlencoded::parse(body).find(|(n, _)| n == name);
        found.map(|(_, value)| value.into_owned())
    };
    let tenant: TenantId = ours("tenant")?.parse().ok()?;
    let attempt: AttemptId = ours("attempt")?.parse().ok()?;
    let status = field("MessageStatus")?;
    let fact = match status.as_str() {
        "accepted" | "scheduled" | "queued" | "sending" => Fact::Accepted,
        "sent" => Fact::Sent,
        "delivered" => Fact::Delivered,
        "undelivered" | "failed" => Fact::Undelivered,
        "read" => Fact::Read,
        _ => Fact::Unknown,
    };
    let code = match fact {
        Fact::Unknown => Some(status.chars().take(40).collect()),
        _ => field("ErrorCode").filter(|code| code.len() <= 6 && code.bytes().all(|b| b.is_ascii_digit())),
    };
    let report = Report { attempt: Some(attempt.number), fact, event_id: None, at: now, code };
    Some(Callback { key: StreamKey { tenant, id: attempt.communication }, report })
}
