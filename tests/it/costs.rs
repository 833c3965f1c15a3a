//! What messages cost: estimates, what providers charge, and sums.

use reqwest::Method;
use serde_json::json;
use tests::server::{TestServer, eventually, sms};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_shows_what_it_will_cost_and_what_it_has_cost() {
    let server = TestServer::new().await;
    let settings = json!({
        "tokenId": "t", "tokenSecret": "s", "defaultRegion": "KE", "allowedCountries": "*",
        "prices": "KES KE=0.80, *=2",
    });
    let own = server.post("/api/channels", json!({ "provider": "bulksms", "settings": settings })).await;
    let path = format!("/api/channels/{}", own.id());
    let wrong = json!({ "settings": { "prices": "0.80 shillings" } });
    let wrong = server.answer(server.request(Method::PATCH, &path).json(&wrong)).await;
    assert_eq!((wrong.text("/errors/0/pointer"), wrong.text("/errors/0/code")), ("/settings/prices", "not_prices"));
    for prices in ["KES --5", "KES KE=1, KE=2", "KES QZ=1", "KES KE=0.0000001"] {
        let body = json!({ "settings": { "prices": prices } });
        let wrong = server.answer(server.request(Method::PATCH, &path).json(&body)).await;
        assert_eq!((wrong.status.as_u16(), wrong.text("/errors/0/pointer")), (422, "/settings/prices"), "{prices}");
    }

    let mut two_segments = sms("+447700900001");
    two_segments["content"] = json!("a".repeat(161));
    let batch = json!({ "communications": [sms("0711 000000"), two_segments], "validateOnly": true });
    let checked = server.post("/api/communications/batch", batch).await;
    let expected = |micros: i64| json!({ "costMicros": micros, "currency": "KES" });
    assert_eq!(checked.body["results"][0]["estimatedCost"], expected(800_000), "{}", checked.body);
    assert_eq!(checked.body["results"][1]["estimatedCost"], expected(4_000_000));

    let sent = server.post("/api/communications/send", sms("0711 000000")).await;
    assert_eq!(sent.body["estimatedCost"], expected(800_000));
    let cost = async |id: &str| {
        let shown = server.until_status(id, "delivered").await.body;
        (shown["costMicros"].clone(), shown["currency"].clone(), shown["costIsEstimate"].clone())
    };
    assert_eq!(cost(&sent.id()).await, (json!(800_000), json!("KES"), json!(true)));

    let charging =
        json!({ "provider": "africastalking", "settings": { "apiKey": "k", "username": "u", "prices": "KES *=5" } });
    let id = server.post("/api/channels", charging).await.id();
    server.post(&format!("/api/providers/{id}/switch"), json!({})).await;
    // Workers notice the change within 15 seconds.
    server.advance(16_000).await;
    let sent = server.post("/api/communications/send", sms("0711 000000")).await;
    assert_eq!(sent.body["estimatedCost"], expected(5_000_000), "of the configuration that is tried first");
    assert_eq!(cost(&sent.id()).await, (json!(800_000), json!("KES"), json!(false)), "what the provider charged");

    let counted = async || {
        let stats = server.get("/api/communications/stats").await.body;
        let is_charged = stats["costByProvider"]["africastalking"]["KES"].as_i64() >= Some(800_000);
        is_charged.then_some(stats)
    };
    let stats = eventually("costs are counted", counted).await;
    assert_eq!(stats["costByProvider"]["bulksms"]["KES"], stats["estimatedCostMicros"]["KES"], "{stats}");
    assert_eq!(stats["costByChannel"]["sms"], stats["costMicros"]);
}
