//! Twilio, Messages: `POST /2010-04-01/Accounts/{sid}/Messages.json`, 201 with `sid`. It echoes nothing of ours in its
//! callbacks, so our ids travel in the StatusCallback address, which its signature covers.

use std::time::Instant;

use async_trait::async_trait;
use domain::communication::Answer;
use domain::ports::{Outbound, Provider, Sent};
use events::{Channel, Mode, RefusalClass};
use reqwest::Client;
use serde::Deserialize;

use super::{by_status, exchange, plain, refused};

/// One Twilio account, sending SMS.
pub struct Twilio {
    pub client: Client,
    /// `https://api.twilio.com`, without a slash at the end.
    pub base_url: String,
    pub account_sid: String,
    pub auth_token: String,
    /// The number or sender that messages come from.
    pub from: String,
    /// Where we are reached from outside, without a slash at the end.
    pub public_url: String,
    pub mode: Mode,
}

#[derive(Deserialize)]
struct Message {
    sid: String,
    /// Text in Twilio's JSON.
    num_segments: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
}

#[async_trait]
impl Provider for Twilio {
    fn name(&self) -> &str {
        "twilio"
    }

    fn config(&self) -> &str {
        "twilio"
    }

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    async fn send(&self, outbound: &Outbound, timeout_ms: u64) -> Sent {
        let started = Instant::now();
        let url = format!("{}/2010-04-01/Accounts/{}/Messages.json", self.base_url, self.account_sid);
        let callback = format!(
            "{}/webhooks/twilio/sms-status?tenant={}&attempt={}",
            self.public_url, outbound.tenant, outbound.attempt
        );
        let fields = [
            ("To", outbound.to.as_str()),
            ("From", &self.from),
            ("Body", &outbound.message.text),
            ("StatusCallback", &callback),
        ];
        let request = self.client.post(url).basic_auth(&self.account_sid, Some(&self.auth_token)).form(&fields);
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return plain(answer),
        };
        let problem = serde_json::from_slice::<Problem>(&exchange.body).ok().map(|problem| problem.code);
        let code = problem.map_or(exchange.status.as_str().to_owned(), |code| code.to_string());
        if let Some(no) = by_status(&exchange, &code) {
            let answer = problem.and_then(|code| by_code(code, exchange.retry_after_ms())).unwrap_or(no);
            return Sent { answer, opted_out: problem == Some(21_610) };
        }
        let message = serde_json::from_slice::<Message>(&exchange.body).ok();
        let (sid, segments) = message.map_or((String::new(), None), |m| (m.sid, m.num_segments));
        plain(Answer::Accepted {
            provider_message_id: sid,
            segments: segments.and_then(|segments| segments.parse().ok()),
            cost_micros: None,
            latency_ms: started.elapsed().as_millis() as u32,
        })
    }
}

/// Codes that say more than their HTTP status. https://www.twilio.com/docs/api/errors
fn by_code(code: u32, retry_after_ms: Option<i64>) -> Option<Answer> {
    let class = match code {
        20_003 | 20_005 | 21_606 | 21_659 | 21_660 => RefusalClass::Auth,
        20_429 | 63_018 => RefusalClass::Throttled,
        30_001 => RefusalClass::Transient,
        21_211 | 21_214 | 21_408 | 21_610 | 21_612 | 21_614 | 21_617 => RefusalClass::Permanent,
        _ => return None,
    };
    Some(refused(class, code.to_string(), retry_after_ms))
}
