//! Templates over HTTP: created, versioned, resolved, and previewed by the engine that renders messages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::TestServer;

const TEMPLATES: &str = "/api/communication-templates";

async fn create(server: &TestServer, body: Value) -> Value {
    let created = server.post(TEMPLATES, body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    created.body
}

fn offer(locale: Option<&str>, body: &str) -> Value {
    let mut offer =
        json!({ "name": "Offer", "code": "offer", "channel": "sms", "type": "general", "bodyTemplate": body });
    if let Some(locale) = locale {
        offer["locale"] = json!(locale);
    }
    offer
}

async fn sent_text(server: &TestServer, to: &str, locale: &str) -> String {
    let message = json!({
        "channel": "sms", "type": "general", "recipientContact": to, "templateId": "offer", "locale": locale,
        "templateVariables": { "customerName": "Ada" },
    });
    let sent = server.send(message).await;
    server.until_status(&sent, "delivered").await;
    server.inbox(to).await[0]["body"].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_created_used_changed_and_deleted() {
    let server = TestServer::new().await;
    let created = create(&server, offer(None, "Hello {{customerName}}, an offer.")).await;
    let id = created["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (id.as_str(), &created["version"], &created["isActive"]),
        ("tpl_offer.sms.default", &json!(1), &json!(true))
    );
    assert_eq!(created["availableVariables"], json!(["customerName"]));
    assert_eq!(sent_text(&server, "+447700900001", "fr").await, "Hello Ada, an offer.");
    create(&server, offer(Some("es"), "Hola {{customerName}}.")).await;
    let again = server.post(TEMPLATES, offer(Some("es"), "x")).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);

    // A message keeps the version that it was accepted with.
    let later = json!({
        "channel": "sms", "type": "general", "recipientContact": "+447700900004", "templateId": id,
        "templateVariables": { "customerName": "Ada" }, "scheduledAt": "2027-06-01T09:00:00Z",
    });
    let later = server.send(later).await;
    let path = format!("{TEMPLATES}/{id}");
    let patch = |body: Value, seen: &str| server.request(Method::PATCH, &path).header("if-match", seen).json(&body);
    let changed = server.answer(patch(json!({ "bodyTemplate": "Hi {{customerName}}!" }), "\"1\"")).await;
    assert_eq!((changed.status, &changed.body["version"]), (StatusCode::OK, &json!(2)), "{}", changed.body);
    assert_eq!(changed.headers["etag"], "\"2\"");
    let stale = server.answer(patch(json!({ "bodyTemplate": "Stale" }), "\"1\"")).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{}", stale.body);
    assert_eq!(sent_text(&server, "+447700900005", "fr").await, "Hi Ada!");
    assert_eq!(server.communication(&later).await.text("/rendered/text"), "Hello Ada, an offer.");
    tests::server::eventually("the uses are counted", async || {
        (server.get(&path).await.body["usageCount"] == 3).then_some(())
    })
    .await;
    let versions = server.get(&format!("{path}/versions")).await;
    let versions = versions.body["versions"].as_array().expect("versions").clone();
    assert_eq!(versions.iter().map(|one| one["version"].clone()).collect::<Vec<_>>(), [json!(2), json!(1)]);
    let first = server.get(&format!("{path}?version=1")).await;
    assert_eq!(first.text("/bodyTemplate"), "Hello {{customerName}}, an offer.");

    assert_eq!(server.post(&format!("{path}/deactivate"), json!({})).await.body["isActive"], false);
    let refused = json!({
        "channel": "sms", "type": "general", "recipientContact": "+447700900001", "templateId": "offer", "locale": "fr",
    });
    let refused = server.post("/api/communications/send", refused).await;
    assert_eq!(refused.text("/errors/0/code"), "unknown_template");
    assert_eq!(server.post(&format!("{path}/activate"), json!({})).await.body["isActive"], true);
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
    // A message that was accepted with the template keeps its text.
    assert_eq!(server.communication(&later).await.text("/rendered/text"), "Hello Ada, an offer.");
    let recreated = create(&server, offer(None, "Anew")).await;
    assert_eq!(recreated["version"], 3, "version numbers are never reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_locale_is_used_and_the_tenants_own_template_wins() {
    let server = TestServer::new().await;
    let invoice = async |locale: &str, to: &str| {
        let message = json!({
            "channel": "sms", "type": "invoice", "recipientContact": to, "templateId": "tpl_invoice_sms", "locale": locale,
            "templateVariables": { "customerName": "Ada", "businessName": "Acme", "invoiceNumber": "7", "amount": 1500.5 },
        });
        let sent = server.send(message).await;
        server.until_status(&sent, "delivered").await;
        let shown = server.communication(&sent).await;
        (shown.text("/templateId").to_owned(), shown.text("/rendered/text").to_owned())
    };
    let (id, text) = invoice("es-MX", "+447700900001").await;
    assert_eq!(id, "tpl_invoice_sms.es");
    assert!(text.starts_with("Acme: Ada, su factura 7 de"), "{text}");
    assert_eq!(invoice("de", "+447700900004").await.0, "tpl_invoice_sms");
    let own = json!({
        "name": "Ours", "code": "invoice", "channel": "sms", "type": "invoice", "locale": "es",
        "bodyTemplate": "{{businessName}}: factura {{invoiceNumber}}, {{currency amount \"EUR\"}}",
    });
    create(&server, own).await;
    // The process that created the template uses it at once.
    let (id, text) = invoice("es-MX", "+447700900005").await;
    assert_eq!(id, "tpl_invoice.sms.es");
    assert!(text.starts_with("Acme: factura 7, ") && text.contains("1,500.50"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_errors_of_a_template_name_their_field() {
    let server = TestServer::new().await;
    let email = json!({ "name": "N", "code": "c", "channel": "email", "type": "invoice", "subjectTemplate": "S", "bodyTemplate": "B" });
    for (change, pointer, code) in [
        (json!({ "code": "Not A Code" }), "/code", "not_a_code"),
        (json!({ "code": "tpl_mine" }), "/code", "not_a_code"),
        (json!({ "subjectTemplate": null }), "/subjectTemplate", "required"),
        (json!({ "channel": "sms" }), "/subjectTemplate", "no_subject"),
        (json!({ "locale": "español!" }), "/locale", "not_a_locale"),
        (json!({ "bodyTemplate": "{{#if a}}" }), "/bodyTemplate", "template"),
        (json!({ "subjectTemplate": "{{> partial}}" }), "/subjectTemplate", "template"),
        (
            json!({ "bodyTemplate": "{{a}} {{b}}", "availableVariables": ["a"] }),
            "/availableVariables",
            "unknown_variable",
        ),
        (json!({ "availableVariables": [7] }), "/availableVariables", "not_names"),
        (json!({ "bodyTemplate": "x".repeat(100_001) }), "/bodyTemplate", "too_long"),
    ] {
        let mut body = email.clone();
        change.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
        let refused = server.post(TEMPLATES, body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{change}");
        let errors = refused.body["errors"].as_array().expect("errors").clone();
        assert!(errors.iter().any(|e| e["pointer"] == pointer && e["code"] == code), "{change}: {}", refused.body);
    }
    for method in [Method::PATCH, Method::DELETE] {
        let path = format!("{TEMPLATES}/tpl_invoice_email");
        let refused = server.answer(server.request(method, &path).json(&json!({ "name": "Mine" }))).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    }
    let hostile = format!("{}{{{{a}}}}{}", "{{#each a}}".repeat(3), "{{/each}}".repeat(3));
    let checked =
        server.post(&format!("{TEMPLATES}/validate"), json!({ "channel": "sms", "bodyTemplate": hostile })).await;
    assert_eq!((checked.status, &checked.body["valid"]), (StatusCode::OK, &json!(false)), "{}", checked.body);
    let checked = json!({ "channel": "sms", "bodyTemplate": "{{a}}{{#if b}}{{c}}{{/if}}", "variables": { "b": 1 } });
    let checked = server.post(&format!("{TEMPLATES}/validate"), checked).await;
    assert_eq!(checked.body["availableVariables"], json!(["a", "b", "c"]));
    assert_eq!(checked.body["requiredVariables"], json!(["a"]));
    assert_eq!(checked.text("/errors/0/code"), "missing_variables");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_of_one_day_speaks_of_a_day() {
    let server = TestServer::new().await;
    for (id, days, expected) in [
        ("tpl_collection_notice_email", 1, "1 day ago"),
        ("tpl_collection_notice_email", 7, "7 days ago"),
        ("tpl_collection_notice_sms", 1, "1 day ago"),
        ("tpl_collection_notice_telegram.es", 1, "1 día."),
        ("tpl_collection_notice_email", 0, "is due soon"),
        ("tpl_collection_notice_email.es", -5, "esta factura vence."),
        ("tpl_collection_notice_sms", -5, "INV-7 is due."),
    ] {
        let variables = json!({
            "customerName": "Ada", "businessName": "Acme", "invoiceNumber": "INV-7", "amount": "5", "currency": "EUR",
            "daysOverdue": days,
        });
        let shown = server.post(&format!("{TEMPLATES}/{id}/preview"), json!({ "variables": variables })).await;
        assert!(shown.text("/text").contains(expected), "{id}: {}", shown.body);
    }
}

/// Renders every system template with the preview, which uses the same engine as sending.
#[tokio::test(flavor = "multi_thread")]
async fn every_system_template_renders_in_its_language() {
    let server = TestServer::new().await;
    let all = server.get(&format!("{TEMPLATES}?isActive=true")).await;
    let all = all.body["templates"].as_array().expect("templates").clone();
    assert_eq!(all.len(), 2 * (7 + 7 + 7 * 3 + 1), "the number of system templates in two languages");
    let variables = json!({
        "customerName": "Ada & Co", "businessName": "Acme", "invoiceNumber": "INV-7", "amount": 1500.5, "currency": "EUR",
        "dueDate": "2026-12-01", "paymentDate": "2026-11-21", "daysOverdue": 12, "locationName": "Nairobi", "itemCount": 2,
        "items": [{ "name": "Tea", "quantity": 3 }], "shortLink": "https://s.example.com/7", "message": "Hello.",
        "paymentLink": "https://pay.example.com/7", "invitationLink": "https://app.example.com/join", "userName": "Bo",
        "count": 2, "sums": [{ "amount": "30.00", "currency": "EUR" }],
        "invoices": [{ "invoiceNumber": "INV-7", "amount": "30.00", "currency": "EUR", "dueDate": "2026-12-01" }],
    });
    for template in &all {
        let id = template["id"].as_str().expect("an id");
        let shown = server.post(&format!("{TEMPLATES}/{id}/preview"), json!({ "variables": variables })).await;
        assert_eq!(shown.status, StatusCode::OK, "{id}: {}", shown.body);
        let text = shown.text("/text");
        assert!(text.len() > 10 && !text.contains("{{") && !text.contains('<'), "{id}: {text}");
        let is_email = template["channel"] == "email";
        assert_eq!(
            shown.body["html"].is_string() && shown.body["subject"].is_string(),
            is_email || template["channel"].is_null()
        );
        if is_email {
            assert!(shown.text("/html").contains("viewport"), "{id}");
            assert!(!shown.text("/html").contains("Ada & Co"), "escaped: {id}");
        }
        if text.contains("December") || text.contains("diciembre") {
            assert_eq!(text.contains("diciembre"), template["locale"] == "es", "{id}: {text}");
        }
        let none = server.post(&format!("{TEMPLATES}/{id}/preview"), json!({})).await;
        assert_eq!(none.text("/errors/0/code"), "missing_variables", "{id}: {}", none.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_saved_with_faults_mended_and_published() {
    let server = TestServer::new().await;
    let id = create(&server, offer(None, "Hello {{customerName}}")).await["id"].as_str().expect("an id").to_owned();
    let path = format!("{TEMPLATES}/{id}");
    let draft = format!("{path}/draft");
    let put = async |body: Value, seen: &str| {
        server.answer(server.request(Method::PUT, &draft).header("if-match", seen).json(&body)).await
    };
    assert_eq!(server.get(&draft).await.status, StatusCode::NOT_FOUND);
    let saved = put(json!({ "bodyTemplate": "Hi {{#if a}}", "baseVersion": 1 }), "\"0\"").await;
    assert_eq!((saved.status, &saved.body["valid"]), (StatusCode::OK, &json!(false)), "{}", saved.body);
    assert_eq!(
        (saved.text("/errors/0/pointer"), &saved.headers["etag"]),
        ("/bodyTemplate", &"\"1\"".parse().expect("a tag"))
    );
    let refused = server.post(&format!("{draft}/publish"), json!({})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);

    let stale = put(json!({ "bodyTemplate": "Hi" }), "\"0\"").await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{}", stale.body);
    let mended = put(json!({ "bodyTemplate": "Hi {{customerName}}" }), "\"1\"").await;
    assert_eq!((&mended.body["valid"], &mended.body["number"]), (&json!(true), &json!(2)), "{}", mended.body);
    let shown = server.get(&path).await;
    assert_eq!((shown.text("/bodyTemplate"), &shown.body["draft"]["number"]), ("Hello {{customerName}}", &json!(2)));

    // Somebody else publishes in the meantime.
    let other = server.answer(server.request(Method::PATCH, &path).json(&json!({ "bodyTemplate": "Other" }))).await;
    assert_eq!(other.body["version"], 2);
    let refused = server.post(&format!("{draft}/publish"), json!({})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    let published = server.post(&format!("{draft}/publish"), json!({ "baseVersion": 2 })).await;
    assert_eq!((published.status, &published.body["version"]), (StatusCode::OK, &json!(3)), "{}", published.body);
    assert_eq!((published.text("/bodyTemplate"), &published.body["draft"]), ("Hi {{customerName}}", &Value::Null));
    assert_eq!(server.answer(server.request(Method::DELETE, &draft)).await.status, StatusCode::NO_CONTENT);
    let builtin = format!("{TEMPLATES}/tpl_invoice_sms/draft");
    let system = server.request(Method::PUT, &builtin).json(&json!({ "bodyTemplate": "x" }));
    assert_eq!(server.answer(system).await.status, StatusCode::CONFLICT);
    assert_eq!(server.get(&builtin).await.status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_stored_with_a_template_and_warnings_name_their_line() {
    let server = TestServer::new().await;
    let system = server.get(&format!("{TEMPLATES}/tpl_invoice_sms/samples")).await;
    let variables = system.body["samples"][0]["variables"].clone();
    let preview = server.post(&format!("{TEMPLATES}/tpl_invoice_sms/preview"), json!({ "variables": variables })).await;
    assert!(preview.text("/text").contains("INV-2042"), "{}", preview.body);
    let id = create(&server, offer(None, "Hello {{customerName}}")).await["id"].as_str().expect("an id").to_owned();
    let path = format!("{TEMPLATES}/{id}/samples");
    assert_eq!(server.get(&path).await.body["samples"], json!([]));
    let put = async |body: Value| server.answer(server.request(Method::PUT, &path).json(&body)).await;
    let samples = json!([{ "name": "Longest", "variables": { "customerName": "Konstantinos" } }]);
    assert_eq!(put(json!({ "samples": samples })).await.status, StatusCode::OK);
    assert_eq!(server.get(&path).await.body["samples"], samples);
    let one = json!({ "name": "A", "variables": {} });
    for (body, code) in [
        (json!({ "samples": [one, one] }), "repeated"),
        (json!({ "samples": vec![one.clone(); 11] }), "too_many"),
        (json!({ "samples": [{ "name": "A", "variables": { "a": "x".repeat(20_000) } }] }), "too_long"),
    ] {
        let refused = put(body).await;
        assert_eq!((refused.status, refused.text("/errors/0/code")), (StatusCode::UNPROCESSABLE_ENTITY, code));
    }
    let validate = format!("{TEMPLATES}/validate");
    let body =
        json!({ "channel": "sms", "bodyTemplate": "Hi\n{{customrName}}", "availableVariables": ["customerName"] });
    let checked = server.post(&validate, body).await;
    let warning = json!({
        "pointer": "/bodyTemplate", "code": "new_variable", "line": 2,
        "detail": "“customrName” is a new variable. Did you mean “customerName”?",
    });
    assert_eq!((&checked.body["valid"], &checked.body["warnings"]), (&json!(true), &json!([warning])));
}
