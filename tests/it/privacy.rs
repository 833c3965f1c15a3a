//! Personal data is only in the vault: a run uses marker data, and the markers are then searched for in every table.

use local::{Data, Options};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::harness::Scratch;
use tests::server::{TestServer, email, eventually};

const MARKERS: [&str; 7] = ["zebediah", "quicksilver", "marzipan", "447700900", "oyster", "periwinkle", "tangerine"];

#[tokio::test(flavor = "multi_thread")]
async fn no_marker_is_found_outside_the_vault() {
    let scratch = Scratch::new();
    let server = TestServer::with(Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() }).await;
    let email = json!({
        "channel": "email", "type": "invoice", "recipientName": "Zebediah", "recipientContact": "zebediah@sim.test",
        "subject": "quicksilver", "content": "marzipan {{word}}", "templateVariables": { "word": "oyster" },
        "attachments": [{ "filename": "periwinkle.pdf", "fileUrl": "https://files.example.com/periwinkle" }],
    });
    let sms = |number: &str| json!({ "channel": "sms", "type": "payment_link", "recipientContact": number, "content": "marzipan" });
    let mut bounced = email.clone();
    bounced["recipientContact"] = json!("bounce-hard@sim.test");
    let sent = [server.send(email).await, server.send(sms("+447700900001")).await];
    server.send(bounced).await;
    server.send(sms("+447700900010")).await;
    server.send(sms("+447700900021")).await;
    for id in &sent {
        server.until_status(id, "delivered").await;
    }
    eventually("all listed", async || (server.get("/api/communications").await.body["count"] == 5).then_some(())).await;
    let statements = json!({ "optedOut": true, "optedOutReason": "tangerine", "doNotContact": true, "doNotContactReason": "tangerine" });
    for statements in [statements, json!({ "optInEvidence": "tangerine" })] {
        let request = server.request(Method::PATCH, "/api/communication-preferences/customer/zoe").json(&statements);
        assert_eq!(server.answer(request).await.status, StatusCode::OK);
    }
    drop(server);
    let database = rusqlite::Connection::open(scratch.0.join("tidings.db")).expect("the file");
    let tables: Vec<String> = database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .expect("tables");
    let mut in_vault = 0;
    for table in tables {
        let mut query = database.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let columns = query.column_count();
        let mut rows = query.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let cells = (0..columns).map(|n| format!("{:?}", row.get_ref(n).expect("a cell")));
            let text = row_text(row, columns) + &cells.collect::<String>();
            for marker in MARKERS.iter().filter(|marker| text.to_lowercase().contains(*marker)) {
                assert_eq!(table, "vault", "{marker} in {table}: {text}");
                in_vault += 1;
            }
        }
    }
    assert!(in_vault > 0, "the vault has no markers");
}

fn row_text(row: &rusqlite::Row, columns: usize) -> String {
    (0..columns).filter_map(|n| row.get::<_, String>(n).ok()).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_data_is_exported_and_erased_but_statistics_stay() {
    use reqwest::{Method, StatusCode};
    use serde_json::{Value, json};
    use tests::server::{TestServer, email};
    let server = TestServer::new().await;
    let to = |id: &str, address: &str| {
        let mut message = email(address);
        message["recipientId"] = json!(id);
        message["recipientName"] = json!("Ada Lovelace");
        message
    };
    let sent = server.send(to("ada", "ada@example.com")).await;
    server.until_status(&sent, "delivered").await;
    let mut later = to("ada", "ada@example.com");
    let in_an_hour = domain::ports::ClockAndRng::now(&*server.local.clock) + 3_600_000;
    later["scheduledAt"] = json!(api::fields::show_time(in_an_hour));
    let later = server.send(later).await;
    let other = server.send(to("bo", "bo@example.com")).await;
    let path = "/api/communication-preferences/customer/ada";
    let patch = async |body: Value| server.answer(server.request(Method::PATCH, path).json(&body)).await;
    patch(json!({ "preferredEmail": "ada@example.com", "optedOut": true, "optedOutReason": "Ada moved" })).await;
    let changed = patch(json!({ "optedOut": false, "optInEvidence": "Signed by Ada", "doNotContact": true })).await;
    assert_eq!(changed.text("/optInEvidence"), "Signed by Ada");
    patch(json!({ "doNotContact": false })).await;
    let history = format!("{path}/history");
    let texts = async |path: &str| {
        let shown = server.get(path).await.body.to_string();
        (shown.contains("Ada moved"), shown.contains("Signed by Ada"))
    };
    assert_eq!((texts(path).await, texts(&history).await), ((false, true), (true, true)));
    let stats = async || server.get("/api/communications/stats").await.body["total"].clone();
    tests::server::eventually("three are counted", async || (stats().await == 3).then_some(())).await;

    let shown = server.get("/api/subjects/customer/ada").await;
    assert_eq!(shown.body["communications"].as_array().map(Vec::len), Some(2), "{}", shown.body);
    assert_eq!(shown.text("/preferences/preferredEmail"), "ada@example.com");
    assert_eq!(shown.text("/preferences/optInEvidence"), "Signed by Ada");
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/ada")).await;
    assert_eq!((erased.status, &erased.body["erased"]), (StatusCode::OK, &json!(2)), "{}", erased.body);
    let again = server.answer(server.request(Method::DELETE, "/api/subjects/customer/ada")).await;
    assert_eq!(again.body["erased"], 0);
    for id in [&sent, &later] {
        let one = server.communication(id).await;
        assert!(
            !one.body.to_string().contains("ada@example.com") && !one.body.to_string().contains("Lovelace"),
            "{}",
            one.body
        );
        assert_eq!(server.events(id).await.last().map(String::as_str), Some("CommunicationErased"));
    }
    assert_eq!((texts(path).await, texts(&history).await), ((false, false), (false, false)));
    let shown = server.get("/api/subjects/customer/ada").await;
    assert!(shown.body["preferences"]["optedInAt"].is_string(), "that they agreed stays: {}", shown.body);
    assert_eq!(
        (&shown.body["communications"], &shown.body["preferences"]["preferredEmail"]),
        (&json!([]), &Value::Null)
    );
    assert!(
        server.communication(&other).await.body.to_string().contains("bo@example.com"),
        "the data of another person stays"
    );
    assert_eq!(stats().await, 3);
    // The scheduled message no longer has content, so it is suppressed.
    server.advance(3_700_000).await;
    server.until(&later, "lifecycle", "suppressed").await;
    let unknown = server.get("/api/subjects/robot/1").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    // An address identifies a person who received messages without a recipient id.
    let sent = server.send(email("nobody@example.com")).await;
    server.until_status(&sent, "delivered").await;
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/address/nobody@example.com")).await;
    assert_eq!(erased.body["erased"], 1, "{}", erased.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_deleted_at_the_end_of_its_retention_class() {
    let server = TestServer::new().await;
    let of = |retention: &str| {
        let mut body = email("ada@example.com");
        body["retention"] = json!(retention);
        body
    };
    let (short, long) = (server.send(of("short")).await, server.send(of("long")).await);
    let standard = server.send(email("ada@example.com")).await;
    // Retention counts from the due time, also after rescheduling.
    let at = |days: i64| {
        let now = domain::ports::ClockAndRng::now(&*server.local.clock);
        api::fields::show_time(now + days * 24 * 3_600_000)
    };
    let mut later = of("short");
    later["scheduledAt"] = json!(at(20));
    let moved = server.send(later).await;
    let to = json!({ "scheduledAt": at(40) });
    let path = format!("/api/communications/{moved}");
    assert_eq!(server.answer(server.request(Method::PATCH, &path).json(&to)).await.status, StatusCode::OK);
    for id in [&short, &long, &standard] {
        server.until_status(id, "delivered").await;
    }
    let has_content = async |id: &str| server.communication(id).await.body["recipientContact"].is_string();
    let days = async |n: u32| {
        for _ in 0..n {
            server.advance(24 * 3_600_000).await;
        }
    };
    days(8).await;
    assert_eq!(
        (has_content(&short).await, has_content(&standard).await, has_content(&moved).await),
        (false, true, true)
    );
    assert_eq!(
        (server.communication(&short).await.text("/status"), server.communication(&short).await.text("/retention")),
        ("delivered", "short")
    );
    days(33).await;
    server.until_status(&moved, "delivered").await;
    days(360).await;
    assert_eq!(
        (has_content(&standard).await, has_content(&long).await, has_content(&moved).await),
        (false, true, false)
    );
    let wrong = server.post("/api/communications/send", of("for ever")).await;
    assert_eq!(wrong.text("/errors/0/pointer"), "/retention");
}
