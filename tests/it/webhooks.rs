//! Callbacks: forged ones change nothing, and real ones may arrive early, twice and in any order.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{InvalidSetting, MessageRef, Provider};
use events::Channel;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::harness;
use tests::server::{TestServer, email, sms};

async fn callback(server: &TestServer, path: &str, headers: &[(&str, &str)], body: String) -> StatusCode {
    let mut request = server.client.post(format!("{}{path}", server.local.url)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status()
}

fn sendgrid_event(id: &str, event: &str) -> Value {
    json!({
        "event": event, "timestamp": 1_800_000_000, "email": "x@sim.test", "businessId": "local",
        "communicationId": id, "attemptId": format!("{}_1", id.replace("com_", "att_")),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_callback_is_rejected_and_changes_nothing() {
    let server = TestServer::new().await;
    let id = server.send(email("delivered@sim.test")).await;
    server.until_status(&id, "delivered").await;
    let before = server.events(&id).await;
    let body = json!([sendgrid_event(&id, "bounce")]).to_string();
    let key = SigningKey::from_slice(&[7; 32]).expect("a key");
    let forged: DerSignature = key.sign(format!("1800000000{body}").as_bytes());
    let forged = STANDARD.encode(forged.to_bytes());
    let (stamp, sign) = ("x-twilio-email-event-webhook-timestamp", "x-twilio-email-event-webhook-signature");
    for headers in [
        &[][..],
        &[(stamp, "1800000000")],
        &[(stamp, "1800000000"), (sign, "nonsense")],
        &[(stamp, "soon"), (sign, &forged)],
        &[(stamp, "1800000000"), (sign, &forged)],
    ] {
        assert_eq!(callback(&server, "/webhooks/sendgrid/events", headers, body.clone()).await, StatusCode::FORBIDDEN);
    }
    let path = format!("/webhooks/twilio/sms-status?tenant=local&attempt={}_1", id.replace("com_", "att_"));
    for headers in [&[][..], &[("x-twilio-signature", "bm9wZQ==")], &[("x-twilio-signature", "%%%")]] {
        let body = "MessageStatus=undelivered&MessageSid=SM1".to_owned();
        assert_eq!(callback(&server, &path, headers, body).await, StatusCode::FORBIDDEN);
    }
    assert_eq!(server.events(&id).await, before);
}

fn sendgrid(webhook_key: &str) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let settings = [("apiKey", "SG.x"), ("fromEmail", "a@example.com"), ("webhookKey", webhook_key)];
    harness::provider("sendgrid", Channel::Email, &settings)
}

fn twilio() -> Arc<dyn Provider> {
    let settings = [("accountSid", "AC1"), ("authToken", "12345"), ("from", "+15005550006")];
    harness::provider("twilio", Channel::Sms, &settings).expect("a provider")
}

#[test]
fn sendgrids_signature_covers_timestamp_and_every_byte() {
    let key = SigningKey::from_slice(&[9; 32]).expect("a key");
    let public = STANDARD.encode(key.verifying_key().to_public_key_der().expect("DER").as_bytes());
    let provider = sendgrid(&public).expect("a key");
    let now = events::Timestamp(1_800_000_000_000);
    let body = b"[{\"event\":\"open\"},\r\n{\"event\":\"click\"}]\r\n";
    let verify = |timestamp: &str, signed: &[u8], sent: &[u8]| {
        let signature: DerSignature = key.sign(&[timestamp.as_bytes(), signed].concat());
        let signature = STANDARD.encode(signature.to_bytes());
        let headers = [
            ("x-twilio-email-event-webhook-timestamp", timestamp),
            ("x-twilio-email-event-webhook-signature", &signature),
        ];
        harness::verified(&*provider, &harness::callback("https://example.com/", &headers, sent), now).is_ok()
    };
    assert!(verify("1800000000", body, body));
    assert!(!verify("1800000000", body, &body[..body.len() - 2]), "the last line break is signed too");
    assert!(!verify("1800000000", b"[]", body));
    assert!(!verify("1799800000", body, body), "two days old");
    assert_eq!(sendgrid("bm90IGEga2V5").err().map(|fault| fault.setting), Some("webhookKey"));
}

#[test]
fn sendgrids_events_become_delivery_reports() {
    use events::ReportedStatus;
    let id = "com_0193b3a0c0de7000a000000000000002";
    let provider = sendgrid("").expect("a provider");
    let parse = |body: &[u8]| {
        let request = harness::callback("https://example.com/", &[], body);
        harness::parsed_callback(&*provider, &request, events::Timestamp(0)).map(|parsed| parsed.delivery_reports)
    };
    let reports_of = |event: Value| parse(json!([event]).to_string().as_bytes()).expect("a list");
    for (event, fact) in [
        ("processed", ReportedStatus::Accepted),
        ("deferred", ReportedStatus::Deferred),
        ("delivered", ReportedStatus::Delivered),
        ("bounce", ReportedStatus::Bounced),
        ("dropped", ReportedStatus::Dropped),
        ("open", ReportedStatus::Opened),
        ("click", ReportedStatus::Clicked),
        ("spamreport", ReportedStatus::Complained),
        ("unsubscribe", ReportedStatus::Unsubscribed),
        ("group_unsubscribe", ReportedStatus::Unsubscribed),
        ("teleported", ReportedStatus::Unknown),
    ] {
        let found = reports_of(sendgrid_event(id, event));
        assert_eq!(found[0].report.fact, fact, "{event}");
        let attempt = id.replace("com_", "att_") + "_1";
        assert!(matches!(&found[0].message, MessageRef::Attempt { attempt: reported, .. } if *reported == attempt));
        assert_eq!(found[0].report.at, events::Timestamp(1_800_000_000_000));
    }
    let mut blocked = sendgrid_event(id, "bounce");
    blocked["type"] = json!("blocked");
    blocked["status"] = json!("4.2.2");
    blocked["reason"] = json!("mailbox of ada@example.com is full");
    let found = reports_of(blocked);
    assert_eq!((found[0].report.fact, found[0].report.code.as_deref()), (ReportedStatus::Undelivered, Some("4.2.2")));
    for other in [json!({ "event": "open", "timestamp": 1 }), json!("x"), json!({ "event": 7 })] {
        assert_eq!(reports_of(other), []);
    }
    assert!(parse(b"{}").is_err());
}

#[test]
fn twilios_signature_covers_address_and_fields() {
    let provider = twilio();
    // Twilio's own published example.
    let body = "CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&From=%2B14158675310&To=%2B18005551212";
    let check = |path: &str, body: &str| {
        let headers = [("x-twilio-signature", "L/OH5YylLD5NRKLltdqwSvS0BnU=")];
        let request = harness::callback(&format!("https://example.com{path}"), &headers, body.as_bytes());
        harness::verified(&*provider, &request, events::Timestamp(0)).is_ok()
    };
    assert!(check("/myapp.php?foo=1&bar=2", body));
    let other_order =
        "To=%2B18005551212&From=%2B14158675310&Digits=1234&Caller=%2B14158675310&CallSid=CA1234567890ABCDE";
    assert!(check("/myapp.php?foo=1&bar=2", other_order));
    assert!(!check("/myapp.php?foo=1&bar=3", body));
    assert!(!check("/myapp.php?foo=1&bar=2", &body.replace("1234&", "1235&")));
}

#[test]
fn twilios_statuses_become_delivery_reports() {
    use events::ReportedStatus;
    let provider = twilio();
    let query = "tenant=acme&attempt=att_0193b3a0c0de7000a000000000000002_3";
    let now = events::Timestamp(5);
    let parse = |query: &str, body: &str| {
        let request = harness::callback(&format!("https://example.com/s?{query}"), &[], body.as_bytes());
        harness::parsed_callback(&*provider, &request, now).expect("read").delivery_reports
    };
    for (status, fact) in [
        ("queued", ReportedStatus::Accepted),
        ("sending", ReportedStatus::Accepted),
        ("sent", ReportedStatus::Sent),
        ("delivered", ReportedStatus::Delivered),
        ("undelivered", ReportedStatus::Undelivered),
        ("failed", ReportedStatus::Undelivered),
        ("read", ReportedStatus::Read),
        ("teleported", ReportedStatus::Unknown),
    ] {
        let found = parse(query, &format!("MessageSid=SM1&MessageStatus={status}"));
        assert_eq!((found[0].report.fact, found[0].report.at), (fact, now));
    }
    let gone = parse(query, "MessageStatus=undelivered&ErrorCode=30005");
    assert_eq!((gone[0].report.fact, gone[0].report.code.as_deref()), (ReportedStatus::Bounced, Some("30005")));
    for query in
        ["", "tenant=acme", "tenant=A!&attempt=att_0193b3a0c0de7000a000000000000002_3", "tenant=acme&attempt=1"]
    {
        assert_eq!(parse(query, "MessageStatus=sent"), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_twice_and_out_of_order_give_the_same_result() {
    let server = TestServer::new().await;
    let mut whatsapp = sms("+447700900003");
    whatsapp["channel"] = json!("whatsapp");
    for body in [email("clicked@sim.test"), whatsapp] {
        let id = server.send(body.clone()).await;
        let last = if body["channel"] == "email" { "clicked" } else { "read" };
        server.until_status(&id, last).await;
        let events = server.events(&id).await;
        let reports = events.iter().filter(|event| *event == "DeliveryReported").count();
        assert!(reports <= 4, "{events:?}");
    }
}
