//! Chaos test: the real process is repeatedly killed with SIGKILL while it sends communications to a provider that logs
//! every request. Afterwards the provider's log and the store must agree on every invariant.
//!
//! `cargo test -p tests --test chaos`; `CHAOS_MESSAGES=50000 CHAOS_KILLS=200` makes a longer run, `CHAOS_SEED=7` a
//! different one. Everything runs on loopback, bounded in number and time.

mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::ports::{CommunicationKey, EventStore};
use events::RateLimit;
use events::{AttemptId, CommunicationEvent, Timestamp};
use infra::embedded::Database;
use local::{DEV_KEY, Data, Local, Options};
use reqwest::Client;
use serde_json::json;
use tests::harness::Scratch;
use tests::invariants::{CommunicationTrace, Sent, arrivals, check};
use tests::rng::SeededRng;

/// Speed of the child's clock, so that waits for evidence and retry delays take only seconds.
const FACTOR: u32 = 120;
/// Rate limit of each provider configuration, by the child's clock.
const RATE: RateLimit = RateLimit { burst: 200, per_second: 4 };
/// Concurrent callers.
const CALLERS: usize = 32;
/// Time within which the callers, and then all communications, must finish.
const TIMEOUT: Duration = Duration::from_secs(240);
/// Longest time between taking a token and the call, in milliseconds of real time.
const SLACK_MS: i64 = 10_000;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "child", folder, port, providers] => runtime.block_on(child(folder, port, providers)),
        // Cargo passes a filter and flags of its own harness.
        _ if args.iter().any(|arg| arg == "--list") => ExitCode::SUCCESS,
        _ => {
            println!("\nrunning 1 test");
            runtime.block_on(chaos());
            println!("test nothing_is_lost_when_the_process_is_killed_at_any_moment ... ok\n");
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
            ExitCode::SUCCESS
        }
    }
}

/// Runs in the process that is killed, like `tidings` does.
async fn child(folder: &str, port: &str, providers: &str) -> ExitCode {
    let options = Options {
        port: port.parse().expect("a port"),
        data: Data::Folder(folder.into()),
        clock_factor: FACTOR,
        accept_clock: false,
        provider_timeout_ms: 1_000,
        rate: Some(RATE),
        request_rate: None,
        jwt: None,
        console: None,
        providers_url: Some(providers.to_owned()),
    };
    let _local = Local::start(options).await.expect("it starts");
    std::future::pending().await
}

fn env_number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The process that is killed and restarted.
struct ChildProcess {
    child: Child,
    folder: String,
    port: u16,
    providers: String,
}

fn spawn(folder: &str, port: u16, providers: &str) -> Child {
    let me = std::env::current_exe().expect("this program");
    let command = Command::new(me)
        .args(["child", folder, &port.to_string(), providers])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    command.expect("a process")
}

impl ChildProcess {
    fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("gone");
    }

    fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.providers);
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn chaos() {
    let (messages, kills) = (env_number("CHAOS_MESSAGES", 5_000), env_number("CHAOS_KILLS", 20));
    let mut rng = SeededRng::new(env_number("CHAOS_SEED", 1) as u64);
    let started = Instant::now();
    let scratch = Scratch::new();
    let folder = scratch.0.join("data").display().to_string();
    let record = scratch.0.join("sink.jsonl");
    let providers = sink::start(&record, rng.next_u64()).await;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a port").port();
    let child = spawn(&folder, port, &providers);
    let mut server = ChildProcess { child, folder: folder.clone(), port, providers };

    let traffic = Arc::new(Traffic {
        client: Client::builder().timeout(Duration::from_secs(5)).build().expect("a client"),
        url: format!("http://127.0.0.1:{port}/api/communications"),
        next: AtomicUsize::new(0),
        messages,
        accepted: std::sync::Mutex::default(),
        child_now: AtomicI64::new(0),
    });
    let callers: Vec<_> =
        (0..CALLERS).map(|n| tokio::spawn(traffic.clone().call(SeededRng::new(n as u64 + 99)))).collect();
    for _ in 0..kills {
        // Every third kill follows a start so quickly that the earlier process's work is not resumed yet.
        let alive = Duration::from_millis(if rng.percent(33) { rng.below(150) } else { 200 + rng.below(1_500) });
        tokio::time::sleep(alive).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(rng.below(200))).await;
        server.restart();
    }
    for caller in callers {
        tokio::time::timeout(TIMEOUT, caller).await.expect("callers finish").expect("a caller");
    }
    let accepted = traffic.accepted.lock().expect("accepted").clone();
    assert_eq!(accepted.len(), messages, "every request was eventually accepted");

    let store = Database::open(&Path::new(&folder).join("tidings.db"), true).expect("the store");
    let resting = Instant::now();
    let streams = loop {
        let streams = all_communications(&store).await;
        let open = streams.values().filter(|(_, unfinished)| *unfinished).count();
        if open == 0 {
            break streams;
        }
        assert!(resting.elapsed() < TIMEOUT, "I12: {open} communications are not at rest");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    // Projections may lag behind, so the audit is repeated until it finds no differences.
    let audited = loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let report = local::audit(Path::new(&folder)).await.expect("an audit");
        if report.findings.is_empty() && report.moving == 0 || resting.elapsed() > TIMEOUT {
            break report;
        }
    };
    server.kill();
    assert!(audited.findings.is_empty(), "{audited}");

    let result = evaluate(&streams, &accepted, &sink::read(&record));
    println!(
        "{messages} communications, {kills} kills, {} s: 0 lost, {} calls, {} accepted by a provider, \
         {} sent more than once, each explained; scheduled sends claimed late by p50 {} ms, p99 {} ms of real time, \
         including downtime; audit: {} events, no differences",
        started.elapsed().as_secs(),
        result.calls,
        result.accepted_calls,
        result.duplicates,
        result.late_p50,
        result.late_p99,
        audited.events,
    );
}

/// The callers' requests. Each message has its own idempotency key and is posted until it is accepted. A few are
/// cancelled.
struct Traffic {
    client: Client,
    url: String,
    next: AtomicUsize,
    messages: usize,
    accepted: std::sync::Mutex<BTreeSet<String>>,
    /// The child's time by its latest response, in milliseconds since 1970.
    child_now: AtomicI64,
}

impl Traffic {
    async fn call(self: Arc<Self>, mut rng: SeededRng) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if self.messages <= n {
                return;
            }
            let mut body = json!({
                "channel": "email", "type": "invoice", "recipientContact": format!("person-{n}@example.com"),
                "subject": "Chaos", "content": "Hello",
                "inDoubt": if rng.percent(30) { "hold" } else { "resend" },
                "priority": if rng.percent(20) { "urgent" } else { "normal" },
            });
            let child_now = self.child_now.load(Ordering::Relaxed);
            if rng.percent(10) && child_now > 0 {
                // Up to ten seconds from now in real time.
                let later = Timestamp(child_now + 120_000 + rng.below(1_080_000) as i64);
                body["scheduledAt"] = json!(api::fields::show_time(later));
            }
            let cancels = rng.percent(5);
            let id = loop {
                let request = self.client.post(format!("{}/send", self.url)).bearer_auth(DEV_KEY);
                let sent = request.header("idempotency-key", format!("chaos-{n}")).json(&body).send().await;
                if let Ok(answer) = sent {
                    let status = answer.status();
                    assert!(status == 201 || status == 503, "{status}: {:?}", answer.text().await);
                    if status == 201
                        && let Ok(body) = answer.json::<serde_json::Value>().await
                    {
                        let at = body["communication"]["updatedAt"].as_str().and_then(api::fields::parse_time);
                        self.child_now.fetch_max(at.map_or(0, |at| at.0), Ordering::Relaxed);
                        break body["id"].as_str().expect("an id").to_owned();
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            if cancels {
                let _ = self.client.post(format!("{}/{id}/cancel", self.url)).bearer_auth(DEV_KEY).send().await;
            }
            let first = self.accepted.lock().expect("accepted").insert(id);
            assert!(first, "each idempotency key gets its own communication");
        }
    }
}

/// Reads the events of every communication, and whether it is unfinished.
async fn all_communications(store: &Database) -> BTreeMap<CommunicationKey, (Vec<String>, bool)> {
    let (mut communications, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let page = store.scan(after.as_deref(), 1_000).await.expect("a page");
        for (id, stream) in page.streams {
            if let Some(key) = CommunicationKey::from_stream(&id) {
                let lines = store.read_history(&id).await.expect("a history");
                communications.insert(key, (lines, stream.wake.is_some()));
            }
        }
        after = page.next;
        if after.is_none() {
            return communications;
        }
    }
}

struct ChaosResult {
    calls: usize,
    accepted_calls: usize,
    duplicates: usize,
    late_p50: i64,
    late_p99: i64,
}

/// Checks every invariant on each communication.
fn evaluate(
    streams: &BTreeMap<CommunicationKey, (Vec<String>, bool)>,
    accepted: &BTreeSet<String>,
    requests: &[sink::Request],
) -> ChaosResult {
    let known: BTreeSet<String> = streams.keys().map(|key| key.id.to_string()).collect();
    let lost: Vec<_> = accepted.difference(&known).collect();
    assert!(lost.is_empty(), "I1: lost: {lost:?}");
    let mut by_stream: BTreeMap<String, Vec<&sink::Request>> = BTreeMap::new();
    for request in requests {
        assert_eq!(request.tenant, local::DEV_TENANT, "I10: a message of another tenant");
        by_stream.entry(request.communication.clone()).or_default().push(request);
    }
    let unknown: Vec<_> = by_stream.keys().filter(|id| !known.contains(*id)).collect();
    assert!(unknown.is_empty(), "sent without a stream: {unknown:?}");
    let (mut duplicates, mut late) = (0, Vec::new());
    for (key, (lines, _)) in streams {
        assert!(!lines.iter().any(|line| line.contains("person-")), "I10: personal data in {}", key.id);
        let records: Vec<_> = lines.iter().map(|line| events::decode(line).expect("I5: an event")).collect();
        // The provider logs real time, but the stream has the child's time. So each call gets the time of its claim.
        let claims: BTreeMap<u16, i64> = records
            .iter()
            .filter_map(|record| match record.event {
                CommunicationEvent::DeliveryAttemptStarted { attempt, .. } => Some((attempt, record.meta.at.0)),
                _ => None,
            })
            .collect();
        let mine = by_stream.get(&key.id.to_string()).map_or(&[][..], Vec::as_slice);
        let sends: Vec<Sent> = mine
            .iter()
            .map(|request| {
                let attempt: AttemptId = request.attempt.parse().expect("an attempt");
                let at = *claims.get(&attempt.number).expect("R3: sent without a claim");
                Sent { at, taken: request.taken }
            })
            .collect();
        check(&CommunicationTrace { key, lines, sends: &sends }, None, SLACK_MS)
            .unwrap_or_else(|why| panic!("{why}: {}\n{lines:#?}\n{mine:#?}", key.id));
        let taken = sends.iter().filter(|sent| sent.taken).count();
        duplicates += usize::from(taken > 1);
        assert!(taken <= 1 + domain::communication::audit_attempts(&records).undecided, "I2");
        if let Some(CommunicationEvent::CommunicationRequested(request)) = records.first().map(|record| &record.event)
            && let (Some(due), Some(claimed)) = (request.scheduled_at, claims.get(&1))
        {
            late.push((claimed - due.0) / i64::from(FACTOR));
        }
    }
    for config in ["Bearer SG.simulator", "Bearer SG.simulator-second"] {
        let times = requests.iter().filter(|request| request.account == config).map(|request| request.at).collect();
        let real_time_rate = RateLimit { per_second: RATE.per_second * FACTOR, ..RATE };
        arrivals(config, times, real_time_rate, SLACK_MS).unwrap_or_else(|why| panic!("{why}"));
    }
    late.sort_unstable();
    let percentile = |n: usize| late.get(late.len() * n / 100).copied().unwrap_or(0);
    let taken = requests.iter().filter(|request| request.taken).count();
    ChaosResult {
        calls: requests.len(),
        accepted_calls: taken,
        duplicates,
        late_p50: percentile(50),
        late_p99: percentile(99),
    }
}
