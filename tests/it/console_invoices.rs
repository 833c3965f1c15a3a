//! The console's pages about invoices, business events and schedules, as a browser without scripts sees them.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{TestServer, eventually};

async fn page(server: &TestServer, path: &str) -> String {
    let request = server.client.get(format!("{}{path}", server.local.url)).header("accept", "text/html");
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.text().await.expect("text")
}

fn after<'a>(html: &'a str, mark: &str) -> &'a str {
    let (_, rest) = html.split_once(mark).unwrap_or_else(|| panic!("{mark} in {html}"));
    rest.split('"').next().expect("a value")
}

async fn submit(server: &TestServer, from: &str, to: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let html = page(server, from).await;
    let token = after(&html, r#"name="_token" value=""#);
    let fields = [&[("_token", token)], fields].concat();
    let request = server.client.post(format!("{}{to}", server.local.url)).header("accept", "text/html");
    let answer = request.form(&fields).send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("text"))
}

async fn tell(server: &TestServer, id: &str, kind: &str, data: Value) {
    let event = json!({ "id": id, "type": kind, "source": "erp", "data": data });
    assert_eq!(server.post("/api/events", event).await.status, StatusCode::ACCEPTED);
}

async fn overdue_invoice(server: &TestServer) {
    let data = json!({
        "invoice": { "id": "7", "number": "INV-7", "issuedOn": "2026-01-01", "dueOn": "2026-02-01", "total": "100.00",
                     "currency": "EUR", "status": "issued" },
        "customer": { "id": "ada", "name": "Ada", "email": "ada@sim.test" }, "businessName": "Acme",
    });
    tell(server, "issued-7", "ar_invoice.created", data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_shows_why_no_reminder_was_sent_and_takes_a_promise() {
    let server = TestServer::new().await;
    assert!(page(&server, "/collections").await.contains("Reminders are off"));
    let (status, html) = submit(&server, "/collections", "/collections/switch/on", &[]).await;
    assert!(status == StatusCode::OK && html.contains("No invoice is overdue"), "{html}");
    overdue_invoice(&server).await;
    let listed = async || {
        let html = page(&server, "/collections").await;
        html.contains("1 invoice is overdue").then_some(html)
    };
    let html = eventually("the list has it", listed).await;
    assert!(html.contains("INV-7") && html.contains("€100.00") && html.contains("days overdue"), "{html}");
    let id = after(&html, r#"href="/invoices/"#).to_owned();
    let path = format!("/invoices/{id}");
    let html = page(&server, &path).await;
    assert!(
        html.contains("No reminder will be sent") && html.contains("€100.00 is owed. It was due on 1 Feb 2026."),
        "{html}"
    );
    let in_ten_days = jiff::Timestamp::now() + jiff::Span::new().hours(240);
    let in_ten_days = in_ten_days.strftime("%Y-%m-%d").to_string();
    let (status, html) = submit(&server, &path, &format!("{path}/promise"), &[("on", &in_ten_days)]).await;
    assert!(status == StatusCode::OK && html.contains("Promised until "), "{html}");
    let (status, html) = submit(&server, &path, &format!("{path}/dispute"), &[]).await;
    assert!(status == StatusCode::OK && html.contains("Resolve dispute"), "{html}");
    let (status, _) = submit(&server, &path, &format!("{path}/shred"), &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reminder_schedule_is_changed_and_an_edit_that_is_late_loses_nothing() {
    let server = TestServer::new().await;
    let html = page(&server, "/collections").await;
    let revision = after(&html, r#"name="revision" value=""#).to_owned();
    let fields = |time, days| {
        [
            ("revision", &*revision),
            ("time", time),
            ("until", "18:00"),
            ("timeZone", "Europe/Madrid"),
            ("step.d1", days),
            ("step.d7", "7"),
            ("step.d30", "30"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let save = async |time, days| {
        let fields = fields(time, days);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        submit(&server, "/collections", "/collections/settings", &fields).await
    };
    let (status, html) = save("10:30", "2").await;
    assert!(
        status == StatusCode::OK && html.contains("Reminder schedule saved") && html.contains(r#"value="10:30""#),
        "{html}"
    );
    assert_eq!(server.get("/api/collections").await.body["ladder"][0]["afterDays"], 2);
    let (status, html) = save("11:45", "3").await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert!(html.contains("This changed while you were editing") && html.contains(r#"value="11:45""#), "{html}");
    let html = page(&server, "/collections").await;
    let revision = after(&html, r#"name="revision" value=""#).to_owned();
    let wrong = [("revision", &*revision), ("time", "10:30"), ("until", "09:00"), ("timeZone", "Nowhere/Else")];
    let (status, html) = submit(&server, "/collections", "/collections/settings", &wrong).await;
    assert!(status.is_client_error() && html.contains("<title>Error: ") && html.contains("role=\"alert\""), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_business_event_shows_what_followed() {
    let server = TestServer::new().await;
    assert!(page(&server, "/business-events").await.contains("No business events yet"));
    overdue_invoice(&server).await;
    let handled = async || {
        let html = page(&server, "/business-events?status=handled").await;
        html.contains("/business-events/bev_").then_some(html)
    };
    let html = eventually("it is handled", handled).await;
    let path = format!("/business-events/{}", after(&html, r#"href="/business-events/"#));
    let html = page(&server, &path).await;
    assert!(html.contains("ar_invoice.created: ") && html.contains("/invoices/inv_") && !html.contains("ada@sim.test"));
    assert!(page(&server, &format!("{path}?raw=true")).await.contains("ada@sim.test"));

    let parked = json!({
        "source": "flowpos", "account": "000000000000", "id": "1", "detail-type": "sale.created",
        "time": "2026-11-01T00:00:00Z", "detail": { "sale": { "id": 5 } },
    });
    let request = server.request(reqwest::Method::POST, "/_dev/events").json(&parked);
    assert_eq!(server.answer(request).await.body["status"], "parked");
    let waits = async || {
        let html = page(&server, "/business-events?status=parked").await;
        html.contains("1 event waits for a decision").then_some(html)
    };
    let html = eventually("it is listed", waits).await;
    let path = format!("/business-events/{}", after(&html, r#"href="/business-events/"#));
    let html = page(&server, &path).await;
    assert!(html.contains("What is wrong with it") && html.contains("Handle 1 event again"), "{html}");
    let (status, html) = submit(&server, &path, &format!("{path}/discard"), &[("reason", "a test")]).await;
    assert!(status == StatusCode::OK && html.contains("Discarded"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_previewed_paused_and_deleted() {
    let server = TestServer::new().await;
    let key = after(&page(&server, "/schedules").await, r#"name="key" value=""#).to_owned();
    let fields = |more: &[(&'static str, &'static str)]| {
        let common = [
            ("key", key.clone()),
            ("name", "Daily <b>".to_owned()),
            ("timeZone", "Europe/Madrid".to_owned()),
            ("channel", "sms".to_owned()),
            ("type", "general_notification".to_owned()),
            ("content", "Hello".to_owned()),
        ];
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        common.into_iter().chain(more).collect::<Vec<_>>()
    };
    let post = async |more: &[(&'static str, &'static str)]| {
        let fields = fields(more);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        submit(&server, "/schedules", "/schedules", &fields).await
    };
    let (status, html) = post(&[("cron", "0 9 * *"), ("recipientContact", "nobody"), ("do", "create")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        html.contains("<title>Error: ") && html.contains("#f-cron") && html.contains(r#"value="0 9 * *""#),
        "{html}"
    );
    let good = [("cron", "0 9 * * *"), ("recipientContact", "+447700900001")];
    let (status, html) = post(&[&good[..], &[("do", "preview")]].concat()).await;
    assert!(status == StatusCode::OK && html.contains("It would be sent at:"), "{html}");
    let (status, html) = post(&[&good[..], &[("do", "create")]].concat()).await;
    assert!(status == StatusCode::OK && html.contains("Daily &#60;b&#62; is sent next at"), "{html}");
    let path = after(&html, r#"action="/schedules/"#).split('/').next().map(|id| format!("/schedules/{id}"));
    let path = path.expect("a schedule");
    let revision = after(&html, r#"name="revision" value=""#).to_owned();
    let (_, html) = submit(&server, &path, &format!("{path}/pause"), &[("revision", &revision)]).await;
    assert!(html.contains("is paused") && html.contains("Resume schedule"), "{html}");
    let (_, html) = submit(&server, &path, &format!("{path}/delete"), &[("revision", &revision)]).await;
    assert!(html.contains("No recurring schedules"), "{html}");
}
