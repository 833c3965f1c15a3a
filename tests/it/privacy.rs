//! Personal data is in the vault and nowhere else: everything runs with marker data, then the markers are looked for.

use local::{Data, Options};
use serde_json::json;
use tests::bench::Scratch;
use tests::world::{World, eventually};

const MARKERS: [&str; 6] = ["zebediah", "quicksilver", "marzipan", "447700900", "oyster", "periwinkle"];

#[tokio::test(flavor = "multi_thread")]
async fn no_marker_is_found_outside_the_vault() {
    let scratch = Scratch::new();
    let world = World::with(Options { data: Data::Folder(scratch.0.clone()), ..World::options() }).await;
    let email = json!({
        "channel": "email", "type": "invoice", "recipientName": "Zebediah", "recipientContact": "zebediah@sim.test",
        "subject": "quicksilver", "content": "marzipan {{word}}", "templateVariables": { "word": "oyster" },
        "attachments": [{ "filename": "periwinkle.pdf", "fileUrl": "https://files.example.com/periwinkle" }],
    });
    let sms = |number: &str| json!({ "channel": "sms", "type": "payment_link", "recipientContact": number, "content": "marzipan" });
    let mut bounced = email.clone();
    bounced["recipientContact"] = json!("bounce-hard@sim.test");
    let sent = [world.send(email).await, world.send(sms("+447700900001")).await];
    world.send(bounced).await;
    world.send(sms("+447700900010")).await;
    world.send(sms("+447700900021")).await;
    for id in &sent {
        world.until_status(id, "delivered").await;
    }
    eventually("all listed", async || (world.get("/api/communications").await.body["count"] == 5).then_some(())).await;
    drop(world);
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
    assert!(in_vault > 0, "the markers were used");
}

fn row_text(row: &rusqlite::Row, columns: usize) -> String {
    (0..columns).filter_map(|n| row.get::<_, String>(n).ok()).collect::<Vec<_>>().join(" ")
}
