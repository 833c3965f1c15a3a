//! The console's pages about people: one person, the suppression list, the audit trail.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually};

struct Console {
    server: TestServer,
    token: String,
}

struct Seen {
    status: StatusCode,
    path: String,
    html: String,
}

impl Console {
    async fn new() -> Console {
        let server = TestServer::new().await;
        let mut console = Console { server, token: String::new() };
        let html = console.page("/").await.html;
        let (_, rest) = html.split_once(r#"name="_token" value=""#).expect("a form");
        console.token = rest.split('"').next().expect("a token").to_owned();
        console
    }

    async fn page(&self, path: &str) -> Seen {
        let url = format!("{}{path}", self.server.local.url);
        let response = self.server.client.get(url).header("accept", "text/html").send().await.expect("an answer");
        let seen = Seen {
            status: response.status(),
            path: response.url().path().to_owned(),
            html: response.text().await.expect("text"),
        };
        assert_eq!(seen.html.matches("<h1").count(), 1, "{path} has one heading");
        assert!(!seen.html.contains(" style=\"") && !seen.html.contains("<script>"), "{path} has nothing inline");
        seen
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let form = [&[("_token", &*self.token)], fields].concat();
        let request = self.server.client.post(format!("{}{path}", self.server.local.url)).header("accept", "text/html");
        let response = request.form(&form).send().await.expect("an answer");
        let (status, path) = (response.status(), response.url().path().to_owned());
        Seen { status, path, html: response.text().await.expect("text") }
    }

    async fn patch(&self, path: &str, body: Value) {
        let answer = self.server.answer(self.server.request(Method::PATCH, path).json(&body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

fn value_of<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!(r#"name="{name}" value=""#)).unwrap_or_else(|| panic!("{name}: {html}"));
    rest.split('"').next().expect("a value")
}

fn to(id: &str, contact: &str) -> Value {
    let mut body = email(contact);
    body["recipientId"] = json!(id);
    body["recipientName"] = json!("<i>Ada</i>");
    body
}

const ADA: &str = "/api/communication-preferences/customer/ada";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_and_their_preferences_are_saved() {
    let console = Console::new().await;
    let nobody = console.page("/people?q=ada").await;
    assert!(nobody.html.contains("Nobody has this reference"), "{}", nobody.html);
    let id = console.server.send(to("ada", "opened@sim.test")).await;
    console.server.until_status(&id, "opened").await;
    let found = console.page("/messages?q=ada").await;
    assert_eq!(found.path, "/people/customer/ada");
    for part in ["&#60;i&#62;Ada", "opened@sim.test", "Not suppressed", "Any message by SMS"] {
        assert!(found.html.contains(part), "{part}: {}", found.html);
    }
    let summarised = async || {
        let html = console.page("/people/customer/ada").await.html;
        html.contains("Opened or read 1 of 1 delivered").then_some(())
    };
    eventually("the list has it", summarised).await;
    let message = console.page(&format!("/messages/{id}")).await;
    assert!(message.html.contains(r#"href="/people/customer/ada""#), "{}", message.html);
    assert!(console.page("/people").await.html.contains(r#"href="/people/customer/ada""#));

    // A form changes what differs from what it showed, and nothing else.
    let all = "email,sms,whatsapp,messenger,telegram";
    let shown = [("was", all), ("c.email", "on"), ("c.whatsapp", "on"), ("c.messenger", "on"), ("c.telegram", "on")];
    let invoice = [("was.invoice", all), ("t.invoice.email", "on")];
    let form = [&shown[..], &invoice, &[("revision", "0")]].concat();
    let saved = console.post("/people/customer/ada/preferences", &form).await;
    assert!(saved.html.contains("Preferences saved.") && saved.html.contains("Invoice: Email"), "{}", saved.html);
    let now = console.server.get(ADA).await;
    assert_eq!((&now.body["smsEnabled"], &now.body["preferences"]), (&json!(false), &json!({ "invoice": ["email"] })));

    // Somebody else was first: both are shown, and what was wanted can be saved on top.
    let stale = console.post("/people/customer/ada/preferences", &form).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert!(stale.html.contains("This changed while you were editing") && stale.html.contains("SMS off"));
    console.patch(ADA, json!({ "smsEnabled": true })).await;
    let late = console.post("/people/customer/ada/preferences", &form).await;
    let body = value_of(&late.html, "body").replace("&#34;", "\"");
    let again = [("revision", "2"), ("body", &*body)];
    assert!(console.post("/people/customer/ada/again", &again).await.html.contains("Preferences saved."));
    assert_eq!(console.server.get(ADA).await.body["smsEnabled"], false);

    let wrong = [("revision", "3"), ("start", "25:00"), ("end", "08:00"), ("timeZone", "Europe/Amsterdam")];
    let wrong = console.post("/people/customer/ada/quiet", &wrong).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.html.contains("<title>Error: "), "{}", wrong.html);
    let night = [("revision", "3"), ("start", "21:00"), ("end", "08:00"), ("timeZone", "Europe/Amsterdam")];
    let night = console.post("/people/customer/ada/quiet", &night).await;
    assert!(night.html.contains("Quiet hours are 21:00 to 08:00."), "{}", night.html);
    let address = [("revision", "4"), ("preferredEmail", "ada@example.com"), ("was.preferredEmail", "")];
    let address = console.post("/people/customer/ada/addresses", &address).await;
    assert!(address.html.contains("ada@example.com"), "{}", address.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_recorded_with_its_evidence() {
    let console = Console::new().await;
    let out = [("revision", "0"), ("reason", "asked by <b>phone</b>")];
    let out = console.post("/people/customer/ada/opt-out", &out).await;
    assert!(out.html.contains("Opted out of all messages") && out.html.contains("asked by &#60;b&#62;phone"));
    let back = console.post("/people/customer/ada/opt-in", &[("revision", "1"), ("reason", "form 17")]).await;
    assert!(back.html.contains("Opted in") && back.html.contains("“form 17”"), "{}", back.html);
    let stop = console.post("/people/customer/ada/stop", &[("revision", "2"), ("reason", "court order")]).await;
    assert!(stop.html.contains("Not to be contacted") && stop.html.contains("Allow messages again"), "{}", stop.html);
    let allow = console.post("/people/customer/ada/allow", &[("revision", "3")]).await;
    assert!(allow.html.contains("Messages allowed again."), "{}", allow.html);
    let link = console.post("/people/customer/ada/link", &[("days", "7")]).await;
    assert!(link.html.contains("/preferences/") && link.html.contains("It is shown only now"), "{}", link.html);
    let wrong = console.post("/people/customer/ada/vanish", &[]).await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
    assert_eq!(console.page("/people/robot/1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_exported_and_erased_after_a_preview() {
    let console = Console::new().await;
    for contact in ["opened@sim.test", "bounce-hard@sim.test"] {
        let id = console.server.send(to("ada", contact)).await;
        let status = if contact.starts_with('b') { "bounced" } else { "opened" };
        console.server.until_status(&id, status).await;
    }
    let export = console.post("/people/customer/ada/export", &[]).await;
    let export: Value = serde_json::from_str(&export.html).expect("JSON");
    assert_eq!(export["communications"].as_array().map(Vec::len), Some(2), "{export}");
    let preview = console.server.get("/api/subjects/customer/ada/erasure").await;
    assert_eq!((&preview.body["communications"], &preview.body["suppressed"]), (&json!(2), &json!(1)));
    let page = console.page("/people/customer/ada/erase").await;
    for part in ["Erase data of 2 messages", "1 address on the suppression list", "Nothing has been erased yet"] {
        assert!(page.html.contains(part), "{part}: {}", page.html);
    }
    let erased = console.post("/people/customer/ada/erase", &[]).await;
    assert!(erased.html.contains("Personal data erased.") && !erased.html.contains("opened@sim.test"));
    assert_eq!(console.server.get("/api/subjects/customer/ada/erasure").await.body["communications"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_looked_up_added_and_removed() {
    let console = Console::new().await;
    let empty = console.page("/suppressions").await;
    assert!(empty.html.contains("No suppressed addresses</h1>"), "{}", empty.html);
    let wrong = console.post("/suppressions", &[("channel", "email"), ("contact", "<b>nobody")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.html.contains("<title>Error: ") && wrong.html.contains(r##"href="#f-contact""##), "{}", wrong.html);
    assert!(wrong.html.contains("&#60;b&#62;nobody"), "what was typed stays");
    let ada = [("channel", "email"), ("contact", "Ada@Example.com"), ("reason", "asked <b>by phone")];
    let added = console.post("/suppressions", &ada).await;
    assert!(
        added.html.contains("Address added.") && added.html.contains("asked &#60;b&#62;by phone"),
        "{}",
        added.html
    );

    let found = console.page("/suppressions?contact=ada@EXAMPLE.com").await;
    assert!(
        found.html.contains("is suppressed</h1>") && found.html.contains("<small>developer</small>"),
        "{}",
        found.html
    );
    assert!(console.page("/suppressions?contact=bo@example.com").await.html.contains("is not suppressed</h1>"));
    let odd = console.page("/suppressions?contact=nobody").await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    assert!(odd.html.contains(r##"href="#f-find""##), "{}", odd.html);
    let csv = console.post("/suppressions/export", &[]).await;
    assert!(csv.html.starts_with("channel,contact,reason"), "{}", csv.html);

    let removed = console.post("/suppressions/remove", &ada[..2]).await;
    assert!(removed.html.contains("Address removed."), "{}", removed.html);
    assert!(console.post("/suppressions/remove", &ada[..2]).await.html.contains("Address removed."), "a double click");

    let audit = console.page("/audit?subject=suppressions").await;
    for part in ["Suppression added", "Suppression removed", "Suppressions exported", "Suppression list"] {
        assert!(audit.html.contains(part), "{part}: {}", audit.html);
    }
    assert!(!audit.html.contains("example.com"), "the audit trail has hashes of addresses");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_trail_says_who_changed_what_and_leads_to_it() {
    let console = Console::new().await;
    assert!(console.page("/audit").await.html.contains("No changes yet"));
    let template = json!({
        "code": "late", "name": "Late", "channel": "sms", "type": "general", "locale": "en", "bodyTemplate": "Late",
    });
    assert_eq!(console.server.post("/api/communication-templates", template).await.status, StatusCode::CREATED);
    let audit = console.page("/audit").await;
    for part in ["2 changes</h1>", "Template created", "/templates/tpl_late.sms.en", "actor=key%3Adeveloper"] {
        assert!(audit.html.contains(part), "{part}: {}", audit.html);
    }
    assert!(console.page("/audit?actor=key:developer").await.html.contains("Template created"));
    assert!(console.page("/audit?actor=key:other").await.html.contains("No changes match these filters"));
    let acts = console.server.get("/api/audit?actor=key:developer&subject=templates").await;
    assert_eq!(acts.text("/acts/0/id"), "tpl_late.sms.en", "{}", acts.body);
    assert_eq!(console.page("/audit?subject=nothing").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_explored_position_by_position() {
    let console = Console::new().await;
    let id = console.server.send(to("ada", "opened@sim.test")).await;
    console.server.until_status(&id, "opened").await;
    console.patch(ADA, json!({ "optedOut": true })).await;
    assert_eq!(console.page(&format!("/streams?q={id}")).await.path, format!("/streams/messages/{id}"));
    let first = console.page(&format!("/streams/messages/{id}?at=1")).await;
    assert!(first.html.contains("CommunicationRequested") && first.html.contains("Position 2"), "{}", first.html);
    assert!(!first.html.contains("opened@sim.test"), "events have no personal data");
    let person = console.page("/streams?q=ada").await;
    assert_eq!(person.path, "/streams/people/customer/ada");
    assert!(person.html.contains("1 event of customer/ada") && person.html.contains("OptedOut"), "{}", person.html);
    assert!(console.page("/streams?q=nothing").await.html.contains("No events with this id"));
    for path in ["/streams/robots/1", "/streams/messages/com_0", "/streams/people/customer", "/streams/people/user/x"] {
        assert_eq!(console.page(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_shows_every_operation_of_the_document() {
    let console = Console::new().await;
    let index = console.page("/reference").await;
    assert!(index.html.contains("/reference/communications"), "{}", index.html);
    let document = console.server.get("/api/openapi.json").await;
    let mut shown = 0;
    for (path, methods) in document.body["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let id = operation["operationId"].as_str().expect("an id");
            if id.ends_with("V1") {
                continue;
            }
            let tag = operation["tags"][0].as_str().expect("a tag");
            let page = console.page(&format!("/reference/{tag}/{id}")).await;
            assert_eq!(page.status, StatusCode::OK, "{tag}/{id}");
            assert!(page.html.contains(&format!("localhost:7070{path}")), "{method} {path}");
            assert!(page.html.len() < 32 * 1024, "{id} has {} bytes", page.html.len());
            shown += 1;
        }
    }
    assert!(index.html.contains(&format!("{shown} operations")), "{shown}");
    for name in document.body["components"]["schemas"].as_object().expect("schemas").keys() {
        assert_eq!(console.page(&format!("/reference/schemas/{name}")).await.status, StatusCode::OK, "{name}");
    }
    let problems = console.page("/reference/problems").await;
    for slug in ["malformed", "precondition-failed", "recipient-suppressed"] {
        assert!(problems.html.contains(&format!(r#"id="{slug}""#)), "{slug}: {}", problems.html);
    }
    assert!(console.page("/reference?q=resend").await.html.contains("Send the same content again"));
    assert_eq!(console.page("/reference/communications/nothing").await.status, StatusCode::NOT_FOUND);
}
