//! The console's pages, as a browser without scripts sees them.

use reqwest::StatusCode;
use serde_json::json;
use tests::server::{TestServer, email, eventually};

pub struct Seen {
    pub status: StatusCode,
    pub html: String,
}

pub async fn page(server: &TestServer, path: &str) -> Seen {
    let request = server.client.get(format!("{}{path}", server.local.url)).header("accept", "text/html");
    let response = request.send().await.expect("an answer");
    let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{path}: {policy}");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let status = response.status();
    let html = response.text().await.expect("text");
    assert_eq!(html.matches("<h1").count(), 1, "{path} has one heading");
    assert!(!html.contains(" style=\"") && !html.contains(" onclick=\""), "{path} has nothing inline");
    Seen { status, html }
}

/// The pages that a page links to.
fn links_of(html: &str) -> Vec<String> {
    let links = html.split(r#"href=""#).skip(1).filter_map(|rest| rest.split('"').next());
    let pages = links.filter(|link| link.starts_with('/') && !link.starts_with("/static/"));
    pages.map(|link| link.replace("&amp;", "&").replace("&#38;", "&")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_leads_to_a_page() {
    let server = TestServer::new().await;
    let mut body = email("bounce-hard@sim.test");
    body["recipientId"] = json!("cus 7");
    body["entityType"] = json!("sale");
    body["entityId"] = json!("INV-7");
    let id = server.send(body).await;
    server.until_status(&id, "bounced").await;
    let (mut seen, mut next) = (std::collections::BTreeSet::new(), vec!["/".to_owned(), format!("/messages/{id}")]);
    while let Some(path) = next.pop() {
        let path = path.split('#').next().unwrap_or_default().to_owned();
        if path.is_empty() || !seen.insert(path.clone()) || 200 < seen.len() {
            continue;
        }
        let shown = page(&server, &path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}");
        next.extend(links_of(&shown.html));
    }
    assert!(seen.contains("/queue") && seen.contains("/send"), "{seen:?}");
    let found = page(&server, &format!("/messages?q={id}")).await;
    assert!(found.html.contains("What happened"), "{}", found.html);
    let person = page(&server, "/messages?q=cus+7").await;
    assert!(person.html.contains("Opt-in evidence and history") && person.html.contains("cus 7"), "{}", person.html);
}

pub fn token_of(html: &str) -> String {
    let (_, rest) = html.split_once(r#"name="_token" value=""#).expect("a form");
    rest.split('"').next().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_found_and_followed() {
    let server = TestServer::new().await;
    let empty = page(&server, "/messages").await;
    assert!(empty.html.contains("No messages yet"), "{}", empty.html);
    let mut body = email("opened@sim.test");
    body["recipientName"] = json!("<script>alert(1)</script> Ada");
    let id = server.send(body).await;
    server.until_status(&id, "opened").await;

    let listed = async || {
        let list = page(&server, "/messages?status=opened").await;
        list.html.contains(&id).then_some(list)
    };
    let list = eventually("the list has it", listed).await;
    assert!(list.html.contains(&format!("/messages/{id}")), "{}", list.html);
    assert!(list.html.contains("&#60;script&#62;alert(1)") && !list.html.contains("<script>alert"), "{}", list.html);
    let none = page(&server, "/messages?status=bounced").await;
    assert!(none.html.contains("No messages match these filters"), "{}", none.html);

    let shown = page(&server, &format!("/messages/{id}")).await;
    for part in ["Opened by", "Attempt 1 via SendGrid", ", reported by SendGrid", "As the recipient saw it"] {
        assert!(shown.html.contains(part), "{part}: {}", shown.html);
    }
    let mail = server.client.get(format!("{}/messages/{id}/mail", server.local.url)).send().await.expect("an answer");
    assert!(mail.headers()["content-security-policy"].to_str().expect("text").starts_with("sandbox;"));
    let overview = page(&server, "/").await;
    assert!(overview.html.contains("Everything is running normally"), "{}", overview.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_need_the_token_of_a_page_and_change_the_message() {
    let server = TestServer::new().await;
    let mut later = email("ada@example.com");
    later["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let id = server.send(later).await;
    let path = format!("{}/messages/{id}/cancel", server.local.url);
    let forged = server.client.post(&path).form(&[("_token", "0")]).send().await.expect("an answer");
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let shown = page(&server, &format!("/messages/{id}")).await;
    let token = token_of(&shown.html);
    let foreign = server.client.post(&path).header("sec-fetch-site", "cross-site").form(&[("_token", &token)]);
    assert_eq!(foreign.send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    let done = server.client.post(&path).form(&[("_token", &token)]).send().await.expect("an answer");
    let html = done.text().await.expect("text");
    assert!(html.contains("Cancelled: ") && html.contains("By Developer") || html.contains("By developer"), "{html}");
    assert_eq!(server.communication(&id).await.text("/status"), "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_the_consoles_words() {
    let server = TestServer::new().await;
    let missing = page(&server, "/messages/com_01a22740947473f1ac5c1370faa09549").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.html.contains("There is nothing here"), "{}", missing.html);
    assert!(page(&server, "/nowhere").await.html.contains("No page has this address."));
    let program = server.client.get(format!("{}/nowhere", server.local.url)).send().await.expect("an answer");
    assert_eq!(program.headers()["content-type"], "application/problem+json");
    let wrong = page(&server, "/messages?status=unheard-of").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_checked_and_sent_once() {
    let server = TestServer::new().await;
    let form = page(&server, "/send").await;
    let token = token_of(&form.html);
    let (_, rest) = form.html.split_once(r#"name="key" value=""#).expect("a key");
    let key = rest.split('"').next().expect("a key");
    let url = format!("{}/send", server.local.url);
    let post = async |fields: &[(&str, &str)]| {
        let common = [("_token", &*token), ("key", key), ("type", "general_notification"), ("channel", "sms")];
        let response = server.client.post(&url).form(&[&common[..], fields].concat()).send().await.expect("an answer");
        (response.status(), response.url().path().to_owned(), response.text().await.expect("text"))
    };
    let (status, _, html) = post(&[("recipientContact", "nobody"), ("content", "Hi"), ("do", "send")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("<title>Error: ") && html.contains(r##"href="#f-to""##), "{html}");
    let good = [("recipientContact", "+447700900001"), ("content", "Your parcel is here")];
    let (status, _, html) = post(&[&good[..], &[("do", "check")]].concat()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("Nothing stops this message") && html.contains("Your parcel is here"), "{html}");
    let send = async || post(&[&good[..], &[("do", "send")]].concat()).await.1;
    let (first, second) = (send().await, send().await);
    assert!(first.starts_with("/messages/com_") && first == second, "{first} {second}");
    let queue = page(&server, "/queue").await;
    assert!(queue.html.contains("Nothing waits for a decision"), "{}", queue.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_written_checked_published_and_restored() {
    let server = TestServer::new().await;
    let new = page(&server, "/templates/new").await;
    let token = token_of(&new.html);
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let form = [&[("_token", &*token)], fields].concat();
        let response =
            server.client.post(format!("{}{path}", server.local.url)).form(&form).send().await.expect("an answer");
        (response.status(), response.url().path().to_owned(), response.text().await.expect("text"))
    };
    let name = [("name", "Ready <b>"), ("code", "ready"), ("channel", "sms"), ("type", "general_notification")];
    let (status, _, html) = post("/templates/new", &[&name[..], &[("bodyTemplate", "Hi {{#if}}")]].concat()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("<title>Error: ") && html.contains(r##"href="#f-bodyTemplate""##), "{html}");
    let good = [("bodyTemplate", "Hi {{customerName}},\r\nyour order is ready.")];
    let (_, path, html) = post("/templates/new", &[&name[..], &good].concat()).await;
    assert_eq!(path, "/templates/tpl_ready.sms.default");
    assert!(html.contains("Ready &#60;b&#62;") && html.contains("Version 1 is in use"), "{html}");

    // A draft with a fault is kept, and cannot be published.
    let edit = async |draft: &str, body: &str, act: &str| {
        post(&path, &[("draft", draft), ("base", "1"), ("bodyTemplate", body), ("do", act)]).await
    };
    let (status, _, html) = edit("0", "Hi {{customrName}}", "save").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("Did you mean") && html.contains("Draft saved"), "{html}");
    let (status, _, html) = edit("0", "Mine", "save").await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "somebody else saved a draft");
    assert!(
        html.contains("This changed while you were editing") && html.contains("customrName") && html.contains("Mine")
    );
    let (_, at, html) = edit("1", "Hello {{customerName}}", "publish").await;
    assert_eq!(at, format!("{path}/publish"));
    assert!(html.contains("Version 2 is ready to publish") && html.contains("<ins>+ Hello {{customerName}}"), "{html}");
    let (_, at, html) = post(&format!("{path}/publish"), &[("draft", "2"), ("base", "1")]).await;
    assert!(at == path && html.contains("Version 2 is in use"), "{html}");
    let (_, at, html) = post(&format!("{path}/publish"), &[("draft", "2"), ("base", "1")]).await;
    assert!(at == path && html.contains("There is no draft any more"), "it is published once: {html}");

    let (_, _, html) = post(&format!("{path}/versions/1"), &[("base", "2")]).await;
    assert!(html.contains("Restored as a new version") && html.contains("Version 3 is in use"), "{html}");
    let sample = [("do", "sample"), ("sampleName", "Ada"), ("sampleVariables", r#"{"customerName":"<i>Ada</i>"}"#)];
    let body = [("bodyTemplate", "Hi {{customerName}}"), ("draft", "0"), ("base", "3")];
    let (_, _, html) = post(&path, &[&sample[..], &body].concat()).await;
    assert!(html.contains("Sample data saved") && html.contains(r#"<p class="bub">Hi &#60;i&#62;Ada"#), "{html}");
    let test = [("do", "test"), ("testTo", "+447700900001"), ("key", "k-1"), ("sample", "Ada")];
    let (_, _, html) = post(&path, &[&test[..], &body].concat()).await;
    assert!(html.contains("Test accepted for sending"), "{html}");
    let (_, _, html) = post(&format!("{path}/archive"), &[]).await;
    assert!(html.contains("Archived"), "{html}");
    let list = page(&server, "/templates?isActive=false").await;
    assert!(list.html.contains("1 template</h1>") && list.html.contains("archived"), "{}", list.html);

    let mail = server.client.get(format!("{}/templates/tpl_invoice_email/mail", server.local.url)).send().await;
    let mail = mail.expect("an answer");
    assert!(mail.headers()["content-security-policy"].to_str().expect("text").starts_with("sandbox;"));
    assert!(mail.text().await.expect("text").contains("INV-2042"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_acts_as_the_recipient() {
    let server = TestServer::new().await;
    let empty = page(&server, "/inbox").await;
    assert!(empty.html.contains("Nothing received yet"), "{}", empty.html);
    let token = token_of(&empty.html);
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let form = [&[("_token", &*token)], fields].concat();
        let response =
            server.client.post(format!("{}{path}", server.local.url)).form(&form).send().await.expect("an answer");
        (response.status(), response.text().await.expect("text"))
    };
    let id = server.send(email("ada@example.com")).await;
    server.until_status(&id, "delivered").await;
    let inbox = page(&server, "/inbox").await;
    assert!(inbox.html.contains("Email to ada@example.com") && inbox.html.contains("Mark as spam"), "{}", inbox.html);
    let (status, html) = post("/inbox/1", &[("do", "open")]).await;
    assert!(status == StatusCode::OK && html.contains("The provider reported it"), "{html}");
    server.until_status(&id, "opened").await;
    let mut sms = email("+447700900001");
    (sms["channel"], sms["subject"]) = (json!("sms"), json!(null));
    let id = server.send(sms).await;
    server.until_status(&id, "delivered").await;
    let (status, html) = post("/inbox/2", &[("do", "reply"), ("reply", "")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("<title>Error: ") && html.contains(r##"href="#reply""##), "{html}");
    let (_, html) = post("/inbox/2", &[("do", "reply"), ("reply", "<b>When?")]).await;
    assert!(html.contains("&#60;b&#62;When?") && html.contains("sent by you"), "{html}");
    let (_, html) = post("/inbox", &[("do", "fault"), ("provider", "twilio"), ("kind", "503"), ("count", "3")]).await;
    assert!(html.contains("Twilio responds with 503, unavailable, for 3 more calls"), "{html}");
    let (_, html) = post("/inbox", &[("do", "heal")]).await;
    assert!(html.contains("none active"), "{html}");
    let (_, html) = post("/inbox", &[("do", "advance"), ("ms", "3600000")]).await;
    assert!(html.contains("The clock was moved"), "{html}");
    let (_, html) = post("/inbox", &[("do", "clear")]).await;
    assert!(html.contains("The inbox is empty") && html.contains("Nothing received yet"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_read_is_a_page_with_a_way_back() {
    let server = TestServer::new().await;
    for path in ["/messages/%ff", "/inbox/abc/mail", "/templates/tpl_a/versions/x", "/people/customer/%ff", "/nothing"]
    {
        let seen = page(&server, path).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{path}");
        assert!(seen.html.contains("There is nothing here") && seen.html.contains("View overview"), "{path}");
    }
    let back = async |referer: String| {
        let request = server.client.get(format!("{}/messages/com_x", server.local.url)).header("accept", "text/html");
        request.header("referer", referer).send().await.expect("an answer").text().await.expect("text")
    };
    let html = back(format!("{}/messages?status=failed", server.local.url)).await;
    assert!(html.contains(r#"href="/messages?status=failed">Back to the page before"#), "{html}");
    for elsewhere in ["https://evil.example/messages", "//evil.example", "x"] {
        assert!(!back(elsewhere.to_owned()).await.contains("Back to the page before"), "{elsewhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_paused_and_resumed_on_the_queue_page() {
    let server = TestServer::new().await;
    let token = token_of(&page(&server, "/queue").await.html);
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let form = [&[("_token", &*token)], fields].concat();
        let request =
            server.client.post(format!("{}{path}", server.local.url)).header("accept", "text/html").form(&form);
        let response = request.send().await.expect("an answer");
        (response.status(), response.text().await.expect("text"))
    };
    let (status, html) = post("/queue/pause", &[("channel", "sms"), ("reason", "")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("<title>Error: ") && html.contains(r##"href="#f-reason""##), "{html}");
    let (_, html) = post("/queue/pause", &[("channel", "sms"), ("reason", "Wrong <amount>")]).await;
    for part in [
        "SMS is paused. What is due waits.",
        "<h1>SMS is paused; no dead letters</h1>",
        "Wrong &#60;amount&#62;",
        "Resume SMS",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let held = server.send(tests::server::sms("+447700900001")).await;
    let message = page(&server, &format!("/messages/{held}")).await;
    assert!(message.html.contains("It waits: SMS is paused since"), "{}", message.html);
    let overview = page(&server, "/").await;
    assert!(
        overview.html.contains("SMS is paused since") && overview.html.contains("item needs attention"),
        "{}",
        overview.html
    );
    let (status, html) = post("/queue/resume", &[("channel", "sms")]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("SMS sends again.") && html.contains("<h1>No dead letters</h1>"), "{html}");
    server.until_status(&held, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_finds_messages_people_templates_and_pages() {
    let server = TestServer::new().await;
    let mut body = email("opened@sim.test");
    body["recipientId"] = json!("cus-<7>");
    let id = server.send(body).await;
    server.until_status(&id, "opened").await;
    let empty = page(&server, "/search").await;
    assert!(empty.html.contains(r#"href="/queue">Queue</a>"#) && empty.html.contains("data-palette"), "{}", empty.html);
    let by_id = page(&server, &format!("/search?q={id}")).await;
    assert!(by_id.html.contains("What happened"), "it leads to the message: {}", by_id.html);
    let found = async || {
        let seen = page(&server, "/search?q=cus-%3C7%3E").await;
        seen.html.contains(&format!("/messages/{id}")).then_some(seen)
    };
    let seen = eventually("the list has it", found).await;
    assert!(seen.html.contains("/people/customer/cus-%3C7%3E") && !seen.html.contains("cus-<7>"), "{}", seen.html);
    let templates = page(&server, "/search?q=INVOICE_em").await;
    assert!(templates.html.contains("/templates/tpl_invoice_email"), "{}", templates.html);
    let pages = page(&server, "/search?q=audit").await;
    assert!(pages.html.contains(r#"href="/audit">Audit trail</a>"#), "{}", pages.html);
    let nothing = page(&server, "/search?q=%00%ff%27%22").await;
    assert!(nothing.status == StatusCode::OK && nothing.html.contains("Nothing has this name"), "{}", nothing.html);
    let address = page(&server, "/search?q=ada%40example.com").await;
    assert!(address.html.contains("/suppressions?contact=ada%40example.com"), "{}", address.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_template_is_previewed_with_what_uses_it() {
    let server = TestServer::new().await;
    let template = json!({
        "name": "Reminder <b>", "code": "own_reminder", "channel": "sms", "type": "payment_reminder", "bodyTemplate": "Pay",
    });
    let id = server.post("/api/communication-templates", template).await.text("/id").to_owned();
    let schedule = json!({
        "name": "Weekly", "start": "2030-01-01", "timeZone": "UTC", "when": { "cron": "0 9 * * 1" },
        "action": { "send": { "channel": "sms", "type": "payment_reminder", "recipientContact": "+447700900001", "templateId": id } },
    });
    let schedule = server.post("/api/schedules", schedule).await;
    assert_eq!(schedule.status, StatusCode::CREATED, "{}", schedule.body);
    let editor = page(&server, &format!("/templates/{id}")).await;
    assert!(editor.html.contains(&format!("/templates/{id}/delete")), "{}", editor.html);
    let preview = page(&server, &format!("/templates/{id}/delete")).await;
    for part in [
        "Nothing has been deleted yet",
        "The schedule Weekly sends it",
        "Delete template Reminder &#60;b&#62;",
        "Keep template",
    ] {
        assert!(preview.html.contains(part), "{part}: {}", preview.html);
    }
    let form = [("_token", token_of(&preview.html))];
    let request = server.client.post(format!("{}/templates/{id}/delete", server.local.url)).form(&form);
    let html = request.send().await.expect("an answer").text().await.expect("text");
    assert!(html.contains("Template deleted."), "{html}");
    assert_eq!(server.get(&format!("/api/communication-templates/{id}")).await.status, StatusCode::NOT_FOUND);
    let acts = server.get("/api/audit?subject=templates").await;
    assert_eq!(acts.text("/acts/0/type"), "TemplateDeleted");
    let system = page(&server, "/templates/tpl_invoice_email/delete").await;
    assert_eq!(system.status, StatusCode::CONFLICT);
}
