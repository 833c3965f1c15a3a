//! `cargo bench -p tests` measures the cost of a message. It prints figures and asserts nothing about time.
//!
//! 1. `local`, 10,000 templated emails over HTTP, on disk with full durability and, as the baseline, in memory.
//! 2. The lateness of scheduled messages at the provider, in real time.
//! 3. The first answer after a restart with 100,000 unfinished messages, and the timers that a sweep serves in a second.
//! 4. The time to render a template.
//! 5. DynamoDB units and SQS requests of one delivered email, counted by an interceptor in the real SDK.

mod recovery;
mod render;
mod units;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use local::{Data, Options};
use serde_json::json;
use tests::harness::Scratch;
use tests::server::TestServer;

const CALLERS: usize = 32;

fn main() {
    let messages = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let has_only_recovery = std::env::args().any(|argument| argument == "recovery");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let on_disk = Scratch(std::env::current_dir().expect("a folder").join(".bench-data"));
        std::fs::create_dir_all(&on_disk.0).expect("a folder");
        if has_only_recovery {
            recovery::measure_restart(&on_disk.0.join("restart"), messages * 10).await;
            return recovery::measure_sweep(messages).await;
        }
        println!(
            "{messages} templated emails, {CALLERS} callers, load, simulator and functions in one process on 2 cores\n"
        );
        measure_throughput("memory (baseline)", Data::Memory, messages).await;
        measure_throughput("disk, full durability", Data::Folder(on_disk.0.clone()), messages).await;
        let started = Instant::now();
        drop(TestServer::with(Options { data: Data::Folder(on_disk.0.clone()), ..TestServer::options() }).await);
        println!("start to ready with {messages} in the file: {:.1} ms\n", ms(started.elapsed()));
        measure_lateness().await;
        recovery::measure_restart(&on_disk.0.join("restart"), messages * 10).await;
        recovery::measure_sweep(messages).await;
        render::measure();
        units::count().await;
    });
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Seconds of CPU that this process has used, from fields 14 and 15 of its stat, which are hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

async fn measure_throughput(name: &str, data: Data, messages: usize) {
    let started = Instant::now();
    let server =
        Arc::new(TestServer::with(Options { data, provider_timeout_ms: 10_000, ..TestServer::options() }).await);
    let ready = started.elapsed();
    let (next, cpu, started) = (Arc::new(AtomicUsize::new(0)), cpu_seconds(), Instant::now());
    let callers = (0..CALLERS).map(|_| {
        let (server, next) = (server.clone(), next.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if messages <= n {
                    return latencies;
                }
                let body = json!({
                    "channel": "email", "type": "invoice", "recipientContact": "delivered@sim.test",
                    "recipientId": format!("cus-{n}"), "templateId": "tpl_invoice_email",
                    "templateVariables": {
                        "customerName": "Ada", "invoiceNumber": format!("INV-{n}"), "amount": 1500.5,
                        "businessName": "Acme", "dueDate": "2026-12-01", "paymentLink": "https://pay.example.com/1"
                    },
                });
                let requested = Instant::now();
                server.send(body).await;
                latencies.push(requested.elapsed());
            }
        })
    });
    let mut latencies: Vec<Duration> = Vec::with_capacity(messages);
    for caller in callers.collect::<Vec<_>>() {
        latencies.extend(caller.await.expect("a caller"));
    }
    let accepted = started.elapsed();
    loop {
        let stats = server.get("/api/communications/stats").await.body;
        if stats["byStatus"]["delivered"] == messages {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(600), "{stats}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (all, cpu) = (started.elapsed(), cpu_seconds() - cpu);
    latencies.sort();
    let at = |share: f64| ms(latencies[((messages - 1) as f64 * share) as usize]);
    println!("{name}");
    println!("  start to ready            {:>9.1} ms", ms(ready));
    println!("  accept latency p50 / p95  {:>9.2} / {:.2} ms", at(0.50), at(0.95));
    println!("  accepted                  {:>9.0} a second", messages as f64 / accepted.as_secs_f64());
    println!("  accepted to delivered     {:>9.0} a second", messages as f64 / all.as_secs_f64());
    println!("  CPU, load and simulator too {:>7.2} ms a message\n", cpu * 1_000.0 / messages as f64);
}

/// Schedules a thousand messages at different times within twenty seconds.
async fn measure_lateness() {
    const MESSAGES: i64 = 1_000;
    let server = TestServer::new().await;
    let now = jiff::Timestamp::now().as_millisecond();
    let mut due = std::collections::BTreeMap::new();
    for n in 0..MESSAGES {
        let (to, at) = (format!("late-{n}@example.com"), now + 8_000 + n * 7_919 % 20_000);
        let body = json!({
            "channel": "email", "type": "invoice", "recipientContact": to, "subject": "S", "content": "C",
            "scheduledAt": api::fields::show_time(events::Timestamp(at)),
        });
        server.send(body).await;
        due.insert(to, at);
    }
    let started = Instant::now();
    let sent = loop {
        let sent = server.local.simulator.inbox.list(None);
        if sent.len() == due.len() {
            break sent;
        }
        assert!(started.elapsed() < Duration::from_secs(90), "{} of {MESSAGES}", sent.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let at = |text: &str| api::fields::parse_time(text).expect("a time").0;
    let mut late: Vec<i64> = sent.iter().map(|entry| at(&entry.at) - due[&entry.to]).collect();
    late.sort_unstable();
    let share = |n: usize| late[(late.len() - 1) * n / 100];
    println!("{MESSAGES} scheduled sends, late at the provider");
    println!("  p50 / p99 / at most       {:>9} / {} / {} ms\n", share(50), share(99), share(100));
}
