//! Writes the log of callbacks.

use std::collections::BTreeMap;

use application::callback_log::{self, CallbackEntry, CallbackStatus};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{CallbackRequest, Provider};
use events::{CommunicationId, TenantId};

use crate::WebhookHandler;

/// Maximum number of bytes of a body that are stored.
const MAX_BODY: usize = 256 * 1024;

/// The outcome of a callback, in detail.
#[derive(Debug)]
pub(crate) enum CallbackOutcome {
    /// The signature is missing or wrong.
    Refused(&'static str),
    /// The callback is verified but cannot be parsed.
    Unreadable(&'static str),
    Processed {
        /// Number of all delivery reports, also of those that name no message.
        total: usize,
        /// Number of delivery reports that were stored. `None` if the store did not answer.
        applied: Option<usize>,
        /// Number of delivery reports that are retried.
        waiting: usize,
        /// Number of incoming messages.
        inbound: usize,
        consent_changes: usize,
    },
}

impl CallbackOutcome {
    /// Whether a part of the callback is lost if it belongs to no tenant.
    pub fn has_losses(&self) -> bool {
        match self {
            CallbackOutcome::Refused(_) | CallbackOutcome::Unreadable(_) => true,
            CallbackOutcome::Processed { total, applied, inbound, consent_changes, .. } => {
                applied.is_none_or(|applied| applied < *total) || 0 < inbound + consent_changes
            }
        }
    }

    /// Whether the callback was verified, its status and what happened to its contents.
    fn describe(&self) -> (bool, CallbackStatus, String) {
        let (total, applied, waiting, inbound, consent_changes) = match *self {
            CallbackOutcome::Refused(reason) => return (false, CallbackStatus::Refused, reason.to_owned()),
            CallbackOutcome::Unreadable(reason) => return (true, CallbackStatus::Unreadable, reason.to_owned()),
            CallbackOutcome::Processed { total, applied, waiting, inbound, consent_changes } => {
                (total, applied, waiting, inbound, consent_changes)
            }
        };
        let Some(applied) = applied else {
            let detail = format!("{total} reports could not be stored. The provider was asked to send them again");
            return (true, CallbackStatus::Waiting, detail);
        };
        let lost = total.saturating_sub(applied + waiting);
        let mut parts = Vec::new();
        let mut say = |count: usize, text: String| {
            if count > 0 {
                parts.push(text);
            }
        };
        say(applied, format!("{applied} of {total} reports matched"));
        let unknown = "the message that the provider names is not known yet";
        say(waiting, format!("{waiting} of {total} not matched: {unknown}"));
        say(lost, format!("{lost} of {total} not matched: no message of this account is named"));
        say(inbound, format!("{inbound} messages received"));
        say(consent_changes, format!("{consent_changes} opt-ins or opt-outs"));
        let status = match (waiting, lost) {
            (1.., _) => CallbackStatus::Waiting,
            (0, 1..) => CallbackStatus::Unmatched,
            (0, 0) if parts.is_empty() => {
                return (true, CallbackStatus::Unmatched, "it names no message and reports nothing else".to_owned());
            }
            (0, 0) => CallbackStatus::Processed,
        };
        (true, status, parts.join("; "))
    }
}

impl WebhookHandler {
    /// Writes an entry and returns its name. Best effort, because no decision depends on the log.
    pub(crate) async fn write_log_entry(
        &self,
        tenant: &TenantId,
        provider: &dyn Provider,
        request: &CallbackRequest,
        outcome: CallbackOutcome,
        communications: Vec<CommunicationId>,
    ) -> String {
        let now = self.host.now();
        let (verified, status, detail) = outcome.describe();
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
            detail: Some(detail),
            communications,
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
