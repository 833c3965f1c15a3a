//! The log of callbacks to tenants' channels: each request as it was received, with its outcome, for 30 days.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ports::{DocumentKey, StoreError};
use domain::provider::{CallbackRequest, Provider};
use events::{TenantId, Timestamp};
use serde_json::json;

use crate::WebhookHandler;

const RETENTION_MS: i64 = 30 * 24 * 3_600_000;
/// The most bytes of a body that are stored.
const MAX_BODY: usize = 256 * 1024;

pub(crate) const PROCESSED: &str = "processed";
/// Some reports are about messages that are not known yet, and are retried.
pub(crate) const WAITING: &str = "waiting";
/// The retries found no message, or a report names what it must not.
pub(crate) const UNMATCHED: &str = "unmatched";

fn log_key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "callback", name: name.to_owned() }
}

/// What became of a callback.
pub(crate) enum CallbackOutcome {
    /// The signature is missing or wrong.
    Refused(&'static str),
    Unreadable(&'static str),
    Processed {
        /// All delivery reports.
        total: usize,
        /// Delivery reports whose message is known.
        matched: usize,
        /// Delivery reports that are retried.
        waiting: usize,
        inbound: usize,
    },
}

impl WebhookHandler {
    /// Writes an entry and returns its name. Best effort: everything that has an effect is in the streams.
    pub(crate) async fn write_entry(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        request: &CallbackRequest,
        outcome: CallbackOutcome,
    ) -> String {
        let now = self.host.now();
        let (verified, status, detail) = match outcome {
            CallbackOutcome::Refused(reason) => (false, "refused", Some(reason.to_owned())),
            CallbackOutcome::Unreadable(reason) => (true, "unreadable", Some(reason.to_owned())),
            CallbackOutcome::Processed { total, matched, waiting, inbound } => {
                let status = match (waiting, matched) {
                    (1.., _) => WAITING,
                    (0, matched) if matched < total => UNMATCHED,
                    _ => PROCESSED,
                };
                (true, status, Some(format!("{matched} of {total} facts matched, {inbound} messages received")))
            }
        };
        let stored = &request.body[..request.body.len().min(MAX_BODY)];
        let (body, encoding) = match std::str::from_utf8(stored) {
            Ok(text) => (text.to_owned(), "utf-8"),
            Err(_) => (STANDARD.encode(stored), "base64"),
        };
        let config = provider.config();
        // The last part of the path is the secret of the provider configuration, so it is left out.
        let path = request.url.split('?').next().unwrap_or_default();
        let path = path.split("/webhooks/").nth(1).unwrap_or_default().rsplit_once('/').map_or("", |(path, _)| path);
        let entry = json!({
            "receivedAt": now.0,
            "provider": config.provider,
            "channelId": config.id,
            "method": request.method,
            "path": format!("/webhooks/{path}"),
            "headers": redact_headers(&request.headers),
            "body": body,
            "bodyEncoding": encoding,
            "truncated": stored.len() < request.body.len(),
            "verified": verified,
            "status": status,
            "detail": detail,
        });
        let name = format!("{:013}#{:08x}", now.0, self.host.random() as u32);
        if let Err(error) =
            self.documents.put_document(&log_key(tenant, &name), &entry.to_string(), Some(now + RETENTION_MS)).await
        {
            tracing::error!(config = config.id, %error, "a callback was not logged");
        }
        name
    }

    /// Changes the status of an entry. Does nothing if the entry has expired.
    pub(crate) async fn set_status(&self, tenant: &TenantId, name: &str, status: &str) -> Result<(), StoreError> {
        let key = log_key(tenant, name);
        let Some(stored) = self.documents.get_document(&key, self.host.now()).await? else { return Ok(()) };
        let Ok(mut entry) = serde_json::from_str::<serde_json::Value>(&stored) else { return Ok(()) };
        entry["status"] = json!(status);
        let until = entry["receivedAt"].as_i64().map(|at| Timestamp(at) + RETENTION_MS);
        self.documents.put_document(&key, &entry.to_string(), until).await
    }
}

/// Removes credentials from the headers. Signatures stay, because they are needed for debugging.
fn redact_headers(headers: &[(String, String)]) -> serde_json::Value {
    let secret = ["authorization", "cookie", "x-telegram-bot-api-secret-token"];
    let redacted = headers.iter().map(|(name, value)| {
        let value = if secret.contains(&name.as_str()) { "…" } else { value.as_str() };
        (name.clone(), json!(value))
    });
    serde_json::Value::Object(redacted.collect())
}
