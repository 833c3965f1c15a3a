//! Successful answers that are not the provider's own, such as the page of a proxy. They say nothing about the message.

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use domain::communication::AttemptOutcome;
use domain::message::RenderedMessage;
use domain::ports::OutboundMessage;
use events::{AttemptId, Channel};
use tests::harness::{example, provider_at};
use tokio::net::TcpListener;

const ANSWERS: [(StatusCode, &str, &str); 9] = [
    (StatusCode::OK, "text/html; charset=utf-8", "<!doctype html><html><body>Please sign in</body></html>"),
    (StatusCode::OK, "application/json", "<html>Please sign in</html>"),
    (StatusCode::ACCEPTED, "text/html", "<html>Accepted</html>"),
    (StatusCode::OK, "application/json", ""),
    (StatusCode::NO_CONTENT, "", ""),
    (StatusCode::OK, "application/json", "{}"),
    (StatusCode::OK, "application/json", "[]"),
    (StatusCode::OK, "application/json", r#"{"status":"ok","result":{"session":"a1"}}"#),
    (StatusCode::OK, "application/json", r#"[{"status":"sent"}]"#),
];

fn outbound(channel: Channel) -> OutboundMessage {
    let to = match channel {
        Channel::Email => "ada@example.com",
        Channel::Sms | Channel::Whatsapp => "+447700900001",
        Channel::Messenger | Channel::Telegram => "7700900001",
    };
    OutboundMessage {
        tenant: "acme".parse().expect("a tenant"),
        attempt: AttemptId { communication: "com_01a1fed6599675bf9c9f22413f949849".parse().expect("an id"), number: 1 },
        to: to.to_owned(),
        to_name: None,
        from_name: None,
        message: RenderedMessage {
            subject: Some("Hello".to_owned()),
            text: "Hello".to_owned(),
            ..RenderedMessage::default()
        },
        files: Vec::new(),
        unsubscribe_url: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_not_the_providers_own_answer_is_in_doubt() {
    for (status, kind, body) in ANSWERS {
        let answer = move || async move {
            let mut response = (status, body).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        for (name, channel, _) in simulator::examples("") {
            // Without a setting that reads the response, any success of a custom provider is its own answer.
            let over: &[(&str, &str)] = if name == "custom" { &[("idPointer", "/id")] } else { &[] };
            let settings = example(name, channel, over);
            let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            let provider = provider_at(Some(&url), name, channel, &settings).expect("valid settings");
            let sent = provider.send(&outbound(channel), 2_000).await;
            let is_in_doubt = matches!(sent.answer, AttemptOutcome::InDoubt(_));
            assert!(is_in_doubt, "{name} {channel:?}: {status} {kind} {body:?}: {:?}", sent.answer);
        }
        server.abort();
    }
}
