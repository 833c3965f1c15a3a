//! A running `local` and a client for it.

use std::future::Future;
use std::time::{Duration, Instant};

use local::{DEV_KEY, Data, Local, Options};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::openapi_contract;

/// Longest time that a test waits for a condition.
const TIMEOUT: Duration = Duration::from_secs(20);

pub struct TestServer {
    pub local: Local,
    pub client: Client,
}

/// A response whose body was read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {}", self.body))
    }

    pub fn id(&self) -> String {
        self.text("/id").to_owned()
    }
}

/// Polls until `poll` returns a value.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut poll: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(started.elapsed() < TIMEOUT, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The request for a plain email to `to`.
pub fn email(to: &str) -> Value {
    json!({ "channel": "email", "type": "invoice", "recipientContact": to, "subject": "Hello", "content": "Hello there" })
}

pub fn sms(to: &str) -> Value {
    json!({ "channel": "sms", "type": "payment_link", "recipientContact": to, "content": "Pay here" })
}

impl TestServer {
    pub async fn new() -> TestServer {
        TestServer::with(Options { data: Data::Memory, ..TestServer::options() }).await
    }

    /// Options with any free port, data in memory and a short provider timeout.
    pub fn options() -> Options {
        Options { port: 0, data: Data::Memory, clock_factor: 1, provider_timeout_ms: 1_000, ..Options::default() }
    }

    pub async fn with(options: Options) -> TestServer {
        let local = Local::start(options).await.expect("local starts");
        TestServer { local, client: Client::new() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.local.url)).bearer_auth(DEV_KEY)
    }

    pub async fn answer(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let sent = request.body().and_then(|body| body.as_bytes()).map(<[u8]>::to_vec);
        let response = self.client.execute(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        openapi_contract::check(&method, &path, sent.as_deref(), status, &body);
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.answer(self.request(Method::POST, path).json(&body)).await
    }

    /// Posts a communication that must be accepted, and returns its id.
    pub async fn send(&self, body: Value) -> String {
        let answer = self.post("/api/communications/send", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.id()
    }

    pub async fn communication(&self, id: &str) -> Answer {
        self.get(&format!("/api/communications/{id}")).await
    }

    pub async fn until_status(&self, id: &str, status: &str) -> Answer {
        self.until(id, "status", status).await
    }

    pub async fn until(&self, id: &str, field: &str, value: &str) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.communication(id).await;
            if answer.body[field] == value {
                return answer;
            }
            assert!(started.elapsed() < TIMEOUT, "{field} is not {value}: {}", answer.body);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The names of the events in its stream.
    pub async fn events(&self, id: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/communications/{id}/events")).await;
        let events = answer.body["events"].as_array().expect("events").clone();
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    }

    /// The messages that reached a recipient, newest first.
    pub async fn inbox(&self, to: &str) -> Vec<Value> {
        let to = to.replace('+', "%2B");
        let answer = self.get(&format!("/_dev/inbox?to={to}")).await;
        answer.body["messages"].as_array().expect("messages").clone()
    }

    pub async fn advance(&self, ms: u32) {
        let answer = self.post("/_dev/clock", json!({ "advanceMs": ms })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }

    pub async fn fault(&self, provider: &str, kind: &str, count: u32) {
        let fault = json!({ "provider": provider, "kind": kind, "count": count });
        assert_eq!(self.post("/_dev/faults", fault).await.status, StatusCode::NO_CONTENT);
    }
}
