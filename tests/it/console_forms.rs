//! What the console says when a form or an address is late, repeated, too large or wrong, and what stays as it was.

use reqwest::StatusCode;
use serde_json::json;
use tests::server::{TestServer, email, eventually};

use crate::console::{page, token_of};

fn value_of(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!(r#"name="{name}" value=""#)).unwrap_or_else(|| panic!("{name}: {html}"));
    rest.split('"').next().expect("a value").to_owned()
}

async fn post(server: &TestServer, path: &str, form: &[(&str, &str)]) -> (StatusCode, String, String) {
    let request = server.client.post(format!("{}{path}", server.local.url)).header("accept", "text/html").form(form);
    let response = request.send().await.expect("an answer");
    (response.status(), response.url().path().to_owned(), response.text().await.expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_moves_is_followed_without_a_new_key_for_its_form() {
    let server = TestServer::new().await;
    let id = server.send(email("slow@sim.test")).await;
    server.until_status(&id, "sent").await;
    let shown = page(&server, &format!("/messages/{id}")).await.html;
    let (_, follow) = shown.split_once(r#"<div id="follow""#).expect("it is followed");
    let follow = follow.split_once('>').expect("a tag").0;
    assert!(follow.contains(r##"hx-target="#state""##) && follow.contains(r#"hx-swap="innerMorph""#), "{follow}");
    for kept in [r#"<input id="resend-key""#, r#"<details id="curl""#] {
        let (_, tag) = shown.split_once(kept).expect("it is there");
        assert!(tag.split_once('>').expect("a tag").0.ends_with("hx-morph-skip"), "{kept} stays: {shown}");
    }
    let ended = server.send(email("bounce-hard@sim.test")).await;
    server.until_status(&ended, "bounced").await;
    let ended = page(&server, &format!("/messages/{ended}")).await.html;
    assert!(!ended.contains("hx-get="), "what cannot change is not loaded again: {ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_has_sent_a_message_comes_back_with_a_new_key() {
    let server = TestServer::new().await;
    let html = page(&server, "/send").await.html;
    let (token, first) = (token_of(&html), value_of(&html, "key"));
    let send = async |key: &str, content: &str| {
        let message = [("type", "general_notification"), ("channel", "sms"), ("recipientContact", "+447700900001")];
        let form = [("_token", &*token), ("key", key), ("content", content), ("do", "send")];
        post(&server, "/send", &[&message[..], &form].concat()).await
    };
    let sent = send(&first, "One").await.1;
    let (status, _, html) = send(&first, "Two").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("This form has already sent a message") && html.contains("<title>Error: "), "{html}");
    assert!(html.contains(">Two</textarea>") && html.contains(r#"tabindex="-1" autofocus"#), "{html}");
    let second = value_of(&html, "key");
    assert_ne!(first, second);
    let again = send(&second, "Two").await.1;
    assert!(again.starts_with("/messages/com_") && again != sent, "{sent} {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_that_it_is_held_and_by_whom_it_was_cancelled() {
    let server = TestServer::new().await;
    let mut night = email("ada@example.com");
    night["quietHours"] = json!({ "start": "00:00", "end": "23:59", "timeZone": "UTC" });
    let id = server.send(night).await;
    server.until_status(&id, "scheduled").await;
    let held = page(&server, &format!("/messages/{id}")).await.html;
    assert!(held.contains("Held for quiet hours: Invoice to ada@example.com"), "{held}");
    assert!(held.contains("23:59 (UTC).") && held.contains("#moon"), "{held}");
    let form = [("_token", token_of(&held))];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_, _, cancelled) = post(&server, &format!("/messages/{id}/cancel"), &form).await;
    assert!(cancelled.contains(", before the first attempt.") && !cancelled.contains("unknown result"), "{cancelled}");
    let listed = async || {
        let list = page(&server, "/messages?status=cancelled").await.html;
        list.contains(&id).then_some(list)
    };
    let list = eventually("the list has it", listed).await;
    assert!(list.contains("Before the first attempt.") && !list.contains("unknown result"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_heading_of_its_cause() {
    let server = TestServer::new().await;
    let filter = page(&server, "/messages?status=unheard-of").await;
    assert!(filter.html.contains("<h1>This address has a filter that cannot be used</h1>"), "{}", filter.html);
    let token = token_of(&filter.html);
    let (status, _, late) = post(&server, "/suppressions", &[("_token", "0"), ("contact", "a@b.example")]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(late.contains("<h1>This page was open too long</h1>") && late.contains("What you typed"), "{late}");
    let large = "x".repeat(1_100_000);
    let (status, _, large) = post(&server, "/send", &[("_token", &token), ("content", &large)]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.contains("<h1>Not saved: this is too large</h1>"), "{large}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_form_leads_to_its_page() {
    let server = TestServer::new().await;
    let id = server.send(email("opened@sim.test")).await;
    for (path, expected) in [
        (format!("/messages/{id}/cancel"), format!("/messages/{id}")),
        ("/queue/pause".to_owned(), "/queue".to_owned()),
        ("/inbox/1".to_owned(), "/inbox".to_owned()),
        ("/suppressions/remove".to_owned(), "/suppressions".to_owned()),
        ("/people/customer/ada/quiet".to_owned(), "/people/customer/ada".to_owned()),
        ("/collections/settings".to_owned(), "/collections".to_owned()),
        ("/collections/switch/on".to_owned(), "/collections".to_owned()),
        ("/settings/providers/order".to_owned(), "/settings/providers".to_owned()),
        ("/settings/keys/key_1/revoke".to_owned(), "/settings/keys".to_owned()),
        ("/settings/limits/quiet-hours".to_owned(), "/settings/limits".to_owned()),
        ("/session/theme".to_owned(), "/".to_owned()),
        ("/session/sign-out".to_owned(), "/".to_owned()),
    ] {
        let request = server.client.get(format!("{}{path}", server.local.url)).header("accept", "text/html");
        let response = request.send().await.expect("an answer");
        assert_eq!((response.status(), response.url().path()), (StatusCode::OK, &*expected), "{path}");
    }
    let request = server.client.put(format!("{}/queue/pause", server.local.url)).header("accept", "text/html");
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(response.text().await.expect("text").contains("<h1>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn single_keys_are_switched_off_and_on() {
    let server = TestServer::new().await;
    let html = page(&server, "/messages").await.html;
    assert!(html.contains("Switch keyboard shortcuts off") && html.contains(r#"aria-keyshortcuts="c""#), "{html}");
    let form = [("_token", token_of(&html)), ("keys", "off".to_owned())];
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let request = client.post(format!("{}/session/keys", server.local.url)).form(&form);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert!(answer.headers()["set-cookie"].to_str().expect("text").starts_with("keys=off; Path=/; "));
    let request = client.get(format!("{}/messages", server.local.url)).header("cookie", "keys=off");
    let html = request.send().await.expect("an answer").text().await.expect("text");
    assert!(html.contains("Switch keyboard shortcuts on") && !html.contains("aria-keyshortcuts"), "{html}");
    let wrong = [("_token", &*form[0].1), ("keys", "maybe")];
    assert_eq!(post(&server, "/session/keys", &wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_the_overview_lead_to_what_they_count() {
    let server = TestServer::new().await;
    for to in ["opened@sim.test", "bounce-hard@sim.test"] {
        let id = server.send(email(to)).await;
        server.until_status(&id, if to.starts_with("opened") { "opened" } else { "bounced" }).await;
    }
    let counted = async || {
        let html = page(&server, "/").await.html;
        html.contains("<span>Sent to provider</span><b>2</b>").then_some(html)
    };
    let html = eventually("both are counted", counted).await;
    let (before, _) = html.split_once("<span>Sent to provider</span>").expect("the number");
    let link = before.rsplit_once(r#"href=""#).expect("a link").1.split('"').next().expect("an address");
    assert!(link.contains("lifecycle=sent") && link.contains("from=20") && link.contains("to=20"), "{link}");
    let list = page(&server, &link.replace("&#38;", "&")).await;
    assert!(list.html.contains("2 messages"), "{link}: {}", list.html);
    assert!(html.contains("<div><span>Delivered</span>") && html.contains("<div><span>Opted out</span>"), "{html}");
}
