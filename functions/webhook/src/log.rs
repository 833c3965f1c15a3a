//! Every callback as it came, with what was made of it, for 30 days.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ports::{DocumentKey, StoreError};
use domain::provider::{CallbackRequest, Provider};
use events::{TenantId, Timestamp};
use serde_json::json;

use crate::Webhook;

const RETENTION_MS: i64 = 30 * 24 * 3_600_000;
/// Bytes of a body that are kept.
const MAX_BODY: usize = 256 * 1024;

pub(crate) const PROCESSED: &str = "processed";
/// Some of it is about no message that is known, and is tried again.
pub(crate) const WAITING: &str = "waiting";
/// It was tried again in vain.
pub(crate) const UNMATCHED: &str = "unmatched";

fn log_key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "callback", name: name.to_owned() }
}

pub(crate) enum Outcome {
    /// Not signed as it should be.
    Refused(&'static str),
    Unreadable(&'static str),
    Taken {
        /// Facts, and those whose message is known.
        total: usize,
        matched: usize,
        /// Facts that are tried again.
        waiting: usize,
        inbound: usize,
    },
}

impl Webhook {
    /// Its name in the log. Best effort: what matters is in the streams.
    pub(crate) async fn keep(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        request: &CallbackRequest,
        outcome: Outcome,
    ) -> String {
        let now = self.host.now();
        let (verified, status, detail) = match outcome {
            Outcome::Refused(why) => (false, "refused", Some(why.to_owned())),
            Outcome::Unreadable(why) => (true, "unreadable", Some(why.to_owned())),
            Outcome::Taken { total, matched, waiting, inbound } => {
                let status = match (waiting, matched) {
                    (1.., _) => WAITING,
                    (0, matched) if matched < total => UNMATCHED,
                    _ => PROCESSED,
                };
                (true, status, Some(format!("{matched} of {total} facts matched, {inbound} messages received")))
            }
        };
        let kept = &request.body[..request.body.len().min(MAX_BODY)];
        let (body, encoding) = match std::str::from_utf8(kept) {
            Ok(text) => (text.to_owned(), "utf-8"),
            Err(_) => (STANDARD.encode(kept), "base64"),
        };
        let account = provider.config();
        // The address holds the secret of the configuration: its path is cut before it.
        let path = request.url.split('?').next().unwrap_or_default();
        let path = path.split("/webhooks/").nth(1).unwrap_or_default().rsplit_once('/').map_or("", |(path, _)| path);
        let entry = json!({
            "receivedAt": now.0,
            "provider": account.provider,
            "channelId": account.id,
            "method": request.method,
            "path": format!("/webhooks/{path}"),
            "headers": shown(&request.headers),
            "body": body,
            "bodyEncoding": encoding,
            "truncated": kept.len() < request.body.len(),
            "verified": verified,
            "status": status,
            "detail": detail,
        });
        let name = format!("{:013}#{:08x}", now.0, self.host.random() as u32);
        if let Err(error) =
            self.documents.put_document(&log_key(tenant, &name), &entry.to_string(), Some(now + RETENTION_MS)).await
        {
            tracing::error!(config = account.id, %error, "a callback was not logged");
        }
        name
    }

    /// What became of it after a while. Best effort too.
    pub(crate) async fn set_status(&self, tenant: &TenantId, name: &str, status: &str) -> Result<(), StoreError> {
        let key = log_key(tenant, name);
        let Some(kept) = self.documents.get_document(&key, self.host.now()).await? else { return Ok(()) };
        let Ok(mut entry) = serde_json::from_str::<serde_json::Value>(&kept) else { return Ok(()) };
        entry["status"] = json!(status);
        let until = entry["receivedAt"].as_i64().map(|at| Timestamp(at) + RETENTION_MS);
        self.documents.put_document(&key, &entry.to_string(), until).await
    }
}

/// Without credentials of any kind: signatures stay, for they are what is debugged.
fn shown(headers: &[(String, String)]) -> serde_json::Value {
    let secret = ["authorization", "cookie", "x-telegram-bot-api-secret-token"];
    let shown = headers.iter().map(|(name, value)| {
        let value = if secret.contains(&name.as_str()) { "…" } else { value.as_str() };
        (name.clone(), json!(value))
    });
    serde_json::Value::Object(shown.collect())
}
