//! How soon one process answers after a restart with many unfinished messages, and how many timers a sweep serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use domain::ports::{AppendRequest, ClockAndRng, CommunicationKey, EventStore, Listing, QueueId};
use events::{Channel, CommunicationId, TenantId};
use futures_util::stream::{self, StreamExt};
use infra::SystemClockAndRng;
use infra::embedded::Database;
use local::{DEV_TENANT, Data, Options};
use schedule::SweepHandler;
use serde_json::json;
use tests::dynamo::Dynamo;
use tests::harness::{FixedClock, RecordingQueue, Scratch};
use tests::server::{TestServer, email};

use crate::ms;

const QUEUE: QueueId = QueueId::Delivery { channel: Channel::Email, is_high_priority: false };

/// Appends streams with the events of one message, whose timers are due in a minute.
async fn fill(store: &dyn EventStore, tenant: &TenantId, lines: &[String], count: usize, host: &dyn ClockAndRng) {
    let now = host.now();
    let append = async |n: usize| {
        let key = CommunicationKey { tenant: tenant.clone(), id: CommunicationId::generate(now, host.random()) };
        let append = AppendRequest {
            expected_version: 0,
            encoded_events: lines.to_vec(),
            wake: Some(now + 60_000),
            queue: QUEUE,
            writer_id: n.to_string(),
            listing: Listing::Unchanged,
            roll_over: None,
            unmoved: Vec::new(),
        };
        store.append(&key.stream_id(), append).await.expect("an append");
    };
    stream::iter(0..count).for_each_concurrent(256, append).await;
}

/// The start of one process with `count` messages that were accepted and not sent yet.
pub async fn measure_restart(folder: &Path, count: usize) {
    let scratch = Scratch(folder.to_owned());
    let options = || Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() };
    let server = TestServer::with(options()).await;
    let mut body = email("delivered@sim.test");
    body["scheduledAt"] = json!(api::fields::show_time(SystemClockAndRng.now() + 24 * 3_600_000));
    let id: CommunicationId = server.send(body).await.parse().expect("an id");
    drop(server);
    let tenant: TenantId = DEV_TENANT.parse().expect("a tenant");
    let database = Database::open(&scratch.0.join("tidings.db"), false).expect("the database");
    let key = CommunicationKey { tenant: tenant.clone(), id };
    let lines = EventStore::read(&database, &key.stream_id()).await.expect("a stream").lines;
    fill(&database, &tenant, &lines, count, &SystemClockAndRng).await;
    drop(database);
    let started = Instant::now();
    let server = TestServer::with(options()).await;
    let bound = started.elapsed();
    server.get("/health").await;
    let health = started.elapsed();
    server.send(email("delivered@sim.test")).await;
    let accepted = started.elapsed();
    println!(
        "restart with {count} unfinished messages: port after {:.0} ms, first answer after {:.0} ms, first message \
         accepted after {:.0} ms",
        ms(bound),
        ms(health),
        ms(accepted)
    );
}

/// A sweep over the emulated DynamoDB. Its queue is in memory, so the figure is that of reading and moving timers.
pub async fn measure_sweep(count: usize) {
    let store = Arc::new(Dynamo::start().await.store);
    let (host, queue) = (FixedClock::new(), Arc::new(RecordingQueue::default()));
    let tenant: TenantId = "acme".parse().expect("a tenant");
    fill(&*store, &tenant, &[r#"{"type":"Any"}"#.to_owned()], count, &*host).await;
    let sweep = SweepHandler { store: store.clone(), queue, limits: store, host };
    let started = Instant::now();
    let sent = sweep.sweep().await.expect("a sweep");
    let per_second = sent as f64 / started.elapsed().as_secs_f64();
    println!("sweep of {sent} timers in the emulated DynamoDB: {per_second:.0} timers a second");
}
