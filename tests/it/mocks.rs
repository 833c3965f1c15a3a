//! Our requests against the providers' own documentation. `tests/mocks/run` starts mocks that reject every request that
//! their API description does not allow. Without them, only the recorded requests are checked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::communication::AttemptOutcome;
use domain::message::{Button, Location, MediaKind, MediaLink, ProviderTemplate, RenderedMessage};
use domain::ports::{OutboundMessage, Provider};
use domain::provider::EmailAttachment;
use events::{AttemptId, Channel, InDoubtCause, RefusalClass};
use serde_json::Value;
use tests::harness::{example, provider_at};

/// A request to a provider, as it was sent.
#[derive(Debug, Clone)]
struct CapturedRequest {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// A proxy in front of a mock. It strips the path prefix that the API description does not contain, can ask the mock
/// for an error code, and records requests and responses.
struct RecordingProxy {
    to: Option<String>,
    prefix: &'static str,
    prefer: Mutex<Option<u16>>,
    captured: Mutex<Vec<CapturedRequest>>,
    responses: Mutex<Vec<String>>,
    client: reqwest::Client,
}

async fn forward(State(proxy): State<Arc<RecordingProxy>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let captured = CapturedRequest {
        method: parts.method.to_string(),
        path: path.clone(),
        headers: headers.collect(),
        body: body.clone(),
    };
    proxy.captured.lock().expect("captured requests").push(captured.clone());
    let Some(to) = &proxy.to else {
        return (axum::http::StatusCode::OK, "{}").into_response();
    };
    let path = path.strip_prefix(proxy.prefix).unwrap_or(&path);
    let mut forwarded = proxy.client.request(parts.method, format!("{to}{path}")).body(body);
    for (name, value) in
        captured.headers.iter().filter(|(name, _)| !["host", "content-length"].contains(&name.as_str()))
    {
        forwarded = forwarded.header(name, value);
    }
    if let Some(code) = *proxy.prefer.lock().expect("prefer") {
        forwarded = forwarded.header("prefer", format!("code={code}"));
    }
    let answer = forwarded.send().await.expect("the mock answers");
    let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
    let more = answer.headers().iter().filter(|(name, _)| ["x-message-id", "retry-after"].contains(&name.as_str()));
    let more: Vec<_> = more.map(|(name, value)| (name.clone(), value.clone())).collect();
    let bytes = answer.bytes().await.expect("a body");
    proxy.responses.lock().expect("responses").push(format!("{status} {}", String::from_utf8_lossy(&bytes)));
    let mut response = (status, bytes).into_response();
    response.headers_mut().extend(kind.map(|kind| (axum::http::header::CONTENT_TYPE, kind)));
    response.headers_mut().extend(more);
    response
}

async fn start_proxy(to: Option<String>, prefix: &'static str) -> (Arc<RecordingProxy>, String) {
    let client = reqwest::Client::new();
    let proxy = Arc::new(RecordingProxy {
        to,
        prefix,
        prefer: Mutex::default(),
        captured: Mutex::default(),
        responses: Mutex::default(),
        client,
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(forward).with_state(proxy.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (proxy, url)
}

fn connect(name: &str, channel: Channel, at: &str, over: &[(&str, &str)]) -> Arc<dyn Provider> {
    let settings = example(name, channel, over);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    provider_at(Some(at), name, channel, &settings).expect("connected")
}

fn outbound(to: &str, message: RenderedMessage) -> OutboundMessage {
    OutboundMessage {
        tenant: "acme".parse().expect("a tenant"),
        attempt: AttemptId { communication: "com_01a1fed6599675bf9c9f22413f949849".parse().expect("an id"), number: 1 },
        to: to.to_owned(),
        to_name: None,
        from_name: None,
        message,
        files: Vec::new(),
        unsubscribe_url: None,
    }
}

fn text_message(text: &str) -> RenderedMessage {
    RenderedMessage { text: text.to_owned(), ..RenderedMessage::default() }
}

fn link(name: &str, kind: MediaKind) -> MediaLink {
    MediaLink { name: name.to_owned(), url: format!("https://files.example.com/{name}"), kind }
}

fn button(text: &str, url: Option<&str>) -> Button {
    Button { text: text.to_owned(), url: url.map(str::to_owned), data: url.is_none().then(|| text.to_lowercase()) }
}

fn email() -> Vec<OutboundMessage> {
    let message = RenderedMessage {
        subject: Some("Invoice INV-1 – café".to_owned()),
        html: Some("<p>Hello</p>".to_owned()),
        ..text_message("Hello")
    };
    let plain = outbound("ada@example.com", RenderedMessage { html: None, ..message.clone() });
    let pdf = EmailAttachment {
        name: "invoice.pdf".to_owned(),
        mime: "application/pdf".to_owned(),
        bytes: b"%PDF-1.7".to_vec(),
    };
    let rich = OutboundMessage {
        to_name: Some("Ada Lovelace".to_owned()),
        from_name: None,
        files: vec![pdf],
        unsubscribe_url: Some("https://hooks.example.com/unsubscribe/acme/com_1/x".to_owned()),
        ..outbound("ada@example.com", message)
    };
    vec![plain, rich]
}

fn sms() -> Vec<OutboundMessage> {
    let long = "Long text with ümläuts and a smile 🙂 ".repeat(20);
    let mut with_link = text_message("Pay here");
    with_link.media = vec![link("invoice.pdf", MediaKind::File)];
    [text_message("Hello"), text_message(&long), with_link].map(|message| outbound("+447700900001", message)).into()
}

/// Every kind of message that a chat channel can carry.
fn chat(to: &str) -> Vec<OutboundMessage> {
    let place = Location { latitude: 51.5, longitude: -0.12, name: Some("Office".to_owned()), address: None };
    let kinds = [
        ("photo.jpg", MediaKind::Image),
        ("clip.mp4", MediaKind::Video),
        ("note.ogg", MediaKind::Audio),
        ("invoice.pdf", MediaKind::File),
    ];
    let mut all = vec![
        text_message("Hello"),
        RenderedMessage { location: Some(place), ..RenderedMessage::default() },
        RenderedMessage { buttons: vec![button("Yes", None), button("No", None)], ..text_message("Do you agree?") },
        RenderedMessage {
            buttons: vec![button("Pay", Some("https://pay.example.com/1"))],
            ..text_message("Your invoice")
        },
    ];
    all.extend(kinds.map(|(name, kind)| RenderedMessage { media: vec![link(name, kind)], ..text_message("Look") }));
    all.into_iter().map(|message| outbound(to, message)).collect()
}

fn template(to: &str, name: &str) -> OutboundMessage {
    let variables = vec!["INV-1".to_owned(), "$10".to_owned()];
    let template = ProviderTemplate { name: name.to_owned(), language: "en_US".to_owned(), variables };
    outbound(to, RenderedMessage { template: Some(template), ..RenderedMessage::default() })
}

struct Case {
    spec: &'static str,
    prefix: &'static str,
    provider: &'static str,
    channel: Channel,
    over: &'static [(&'static str, &'static str)],
    sent: Vec<OutboundMessage>,
    /// Error codes in the description, and how they must be classified. `None` means in doubt.
    errors: &'static [(u16, Option<RefusalClass>)],
}

const SID: (&str, &str) = ("accountSid", "ACebE19eEFAd990DC7Ec0B296Deba0Acf2");

fn cases() -> Vec<Case> {
    use RefusalClass::{Auth, Permanent, Throttled, Unavailable};
    let case =
        |spec, provider, channel, sent| Case { spec, prefix: "", provider, channel, over: &[], sent, errors: &[] };
    let mut whatsapp = chat("+447700900001");
    // Meta's API description lacks buttons that open an address, although its documentation has them.
    whatsapp.retain(|outbound| outbound.message.buttons.iter().all(|button| button.url.is_none()));
    whatsapp.push(template("+447700900001", "invoice_ready"));
    let mut twilio_whatsapp = sms();
    twilio_whatsapp.push(template("+447700900001", "HXb5b62575e6e4ff6129ad7c8efe1f983e"));
    twilio_whatsapp.push(chat("+447700900001").swap_remove(4));
    vec![
        Case {
            errors: &[
                (400, Some(Permanent)),
                (401, Some(Auth)),
                (429, Some(Throttled)),
                (500, None),
                (503, Some(Unavailable)),
            ],
            ..case("sendgrid", "sendgrid", Channel::Email, email())
        },
        Case {
            errors: &[(400, Some(Permanent)), (401, Some(Auth)), (429, Some(Throttled)), (500, None)],
            ..case("mailgun", "mailgun", Channel::Email, email())
        },
        Case {
            over: &[SID],
            errors: &[(401, Some(Auth)), (429, Some(Throttled)), (500, None), (503, Some(Unavailable))],
            ..case("twilio", "twilio", Channel::Sms, sms())
        },
        Case { over: &[SID], ..case("twilio", "twilio", Channel::Whatsapp, twilio_whatsapp) },
        Case {
            over: &[("apiKey", "abcd1234"), ("apiSecret", "abcdef0123456789")],
            prefix: "/sms",
            ..case("vonage_sms", "vonage", Channel::Sms, sms())
        },
        Case {
            prefix: "/v1",
            errors: &[(429, Some(Throttled)), (500, None)],
            ..case("bulksms", "bulksms", Channel::Sms, sms())
        },
        Case {
            errors: &[(401, Some(Auth)), (429, Some(Throttled)), (503, None)],
            ..case("meta", "whatsapp", Channel::Whatsapp, whatsapp)
        },
        case("telegram", "telegram", Channel::Telegram, chat("7700900001").into_iter().filter(is_described).collect()),
    ]
}

/// Whether the available description of Telegram, which lacks some methods, covers the message.
fn is_described(outbound: &OutboundMessage) -> bool {
    let media = outbound.message.media.first().map(|link| link.kind);
    outbound.message.location.is_none() && !matches!(media, Some(MediaKind::Video | MediaKind::Audio))
}

#[tokio::test(flavor = "multi_thread")]
async fn validating_mocks_accept_our_requests_and_their_errors_are_classified() {
    let Ok(mocks) = std::env::var("PROVIDER_MOCKS") else { return };
    let mocks: BTreeMap<&str, &str> = mocks.split_whitespace().filter_map(|mock| mock.split_once('=')).collect();
    let (mut accepted, mut wrong) = (0, Vec::new());
    for case in cases() {
        let to = mocks.get(case.spec).expect("a mock for each description");
        let (proxy, url) = start_proxy(Some((*to).to_owned()), case.prefix).await;
        let provider = connect(case.provider, case.channel, &url, case.over);
        for outbound in &case.sent {
            let sent = provider.send(outbound, 20_000).await;
            let response = proxy.responses.lock().expect("responses").pop().unwrap_or_default();
            // The examples in Vonage's description are rejections. For some valid requests the mock cannot generate a
            // response.
            let is_valid = response.starts_with('2') || response.contains("SCHEMA_TOO_COMPLEX");
            let is_accepted = is_valid || matches!(sent.answer, AttemptOutcome::Accepted { .. });
            match is_accepted {
                true => accepted += 1,
                false => wrong.push(format!("{} {:?}: {response:.600}", case.provider, outbound.message)),
            }
        }
        for (code, class) in case.errors {
            *proxy.prefer.lock().expect("prefer") = Some(*code);
            let answer = provider.send(&case.sent[0], 20_000).await.answer;
            let is_classified = match (&answer, class) {
                (AttemptOutcome::Refused { class: found, .. }, Some(class)) => found == class,
                (AttemptOutcome::InDoubt(InDoubtCause::ServerError), None) => true,
                // In a 503 of the Graph API, the error code in the body decides.
                (AttemptOutcome::Refused { class: RefusalClass::Transient | RefusalClass::Unavailable, .. }, None) => {
                    *code == 503
                }
                _ => false,
            };
            if !is_classified {
                let response = proxy.responses.lock().expect("responses").pop().unwrap_or_default();
                wrong.push(format!("{} {code}: {answer:?}; the response was {response:.300}", case.provider));
            }
        }
    }
    println!("{accepted} requests accepted by mocks of {} API descriptions", mocks.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Our requests have the same method, path and fields as those of the providers' own libraries. They may have more
/// fields.
#[tokio::test(flavor = "multi_thread")]
async fn requests_match_those_of_the_providers_own_libraries() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/providers/golden/requests.json");
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let golden: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let (proxy, url) = start_proxy(None, "").await;
    let hi = outbound("1234567890", text_message("hi"));
    let ada = outbound("+254711000000", text_message("Habari & karibu"));
    let bird = outbound("+31612345678", text_message("Hola ñ"));
    let at = |name, channel, over| connect(name, channel, &url, over);
    let africa = at("africastalking", Channel::Sms, &[("apiKey", "atsk_key"), ("senderId", "ACME")]);
    let mut compared = 0;
    for recorded in &golden {
        let text = |name: &str| recorded[name].as_str().unwrap_or_default();
        match (text("provider"), text("scenario")) {
            ("vonage", "balance") => {
                let own = at("vonage", Channel::Sms, &[("apiKey", "abcd1234"), ("apiSecret", "abcdef0123456789")]);
                drop(own.balance(1_000).await);
            }
            ("africastalking", "balance") => drop(africa.balance(1_000).await),
            ("africastalking", _) => drop(africa.send(&ada, 1_000).await),
            ("meta-messenger", _) => {
                let own = at("messenger", Channel::Messenger, &[("pageToken", "EAAP"), ("appSecret", "sec")]);
                drop(own.send(&hi, 1_000).await);
            }
            ("bird", "sms.send") => {
                let own = at("messagebird", Channel::Sms, &[("apiKey", "bk_eu1_test"), ("from", "Acme")]);
                drop(own.send(&bird, 1_000).await);
            }
            // We do not use MessageBird's older API and Vonage's Messages API.
            _ => continue,
        }
        let sent = proxy.captured.lock().expect("captured requests").pop().expect("a request");
        compared += 1;
        let url = text("url").replace("(api.africastalking.com)", "https://api.africastalking.com");
        let path = url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        let (path, expected_query) = path.split_once('?').unwrap_or((&path, ""));
        let (own_path, own_query) = sent.path[1..].split_once('?').unwrap_or((&sent.path[1..], ""));
        let versionless = |path: &str| path.splitn(2, '/').last().unwrap_or_default().to_owned();
        let is_graph = text("provider") == "meta-messenger";
        let same_path = if is_graph { versionless(own_path) == versionless(path) } else { own_path == path };
        assert!(sent.method == text("method") && same_path, "{recorded}: {} {}", sent.method, sent.path);
        for name in query(expected_query).keys() {
            assert!(query(own_query).contains_key(name), "{name} in {}", sent.path);
        }
        let own: BTreeMap<&str, &str> = sent.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        for (name, value) in recorded["headers"].as_object().expect("headers") {
            let name = name.to_lowercase();
            let matters = ["authorization", "content-type", "apikey", "idempotency-key"].contains(&name.as_str());
            let found = own.get(name.as_str());
            assert!(!matters || found.is_some(), "{recorded}: no {name}");
            if name == "authorization" {
                assert_eq!(found.copied(), value.as_str(), "{recorded}");
            }
        }
        let body = std::str::from_utf8(&sent.body).expect("text");
        match serde_json::from_str::<Value>(text("body")) {
            Ok(Value::Object(expected)) => {
                let own: Value = serde_json::from_str(body).expect("JSON");
                for (name, value) in expected.iter().filter(|(name, _)| *name != "metadata") {
                    assert_eq!(&own[name], value, "{recorded}");
                }
            }
            _ => {
                for (name, value) in query(text("body")).iter().filter(|(name, _)| *name != "username") {
                    assert_eq!(query(body).get(name), Some(value), "{recorded}: {body}");
                }
            }
        }
    }
    assert_eq!(compared, 6, "of {}", golden.len());
}
