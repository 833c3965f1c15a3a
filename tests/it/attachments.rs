//! Attachments over HTTP: announced, uploaded, checked, sent as bytes or as a link, and erased.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, sms};

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj <<>> endobj\n%%EOF\n";

async fn announce(server: &TestServer, more: Value) -> Answer {
    let mut body = json!({ "filename": "Factura ñ.pdf", "contentType": "application/pdf", "sizeBytes": PDF.len() });
    more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    server.post("/api/attachments", body).await
}

async fn put(server: &TestServer, announced: &Answer, bytes: &[u8]) -> StatusCode {
    let mut request = server.client.put(announced.text("/upload/url")).body(bytes.to_vec());
    for (name, value) in announced.body["upload"]["headers"].as_object().expect("headers") {
        if name != "content-length" {
            request = request.header(name, value.as_str().expect("text"));
        }
    }
    request.send().await.expect("an answer").status()
}

async fn upload(server: &TestServer, more: Value) -> String {
    let announced = announce(server, more).await;
    assert_eq!(announced.status, StatusCode::CREATED, "{}", announced.body);
    assert_eq!(put(server, &announced, PDF).await, StatusCode::OK);
    announced.id()
}

fn with_file(mut body: Value, id: &str) -> Value {
    body["attachments"] = json!([{ "attachmentId": id }]);
    body
}

async fn read(server: &TestServer, url: &str) -> (StatusCode, Vec<u8>, String) {
    let answer = server.client.get(url).send().await.expect("an answer");
    let name = answer.headers().get("content-disposition").and_then(|name| name.to_str().ok()).unwrap_or_default();
    let (status, name) = (answer.status(), name.to_owned());
    (status, answer.bytes().await.expect("a body").to_vec(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_file_is_sent_as_bytes_by_email_and_as_a_link_elsewhere() {
    let server = TestServer::new().await;
    let announced = announce(&server, json!({})).await;
    assert_eq!((announced.text("/status"), announced.text("/upload/method")), ("awaiting_upload", "PUT"));
    let id = announced.id();
    let early = server.post("/api/communications/send", with_file(email("ada@example.com"), &id)).await;
    assert_eq!(early.text("/errors/0/code"), "not_uploaded", "{}", early.body);
    assert_eq!(put(&server, &announced, PDF).await, StatusCode::OK);
    let seen = server.get(&format!("/api/attachments/{id}")).await;
    assert_eq!((seen.text("/status"), seen.text("/sha256").len()), ("ready", 64), "{}", seen.body);
    let (status, bytes, name) = read(&server, seen.text("/downloadUrl")).await;
    assert_eq!((status, bytes.as_slice()), (StatusCode::OK, PDF));
    assert_eq!(name, "attachment; filename*=UTF-8''Factura%20%C3%B1.pdf");

    let mailed = server.send(with_file(email("files@example.com"), &id)).await;
    server.until_status(&mailed, "delivered").await;
    let arrived = &server.inbox("files@example.com").await[0]["attachments"][0];
    assert_eq!((&arrived["filename"], &arrived["type"]), (&json!("Factura ñ.pdf"), &json!("application/pdf")));
    let timeline = server.get(&format!("/api/communications/{mailed}/events")).await;
    assert_eq!(timeline.text("/events/0/data/attachments/0/sha256"), seen.text("/sha256"));

    let texted = server.send(with_file(sms("+447700900001"), &id)).await;
    server.until_status(&texted, "delivered").await;
    let text = server.inbox("+447700900001").await[0]["body"].as_str().expect("a text").to_owned();
    let link = text.split_whitespace().find(|word| word.contains("/files/")).expect("a link").to_owned();
    assert_eq!(read(&server, &link).await.1, PDF, "{link}");
    let broken = format!("{}x", link);
    assert_eq!(read(&server, &broken).await.0, StatusCode::NOT_FOUND);
    let chat = json!({ "channel": "telegram", "type": "general", "recipientContact": "7700900001", "content": "Here" });
    let chatted = server.send(with_file(chat, &id)).await;
    server.until_status(&chatted, "sent").await;

    server.advance(16 * 60_000).await;
    assert_eq!(read(&server, seen.text("/downloadUrl")).await.0, StatusCode::FORBIDDEN, "the address has expired");
    let removed = server.answer(server.request(Method::DELETE, &format!("/api/attachments/{id}"))).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&format!("/api/attachments/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(read(&server, &link).await.0, StatusCode::NOT_FOUND);
    let gone = server.post("/api/communications/send", with_file(email("ada@example.com"), &id)).await;
    assert_eq!(gone.text("/errors/0/code"), "unknown_attachment");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_of_files_are_checked_when_a_message_is_accepted() {
    let server = TestServer::new().await;
    let announced = announce(&server, json!({ "filename": "../../Factura.PDF" })).await;
    assert_eq!(announced.text("/filename"), "Factura.PDF");
    let id = upload(&server, json!({})).await;
    let public = "https://files.example.com/a.pdf";
    let file = |url: &str| json!({ "filename": "a.pdf", "fileUrl": url });
    for (attachment, field, code) in [
        (json!({ "attachmentId": id, "filename": "a.exe" }), "/filename", "not_the_type"),
        (json!({ "attachmentId": id, "filename": "a\u{202e}.pdf" }), "/filename", "not_a_file_name"),
        (json!({ "filename": "..", "fileUrl": public }), "/filename", "not_a_file_name"),
        (json!({ "filename": "a\u{2066}.pdf", "fileUrl": public }), "/filename", "not_a_file_name"),
        (json!({ "filename": "a.exe", "fileUrl": public }), "/filename", "not_the_type"),
        (json!({ "filename": "a.png", "fileUrl": public }), "/filename", "not_the_type"),
        (json!({ "filename": "a.exe", "fileUrl": "https://files.example.com/get?id=1" }), "/filename", "not_the_type"),
        (file("http://files.example.com/a.pdf"), "", "not_an_attachment"),
        (file("https://169.254.169.254/latest/meta-data"), "/fileUrl", "not_public"),
        (file("https://localhost/a.pdf"), "/fileUrl", "not_public"),
        (file("https://user:pass@files.example.com/a.pdf"), "/fileUrl", "not_public"),
        (file("https://[::ffff:10.0.0.1]/a.pdf"), "/fileUrl", "not_public"),
        (file("https://2130706433/a.pdf"), "/fileUrl", "not_public"),
        (file("https://files.example.com:22/a.pdf"), "/fileUrl", "not_public"),
        (file("https://db.internal/a.pdf"), "/fileUrl", "not_public"),
        (file("https:///"), "/fileUrl", "not_public"),
    ] {
        let mut body = email("ada@example.com");
        body["attachments"] = json!([attachment]);
        let refused = server.post("/api/communications/send", body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{attachment}");
        let error = (refused.text("/errors/0/pointer"), refused.text("/errors/0/code"));
        assert_eq!(error, (&*format!("/attachments/0{field}"), code), "{attachment}: {}", refused.body);
    }
    let mut body = email("ada@example.com");
    let written = "https://Files.Example.com:443/x/../a b.pdf?q=\t<>\"";
    body["attachments"] = json!([{ "filename": "a/b.pdf", "fileUrl": written }]);
    let id = server.send(body).await;
    let shown = server.communication(&id).await;
    assert_eq!(shown.text("/attachments/0/fileUrl"), "https://files.example.com/a%20b.pdf?q=%3C%3E%22");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_of_its_declared_type_is_refused() {
    let server = TestServer::new().await;
    for (body, pointer) in [
        (json!({ "contentType": "application/x-msdownload" }), "/contentType"),
        (json!({ "contentType": "text/html" }), "/contentType"),
        (json!({ "sizeBytes": 0 }), "/sizeBytes"),
        (json!({ "sizeBytes": 17 * 1024 * 1024 }), "/sizeBytes"),
        (json!({ "sha256": "abc" }), "/sha256"),
        (json!({ "filename": "a\u{0}b" }), "/filename"),
        (json!({ "filename": "../../etc/passwd" }), "/filename"),
        (json!({ "filename": "C:\\x.exe" }), "/filename"),
        (json!({ "filename": "fdp\u{202e}exe.pdf" }), "/filename"),
        (json!({ "filename": ".." }), "/filename"),
    ] {
        let refused = announce(&server, body.clone()).await;
        assert_eq!(refused.text("/errors/0/pointer"), pointer, "{body}: {}", refused.body);
    }
    let announced = announce(&server, json!({})).await;
    assert_eq!(
        put(&server, &announced, b"%PDF-1.7 but longer than was announced ........").await,
        StatusCode::FORBIDDEN
    );
    let mut html = vec![b' '; PDF.len()];
    html[..15].copy_from_slice(b"<!DOCTYPE html>");
    for (more, bytes, why) in [
        (json!({}), html.as_slice(), "The content is not application/pdf."),
        (json!({ "sha256": "0".repeat(64) }), PDF, "The checksum is not the declared one."),
    ] {
        let announced = announce(&server, more).await;
        assert_eq!(put(&server, &announced, bytes).await, StatusCode::OK);
        let seen = server.get(&format!("/api/attachments/{}", announced.id())).await;
        assert_eq!((seen.text("/status"), seen.text("/reason")), ("refused", why));
        let sent = server.post("/api/communications/send", with_file(email("ada@example.com"), &announced.id())).await;
        assert_eq!(sent.text("/errors/0/code"), "refused", "{}", sent.body);
    }
    // A presigned address is valid for one operation, one file and a limited time.
    let announced = announce(&server, json!({})).await;
    let url = announced.text("/upload/url").to_owned();
    assert_eq!(read(&server, &url).await.0, StatusCode::FORBIDDEN);
    let elsewhere = url.replace(&announced.id(), "att_00000000000000000000000000000000");
    let moved = server.client.put(elsewhere).header("content-type", "application/pdf").body(PDF).send().await;
    assert_eq!(moved.expect("an answer").status(), StatusCode::FORBIDDEN);
    server.advance(3_601_000).await;
    assert_eq!(put(&server, &announced, PDF).await, StatusCode::FORBIDDEN);
    for wrong in [
        json!([{ "attachmentId": announced.id(), "fileUrl": "https://example.com/a.pdf" }]),
        json!([{ "attachmentId": 7 }]),
        json!([{ "attachmentId": announced.id(), "kind": "song" }]),
    ] {
        let mut body = email("ada@example.com");
        body["attachments"] = wrong.clone();
        let refused = server.post("/api/communications/send", body).await;
        assert_eq!(refused.text("/errors/0/code"), "not_an_attachment", "{wrong}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_deletes_a_persons_files_but_not_shared_ones() {
    let server = TestServer::new().await;
    let (own, shared) = (upload(&server, json!({})).await, upload(&server, json!({ "shared": true })).await);
    let mut body = email("ada@example.com");
    body["recipientId"] = json!("ada");
    body["attachments"] = json!([{ "attachmentId": own }, { "attachmentId": shared, "filename": "Terms.pdf" }]);
    let id = server.send(body).await;
    server.until_status(&id, "delivered").await;
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/ada")).await;
    assert_eq!(erased.body["erased"], 1, "{}", erased.body);
    assert_eq!(server.get(&format!("/api/attachments/{own}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(&format!("/api/attachments/{shared}")).await.text("/status"), "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_its_file_fails_or_is_held_and_says_why() {
    let server = TestServer::new().await;
    let in_an_hour = || api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + 3_600_000);
    let later = |mut body: Value, policy: &str| {
        body["scheduledAt"] = json!(in_an_hour());
        body["onMissingFile"] = json!(policy);
        body
    };
    let (kept, deleted) = (upload(&server, json!({})).await, upload(&server, json!({})).await);
    let by_sms = sms("+447700900001");
    let fails = [
        server.send(later(with_file(email("ada@example.com"), &deleted), "fail")).await,
        server.send(later(with_file(by_sms, &deleted), "fail")).await,
    ];
    let held = server.send(later(with_file(email("ada@example.com"), &deleted), "hold")).await;
    let sent = server.send(later(with_file(email("ada@example.com"), &kept), "fail")).await;
    let mut elsewhere = email("ada@example.com");
    elsewhere["attachments"] = json!([{ "filename": "a.pdf", "fileUrl": "https://files.example.com/missing.pdf" }]);
    let elsewhere = server.send(elsewhere).await;
    let gone = server.answer(server.request(Method::DELETE, &format!("/api/attachments/{deleted}"))).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.body);
    server.advance(3_700_000).await;
    for id in &fails {
        let failed = server.until(id, "lifecycle", "failed").await;
        assert_eq!(failed.text("/reason"), "missing_file");
        let explained = server.get(&format!("/api/communications/{id}/explain")).await;
        assert!(explained.body.to_string().contains("one of its files is missing"), "{}", explained.body);
    }
    server.until_status(&sent, "delivered").await;
    tests::server::eventually("it is held", async || {
        server.events(&held).await.contains(&"CommunicationDeferred".to_owned()).then_some(())
    })
    .await;
    // A file that does not answer gets some time first.
    server.until(&elsewhere, "lifecycle", "failed").await;
    server.advance(100 * 3_600_000).await;
    server.until(&held, "lifecycle", "dead_lettered").await;
    assert_eq!(server.communication(&held).await.body["attempts"], 0);
}
