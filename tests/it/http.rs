//! Every invalid request gets a problem with a clear cause.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{ApiKeyStore, Principal};
use events::Mode;
use local::{Data, Options};
use problem::ProblemKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::harness::Scratch;
use tests::server::{Answer, TestServer, email, eventually};

fn assert_problem(answer: &Answer, kind: ProblemKind) {
    let (slug, status, title) = kind.slug_status_title();
    assert_eq!(answer.status.as_u16(), status.as_u16(), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.text("/type"), format!("/docs/problems/{slug}"));
    assert_eq!(answer.text("/title"), title);
    assert_eq!(answer.body["status"], json!(status.as_u16()));
    assert!(!answer.text("/detail").is_empty());
}

/// The pointer and code of each field's error, sorted.
fn errors_of(answer: &Answer) -> Vec<(String, String)> {
    let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut pairs: Vec<_> = errors.iter().map(|e| (text(&e["pointer"]), text(&e["code"]))).collect();
    pairs.sort();
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_returned_with_the_message_and_not_sent() {
    let server = TestServer::new().await;
    let mut body = email("ada@example.com");
    body["metadata"] = json!({ "order": { "id": "marker-7", "lines": [1, 2] } });
    let id = server.send(body.clone()).await;
    let shown = server.until_status(&id, "delivered").await;
    assert_eq!(shown.body["metadata"], body["metadata"]);
    assert!(!json!(server.inbox("ada@example.com").await).to_string().contains("marker-7"));
    let again = server.post(&format!("/api/communications/{id}/resend"), json!({})).await;
    assert_eq!(again.body["communication"]["metadata"], body["metadata"], "{}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_invalid_field_is_named() {
    let server = TestServer::new().await;
    for (change, pointer, code) in [
        (json!({ "channel": null }), "/channel", "required"),
        (json!({ "channel": "pigeon" }), "/channel", "not_one_of"),
        (json!({ "channel": "whatsapp" }), "/recipientContact", "not_an_address"),
        (json!({ "type": "poem" }), "/type", "not_one_of"),
        (json!({ "type": 7 }), "/type", "not_one_of"),
        (json!({ "priority": "asap" }), "/priority", "not_one_of"),
        (json!({ "recipientType": "cat" }), "/recipientType", "not_one_of"),
        (json!({ "recipientContact": "not an address" }), "/recipientContact", "not_an_address"),
        (json!({ "recipientContact": "" }), "/recipientContact", "empty"),
        (json!({ "recipientId": "a\u{0}b" }), "/recipientId", "control_characters"),
        (json!({ "recipientName": "n".repeat(256) }), "/recipientName", "too_long"),
        (json!({ "subject": "s".repeat(501) }), "/subject", "too_long"),
        (json!({ "subject": 7 }), "/subject", "not_text"),
        (json!({ "subject": null }), "/subject", "required"),
        (json!({ "content": null }), "/content", "required"),
        (json!({ "templateId": "tpl_general" }), "/content", "ambiguous"),
        (json!({ "content": null, "templateId": "tpl_none" }), "/templateId", "unknown_template"),
        (json!({ "templateVariables": [] }), "/templateVariables", "not_an_object"),
        (json!({ "metadata": "x" }), "/metadata", "not_an_object"),
        (json!({ "metadata": { "order": "x".repeat(4_000) } }), "/metadata", "too_long"),
        (json!({ "metadata": { "order": ["\u{7}"] } }), "/metadata", "control_characters"),
        (json!({ "entityId": "7" }), "/entityType", "required"),
        (json!({ "scheduledAt": "tomorrow" }), "/scheduledAt", "not_a_time"),
        (json!({ "scheduledAt": "2020-01-01T00:00:00Z" }), "/scheduledAt", "in_the_past"),
        (json!({ "scheduledAt": "2099-01-01T00:00:00Z" }), "/scheduledAt", "too_far"),
        (json!({ "expiresAt": "2020-01-01T00:00:00Z" }), "/expiresAt", "in_the_past"),
        (json!({ "maxAttempts": 0 }), "/maxAttempts", "not_in_range"),
        (json!({ "inDoubt": "guess" }), "/inDoubt", "not_one_of"),
        (json!({ "attachments": "x" }), "/attachments", "not_a_list"),
        (json!({ "attachments": [{ "filename": "a", "fileUrl": "http://x" }] }), "/attachments/0", "not_an_attachment"),
        (json!({ "attachments": vec![json!({}); 11] }), "/attachments", "too_many"),
        (json!({ "colour": "red" }), "/colour", "unknown_field"),
        (json!({ "businessId": "other" }), "/businessId", "unknown_field"),
    ] {
        let mut body = email("delivered@sim.test");
        for (name, value) in change.as_object().expect("fields") {
            body[name] = value.clone();
        }
        let answer = server.post("/api/communications/send", body).await;
        assert_problem(&answer, ProblemKind::Invalid);
        assert!(errors_of(&answer).contains(&(pointer.to_owned(), code.to_owned())), "{change}: {}", answer.body);
    }
    let sms = json!({ "channel": "sms", "type": "invoice", "recipientContact": "12", "content": "x" });
    let answer = server.post("/api/communications/send", sms).await;
    assert_eq!(errors_of(&answer), [("/recipientContact".to_owned(), "not_an_address".to_owned())]);
    assert_eq!(server.get("/api/communications").await.body["count"], 0, "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_validation_errors_are_reported_at_once() {
    let server = TestServer::new().await;
    let answer = server.post("/api/communications/send", json!({ "type": "poem", "x": 1 })).await;
    assert_problem(&answer, ProblemKind::Invalid);
    let codes: Vec<(String, String)> = errors_of(&answer);
    let codes: Vec<(&str, &str)> = codes.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
    assert_eq!(
        codes,
        [
            ("/channel", "required"),
            ("/content", "required"),
            ("/recipientContact", "required"),
            ("/type", "not_one_of"),
            ("/x", "unknown_field")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendering_error_names_the_missing_variables() {
    let server = TestServer::new().await;
    let invoice = |variables: Value| {
        json!({
            "channel": "email", "type": "invoice", "recipientContact": "a@b.co", "templateId": "tpl_invoice_email",
            "templateVariables": variables
        })
    };
    let answer = server.post("/api/communications/send", invoice(json!({ "amount": 1 }))).await;
    assert_eq!(errors_of(&answer), [("/templateVariables".to_owned(), "missing_variables".to_owned())]);
    for name in ["customerName", "invoiceNumber", "businessName"] {
        assert!(answer.text("/detail").contains(name), "{}", answer.body);
    }
    let mut lots = json!({ "customerName": "A", "invoiceNumber": "1", "businessName": "B", "amount": "lots" });
    let answer = server.post("/api/communications/send", invoice(lots.take())).await;
    assert!(answer.text("/detail").contains("`lots` is not an amount"), "{}", answer.body);
    let mut body = email("a@b.co");
    body["content"] = json!("{{#if x}}");
    body["templateVariables"] = json!({});
    let answer = server.post("/api/communications/send", body).await;
    assert_eq!(errors_of(&answer), [("/content".to_owned(), "template".to_owned())]);
    let mut sms = invoice(json!({}));
    sms["channel"] = json!("sms");
    sms["recipientContact"] = json!("+447700900001");
    let answer = server.post("/api/communications/send", sms).await;
    assert_eq!(errors_of(&answer), [("/templateId".to_owned(), "wrong_channel".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_bodies_are_rejected() {
    let server = TestServer::new().await;
    let send =
        async |body: Vec<u8>| server.answer(server.request(Method::POST, "/api/communications/send").body(body)).await;
    for body in [&b"{"[..], b"", b"[]", b"null", b"\xff\xfe", b"{\"channel\":\"email\"}}"] {
        assert_problem(&send(body.to_vec()).await, ProblemKind::Malformed);
    }
    let mut large = email("a@b.co");
    large["content"] = json!("x".repeat(256 * 1024));
    assert_problem(&send(large.to_string().into_bytes()).await, ProblemKind::TooLarge);
    let request = server.request(Method::POST, "/api/communications/send").header("idempotency-key", "x".repeat(256));
    assert_problem(&server.answer(request.json(&email("a@b.co"))).await, ProblemKind::Malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_are_rejected() {
    let server = TestServer::new().await;
    let url = format!("{}/api/communications", server.local.url);
    for header in [None, Some("Bearer td_live_guess"), Some("Basic dGVzdA=="), Some("Bearer"), Some("")] {
        let mut request = server.client.get(&url);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = server.answer(request).await;
        assert_problem(&answer, ProblemKind::Unauthenticated);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let health = server.answer(server.client.get(format!("{}/health", server.local.url))).await;
    assert_eq!((health.status, health.text("/status")), (StatusCode::OK, "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_says_when_the_store_takes_no_writes() {
    let scratch = Scratch::new();
    let data = Data::Folder(scratch.0.clone());
    let server = TestServer::with(Options { data, ..TestServer::options() }).await;
    let file = rusqlite::Connection::open(scratch.0.join("tidings.db")).expect("the database");
    file.execute_batch("DROP TABLE tallies").expect("a store that fails");
    let health = server.answer(server.client.get(format!("{}/health", server.local.url))).await;
    assert_problem(&health, ProblemKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_communication_is_not_found() {
    let server = TestServer::new().await;
    let id = server.send(email("delivered@sim.test")).await;
    let principal = |tenant: &str, mode| Principal::admin(tenant.parse().expect("a tenant"), "spy", mode);
    for (key, principal) in
        [("td_test_other", principal("other", Mode::Test)), ("td_live_local", principal("local", Mode::Live))]
    {
        ApiKeyStore::put(&server.local.database, &application::hash::key_hash(key), &principal).await.expect("a key");
        let as_other = |method, path: &str| {
            server.client.request(method, format!("{}{path}", server.local.url)).bearer_auth(key).json(&json!({}))
        };
        let path = format!("/api/communications/{id}");
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::PATCH, path.clone()),
            (Method::GET, format!("{path}/events")),
            (Method::POST, format!("{path}/cancel")),
            (Method::POST, format!("{path}/resend")),
        ] {
            let answer = server.answer(as_other(method.clone(), &path)).await;
            assert_problem(&answer, ProblemKind::NotFound);
        }
        let list = server.answer(as_other(Method::GET, "/api/communications")).await;
        assert_eq!(list.body["results"], json!([]), "{key}");
    }
    server.until_status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_paths_and_methods_are_problems() {
    let server = TestServer::new().await;
    for path in [
        "/api/communications/com_00000000000000000000000000000000",
        "/api/communications/nonsense",
        "/api/communications/com_00000000000000000000000000000000/events",
        "/api/nothing",
        "/nothing",
        "/docs/problems/nothing",
    ] {
        assert_problem(&server.get(path).await, ProblemKind::NotFound);
    }
    assert_problem(
        &server.answer(server.request(Method::DELETE, "/api/communications")).await,
        ProblemKind::MethodNotAllowed,
    );
    assert_problem(
        &server.answer(server.request(Method::GET, "/api/communications/send")).await,
        ProblemKind::MethodNotAllowed,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_reject_unknown_parameters_and_values() {
    let server = TestServer::new().await;
    let unsigned_cursor = URL_SAFE_NO_PAD.encode("mark~0000000000000#com_1");
    for (query, pointer, code) in [
        ("channel=pigeon".to_owned(), "channel", "not_one_of"),
        ("status=lost".to_owned(), "status", "not_one_of"),
        ("type=poem".to_owned(), "type", "not_one_of"),
        ("size=0".to_owned(), "size", "not_in_range"),
        ("size=101".to_owned(), "size", "not_in_range"),
        ("size=ten".to_owned(), "size", "not_in_range"),
        ("from=yesterday".to_owned(), "from", "not_a_time"),
        ("cursor=abc".to_owned(), "cursor", "bad_cursor"),
        (format!("cursor={unsigned_cursor}"), "cursor", "bad_cursor"),
        ("page=2".to_owned(), "page", "unknown_parameter"),
        ("colour=red".to_owned(), "colour", "unknown_parameter"),
    ] {
        let answer = server.get(&format!("/api/communications?{query}")).await;
        assert_problem(&answer, ProblemKind::Malformed);
        assert_eq!(errors_of(&answer), [(pointer.to_owned(), code.to_owned())], "{query}");
    }
    for query in ["startDate=2026-02-02&endDate=2026-01-01", "startDate=2020-01-01&endDate=2026-01-01", "x=1"] {
        assert_problem(&server.get(&format!("/api/communications/stats?{query}")).await, ProblemKind::Malformed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_refuses_unknown_parameters() {
    let server = TestServer::new().await;
    for (method, path) in [
        (Method::POST, "/api/communications/send"),
        (Method::PATCH, "/api/communications/com_1"),
        (Method::DELETE, "/api/schedules/sch_1"),
        (Method::POST, "/api/schedules/preview"),
        (Method::DELETE, "/api/suppressions"),
        (Method::GET, "/api/keys"),
        (Method::GET, "/api/communications/queue/status"),
    ] {
        let request = server.request(method.clone(), &format!("{path}?dryrun=true")).json(&json!({}));
        let answer = server.answer(request).await;
        let is_named = errors_of(&answer).contains(&("dryrun".to_owned(), "unknown_parameter".to_owned()));
        assert!(is_named && answer.status == StatusCode::BAD_REQUEST, "{method} {path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_can_be_seen_as_they_are() {
    let server = TestServer::new().await;
    let key = |name: &str| json!({ "name": name, "role": "viewer" });
    let template = |name: &str| json!({ "name": name, "channel": "sms", "type": "invoice", "content": "Hi" });
    for (name, code) in [
        (" \u{a0}", "blank"),
        ("\u{200b}", "blank"),
        ("ops\u{202e}nimda", "direction_characters"),
        ("a\nb", "control_characters"),
    ] {
        for (path, body) in [
            ("/api/keys", key(name)),
            ("/api/communication-templates", template(name)),
            ("/api/schedules", json!({ "name": name })),
            ("/api/channels", json!({ "name": name })),
        ] {
            let answer = server.post(path, body).await;
            let is_named = errors_of(&answer).contains(&("/name".to_owned(), code.to_owned()));
            assert!(is_named, "{path} {name:?}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_too_late_is_told_the_range() {
    let server = TestServer::new().await;
    let mut body = email("delivered@sim.test");
    body["scheduledAt"] = json!("9999-12-31T23:59:59Z");
    let answer = server.post("/api/communications/send", body).await;
    assert_eq!(errors_of(&answer), [("/scheduledAt".to_owned(), "not_in_range".to_owned())]);
    assert!(answer.text("/detail").contains("9999-12-30T22:00:00"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_valid_only_for_its_own_query() {
    let server = TestServer::new().await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(server.send(email("delivered@sim.test")).await);
    }
    eventually("all listed", async || (server.get("/api/communications").await.body["count"] == 7).then_some(())).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/communications?size=3{cursor}")).await.body;
        assert_eq!((&page["count"], &page["countIsEstimate"]), (&json!(7), &json!(false)));
        let rows = page["results"].as_array().expect("rows");
        found.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        let other = server.get(&format!("/api/communications?channel=email{cursor}")).await;
        assert_eq!(errors_of(&other), [("cursor".to_owned(), "bad_cursor".to_owned())]);
    }
    // Messages of the same millisecond have no defined order.
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_its_page() {
    let server = TestServer::new().await;
    for kind in ProblemKind::ALL {
        let (slug, _, title) = kind.slug_status_title();
        let page = server.get(&format!("/docs/problems/{slug}")).await;
        assert_eq!(page.status, StatusCode::OK, "{slug}");
        assert!(page.text("").contains(title), "{slug}: {}", page.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cannot_be_framed_or_load_anything() {
    let server = TestServer::new().await;
    let link = server.post("/api/communication-preferences/customer/ada/link", json!({})).await;
    let page = link.text("/url").strip_prefix(&server.local.url).expect("a page of this process").to_owned();
    for path in ["/docs", "/unsubscribe/a/b/c", "/files/a/b/1/c", "/preferences/a/b/1/c", &page] {
        let answer = server.get(path).await;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_a_broken_link_gets_a_page_and_a_program_a_problem() {
    let server = TestServer::new().await;
    for path in ["/unsubscribe/a/b/c", "/files/a/b/1/c", "/preferences/a/b/1/c", "/t/local/pay/none"] {
        assert_problem(&server.get(path).await, ProblemKind::NotFound);
        for (lang, title) in [("en-GB,en", "This link is not valid"), ("es-MX,es;q=0.9", "Este enlace no es válido")] {
            let request = server.client.get(format!("{}{path}", server.local.url));
            let request = request.header("accept", "text/html,*/*;q=0.8").header("accept-language", lang);
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{path}");
            assert_eq!(answer.headers()["x-frame-options"], "DENY", "{path}");
            let page = answer.text().await.expect("text");
            assert!(page.contains(&format!("<h1>{title}</h1>")), "{path}: {page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn development_routes_reject_invalid_input_and_other_hosts() {
    let server = TestServer::new().await;
    for (path, body) in [
        ("/_dev/faults", json!({ "provider": "pigeon", "kind": "500" })),
        ("/_dev/faults", json!({ "provider": "twilio", "kind": "sulk" })),
    ] {
        assert_problem(&server.post(path, body).await, ProblemKind::Malformed);
    }
    for (body, code) in [(json!({ "advanceMs": -1 }), "not_in_range"), (json!({ "advance": 1 }), "required")] {
        let answer = server.post("/_dev/clock", body).await;
        assert_problem(&answer, ProblemKind::Invalid);
        assert!(errors_of(&answer).contains(&("/advanceMs".to_owned(), code.to_owned())), "{}", answer.body);
    }
    assert_problem(&server.get("/_dev/inbox?wait=long").await, ProblemKind::Malformed);
    assert_problem(&server.get("/_dev/inbox?from=x").await, ProblemKind::Malformed);
    let request = server.request(Method::GET, "/_dev/inbox").header("host", "evil.example.com");
    assert_problem(&server.answer(request).await, ProblemKind::NotFound);
    let waited = server.get("/_dev/inbox?to=nobody@sim.test&wait=50ms").await;
    assert_eq!(waited.body["messages"], json!([]));
    let queues = server.get("/_dev/queues").await.body;
    assert_eq!(queues["email-high"], json!({ "waiting": 0, "inFlight": 0, "delayed": 0, "dead": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_the_callers_trace() {
    let server = TestServer::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = server.request(Method::POST, "/api/communications/send");
    let request = request.header("traceparent", trace).header("x-correlation-id", "order-77");
    let id = server.answer(request.json(&email("delivered@sim.test"))).await.id();
    let events = server.get(&format!("/api/communications/{id}/events")).await.body;
    let first = &events["events"][0];
    assert_eq!((&first["traceparent"], &first["correlationId"]), (&json!(trace), &json!("order-77")));
    assert_eq!(first["actor"], "key:developer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself_without_a_key() {
    let server = TestServer::new().await;
    let get = async |path: &str| {
        let response = server.client.get(format!("{}{path}", server.local.url)).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.expect("a body")
    };
    let document: Value = serde_json::from_str(&get("/api/openapi.json").await).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    for api::Route { method, path, .. } in api::ROUTES {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation["operationId"].is_string(), "{method} {path}");
    }
    let page = get("/docs").await;
    assert!(page.contains("sendCommunication") && page.contains("<h3 id=\"Communication\">"), "{page}");
}
