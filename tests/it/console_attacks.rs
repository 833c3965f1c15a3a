//! The console attacked: other tenants, roles that may do little, two at once, much at once, and people who were erased.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::server::{TestServer, email, eventually};

use crate::console::{page, token_of};
use crate::sign_in::Console;

/// What one business has: a message, an own template, a schedule and an invoice, as paths of the console.
async fn fill(server: &TestServer) -> Vec<String> {
    let mut message = email("opened@sim.test");
    message["recipientId"] = json!("secret-person");
    message["recipientName"] = json!("Ada Secret");
    let message = server.send(message).await;
    server.until_status(&message, "opened").await;
    let template =
        json!({ "name": "Secret", "code": "secret", "channel": "sms", "type": "general", "bodyTemplate": "Secret" });
    let template = server.post("/api/communication-templates", template).await.text("/id").to_owned();
    let schedule = json!({
        "name": "Secret", "when": { "cron": "0 9 * * *" }, "timeZone": "UTC",
        "action": { "send": { "channel": "sms", "type": "general", "recipientContact": "+447700900001", "content": "Secret" } },
    });
    let schedule = server.post("/api/schedules", schedule).await.text("/id").to_owned();
    vec![
        format!("/messages/{message}"),
        format!("/messages/{message}/mail"),
        format!("/streams/messages/{message}"),
        format!("/templates/{template}"),
        format!("/templates/{template}/delete"),
        format!("/schedules/{schedule}"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_is_seen_or_changed() {
    let console = Console::new().await;
    let paths = fill(&console.server).await;
    let session = console.sign_in_at("other", "admin").await;
    let home = console.get("/messages", &session).await.text().await.expect("text");
    assert!(home.contains("No messages yet"), "{home}");
    let token = token_of(&home);
    for path in &paths {
        let seen = console.get(path, &session).await;
        let status = seen.status();
        let html = seen.text().await.expect("text");
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {html}");
        assert!(!html.contains("Secret") && !html.contains("sim.test"), "{path}: {html}");
    }
    for path in
        ["/search?q=secret-person", "/search?q=secret", "/people/customer/secret-person", "/people?q=secret-person"]
    {
        let html = console.get(path, &session).await.text().await.expect("text");
        assert!(!html.contains("Ada Secret") && !html.contains("opened@sim.test"), "{path}: {html}");
    }
    let message = paths[0].trim_start_matches("/messages/");
    for path in [
        &format!("{}/cancel", paths[0]),
        &format!("{}/resend", paths[0]),
        &format!("{}/delete", paths[3]),
        &format!("{}/archive", paths[3]),
    ] {
        let request = console.browser.post(format!("{}{path}", console.server.local.url)).header("cookie", &session);
        let answer = request.form(&[("_token", token.as_str()), ("key", "k")]).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // What is chosen in a list is refused or skipped.
    let html = console.get(&format!("/messages/cancel?id={message}"), &session).await.text().await.expect("text");
    assert!(html.contains("<h1>") && !html.contains("sim.test"), "{html}");
    let html = console.get(&format!("/queue/redrive?id={message}"), &session).await.text().await.expect("text");
    assert!(html.contains("<h1>") && !html.contains("sim.test"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_cannot_do_in_the_console_what_it_may_not_do() {
    let console = Console::new().await;
    let paths = fill(&console.server).await;
    for (role, may_cancel) in [("sender", true), ("viewer", false), ("operator", false), ("editor", false)] {
        let session = console.sign_in_at("local", role).await;
        let token = token_of(&console.get("/messages", &session).await.text().await.expect("text"));
        let post = async |path: &str, fields: &[(&str, &str)]| {
            let request =
                console.browser.post(format!("{}{path}", console.server.local.url)).header("cookie", &session);
            let form = [&[("_token", token.as_str())], fields].concat();
            request.form(&form).send().await.expect("an answer").status()
        };
        for (path, fields) in [
            ("/queue/pause", &[("channel", "sms"), ("reason", "r")][..]),
            ("/queue/resume", &[("channel", "sms")]),
            ("/settings/keys", &[("name", "k"), ("role", "admin")]),
            ("/settings/limits", &[("revision", "0"), ("burst", "1"), ("perSecond", "1")]),
            ("/people/customer/secret-person/erase", &[]),
            ("/suppressions/export", &[]),
        ] {
            let status = post(path, fields).await;
            let is_consent = role == "sender" && path.starts_with("/suppressions");
            assert_eq!(status, if is_consent { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{role}: {path}");
        }
        let resent = post(&format!("{}/resend", paths[0]), &[("key", role)]).await;
        assert_eq!(resent == StatusCode::SEE_OTHER, may_cancel, "{role}: {resent}");
        let deleted = post(&format!("{}/delete", paths[3]), &[]).await;
        if role != "editor" {
            assert_eq!(deleted, StatusCode::FORBIDDEN, "{role}");
        }
    }
    let limits = console.server.get("/api/limits").await;
    assert_eq!((&limits.body["rate"], &limits.body["paused"]), (&json!(null), &json!([])), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_publications_at_once_make_one_version() {
    let server = TestServer::new().await;
    let template = json!({ "name": "T", "code": "twice", "channel": "sms", "type": "general", "bodyTemplate": "One" });
    let id = server.post("/api/communication-templates", template).await.text("/id").to_owned();
    let draft = server.request(Method::PUT, &format!("/api/communication-templates/{id}/draft"));
    let draft = server.answer(draft.json(&json!({ "bodyTemplate": "Two" }))).await;
    assert!(draft.status.is_success(), "{}", draft.body);
    let number = draft.body["number"].to_string();
    let token = token_of(&page(&server, &format!("/templates/{id}/publish")).await.html);
    let form = [("_token", token.as_str()), ("base", "1"), ("draft", number.as_str())];
    let publish = async || {
        let request = server.client.post(format!("{}/templates/{id}/publish", server.local.url)).form(&form);
        let answer = request.header("accept", "text/html").send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    };
    let (one, other) = futures_util::future::join(publish(), publish()).await;
    let third = publish().await;
    for (status, html) in [&one, &other, &third] {
        assert!(status.is_success() || *status == StatusCode::PRECONDITION_FAILED, "{status}: {html}");
    }
    assert!(third.1.contains("There is no draft any more"), "{}", third.1);
    let versions = server.get(&format!("/api/communication-templates/{id}/versions")).await;
    assert_eq!(versions.body["versions"].as_array().map(Vec::len), Some(2), "{}", versions.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_in_the_consoles_words() {
    let server = TestServer::new().await;
    let template = json!({ "name": "T", "code": "large", "channel": "email", "type": "general", "subjectTemplate": "S", "bodyTemplate": "One" });
    let id = server.post("/api/communication-templates", template).await.text("/id").to_owned();
    let token = token_of(&page(&server, &format!("/templates/{id}")).await.html);
    let save = async |bytes: usize| {
        let body = "x".repeat(bytes);
        let form = [("_token", token.as_str()), ("do", "save"), ("subject", "S"), ("body", body.as_str())];
        let request = server.client.post(format!("{}/templates/{id}", server.local.url)).header("accept", "text/html");
        let answer = request.form(&form).send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    };
    let (status, html) = save(5 * 1024 * 1024).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(html.contains("The form is larger than 1 MB.") && html.len() < 20_000, "{} bytes", html.len());
    let (status, html) = save(200_000).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{}", &html[..2_000]);
    assert!(html.contains("<title>Error: ") || html.contains("role=\"alert\""), "the editor says what is wrong");
    let stays = server.get(&format!("/api/communication-templates/{id}")).await;
    assert_eq!(stays.text("/bodyTemplate"), "One");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_thousand_rows_is_shown_in_pages() {
    let server = TestServer::new().await;
    let mut csv = String::from("channel,contact,reason\n");
    for n in 0..1_000 {
        csv.push_str(&format!("email,person{n:04}@example.com,manual\n"));
    }
    let request = server.request(Method::POST, "/api/suppressions/import").header("content-type", "text/csv").body(csv);
    let added = server.answer(request).await;
    assert!(added.status.is_success(), "{}", added.body);
    let list = page(&server, "/suppressions").await;
    let rows = list.html.matches("<tr>").count() + list.html.matches("<tr ").count();
    assert!((20..=27).contains(&rows) && list.html.len() <= 32 * 1024, "{rows} rows, {} bytes", list.html.len());
    assert!(list.html.contains("Older") || list.html.contains("More") || list.html.contains("cursor="), "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_on_no_page() {
    let server = TestServer::new().await;
    let mut body = email("bounce-soft@sim.test");
    body["recipientId"] = json!("gone-7");
    body["recipientName"] = json!("Grace Gone");
    let id = server.send(body).await;
    eventually("an attempt fails", async || {
        (server.communication(&id).await.body["attempts"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    let shown = page(&server, &format!("/messages/{id}")).await;
    assert!(shown.html.contains("Grace Gone") && shown.html.contains("bounce-soft@sim.test"));
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/gone-7")).await;
    assert!(erased.status.is_success(), "{}", erased.body);
    let paths = [
        format!("/messages/{id}"),
        format!("/messages/{id}?tab=text"),
        format!("/messages/{id}?tab=source"),
        format!("/messages/{id}?tab=variables"),
        format!("/messages/{id}?tab=events"),
        format!("/messages/{id}/mail"),
        format!("/streams/messages/{id}"),
        "/messages".to_owned(),
        "/queue".to_owned(),
        "/people/customer/gone-7".to_owned(),
        "/search?q=gone-7".to_owned(),
        "/audit".to_owned(),
    ];
    for path in paths {
        let request = server.client.get(format!("{}{path}", server.local.url)).header("accept", "text/html");
        let html = request.send().await.expect("an answer").text().await.expect("text");
        assert!(!html.contains("Grace Gone") && !html.contains("bounce-soft@sim.test"), "{path}: {html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_page_of_messages_is_small() {
    let server = TestServer::new().await;
    let message = |n: usize| {
        let mut body = email(&format!("somebody-with-a-long-address-{n}@example.com"));
        body["recipientName"] = json!(format!("Ada Lovelace the {n}th"));
        body["subject"] = json!("Your invoice INV-2026-000123 of Acme is due on Friday");
        body
    };
    let batch: Vec<_> = (0..60).map(message).collect();
    let batch = server.post("/api/communications/batch", json!({ "communications": batch })).await;
    assert_eq!(batch.body["accepted"], json!(60), "{}", batch.body);
    let full = eventually("the list has all", async || {
        let list = page(&server, "/messages").await;
        (list.html.matches(r#"class="go""#).count() == 20 && list.html.contains("Older")).then_some(list)
    })
    .await;
    assert!(full.html.len() <= 32 * 1024, "{} bytes", full.html.len());
}
