//! A provider that logs every request before it answers. Sometimes it answers with an error or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tests::rng::SeededRng;

struct Sink {
    file: Mutex<File>,
    rng: Mutex<SeededRng>,
}

/// One logged request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Real time in milliseconds since 1970.
    pub at: i64,
    pub account: String,
    pub tenant: String,
    pub communication: String,
    pub attempt: String,
    /// Whether the provider accepted the message, whatever it answered.
    pub taken: bool,
}

/// Serves SendGrid's endpoint on loopback and returns its address.
pub async fn start(record: &Path, seed: u64) -> String {
    let file = File::create(record).expect("a file");
    let sink = Arc::new(Sink { file: Mutex::new(file), rng: Mutex::new(SeededRng::new(seed)) });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/v3/mail/send", post(receive)).with_state(sink);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn receive(State(sink): State<Arc<Sink>>, headers: HeaderMap, body: Bytes) -> Response {
    let mail: Value = serde_json::from_slice(&body).expect("JSON");
    let args = &mail["personalizations"][0]["custom_args"];
    let draw = sink.rng.lock().expect("rng").below(100);
    // 0 to 7: accepted, but the answer is an error or late. 8 to 15: not accepted.
    let taken = !(8..16).contains(&draw);
    let line = json!({
        "at": jiff::Timestamp::now().as_millisecond(),
        "account": headers.get("authorization").and_then(|value| value.to_str().ok()),
        "tenant": args["businessId"],
        "communication": args["communicationId"],
        "attempt": args["attemptId"],
        "taken": taken,
    });
    writeln!(sink.file.lock().expect("the file"), "{line}").expect("logged");
    match draw {
        0..2 | 8..10 => {
            // Longer than the client's timeout.
            tokio::time::sleep(Duration::from_secs(3)).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        2..5 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        5..8 => StatusCode::BAD_GATEWAY.into_response(),
        10..13 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        13..16 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "2")]).into_response(),
        _ => (StatusCode::ACCEPTED, [("x-message-id", "sink")]).into_response(),
    }
}

/// Reads every logged request.
pub fn read(record: &Path) -> Vec<Request> {
    let text = std::fs::read_to_string(record).expect("the file");
    let request = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        Request {
            at: line["at"].as_i64().expect("a time"),
            account: text("account"),
            tenant: text("tenant"),
            communication: text("communication"),
            attempt: text("attempt"),
            taken: line["taken"] == true,
        }
    };
    text.lines().map(request).collect()
}
