//! The HTTP server of one process: who may call it, and how long a client may take.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use domain::ports::{ClockAndRng, CoordinationStore};
use infra::SystemClockAndRng;
use local::server::{ServerLimits, serve};
use local::{Data, Local, Options};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::harness::Scratch;
use tests::server::{TestServer, email};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn write(port: u16, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    stream.write_all(text.as_bytes()).await.expect("written");
    stream
}

/// Everything that the server answers until it closes the connection.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_loses_its_connection_and_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/", get(async || "served").post(async |_: Bytes| "read"));
    let short = Duration::from_millis(200);
    let server = tokio::spawn(serve(
        listener,
        router,
        ServerLimits { headers: short, body: short, answer: short, connections: 2 },
    ));
    let headers = write(port, "GET / HTTP/1.1\r\nhost: x\r\n").await;
    let body = write(port, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await;
    // The third connection waits until one of the others was closed.
    let third = write(port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let third = read_to_end(third).await;
    assert!(third.starts_with("HTTP/1.1 200 OK") && third.ends_with("served"), "{third}");
    assert!(!read_to_end(headers).await.contains("200 OK"));
    let body = read_to_end(body).await;
    assert!(body.starts_with("HTTP/1.1 400"), "{body}");
    let http2 = write(port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let http2 = read_to_end(http2).await;
    assert!(http2.is_empty() || http2.starts_with("HTTP/1.1 4"), "{http2}");
    let open = write(port, "GET / HTTP/1.1\r\nhost: x\r\n").await;
    server.abort();
    let _ = server.await;
    assert_eq!(read_to_end(open).await, "", "a stopped server leaves no connection behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_its_answer_slowly_loses_its_connection() {
    /// More than the socket's buffers take.
    const LARGE: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new().route("/", get(async || "served")).route("/large", get(async || vec![b'a'; LARGE]));
    let limits = ServerLimits { answer: Duration::from_secs(2), connections: 1, ..ServerLimits::default() };
    let server = tokio::spawn(serve(listener, router, limits));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let silent = write(port, &request("/large")).await;
    assert!(read_to_end(write(port, &request("/")).await).await.ends_with("served"));
    let mut slow = write(port, &request("/large")).await;
    let reads = tokio::spawn(async move {
        let (mut part, mut read) = (vec![0; 16 << 10], 0);
        while let Ok(count @ 1..) = slow.read(&mut part).await {
            read += count;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        read
    });
    assert!(read_to_end(write(port, &request("/")).await).await.ends_with("served"));
    assert!(reads.await.expect("read") < LARGE);
    let whole = read_to_end(write(port, &request("/large")).await).await;
    assert!(LARGE < whole.len(), "a client that reads gets all of it");
    drop(silent);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_refuses_other_hosts_and_pages_of_other_origins() {
    let server = TestServer::new().await;
    let status = async |method: Method, path: &str, header: (&str, &str)| {
        let request = server.request(method, path).header(header.0, header.1).body("{}");
        request.send().await.expect("an answer").status()
    };
    let paths =
        ["/health", "/docs", "/api/communications", "/_dev/inbox", "/unsubscribe/a/b/c", "/webhooks/x", "/none"];
    for path in paths {
        let port = server.local.port;
        for host in ["evil.com".to_owned(), format!("evil.com:{port}"), format!("127.0.0.1:{}", port ^ 1)] {
            assert_eq!(status(Method::GET, path, ("host", &host)).await, StatusCode::NOT_FOUND, "{path} {host}");
        }
        for header in [("origin", "http://evil.com"), ("sec-fetch-site", "cross-site")] {
            assert_eq!(status(Method::POST, path, header).await, StatusCode::FORBIDDEN, "{path} {header:?}");
        }
    }
    let host = format!("localhost:{}", server.local.port);
    assert_eq!(status(Method::GET, "/health", ("host", &host)).await, StatusCode::OK);
    let advance = async |kind: &str| {
        let request = server.request(Method::POST, "/_dev/clock").header("content-type", kind);
        request.body(r#"{"advanceMs":1}"#).send().await.expect("an answer").status()
    };
    assert_eq!(advance("text/plain").await, StatusCode::BAD_REQUEST);
    assert_eq!(advance("application/x-www-form-urlencoded").await, StatusCode::BAD_REQUEST);
    assert_eq!(advance("application/json; charset=utf-8").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_malformed_not_too_large() {
    let server = TestServer::new().await;
    let port = server.local.port;
    for path in ["/api/communications/send", "/webhooks/sendgrid/events"] {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {}\r\n", local::DEV_KEY);
        let request = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n");
        let answer = read_to_end(write(port, &request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_or_is_a_month_ahead_is_refused_unless_it_is_accepted() {
    const HOUR_MS: i64 = 3_600_000;
    let scratch = Scratch::new();
    let options = || Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() };
    let last_use = async |ago_ms: i64| {
        let accepted = Options { accept_clock: true, ..options() };
        let server = TestServer::with(accepted).await;
        let at = SystemClockAndRng.now() - ago_ms;
        server.local.database.record_heartbeat("wall-clock", at).await.expect("stored");
    };
    for (ago_ms, word) in [(32 * 24 * HOUR_MS, "after"), (-25 * HOUR_MS, "before"), (10 * 8_766 * HOUR_MS, "3652 days")]
    {
        last_use(ago_ms).await;
        let Err(error) = Local::start(options()).await else { panic!("started {ago_ms} ms later") };
        let error = error.to_string();
        assert!(error.contains(word) && error.contains("--accept-clock"), "{error}");
    }
    for ago_ms in [23 * HOUR_MS, -23 * HOUR_MS, 30 * 24 * HOUR_MS] {
        last_use(ago_ms).await;
        drop(TestServer::with(options()).await);
    }
    // A wall clock that was accepted ten years ahead, by a process whose own clock was an hour further, comes back.
    let ahead_ms = 10 * 8_766 * HOUR_MS;
    last_use(-ahead_ms).await;
    let server = TestServer::with(Options { accept_clock: true, ..options() }).await;
    let at = SystemClockAndRng.now() + ahead_ms;
    server.local.database.record_heartbeat("wall-clock", at).await.expect("stored");
    server.local.database.record_heartbeat("sweep", at + HOUR_MS).await.expect("stored");
    drop(server);
    let server = TestServer::with(Options { accept_clock: true, ..options() }).await;
    let ahead_ms = server.local.clock.now().millis_since(SystemClockAndRng.now());
    assert!((0..2 * HOUR_MS).contains(&ahead_ms), "{ahead_ms} ms ahead");
    drop(server);
    drop(TestServer::with(options()).await);
    // A process whose own clock was moved forward is not affected.
    let server = TestServer::with(options()).await;
    server.advance(30 * 24 * HOUR_MS as u32).await;
    drop(server);
    drop(TestServer::with(options()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_demo_comes_true() {
    let server = TestServer::new().await;
    assert_eq!(local::tell_demo(&server.local).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_stops_at_every_timer_on_its_way() {
    let server = TestServer::new().await;
    let now = server.post("/_dev/clock", json!({ "advanceMs": 0 })).await.text("/now").to_owned();
    let at = |hours: i64| {
        let now: jiff::Timestamp = now.parse().expect("a time");
        (now + jiff::Span::new().hours(hours)).to_string()
    };
    let mut ids = Vec::new();
    for hours in [24, 48, 240] {
        let mut body = email("delivered@sim.test");
        body["scheduledAt"] = json!(at(hours));
        ids.push(server.send(body).await);
    }
    let moved = server.post("/_dev/clock", json!({ "to": at(72) })).await;
    assert!(at(72).as_str() <= moved.text("/now"), "{}", moved.body);
    for (id, hours) in ids.iter().zip([24, 48]) {
        let message = server.communication(id).await;
        let sent: jiff::Timestamp = message.text("/sentAt").parse().expect("a time");
        let due: jiff::Timestamp = at(hours).parse().expect("a time");
        assert!(sent.duration_since(due).as_secs() < 60, "{sent} for {due}");
    }
    assert_eq!(server.communication(&ids[2]).await.text("/status"), "scheduled");
    let refused = server.post("/_dev/clock", json!({ "to": "2199-01-01T00:00:00Z" })).await;
    assert_eq!(refused.text("/errors/0/pointer"), "/to");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_that_move_the_clock_at_once_do_not_pass_their_goal() {
    let server = TestServer::new().await;
    let now = server.post("/_dev/clock", json!({ "advanceMs": 0 })).await;
    let now = api::fields::parse_time(now.text("/now")).expect("a time");
    let goal = api::fields::show_time(events::Timestamp(now.0 + 48 * 3_600_000));
    let jump = || server.post("/_dev/clock", json!({ "to": goal }));
    let (one, other) = futures_util::future::join(jump(), jump()).await;
    for answer in [one, other] {
        let after = api::fields::parse_time(answer.text("/now")).expect("a time");
        let passed = after.0 - now.0 - 48 * 3_600_000;
        assert!((0..60_000).contains(&passed), "{passed} ms too far");
    }
}
