//! Writes the log of callbacks.

use std::collections::BTreeMap;

use application::callback_log::{self, CallbackEntry, CallbackStatus};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{CallbackRequest, Provider};
use events::TenantId;

use crate::WebhookHandler;

/// Maximum number of bytes of a body that are stored.
const MAX_BODY: usize = 256 * 1024;

/// The outcome of a callback, in detail.
pub(crate) enum CallbackOutcome {
    /// The signature is missing or wrong.
    Refused(&'static str),
    /// The callback is verified but cannot be parsed.
    Unreadable(&'static str),
    Processed {
        /// Number of all delivery reports.
        total: usize,
        /// Number of delivery reports whose message is known.
        matched: usize,
        /// Number of delivery reports that are retried.
        waiting: usize,
        /// Number of incoming messages.
        inbound: usize,
    },
}

impl WebhookHandler {
    /// Writes an entry and returns its name. Best effort, because no decision depends on the log.
    pub(crate) async fn write_log_entry(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        request: &CallbackRequest,
        outcome: CallbackOutcome,
    ) -> String {
        let now = self.host.now();
        let (verified, status, detail) = match outcome {
            CallbackOutcome::Refused(reason) => (false, CallbackStatus::Refused, Some(reason.to_owned())),
            CallbackOutcome::Unreadable(reason) => (true, CallbackStatus::Unreadable, Some(reason.to_owned())),
            CallbackOutcome::Processed { total, matched, waiting, inbound } => {
                let status = match (waiting, matched) {
                    (1.., _) => CallbackStatus::Waiting,
                    (0, matched) if matched < total => CallbackStatus::Unmatched,
                    _ => CallbackStatus::Processed,
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
        let entry = CallbackEntry {
            received_at: now,
            provider: config.provider.clone(),
            channel_id: config.id.clone(),
            method: request.method.clone(),
            path: format!("/webhooks/{path}"),
            headers: redact_headers(&request.headers),
            truncated: stored.len() < request.body.len(),
            body,
            body_encoding: encoding.to_owned(),
            verified,
            status,
            detail,
        };
        let name = callback_log::entry_name(now, self.host.random() as u32);
        if let Err(error) = callback_log::save(&*self.documents, tenant, &name, &entry).await {
            tracing::error!(config = config.id, %error, "a callback was not logged");
        }
        name
    }
}

/// Removes credentials from the headers. Signatures stay, because they are needed for debugging.
fn redact_headers(headers: &[(String, String)]) -> BTreeMap<String, String> {
    let secret = ["authorization", "cookie", "x-telegram-bot-api-secret-token"];
    let redacted = headers.iter().map(|(name, value)| {
        let value = if secret.contains(&name.as_str()) { "…" } else { value.as_str() };
        (name.clone(), value.to_owned())
    });
    redacted.collect()
}
