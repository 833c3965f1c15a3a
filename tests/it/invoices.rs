//! Collections, customers and invoices over HTTP.

use domain::ports::ClockAndRng;
use reqwest::Method;
use serde_json::{Value, json};
use tests::server::{Answer, TestServer};

const DAY_MS: i64 = 24 * 3_600_000;

async fn patch(server: &TestServer, path: &str, body: Value) -> Answer {
    server.answer(server.request(Method::PATCH, path).json(&body)).await
}

fn pointers(answer: &Answer) -> Vec<(String, String)> {
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    let text = |error: &Value, name: &str| error[name].as_str().expect("text").to_owned();
    errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_collections_are_merged_and_name_all_their_faults() {
    let server = TestServer::new().await;
    let defaults = server.get("/api/collections").await;
    assert_eq!((defaults.text("/time"), &defaults.body["enabled"]), ("09:00", &json!(false)));
    assert_eq!(defaults.text("/warnings/0/code"), "default_time_zone");
    let change = json!({
        "timeZone": "america/mexico_city", "days": ["fri", "mon"], "minDaysBetween": 3,
        "ladder": [{ "id": "early", "afterDays": -3, "channels": ["email"] },
                   { "id": "late", "afterDays": 365, "channels": ["sms", "email"], "mode": "all", "after": "2h" }],
    });
    let changed = patch(&server, "/api/collections", change).await;
    assert_eq!((changed.status.as_u16(), changed.text("/timeZone")), (200, "America/Mexico_City"), "{}", changed.body);
    assert_eq!(changed.body["days"], json!(["mon", "fri"]));
    assert_eq!(changed.body["warnings"], json!([]));
    assert_eq!((changed.text("/ladder/1/after"), changed.text("/ladder/0/mode")), ("PT2H", "escalate"));
    let reset = patch(&server, "/api/collections", json!({ "ladder": null })).await;
    assert_eq!((reset.text("/ladder/0/id"), &reset.body["minDaysBetween"]), ("d1", &json!(3)));

    let wrong = json!({
        "time": "24:00", "until": "+9:00", "timeZone": "CEST", "grouping": "all", "maxPerDay": 0, "lateDays": 3.5,
        "days": ["mon", "mon"], "holidays": ["2026-02-30"], "minimumMinor": -1, "colour": "red",
        "ladder": [{ "id": "d1", "afterDays": 3.5, "channels": [] }, { "id": "D 1", "afterDays": 366 }],
    });
    let refused = patch(&server, "/api/collections", wrong).await;
    assert_eq!(refused.status.as_u16(), 422, "{}", refused.body);
    let mut found = pointers(&refused);
    found.sort();
    let expected = [
        ("/colour", "unknown_field"),
        ("/days/1", "repeated"),
        ("/grouping", "not_one_of"),
        ("/holidays/0", "not_a_day"),
        ("/ladder/0/afterDays", "not_in_range"),
        ("/ladder/0/channels", "empty"),
        ("/ladder/1/afterDays", "not_in_range"),
        ("/ladder/1/channels", "required"),
        ("/ladder/1/id", "not_an_id"),
        ("/lateDays", "not_in_range"),
        ("/maxPerDay", "not_in_range"),
        ("/minimumMinor", "not_in_range"),
        ("/time", "not_a_time"),
        ("/timeZone", "unknown_time_zone"),
        ("/until", "not_a_time"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let step = |id: &str| json!({ "id": id, "afterDays": 1, "channels": ["email"] });
    let twice = patch(&server, "/api/collections", json!({ "ladder": [step("a"), step("a")] })).await;
    assert_eq!(pointers(&twice), [("/ladder/1/id".to_owned(), "repeated".to_owned())]);
    let eleven: Vec<Value> = (0..11).map(|n| step(&format!("s{n}"))).collect();
    let many = patch(&server, "/api/collections", json!({ "ladder": eleven })).await;
    assert_eq!(pointers(&many)[0], ("/ladder".to_owned(), "too_many".to_owned()));
    let late = patch(&server, "/api/collections", json!({ "time": "19:00" })).await;
    assert_eq!(pointers(&late), [("/until".to_owned(), "not_after_time".to_owned())]);
    let empty = patch(&server, "/api/collections", json!({})).await;
    assert_eq!(empty.text("/errors/0/code"), "empty");

    let based_on = async |tag: &str| {
        let request = server.request(Method::PATCH, "/api/collections").header("if-match", tag);
        server.answer(request.json(&json!({ "lateDays": 5 }))).await.status.as_u16()
    };
    assert_eq!((based_on("\"1\"").await, based_on("\"2\"").await), (412, 200));
    let audit = server.get("/api/audit?subject=collections").await;
    assert_eq!(audit.body["acts"].as_array().map(Vec::len), Some(3), "{}", audit.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_with_a_customer_is_changed_and_held() {
    let server = TestServer::new().await;
    let none = server.get("/api/debtors/7").await;
    assert_eq!((none.text("/customerType"), &none.body["hold"]), ("customer", &Value::Null), "{}", none.body);
    let zone = patch(&server, "/api/debtors/customer:7", json!({ "timeZone": "Europe/Madrid" })).await;
    assert_eq!((zone.status.as_u16(), &zone.body["revision"]), (200, &json!(1)), "{}", zone.body);
    let excluded = patch(&server, "/api/debtors/7", json!({ "excluded": true })).await;
    assert_eq!((excluded.text("/timeZone"), &excluded.body["excluded"]), ("Europe/Madrid", &json!(true)));
    let wrong = json!({ "timeZone": "+02:00", "ladder": [], "excluded": "no" });
    let mut faults = pointers(&patch(&server, "/api/debtors/7", wrong).await);
    faults.sort();
    let expected = [("/excluded", "not_a_flag"), ("/ladder", "empty"), ("/timeZone", "unknown_time_zone")];
    assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let stale = server.request(Method::PATCH, "/api/debtors/7").header("if-match", "\"1\"");
    assert_eq!(server.answer(stale.json(&json!({ "excluded": false }))).await.status.as_u16(), 412);

    let now = jiff::Timestamp::from_millisecond(server.local.clock.now().0 + 10 * DAY_MS).expect("a time");
    let on = now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    let promised = server.post("/api/debtors/7/promise", json!({ "on": on })).await;
    assert_eq!(promised.body["hold"], json!({ "kind": "promised", "until": on }), "{}", promised.body);
    let paused = server.post("/api/debtors/7/pause", json!({})).await;
    assert_eq!(paused.body["hold"], json!({ "kind": "paused", "until": null }));
    let resumed = server.post("/api/debtors/7/resume", json!({})).await;
    assert_eq!(resumed.body["hold"], Value::Null);
    for (day, code) in [("2026-02-30", "not_a_day"), ("2020-01-01", "not_in_range"), ("2100-01-01", "not_in_range")] {
        let refused = server.post("/api/debtors/7/promise", json!({ "on": day })).await;
        assert_eq!(pointers(&refused), [("/on".to_owned(), code.to_owned())]);
    }
    assert_eq!(server.post("/api/debtors/7/promise", json!({})).await.text("/errors/0/code"), "required");
    let audit = server.get("/api/audit?subject=debtors").await;
    let acts: Vec<&str> = audit.body["acts"]
        .as_array()
        .expect("acts")
        .iter()
        .map(|act| act["data"]["act"].as_str().expect("an act"))
        .collect();
    assert_eq!(acts, ["resume", "pause", "promise", "change", "change", "change"], "{}", audit.body);
}

/// The status of a request with a new key.
async fn status_for(server: &TestServer, key: Value, method: &str, path: &str, body: Value) -> u16 {
    let key = server.post("/api/keys", key).await.text("/key").to_owned();
    let url = format!("{}{path}", server.local.url);
    let request = server.client.request(method.parse().expect("a method"), url).bearer_auth(key).json(&body);
    server.answer(request).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_need_a_key_without_restrictions_and_the_right_role() {
    let server = TestServer::new().await;
    let role = |role: &str| json!({ "name": role, "role": role });
    let change = json!({ "lateDays": 4 });
    for (key, method, path, body, expected) in [
        (role("viewer"), "GET", "/api/collections", json!({}), 200),
        (role("viewer"), "PATCH", "/api/collections", change.clone(), 403),
        (role("sender"), "PATCH", "/api/collections", change.clone(), 403),
        (role("editor"), "PATCH", "/api/collections", change.clone(), 200),
        (role("editor"), "POST", "/api/debtors/7/pause", json!({}), 403),
        (role("sender"), "POST", "/api/debtors/7/pause", json!({}), 200),
        (role("sender"), "PATCH", "/api/debtors/7", json!({ "excluded": true }), 403),
        (json!({ "name": "sms", "role": "admin", "channels": ["sms"] }), "GET", "/api/debtors/7", json!({}), 403),
        (
            json!({ "name": "team", "role": "sender", "mode": "team", "team": ["ada@example.com"] }),
            "GET",
            "/api/collections",
            json!({}),
            403,
        ),
    ] {
        assert_eq!(status_for(&server, key.clone(), method, path, body).await, expected, "{key} {method} {path}");
    }
}
