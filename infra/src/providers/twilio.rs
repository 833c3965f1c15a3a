//! Twilio, Messages: `POST /2010-04-01/Accounts/{sid}/Messages.json`, 201 with `sid`. It echoes nothing of ours in its
//! callbacks, so our ids travel in the StatusCallback address, which its signature covers.

use std::time::Instant;

use async_trait::async_trait;
use domain::communication::Answer;
use domain::ports::{Account, Found, Outbound, Provider, Sent};
use events::{RefusalClass, Timestamp};
use reqwest::Client;
use serde::Deserialize;

use super::{by_status, exchange, plain, refused};

/// One Twilio account, sending SMS.
pub struct Twilio {
    pub account: Account,
    pub client: Client,
    /// `https://api.twilio.com`, without a slash at the end.
    pub base_url: String,
    pub account_sid: String,
    pub auth_token: String,
    /// The number or sender that messages come from.
    pub from: String,
    /// Where we are reached from outside, without a slash at the end.
    pub public_url: String,
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
    fn account(&self) -> &Account {
        &self.account
    }

    async fn send(&self, outbound: &Outbound, timeout_ms: u64) -> Sent {
        let started = Instant::now();
        let url = self.messages_url();
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

    /// Looks through the messages of the day: to this number, from ours, with these words, made at that time.
    ///
    /// The same words to the same number within the same minute cannot be told apart: either proves the other.
    async fn query(&self, outbound: &Outbound, since: Timestamp, until: Timestamp, timeout_ms: u64) -> Found {
        let Some(mut days) = days(since, until) else { return Found::NoAnswer };
        loop {
            let Some(day) = days.pop() else { break Found::NotTaken };
            match self.messages_of(outbound, &day, timeout_ms).await {
                None => break Found::NoAnswer,
                Some(messages) => {
                    let ours = |m: &&Listed| m.is(&outbound.message.text, since, until);
                    if let Some(message) = messages.iter().find(ours) {
                        break Found::Taken(message.sid.clone());
                    }
                }
            }
        }
    }
}

/// Clocks of two companies may differ by this much.
const CLOCKS_MS: i64 = 60_000;
/// Messages of one page. More than one page to one number in a day is not looked through.
const PAGE: &str = "50";

/// The UTC days that a time falls into.
fn days(since: Timestamp, until: Timestamp) -> Option<Vec<String>> {
    let day = |at: Timestamp| Some(jiff::Timestamp::from_millisecond(at.0).ok()?.strftime("%Y-%m-%d").to_string());
    let mut days = vec![day(since - CLOCKS_MS)?, day(until + CLOCKS_MS)?];
    days.dedup();
    Some(days)
}

#[derive(Deserialize)]
struct List {
    messages: Vec<Listed>,
    /// Where the next page is, if there is one.
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    body: String,
    direction: String,
    /// RFC 2822, to the second.
    date_created: String,
}

impl Listed {
    fn is(&self, text: &str, since: Timestamp, until: Timestamp) -> bool {
        let made = jiff::fmt::rfc2822::parse(&self.date_created).map(|at| Timestamp(at.timestamp().as_millisecond()));
        self.direction.starts_with("outbound")
            && self.body == text
            && made.is_ok_and(|made| since - CLOCKS_MS <= made && made <= until + CLOCKS_MS)
    }
}

impl Twilio {
    fn messages_url(&self) -> String {
        format!("{}/2010-04-01/Accounts/{}/Messages.json", self.base_url, self.account_sid)
    }

    /// None: no answer, or not all of it.
    async fn messages_of(&self, outbound: &Outbound, day: &str, timeout_ms: u64) -> Option<Vec<Listed>> {
        let query = [("To", outbound.to.as_str()), ("From", &self.from), ("DateSent", day), ("PageSize", PAGE)];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = self.client.get(format!("{}?{query}", self.messages_url()));
        let request = request.basic_auth(&self.account_sid, Some(&self.auth_token));
        let exchange = exchange(request, timeout_ms).await.ok()?;
        let list = exchange.status.is_success().then(|| serde_json::from_slice::<List>(&exchange.body).ok())??;
        list.next_page_uri.is_none().then_some(list.messages)
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
