//! The documents of invoices over HTTP: printed from lines or given by the event, sent with the email, and erased.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

const GIVEN: &[u8] = b"%PDF-1.7\n1 0 obj <<>> endobj\n%%EOF\n";

fn sale(id: &str, number: &str, description: &str) -> Value {
    json!({
        "sale": { "id": id, "number": number, "date": "2027-01-10", "total": "121.00", "currency": "EUR",
                  "lines": [{ "description": description, "quantity": 2, "unitPrice": "60.50" }, { "description": "Thanks" }] },
        "customer": { "id": id, "name": "Ada", "email": format!("{id}@sim.test"), "locale": "es" },
        "businessName": "Acme",
    })
}

/// The event, once it is handled.
async fn handled(server: &TestServer, id: &str, data: Value) -> Answer {
    let event = json!({ "id": id, "type": "sale.created", "source": "erp", "data": data });
    let taken = server.post("/api/events", event).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    eventually("the event is handled", async || {
        let answer = server.get(&format!("/api/business-events/{}", taken.id())).await;
        (answer.text("/status") == "handled").then_some(answer)
    })
    .await
}

/// The outcome of the act that sends the invoice by email.
fn emailed(event: &Answer) -> Value {
    let acts = event.body["acts"].as_array().expect("acts");
    acts.iter().find(|act| act["channel"] == "email").unwrap_or_else(|| panic!("{}", event.body)).clone()
}

async fn arrived(server: &TestServer, to: &str) -> Vec<Value> {
    let message = eventually("the email", async || server.inbox(to).await.first().cloned()).await;
    message["attachments"].as_array().cloned().unwrap_or_default()
}

async fn download(server: &TestServer, id: &str) -> Vec<u8> {
    let file = server.get(&format!("/api/attachments/{id}")).await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.body);
    let answer = server.client.get(file.text("/downloadUrl")).send().await.expect("an answer");
    answer.bytes().await.expect("a body").to_vec()
}

/// The upload that a message has.
async fn upload_of(server: &TestServer, communication: &str) -> Option<String> {
    let shown = server.communication(communication).await;
    shown.body.pointer("/attachments/0/attachmentId").and_then(Value::as_str).map(str::to_owned)
}

async fn settings(server: &TestServer, change: Value) -> Answer {
    server.answer(server.request(Method::PATCH, "/api/automations/invoice").json(&change)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_with_lines_is_sent_as_a_pdf_and_erased_with_its_customer() {
    let server = TestServer::new().await;
    let act = emailed(&handled(&server, "s1", sale("7", "A/7 (b)", "Rope")).await);
    assert_eq!((&act["skipped"], &act["note"]), (&Value::Null, &Value::Null), "{act}");
    let files = arrived(&server, "7@sim.test").await;
    let named = |name: &str| json!([name, "application/pdf"]);
    assert_eq!(json!([files[0]["filename"], files[0]["type"]]), named("invoice-A-7-b.pdf"), "{files:?}");
    let communication = act["ref"].as_str().expect("a message").to_owned();
    let upload = upload_of(&server, &communication).await.expect("an upload");
    let printed = download(&server, &upload).await;
    assert!(printed.starts_with(b"%PDF-1.7"), "{} bytes", printed.len());
    let link = format!("{}/t/local/pay/", server.local.url);
    let has_link = printed.windows(link.len()).any(|part| part == link.as_bytes());
    assert!(has_link, "the document leads to the page where it can be paid");
    let invoice = server.get("/api/invoices/7?namespace=erp").await;
    assert_eq!(invoice.text("/paymentLink/sent/communicationId"), communication, "{}", invoice.body);
    let timeline = server.get(&format!("/api/communications/{communication}/events")).await;
    let hash = application::hash::sha256(&printed);
    assert_eq!(timeline.text("/events/0/data/attachments/0/sha256"), hash);

    // Another event about the same sale sends and stores nothing.
    let again = emailed(&handled(&server, "s2", sale("7", "A/7 (b)", "Rope")).await);
    assert_eq!((&again["skipped"], &again["ref"]), (&json!("already_sent"), &json!(communication)), "{again}");
    assert_eq!(server.inbox("7@sim.test").await.len(), 1);

    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/7")).await;
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
    assert_eq!(server.get(&format!("/api/attachments/{upload}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_event_wins() {
    let server = TestServer::new().await;
    let body = json!({ "filename": "theirs.pdf", "contentType": "application/pdf", "sizeBytes": GIVEN.len() });
    let announced = server.post("/api/attachments", body).await;
    let put = server.client.put(announced.text("/upload/url")).header("content-type", "application/pdf");
    assert_eq!(put.body(GIVEN).send().await.expect("an answer").status(), StatusCode::OK);

    let mut by_id = sale("1", "INV-1", "Rope");
    by_id["document"] = json!({ "attachmentId": announced.id(), "url": "https://erp.example.com/1.pdf" });
    let act = emailed(&handled(&server, "s1", by_id).await);
    assert_eq!(arrived(&server, "1@sim.test").await[0]["filename"], "invoice-INV-1.pdf");
    let upload = upload_of(&server, act["ref"].as_str().expect("a message")).await.expect("an upload");
    assert_eq!((&upload, download(&server, &upload).await), (&announced.id(), GIVEN.to_vec()));

    let mut by_url = sale("2", "INV-2", "Rope");
    by_url["document"] = json!({ "url": "https://erp.example.com/files/2" });
    let act = emailed(&handled(&server, "s2", by_url).await);
    let sent = server.communication(act["ref"].as_str().expect("a message")).await;
    let file = (sent.text("/attachments/0/filename"), sent.text("/attachments/0/fileUrl"));
    assert_eq!(file, ("invoice-INV-2.pdf", "https://erp.example.com/files/2"), "{}", sent.body);

    for (id, document, note) in [
        ("3", json!({ "attachmentId": "att_none" }), "unknown_attachment"),
        ("4", json!({ "url": "https://10.0.0.1/4.pdf" }), "not_public"),
    ] {
        let mut unusable = sale(id, "INV-3", "Rope");
        unusable["document"] = document;
        let act = emailed(&handled(&server, id, unusable).await);
        assert_eq!((&act["skipped"], &act["note"]), (&Value::Null, &json!(note)), "{act}");
        assert!(arrived(&server, &format!("{id}@sim.test")).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_without_a_document_says_why() {
    let server = TestServer::new().await;
    let no_glyph = emailed(&handled(&server, "s1", sale("1", "INV-1", "麻繩")).await);
    assert_eq!((&no_glyph["skipped"], &no_glyph["note"]), (&Value::Null, &json!("no_glyph")), "{no_glyph}");
    let communication = no_glyph["ref"].as_str().expect("a message");
    let explained = server.get(&format!("/api/communications/{communication}/explain")).await;
    assert_eq!(explained.text("/steps/0/inputs/withoutDocument"), "no_glyph", "{}", explained.body);
    assert!(explained.text("/steps/0/text").contains("no glyph"), "{}", explained.body);
    assert!(arrived(&server, "1@sim.test").await.is_empty());

    let mut without_lines = sale("2", "INV-2", "Rope");
    without_lines["sale"].as_object_mut().expect("a sale").remove("lines");
    let no_document = emailed(&handled(&server, "s2", without_lines.clone()).await);
    assert_eq!(no_document["note"], "no_document", "{no_document}");

    let required = settings(&server, json!({ "documentRequired": true })).await;
    let shown = (&required.body["renderInvoices"], &required.body["documentRequired"]);
    assert_eq!(shown, (&json!(true), &json!(true)), "{}", required.body);
    without_lines["sale"]["id"] = json!("3");
    let skipped = emailed(&handled(&server, "s3", without_lines).await);
    assert_eq!((&skipped["skipped"], &skipped["ref"]), (&json!("no_document"), &Value::Null), "{skipped}");

    settings(&server, json!({ "documentRequired": false, "renderInvoices": false })).await;
    let switched_off = emailed(&handled(&server, "s4", sale("4", "INV-4", "Rope")).await);
    assert_eq!(switched_off["note"], "no_document", "{switched_off}");
    let other = server.request(Method::PATCH, "/api/automations/payment_confirmation");
    let refused = server.answer(other.json(&json!({ "renderInvoices": true }))).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
}
