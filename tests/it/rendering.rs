//! Callers' text: bounded time, and text that is right for each channel.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, sms};

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
