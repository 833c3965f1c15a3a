//! Answers that are not the provider's own, such as the page of a proxy, which say nothing about the message, and answers
//! of the provider's own with details that cannot be read.

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use domain::communication::AttemptOutcome;
use domain::message::RenderedMessage;
use domain::ports::OutboundMessage;
use events::{AttemptId, Channel, RefusalClass};
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

/// Sends one message by every provider whose name `is_asked`, to a server that answers each request the same.
async fn outcomes(
    (status, kind, body): (StatusCode, &'static str, &'static str),
    is_asked: impl Fn(&str) -> bool,
) -> Vec<(&'static str, Channel, AttemptOutcome)> {
    let answer = move || async move {
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("https://example.com/login"));
        response
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut outcomes = Vec::new();
    for (name, channel, _) in simulator::examples("").into_iter().filter(|(name, ..)| is_asked(name)) {
        // Without a setting that reads the response, any success of a custom provider is its own answer.
        let over: &[(&str, &str)] = if name == "custom" { &[("idPointer", "/id")] } else { &[] };
        let settings = example(name, channel, over);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let provider = provider_at(Some(&url), name, channel, &settings).expect("valid settings");
        outcomes.push((name, channel, provider.send(&outbound(channel), 2_000).await.answer));
    }
    server.abort();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_not_the_providers_own_answer_is_in_doubt() {
    for answer in ANSWERS {
        for (name, channel, outcome) in outcomes(answer, |_| true).await {
            let is_in_doubt = matches!(outcome, AttemptOutcome::InDoubt(_));
            assert!(is_in_doubt, "{name} {channel:?}: {answer:?}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_something_on_the_way_does_not_fail_the_message() {
    let statuses = [301, 302, 307, 308, 404, 405, 407, 410, 421];
    for status in statuses.map(|code| StatusCode::from_u16(code).expect("a status")) {
        for (kind, body) in [("text/html", "<html>nginx</html>"), ("application/json", "{}"), ("text/plain", "")] {
            for (name, channel, outcome) in outcomes((status, kind, body), |_| true).await {
                let is_unavailable =
                    matches!(outcome, AttemptOutcome::Refused { class: RefusalClass::Unavailable, .. });
                assert!(is_unavailable, "{name} {channel:?}: {status} {body:?}: {outcome:?}");
            }
        }
    }
    let own = [
        ("twilio", r#"{"code":20404,"message":"not found","status":404}"#, RefusalClass::Permanent, "20404"),
        ("messagebird", r#"{"type":"not_found","code":"no_such_route"}"#, RefusalClass::Permanent, "no_such_route"),
        ("sns", "<Error><Code>NotFound</Code></Error>", RefusalClass::Permanent, "NotFound"),
        ("ses", r#"{"__type":"NotFoundException"}"#, RefusalClass::Permanent, "NotFoundException"),
        ("telegram", r#"{"ok":false,"error_code":404,"description":"Not Found"}"#, RefusalClass::Auth, "404"),
        ("mailgun", r#"{"message":"Domain not found: mg.example.com"}"#, RefusalClass::Auth, "404"),
    ];
    for (provider, body, expected, expected_code) in own {
        let answer = (StatusCode::NOT_FOUND, "application/json", body);
        for (_, channel, outcome) in outcomes(answer, |name| name == provider).await {
            let is_own = matches!(&outcome, AttemptOutcome::Refused { class, code, .. }
                if *class == expected && code == expected_code);
            assert!(is_own, "{provider} {channel:?}: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_is_accepted_whatever_its_costs_and_parts_look_like() {
    let africas_talking = |rest: &str| {
        let recipient = format!(r#"{{"statusCode":101,"number":"+447700900001","messageId":"id-1"{rest}}}"#);
        format!(r#"{{"SMSMessageData":{{"Message":"Sent to 1/1","Recipients":[{recipient}]}}}}"#)
    };
    let answers = [
        ("africastalking", 201, africas_talking(r#","cost":0,"messageParts":-1"#)),
        ("africastalking", 201, africas_talking(r#","cost":{},"messageParts":"two""#)),
        ("africastalking", 201, africas_talking("")),
        ("bulksms", 201, r#"[{"id":"id-1","to":null,"numberOfParts":70000}]"#.to_owned()),
        ("vonage", 200, r#"{"messages":[{"status":"0","message-id":"id-1","message-price":0.03}]}"#.to_owned()),
        ("twilio", 201, r#"{"sid":"id-1","num_segments":2}"#.to_owned()),
        ("twilio", 201, r#"{"sid":"id-1","num_segments":-1}"#.to_owned()),
        ("mandrill", 200, r#"[{"_id":"id-1","status":"sent","reject_reason":0}]"#.to_owned()),
    ];
    for (provider, status, body) in answers {
        let status = StatusCode::from_u16(status).expect("a status");
        let body: &'static str = body.leak();
        let outcomes = outcomes((status, "application/json", body), |name| name == provider).await;
        assert!(!outcomes.is_empty());
        for (_, channel, outcome) in outcomes {
            let is_accepted = matches!(&outcome, AttemptOutcome::Accepted { provider_message_id, .. }
                if provider_message_id == "id-1");
            assert!(is_accepted, "{provider} {channel:?}: {body}: {outcome:?}");
        }
    }
}
