//! The suppression list over HTTP: entries of bounced addresses, manual changes, import and export.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::server::{TestServer, email, eventually, sms};

const LIST: &str = "/api/suppressions";

#[tokio::test(flavor = "multi_thread")]
async fn a_bounced_address_is_listed_until_it_is_removed() {
    let server = TestServer::new().await;
    let sent = server.send(email("bounce-hard@sim.test")).await;
    server.until_status(&sent, "bounced").await;
    let listed = eventually("the address is listed", async || {
        Some(server.get(LIST).await)
            .filter(|list| list.body["suppressions"].as_array().is_some_and(|all| !all.is_empty()))
    })
    .await;
    let one = &listed.body["suppressions"][0];
    assert_eq!((&one["contact"], &one["reason"]), (&json!("bounce-hard@sim.test"), &json!("bounced")), "{one}");
    assert_eq!(one["communicationId"], sent.as_str());
    let refused = server.post("/api/communications/send", email("bounce-hard@sim.test")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let path = format!("{LIST}?channel=email&contact=bounce-hard@sim.test");
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get(LIST).await.body["suppressions"], json!([]));
    server.send(email("bounce-hard@sim.test")).await;
    // The audit log has the actor, can be searched by the address, and contains no address.
    let path = "/api/audit?subject=suppressions&contact=bounce-hard@sim.test";
    let audit = server.get(path).await;
    assert_eq!(audit.body["acts"].as_array().map(Vec::len), Some(1), "{}", audit.body);
    assert_eq!((audit.text("/acts/0/type"), audit.text("/acts/0/actor")), ("SuppressionRemoved", "key:developer"));
    assert!(!audit.body.to_string().contains("bounce-hard"));
    assert_eq!(server.get("/api/audit?contact=other@sim.test").await.body["acts"], json!([]));
    server.answer(server.request(Method::DELETE, "/api/subjects/customer/cus-7")).await;
    let erased = server.get("/api/audit?subject=subjects").await;
    assert_eq!(erased.body["acts"][0]["data"], json!({ "subjectType": "customer", "subjectId": "cus-7" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_added_imported_and_exported() {
    let server = TestServer::new().await;
    let added =
        server.post(LIST, json!({ "channel": "sms", "contact": "+44 7700 900001", "reason": "asked by phone" })).await;
    assert_eq!((added.status, added.text("/contact")), (StatusCode::CREATED, "+447700900001"), "{}", added.body);
    assert_eq!(
        server.post("/api/communications/send", sms("+447700900001")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    // A suppression applies to one channel only.
    let other =
        json!({ "channel": "whatsapp", "type": "general", "recipientContact": "+447700900001", "content": "C" });
    assert_eq!(server.post("/api/communications/send", other).await.status, StatusCode::CREATED);
    let csv = "Channel,Contact,Reason\nemail,ada@example.com,\"left, angrily\"\nemail,nobody,x\npigeon,a@b.co,\nsms,+447700900002,\n";
    let imported = server.answer(server.request(Method::POST, &format!("{LIST}/import")).body(csv)).await;
    assert_eq!((imported.status, &imported.body["added"]), (StatusCode::OK, &json!(2)), "{}", imported.body);
    let lines: Vec<_> =
        imported.body["refused"].as_array().expect("refused").iter().map(|one| one["line"].clone()).collect();
    assert_eq!(lines, [json!(3), json!(4)]);
    assert_eq!(
        server.post("/api/communications/send", email("ada@example.com")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let out = server.get(&format!("{LIST}/export")).await;
    let text = out.body.as_str().expect("CSV").to_owned();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("email,ada@example.com,\"left, angrily\","), "{text}");
    let of_sms = server.get(&format!("{LIST}?channel=sms")).await;
    assert_eq!(of_sms.body["suppressions"].as_array().map(Vec::len), Some(2));
    assert!(text.contains("sms,'+447700900001,"), "a spreadsheet would calculate it: {text}");
    // An export can be imported again.
    let again = server.answer(server.request(Method::POST, &format!("{LIST}/import")).body(text)).await;
    assert_eq!(again.body["added"], 3, "{}", again.body);
    let formula = "channel,contact,reason\nemail,=1+1@example.com,=HYPERLINK(\"\"https://evil.example.com\"\")\nemail,o'neil@example.com,'quoted'\n";
    let formula = server.answer(server.request(Method::POST, &format!("{LIST}/import")).body(formula)).await;
    assert_eq!(formula.body["added"], 2, "{}", formula.body);
    let text = server.get(&format!("{LIST}/export")).await.body.as_str().expect("CSV").to_owned();
    assert!(text.contains("email,'=1+1@example.com,"), "{text}");
    assert!(text.contains(",'=HYPERLINK(") || text.contains(",\"'=HYPERLINK("), "{text}");
    assert!(text.contains("email,o'neil@example.com,'quoted',"), "{text}");
    let listed = server.get(LIST).await.body.to_string();
    assert!(listed.contains("\"+447700900001\"") && listed.contains("\"=1+1@example.com\""), "{listed}");
    let nonsense = server.answer(server.request(Method::POST, &format!("{LIST}/import")).body("a,b\n1,2")).await;
    assert_eq!(nonsense.status, StatusCode::BAD_REQUEST);
    // A file that is too long or not UTF-8 adds nothing.
    let before = server.get(LIST).await.body["suppressions"].as_array().map(Vec::len);
    let rows = (0..1_001).map(|n| format!("email,row{n}@example.com\n")).collect::<String>();
    let mut broken = b"channel,contact\nemail,first@example.com\nemail,".to_vec();
    broken.extend([0xff, b'\n']);
    let too_long = format!("channel,contact\n{rows}").into_bytes();
    for (body, status) in [(too_long, StatusCode::PAYLOAD_TOO_LARGE), (broken, StatusCode::BAD_REQUEST)] {
        let refused = server.answer(server.request(Method::POST, &format!("{LIST}/import")).body(body)).await;
        assert_eq!(refused.status, status, "{}", refused.body);
        assert_eq!(server.get(LIST).await.body["suppressions"].as_array().map(Vec::len), before);
    }
    // The suppression of an erased person stays, but their address and what was written about them is no longer shown.
    let written = json!({ "channel": "email", "contact": "ada@example.com", "reason": "Ada Lovelace called" });
    server.post(LIST, written).await;
    assert!(server.get(LIST).await.body.to_string().contains("Lovelace"));
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/address/ada@example.com")).await;
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.body);
    for path in [LIST, "/api/audit"] {
        let shown = server.get(path).await.body.to_string();
        assert!(!shown.contains("ada@example.com") && !shown.contains("Lovelace"), "{path}: {shown}");
    }
    assert_eq!(
        server.post("/api/communications/send", email("ada@example.com")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}
