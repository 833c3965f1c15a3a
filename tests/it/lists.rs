//! Filters of the list of messages.

use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually};

async fn ids(server: &TestServer, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/communications?{query}")).await;
    let rows = answer.body["results"].as_array().unwrap_or_else(|| panic!("{query}: {}", answer.body)).iter();
    rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

fn to(kind: &str, id: &str) -> Value {
    let mut message = email("delivered@sim.test");
    message["recipientType"] = json!(kind);
    message["recipientId"] = json!(id);
    message["type"] = json!("general");
    message["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_of_different_types_are_different_people() {
    let server = TestServer::new().await;
    let mut sent = Vec::new();
    for kind in ["customer", "user", "customer", "supplier", "customer"] {
        sent.push(server.send(to(kind, "7")).await);
    }
    server.send(to("customer", "8")).await;
    sent.reverse();
    eventually("all are listed", async || (ids(&server, "recipientId=7").await.len() == 5).then_some(())).await;
    assert_eq!(ids(&server, "recipientId=7").await, sent, "newest first, of every type");
    assert_eq!(ids(&server, "recipientType=customer&recipientId=7").await, [&*sent[0], &sent[2], &sent[4]]);
    assert_eq!(ids(&server, "recipientType=user&recipientId=7").await, [&*sent[3]]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/communications?recipientId=7&size=2{cursor}")).await;
        paged.extend(page.body["results"].as_array().expect("rows").iter().map(|row| row["id"].clone()));
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(paged), json!(sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_sources_are_filters() {
    let server = TestServer::new().await;
    let waiting = server.send(to("customer", "1")).await;
    let done = server.send(email("delivered@sim.test")).await;
    let done = server.until_status(&done, "delivered").await;
    eventually("both are listed as they are", async || {
        (ids(&server, "status=delivered").await.len() == 1).then_some(())
    })
    .await;
    for (query, expected) in [
        ("status=pending", vec![waiting.clone()]),
        ("status=processing", vec![]),
        ("status=completed", vec![done.id()]),
        ("type=general", vec![waiting.clone()]),
        (&*format!("providerMessageId={}", done.text("/providerMessageId")), vec![done.id()]),
        ("providerMessageId=unknown", vec![]),
    ] {
        assert_eq!(ids(&server, query).await, expected, "{query}");
    }
    assert_eq!(server.get("/api/communications?status=pending").await.body["count"], 1);
}
