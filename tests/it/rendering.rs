//! Callers' text: bounded time, and text that is right for each channel.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, eventually, sms};

const VALIDATE: &str = "/api/communication-templates/validate";
const SEND: &str = "/api/communications/send";

fn nested_loops() -> Value {
    json!({
        "channel": "email", "subjectTemplate": "x", "variables": { "a": vec![1; 10_000] },
        "bodyTemplate": "{{#each a}}{{#each ../a}}{{#if z}}y{{/if}}{{/each}}{{/each}}",
    })
}

fn with_variables(content: &str) -> Value {
    json!({
        "channel": "sms", "type": "general", "recipientContact": "+447700900001", "content": content,
        "templateVariables": { "a": vec![1; 10_000] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_takes_too_long_is_refused_with_its_field() {
    let server = TestServer::new().await;
    let validated = server.post(VALIDATE, nested_loops()).await;
    assert_eq!(validated.body["valid"], false, "{}", validated.body);
    assert_eq!(validated.text("/errors/0/code"), "too_many_steps");
    for (content, code) in [
        ("{{#each a}}{{#each ../a}}{{/each}}{{/each}}".to_owned(), "too_many_steps"),
        ("{{a}}".repeat(10_000), "too_complex"),
        ("{{!}}".repeat(40_000), "too_complex"),
        ("\\".repeat(90_000), "too_complex"),
        ("{{ #if a}}".repeat(5_000), "too_complex"),
        (format!("{{{{f {}", "(f \")\" ".repeat(10_000)), "too_complex"),
        (format!("{{{{f {}", "{\"a\":".repeat(10_000)), "template"),
    ] {
        let refused = server.post(SEND, with_variables(&content)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
        assert_eq!((refused.text("/errors/0/pointer"), refused.text("/errors/0/code")), ("/content", code));
        let template =
            json!({ "name": "x", "code": "x", "channel": "sms", "type": "general", "bodyTemplate": content });
        if code == "too_complex" && content.len() <= 100_000 {
            let refused = server.post("/api/communication-templates", template).await;
            assert_eq!((refused.text("/errors/0/pointer"), refused.text("/errors/0/code")), ("/bodyTemplate", code));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered_is_at_fault_where_it_is_mended() {
    let server = TestServer::new().await;
    let mut wrong = with_variables("{{#if}}");
    wrong["fallback"] = json!([{ "channel": "telegram", "recipientContact": "12345678", "content": "{{" }]);
    let refused = server.post(SEND, wrong).await;
    let pointers: Vec<&Value> =
        refused.body["errors"].as_array().expect("errors").iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/content", "/fallback/0/content"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_do_not_hold_up_others() {
    let server = TestServer::new().await;
    let preview = "/api/communication-templates/tpl_general/preview";
    let loops = with_variables("{{#each a}}{{#each ../a}}{{/each}}{{/each}}");
    let tags = with_variables(&format!("{}{}", "x".repeat(9_000), "{{a}}".repeat(700)));
    let hostile: Vec<_> = [
        (VALIDATE, nested_loops()),
        (VALIDATE, nested_loops()),
        (VALIDATE, nested_loops()),
        (preview, json!({ "variables": { "customerName": "x".repeat(200_000), "message": "y" } })),
        (SEND, loops.clone()),
        (SEND, loops),
        (SEND, tags.clone()),
        (SEND, tags),
    ]
    .into_iter()
    .map(|(path, body)| tokio::spawn(server.request(Method::POST, path).json(&body).send()))
    .collect();
    tokio::task::yield_now().await;
    assert_eq!(server.get("/health").await.status, StatusCode::OK);
    server.send(sms("+447700900002")).await;
    for request in hostile {
        let status = request.await.expect("it ends").expect("an answer").status();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_becomes_what_each_channel_can_show() {
    let server = TestServer::new().await;
    let html = "<p>Hi <b>you</b> &amp; me,</p><ul><li>one</li></ul><p>pay <a href=\"https://a.example/?b=1&amp;c=2\">here</a></p>";
    let text = "Hi you & me,\n\n- one\n\npay here (https://a.example/?b=1&c=2)";
    let markup = "Hi <b>you</b> &amp; me,\n\n- one\n\npay <a href=\"https://a.example/?b=1&amp;c=2\">here</a>";
    for (channel, to, expected) in [
        ("sms", "+447700900001", text),
        ("whatsapp", "+447700900002", text),
        ("messenger", "1234567890123456", text),
        ("telegram", "12345678", markup),
    ] {
        let template = json!({ "name": "x", "code": "x", "channel": channel, "type": "general", "bodyTemplate": html });
        let template = server.post("/api/communication-templates", template).await.id();
        let free = json!({ "channel": channel, "type": "general", "recipientContact": to, "content": html });
        let mut with_template = free.clone();
        with_template["content"] = Value::Null;
        with_template["templateId"] = json!(template);
        for body in [free, with_template] {
            let id = server.send(body).await;
            let sent = eventually("it is sent", async || {
                let shown = server.communication(&id).await;
                ["sent", "delivered"].contains(&shown.text("/status")).then_some(shown)
            });
            let sent = sent.await;
            if channel == "sms" {
                assert_eq!(sent.body["rendered"]["segments"], json!({ "encoding": "GSM-7", "count": 1 }));
            }
        }
        let bodies: Vec<Value> = server.inbox(to).await.iter().map(|message| message["body"].clone()).collect();
        assert_eq!(bodies, [expected, expected], "{channel}");
    }
    let id = server.send(json!({ "channel": "sms", "type": "general", "recipientContact": "+447700900003", "content": "a < b & c > d" })).await;
    server.until_status(&id, "delivered").await;
    assert_eq!(server.inbox("+447700900003").await[0]["body"], "a < b & c > d");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_nobody_can_read_is_refused() {
    let server = TestServer::new().await;
    let message = json!({
        "channel": "email", "type": "general", "recipientContact": "ada@example.com", "subject": "Hello", "content": "Hi",
    });
    for (field, value, code) in [
        ("content", json!("  \n "), "blank"),
        ("content", json!("a\u{0}b"), "control_characters"),
        ("content", json!("Hi {{name}}"), "no_variables"),
        ("content", json!("<p>invoice&#x202e;fdp</p>"), "direction_characters"),
        ("subject", json!(" "), "blank"),
        ("subject", json!("invoice\u{202e}fdp"), "direction_characters"),
        ("subject", json!("Hi {{name}}"), "no_variables"),
        ("recipientName", json!("Ada\u{202e}"), "direction_characters"),
        ("templateVariables", json!({ "a": ["\u{7}"] }), "control_characters"),
        ("locale", json!("xx-!!"), "not_a_locale"),
    ] {
        let mut wrong = message.clone();
        wrong[field] = value;
        let refused = server.post(SEND, wrong.clone()).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
        assert_eq!((refused.text("/errors/0/pointer"), refused.text("/errors/0/code")), (&*format!("/{field}"), code));
    }
    let mut braces = message.clone();
    braces["content"] = json!("Hi \\{{name}}");
    braces["templateVariables"] = json!({});
    let id = server.send(braces).await;
    let shown = server.until_status(&id, "delivered").await;
    assert_eq!(shown.text("/rendered/text"), "Hi {{name}}");
    // What is left after rendering is looked at too.
    for (content, variables) in
        [("<p>&nbsp;</p>", None), ("<div><br></div>", None), ("{{a}}", Some(json!({ "a": " " })))]
    {
        let mut blank = message.clone();
        blank["content"] = json!(content);
        blank["templateVariables"] = variables.unwrap_or_default();
        let refused = server.post(SEND, blank).await;
        assert_eq!((refused.text("/errors/0/pointer"), refused.text("/errors/0/code")), ("/content", "blank"));
    }
    let mut image = message.clone();
    image["content"] = json!("<p><img src=\"https://files.example/a.png\"></p>");
    server.send(image).await;
    let mut later = message;
    later["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let id = server.send(later).await;
    let change =
        server.request(Method::PATCH, &format!("/api/communications/{id}")).json(&json!({ "content": "\u{1}" }));
    let refused = server.answer(change).await;
    assert_eq!(refused.text("/errors/0/code"), "control_characters");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_from_the_business() {
    let server = TestServer::new().await;
    let message = json!({
        "channel": "email", "type": "invoice", "recipientContact": "bo@example.com", "templateId": "tpl_invoice_email",
        "templateVariables": { "customerName": "Bo", "invoiceNumber": "7", "amount": 5, "businessName": "Acme & Sons" },
    });
    let id = server.send(message).await;
    server.until_status(&id, "delivered").await;
    let inbox = server.inbox("bo@example.com").await;
    assert!(inbox[0]["from"].to_string().contains("Acme & Sons"), "{}", inbox[0]);
}
