//! Notes the request and the response of one attempt, for a person who wants to know why it failed. Secrets are removed.

use std::cell::RefCell;
use std::sync::Arc;

use async_trait::async_trait;
use domain::communication::AttemptOutcome;
use domain::exchange::RecordedExchange;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, MessageStatus, OutboundMessage, ParsedCallback,
    Provider, ProviderConfig, QueryResult, SendResult,
};
use events::Timestamp;
use reqwest::{Request, StatusCode, header};

/// Maximum size of a body that is kept, in bytes.
const MAX_BODY: usize = 8 * 1024;
/// The shortest setting that is looked for. Shorter ones would remove parts of words.
const MIN_SECRET: usize = 4;
/// What stands in the place of a secret.
const REMOVED: &str = "[removed]";

tokio::task_local! {
    static EXCHANGE: RefCell<Option<RecordedExchange>>;
}

/// Notes a request, if somebody listens. Headers are not kept: they have the credentials and signatures.
pub(super) fn note_request(request: &Request) {
    let note = |exchange: &RefCell<Option<RecordedExchange>>| {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        *exchange.borrow_mut() = Some(RecordedExchange {
            method: request.method().to_string(),
            url: request.url().to_string(),
            content_type: content_type.map(str::to_owned),
            request: head(body),
            status: None,
            response: String::new(),
        });
    };
    let _ = EXCHANGE.try_with(note);
}

/// Notes the response to the request that was noted last.
pub(super) fn note_response(status: StatusCode, body: &[u8]) {
    let note = |exchange: &RefCell<Option<RecordedExchange>>| {
        if let Some(exchange) = &mut *exchange.borrow_mut() {
            (exchange.status, exchange.response) = (Some(status.as_u16()), head(body));
        }
    };
    let _ = EXCHANGE.try_with(note);
}

/// The beginning of a body. It is twice as long as what is kept, so that no secret is cut before it is removed.
fn head(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(2 * MAX_BODY)]).into_owned()
}

/// A provider whose failed attempts are recorded.
pub(super) struct Recorder {
    provider: Arc<dyn Provider>,
    /// The values to be removed, as they are and as they are in forms and addresses.
    secrets: Vec<String>,
}

impl Recorder {
    pub fn new(provider: Arc<dyn Provider>, secrets: impl Iterator<Item = String>) -> Recorder {
        let forms = |secret: String| {
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let quoted = serde_json::Value::String(secret.clone()).to_string();
            let quoted = quoted.trim_matches('"').to_owned();
            [secret, encoded.replace('+', "%20"), encoded, quoted]
        };
        let mut secrets: Vec<String> = secrets.filter(|secret| MIN_SECRET <= secret.len()).flat_map(forms).collect();
        // A secret that is a part of another one is removed after it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Recorder { provider, secrets }
    }

    fn clean(&self, text: &mut String) {
        for secret in &self.secrets {
            if text.contains(secret) {
                *text = text.replace(secret, REMOVED);
            }
        }
        if MAX_BODY < text.len() {
            text.truncate(text.floor_char_boundary(MAX_BODY));
            text.push('\u{2026}');
        }
    }
}

#[async_trait]
impl Provider for Recorder {
    fn config(&self) -> &ProviderConfig {
        self.provider.config()
    }

    fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let sent = async {
            let sent = self.provider.send(outbound, timeout_ms).await;
            (sent, EXCHANGE.with(|exchange| exchange.borrow_mut().take()))
        };
        let (mut sent, exchange) = EXCHANGE.scope(RefCell::new(None), sent).await;
        if !matches!(sent.answer, AttemptOutcome::Accepted { .. }) {
            sent.exchange = exchange.map(|mut exchange| {
                for text in [&mut exchange.url, &mut exchange.request, &mut exchange.response] {
                    self.clean(text);
                }
                Box::new(exchange)
            });
        }
        sent
    }

    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        since: Timestamp,
        until: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        self.provider.query_delivery(outbound, since, until, timeout_ms).await
    }

    async fn message_status(&self, id: &str, timeout_ms: u64) -> Result<MessageStatus, AccountQueryError> {
        self.provider.message_status(id, timeout_ms).await
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        self.provider.balance(timeout_ms).await
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.provider.check_credentials(timeout_ms).await
    }

    fn validate_address(&self, to: &str) -> Result<(), String> {
        self.provider.validate_address(to)
    }

    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        self.provider.is_reachability_check(request)
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<(), &'static str> {
        self.provider.verify_callback(request, now).await
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        self.provider.parse_callback(request, now).await
    }
}
