//! The console's settings and its log of callbacks, as a browser without scripts sees them.

use reqwest::StatusCode;
use serde_json::json;
use tests::server::{TestServer, email, eventually};

use crate::console::{page, token_of};

/// Sends a form of the console. Returns the status, the path and the page that it leads to.
struct Forms<'a> {
    server: &'a TestServer,
    token: String,
}

impl Forms<'_> {
    async fn of<'a>(server: &'a TestServer, path: &str) -> Forms<'a> {
        Forms { server, token: token_of(&page(server, path).await.html) }
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
        let form = [&[("_token", &*self.token)], fields].concat();
        let request = self.server.client.post(format!("{}{path}", self.server.local.url)).form(&form);
        let response = request.send().await.expect("an answer");
        let path = response.url().path().to_owned();
        (response.status(), path, response.text().await.expect("text"))
    }
}

const TWILIO: [(&str, &str); 4] =
    [("provider", "twilio"), ("channel", "sms"), ("s.accountSid", "ACexample"), ("s.from", "+15005550006")];

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_added_tested_ordered_changed_and_deleted() {
    let server = TestServer::new().await;
    let list = page(&server, "/settings/providers").await;
    assert!(
        list.html.contains("none paused") && list.html.contains("an account of this installation"),
        "{}",
        list.html
    );
    let forms = Forms::of(&server, "/settings/providers/new?provider=twilio").await;
    let (status, _, html) = forms.post("/settings/providers/new", &TWILIO).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("<title>Error: ") && html.contains(r##"href="#f-settings-authToken""##), "{html}");
    let add = async |name: &str| {
        let given = [&TWILIO[..], &[("s.authToken", "token-example"), ("name", name)]].concat();
        forms.post("/settings/providers/new", &given).await
    };
    let (_, path, html) = add("Main <b>").await;
    assert!(html.contains("Main &#60;b&#62; is in use") && !html.contains("token-example"), "{html}");
    assert!(html.contains("/webhooks/twilio/") && html.contains("saved; type to replace"), "{html}");
    let second = add("Spare").await.1;

    let checked = page(&server, &format!("{path}?check=credentials")).await;
    assert!(checked.html.contains("The provider accepts these credentials"), "{}", checked.html);
    let balance = page(&server, &format!("{path}?check=balance")).await;
    assert!(balance.html.contains("reported by the provider just now"), "{}", balance.html);
    let (status, _, html) = forms.post(&format!("{path}/test"), &[("to", "nobody")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains(r##"href="#f-to""##) && html.contains(r#"value="nobody""#), "{html}");
    let (_, at, _) = forms.post(&format!("{path}/test"), &[("to", "+447700900001")]).await;
    assert!(at.starts_with("/messages/com_"), "{at}");

    let id = |path: &str| path.rsplit('/').next().expect("an id").to_owned();
    let order = format!("{},{}", id(&second), id(&path));
    let (_, _, html) = forms.post("/settings/providers/order", &[("channel", "sms"), ("order", &order)]).await;
    let place = |html: &str, name: &str| html.find(&format!(r#"">{name}</a>"#)).expect("its row");
    assert!(html.contains("Order saved") && place(&html, "Spare") < place(&html, "Main &#60;b&#62;"), "{html}");
    let (_, _, html) = forms.post(&format!("{path}/disable"), &[]).await;
    assert!(html.contains("Account disabled") && html.contains("1 is disabled"), "{html}");
    let (_, _, html) = forms.post(&format!("{path}/enable"), &[]).await;
    assert!(html.contains("Account in use again"), "{html}");
    let change =
        [("name", "Main"), ("s.from", "+15005550007"), ("s.authToken", ""), ("burst", "20"), ("perSecond", "2")];
    let (_, _, html) = forms.post(&path, &change).await;
    assert!(html.contains("Saved.") && html.contains("+15005550007") && html.contains(r#"value="20""#), "{html}");
    let still = page(&server, &format!("{path}?check=credentials")).await;
    assert!(still.html.contains("accepts these credentials"), "the secret stayed: {}", still.html);
    let (_, _, html) = forms.post(&format!("{path}/delete"), &[]).await;
    assert!(html.contains("Account deleted"), "{html}");
    assert_eq!(page(&server, &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_revoked() {
    let server = TestServer::new().await;
    let empty = page(&server, "/settings/keys").await;
    assert!(empty.html.contains("No API keys yet") && empty.html.contains("retry dead letters"), "{}", empty.html);
    let forms = Forms::of(&server, "/settings/keys").await;
    let (status, _, html) =
        forms.post("/settings/keys", &[("name", "CI"), ("role", "sender"), ("expires", "2001-01-01")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains(r##"href="#f-expiresAt""##) && html.contains(r#"value="CI""#), "{html}");
    let tomorrow = server.get("/api/limits").await.text("/resetsAt")[..10].to_owned();
    let given = [("name", "CI <i>"), ("role", "viewer"), ("channel.sms", "on"), ("expires", &tomorrow)];
    let (status, _, html) = forms.post("/settings/keys", &given).await;
    assert_eq!(status, StatusCode::OK);
    let (_, key) = html.split_once(r#"data-copy=""#).expect("the key");
    let key = key.split('"').next().expect("the key").to_owned();
    assert!(key.starts_with("td_test_") && html.contains("CI &#60;i&#62;"), "{html}");
    let as_key = server.client.get(format!("{}/api/communications", server.local.url)).bearer_auth(&key);
    assert_eq!(as_key.send().await.expect("an answer").status(), StatusCode::OK);
    let list = page(&server, "/settings/keys").await;
    assert!(!list.html.contains(&key) && list.html.contains("1 API key"), "it is shown once: {}", list.html);
    let (_, path) = list.html.split_once(r#"action="/settings/keys/"#).expect("a form");
    let id = path.split('/').next().expect("an id");
    let (_, _, html) = forms.post(&format!("/settings/keys/{id}/revoke"), &[]).await;
    assert!(html.contains("Key revoked") && html.contains("No API keys yet"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_quiet_hours_are_set_and_a_stale_form_loses_nothing() {
    let server = TestServer::new().await;
    let forms = Forms::of(&server, "/settings/limits").await;
    let save = async |revision: &str, fields: &[(&str, &str)]| {
        forms.post("/settings/limits", &[&[("revision", revision)], fields].concat()).await
    };
    let (status, _, html) = save("0", &[("burst", "0"), ("perSecond", "5")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains(r##"href="#f-rate""##), "{html}");
    let (_, _, html) = save("0", &[("newCurrency", "usd"), ("newCap", "lots")]).await;
    assert!(html.contains("Write an amount such as") && html.contains(r#"value="lots""#), "{html}");
    let (_, _, html) = save("0", &[("newCurrency", "XX"), ("newCap", "5")]).await;
    assert!(html.contains(r##"href="#f-newCurrency""##), "{html}");
    let good = [("burst", "50"), ("perSecond", "5"), ("newCurrency", "usd"), ("newCap", "25.5")];
    let (_, _, html) = save("0", &good).await;
    assert!(html.contains("Limits saved") && html.contains("At most 5 messages per second, 1 spend cap"), "{html}");
    let limits = server.get("/api/limits").await;
    assert_eq!(limits.body["dailySpendCapsMicros"]["USD"], json!(25_500_000));
    let (status, _, html) = save("0", &[("burst", "9"), ("perSecond", "3"), ("cap.USD", "1")]).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert!(html.contains("This changed while you were editing") && html.contains("5 per second after"), "{html}");
    assert!(html.contains(r#"value="9""#) && html.contains("25.5 USD a day"), "both versions are there: {html}");
    let (_, _, html) = save("1", &[("burst", ""), ("perSecond", ""), ("cap.USD", "")]).await;
    assert!(html.contains("No limits of your own"), "{html}");

    let quiet = async |start: &str, zone: &str, act: &str| {
        let fields = [("start", start), ("end", "08:00"), ("zone", zone), ("do", act)];
        forms.post("/settings/limits/quiet-hours", &fields).await
    };
    let (status, _, html) = quiet("21:00", "Mars/Base", "save").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains(r##"href="#f-quietHours-timeZone""##) && html.contains("Mars/Base"), "{html}");
    let (_, _, html) = quiet("21:00", "Africa/Nairobi", "save").await;
    assert!(html.contains("Quiet hours saved") && html.contains(r#"value="21:00""#), "{html}");
    let (_, _, html) = quiet("", "", "remove").await;
    assert!(!html.contains("Remove quiet hours"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_name_their_message_and_show_what_was_received() {
    let server = TestServer::new().await;
    let empty = page(&server, "/webhooks").await;
    assert!(empty.html.contains("No callbacks yet"), "{}", empty.html);
    let id = server.send(email("delivered@sim.test")).await;
    server.until_status(&id, "delivered").await;
    let listed = async || {
        let list = page(&server, "/webhooks").await;
        list.html.contains(&format!("/messages/{id}")).then_some(list)
    };
    let list = eventually("the log has it", listed).await;
    let (_, rest) = list.html.split_once(r#"href="/webhooks/"#).expect("a callback");
    let entry = rest.split('"').next().expect("its id");
    let shown = page(&server, &format!("/webhooks/{entry}")).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.html.contains("Its signature is valid") && shown.html.contains("POST /webhooks/"), "{}", shown.html);
    let refused = page(&server, "/webhooks?status=refused").await;
    assert!(refused.html.contains("No callbacks match"), "{}", refused.html);
    for missing in ["0", "1795973551518%23083cc6ce", "..%2Fx"] {
        assert_eq!(page(&server, &format!("/webhooks/{missing}")).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
    let api = server.get(&format!("/api/webhook-log/{entry}")).await;
    assert_eq!(api.body["communications"], json!([id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_retried_and_messages_cancelled_after_a_preview() {
    let server = TestServer::new().await;
    server.fault("sendgrid", "503", 2).await;
    let mut dead = Vec::new();
    for n in 0..2 {
        let mut body = email(&format!("dead-{n}@example.com"));
        body["maxAttempts"] = json!(1);
        let id = server.send(body).await;
        server.until(&id, "lifecycle", "dead_lettered").await;
        dead.push(id);
    }
    let grouped = async || {
        let queue = page(&server, "/queue").await;
        queue.html.contains("2 dead letters, 2 ready to retry").then_some(queue)
    };
    let queue = eventually("both are grouped", grouped).await;
    let (_, rest) = queue.html.split_once(r#"href="/queue/redrive?"#).expect("a link");
    let query = rest.split('"').next().expect("its query").replace("&#38;", "&");
    let (_, rest) = queue.html.split_once(r#"<td class="r" data-l="Messages"><a href=""#).expect("a link");
    let list = rest.split('"').next().expect("an address").replace("&#38;", "&");
    let listed = page(&server, &list).await;
    assert!(dead.iter().all(|id| listed.html.contains(id)), "{list}: {}", listed.html);
    let preview = page(&server, &format!("/queue/redrive?{query}")).await;
    assert!(
        preview.html.contains("Preview: retry 2 messages") && preview.html.contains("None can arrive twice"),
        "{}",
        preview.html
    );
    let forms = Forms::of(&server, "/queue").await;
    let (status, _, html) = forms.post("/queue/redrive", &[("id", &dead[0]), ("perSecond", "1000")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains(r##"href="#f-perSecond""##), "{html}");
    let (_, _, html) = forms.post("/queue/redrive", &[("id", &dead[0]), ("id", &dead[1])]).await;
    assert!(html.contains("2 queued for another attempt"), "{html}");
    server.until_status(&dead[0], "delivered").await;

    let mut later = email("ada@example.com");
    later["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let id = server.send(later).await;
    let bulk = page(&server, &format!("/messages/bulk?do=cancel&id={id}&id={}", dead[0])).await;
    assert!(bulk.html.contains("Preview: cancel 1 message") && bulk.html.contains("Skipped"), "{}", bulk.html);
    let (_, _, html) = forms.post("/messages/cancel", &[("id", &id), ("id", &dead[0])]).await;
    assert!(html.contains("1 cancelled; 1 skipped"), "{html}");
    assert_eq!(server.communication(&id).await.text("/status"), "cancelled");
    let none = page(&server, "/messages/bulk?do=retry").await;
    assert!(none.html.contains("No message was chosen"), "{}", none.html);
}
