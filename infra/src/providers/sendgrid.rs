//! SendGrid, mail send v3: `POST /v3/mail/send`, 202 with `X-Message-Id`. Our ids travel in `custom_args`.

use std::time::Instant;

use async_trait::async_trait;
use domain::communication::Answer;
use domain::ports::{Account, Found, Outbound, Provider, Sent};
use events::Timestamp;
use reqwest::Client;
use serde_json::json;

use super::{by_status, exchange, plain};

/// One SendGrid account.
pub struct SendGrid {
    pub account: Account,
    pub client: Client,
    /// `https://api.sendgrid.com`, without a slash at the end.
    pub base_url: String,
    pub api_key: String,
    pub from_email: String,
    pub from_name: String,
}

#[async_trait]
impl Provider for SendGrid {
    fn account(&self) -> &Account {
        &self.account
    }

    async fn send(&self, outbound: &Outbound, timeout_ms: u64) -> Sent {
        let started = Instant::now();
        let request = self
            .client
            .post(format!("{}/v3/mail/send", self.base_url))
            .bearer_auth(&self.api_key)
            .json(&self.body(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return plain(answer),
        };
        if let Some(no) = by_status(&exchange, exchange.status.as_str()) {
            return plain(no);
        }
        plain(Answer::Accepted {
            provider_message_id: exchange.header("x-message-id").unwrap_or_default().to_owned(),
            segments: None,
            cost_micros: None,
            latency_ms: started.elapsed().as_millis() as u32,
        })
    }

    /// Its Email Activity API is a paid addition, so an account in general cannot be asked.
    async fn query(&self, _: &Outbound, _: Timestamp, _: Timestamp, _: u64) -> Found {
        Found::CannotSay
    }
}

impl SendGrid {
    fn body(&self, outbound: &Outbound) -> serde_json::Value {
        let mut to = json!({ "email": outbound.to });
        if let Some(name) = &outbound.to_name {
            to["name"] = json!(name);
        }
        let message = &outbound.message;
        // The plain part comes first: SendGrid refuses the other order, and an empty part.
        let plain = if message.text.is_empty() { " " } else { &message.text };
        let mut content = vec![json!({ "type": "text/plain", "value": plain })];
        content.extend(message.html.iter().map(|html| json!({ "type": "text/html", "value": html })));
        json!({
            "personalizations": [{
                "to": [to],
                "custom_args": {
                    "businessId": outbound.tenant,
                    "communicationId": outbound.attempt.communication,
                    "attemptId": outbound.attempt.to_string(),
                },
            }],
            "from": { "email": self.from_email, "name": self.from_name },
            "subject": message.subject.as_deref().filter(|s| !s.is_empty()).unwrap_or("(no subject)"),
            "content": content,
            "tracking_settings": {
                "click_tracking": { "enable": true },
                "open_tracking": { "enable": true },
            },
        })
    }
}
