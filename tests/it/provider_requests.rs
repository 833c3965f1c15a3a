//! What the requests to the providers contain: the name of the sender, tracking, and the version of the API.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use domain::message::RenderedMessage;
use domain::ports::OutboundMessage;
use events::{AttemptId, Channel};
use tests::harness::{example, provider_at};
use tokio::net::TcpListener;

/// The request that a provider sends, as its path and its body.
async fn sent(name: &str, channel: Channel, over: &[(&str, &str)], from_name: Option<&str>) -> String {
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = async |State(requests): State<Arc<Mutex<Vec<String>>>>, uri: Uri, body: Bytes| {
        requests.lock().expect("no panic").push(format!("{uri} {}", String::from_utf8_lossy(&body)));
        StatusCode::BAD_REQUEST
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(record).with_state(requests.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = example(name, channel, over);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    let provider = provider_at(Some(&url), name, channel, &settings).expect("valid settings");
    let outbound = OutboundMessage {
        tenant: "acme".parse().expect("a tenant"),
        attempt: AttemptId { communication: "com_01a1fed6599675bf9c9f22413f949849".parse().expect("an id"), number: 1 },
        to: if channel == Channel::Email { "ada@example.com" } else { "+447700900001" }.to_owned(),
        to_name: None,
        from_name: from_name.map(str::to_owned),
        message: RenderedMessage { subject: Some("Hello".to_owned()), text: "Hello".to_owned(), ..Default::default() },
        files: Vec::new(),
        unsubscribe_url: None,
    };
    provider.send(&outbound, 2_000).await;
    server.abort();
    requests.lock().expect("no panic").join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_has_the_name_of_the_business_or_that_of_the_settings_or_none() {
    for name in ["sendgrid", "mandrill", "mailgun", "ses"] {
        let named = [("fromName", "Our Shop"), ("fromEmail", "sender@example.com")];
        let request = sent(name, Channel::Email, &named, Some("Acme")).await;
        assert!(request.contains("Acme") && !request.contains("Our Shop"), "{name}: {request}");
        assert!(sent(name, Channel::Email, &named, None).await.contains("Our Shop"), "{name}");
        let unnamed = [("fromName", ""), ("fromEmail", "sender@example.com")];
        let request = sent(name, Channel::Email, &unnamed, None).await;
        assert_eq!(request.matches("sender@example.com").count(), 1, "{name}: {request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tracking_is_on_unless_the_settings_turn_it_off() {
    for (name, on, off) in [
        ("sendgrid", "\"enable\":true", "\"enable\":false"),
        ("mandrill", "\"track_opens\":true", "\"track_opens\":false"),
        ("mailgun", "\r\n\r\nyes\r\n", "\r\n\r\nno\r\n"),
    ] {
        assert!(sent(name, Channel::Email, &[], None).await.contains(on), "{name}");
        let request = sent(name, Channel::Email, &[("tracking", "off")], None).await;
        assert!(request.contains(off) && !request.contains(on), "{name}: {request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_of_the_graph_api_is_a_setting() {
    for (name, channel) in [("whatsapp", Channel::Whatsapp), ("messenger", Channel::Messenger)] {
        assert!(sent(name, channel, &[], None).await.starts_with("/v26.0/"), "{name}");
        assert!(sent(name, channel, &[("apiVersion", "v27.1")], None).await.starts_with("/v27.1/"), "{name}");
        for wrong in ["27.0", "v27", "v27.0/x", "latest", "v.0"] {
            let settings = example(name, channel, &[("apiVersion", wrong)]);
            let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            let refused = provider_at(None, name, channel, &settings).err().map(|invalid| invalid.setting);
            assert_eq!(refused, Some("apiVersion"), "{name} {wrong}");
        }
    }
}
