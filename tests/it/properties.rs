//! Property tests: external input of any form, requests repeated in any order, and lists in pages of any size.
//! `docs/testing.md` describes how to run them for longer, and under libFuzzer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use application::views::list;
use domain::communication::{AttemptOutcome, Command, Readiness, State, decide, evolve, readiness, wake};
use domain::communication_view::{CommunicationRow, ListFilter};
use domain::ports::{ProjectedRow, ViewRow, ViewScope, ViewStore};
use domain::{policy, quiet_hours, throttle};
use events::{CancelReason, CommunicationEvent, InDoubtCause, Mode, Priority, QuietHours, RefusalClass, Timestamp};
use infra::embedded::Database;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use reqwest::StatusCode;
use serde_json::json;
use tests::fuzz::TARGETS;
use tests::harness::{Scratch, T0, request, tenant};
use tests::server::TestServer;

/// Every run has the same cases. `PROPERTY_TIMES=100 PROPERTY_SEED=7` runs more and different ones.
fn config(cases: u32) -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    ProptestConfig {
        cases: cases * number("PROPERTY_TIMES"),
        rng_seed: RngSeed::Fixed(number("PROPERTY_SEED").into()),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("an input")).collect()
}

#[test]
fn properties_hold_for_every_corpus_input() {
    for (name, property) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has a corpus");
        inputs.iter().for_each(|input| property(input));
    }
}

/// What a callback of any provider becomes is bounded by its size, however deep, long or often repeated its parts are.
#[test]
fn hostile_callbacks_become_no_more_than_they_say() {
    const SIZE: usize = 256 << 10;
    for input in corpus("callbacks") {
        let body_at = input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).expect("three parts").0 + 1;
        let (head, body) = input.split_at(body_at);
        let text = String::from_utf8_lossy(body);
        let repeated = |part: &str| part.repeat(SIZE / part.len().max(1));
        let list = |item: &str| format!("[{}{item}]", repeated(&format!("{item},")));
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let mut bodies = vec![
            format!("{}{text}{}", "[".repeat(SIZE / 2), "]".repeat(SIZE / 2)),
            text.replacen(':', &format!(":{}", repeated("{\"a\":")), 3),
            text.replacen('"', &format!("\"{}", repeated("x")), 5),
            list(inner),
            format!("{text}&{}", repeated(&format!("{text}&"))),
            format!("{text}&{}", repeated("a=%F0%9F%98&")),
            repeated("\\u0000\""),
        ];
        for (at, _) in text.match_indices('[').take(4) {
            let end = text.rfind(']').unwrap_or(text.len()).max(at + 1);
            bodies.push(format!("{}{}{}", &text[..at], list(&text[at + 1..end]), &text[(end + 1).min(text.len())..]));
        }
        for body in bodies {
            tests::fuzz::callbacks(&[head, body.as_bytes()].concat());
        }
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// Changes bytes of a corpus input, truncates it, or appends another input.
    #[test]
    fn properties_hold_for_mutated_corpus_inputs(
        target in any::<Index>(), first in any::<Index>(), second in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<Index>()), joined in any::<bool>(),
    ) {
        let (name, property) = TARGETS[target.index(TARGETS.len())];
        let corpus = corpus(name);
        let mut input = corpus[first.index(corpus.len())].clone();
        if joined {
            input.push(b'\n');
            input.extend_from_slice(&corpus[second.index(corpus.len())]);
        }
        for (position, byte) in changes {
            if !input.is_empty() {
                let index = position.index(input.len());
                input[index] = byte;
            }
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len() + 1));
        }
        property(&input);
    }

    #[test]
    fn properties_hold_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        TARGETS.iter().for_each(|(_, property)| property(&bytes));
    }

    #[test]
    fn a_rate_limit_holds_for_any_sequence_of_requests(steps in prop::collection::vec((0i64..4_000, [0u32..12, 0..12, 0..12, 0..12]), 1..60)) {
        let rate = events::RateLimit { burst: 7, per_second: 3 };
        let (mut limiter, mut now, mut grants) = (throttle::ProviderThrottle::new(rate), T0, Vec::new());
        for (wait, requested) in steps {
            now += wait;
            if let throttle::Grant::Granted { calls, .. } = limiter.reserve(requested, Timestamp(now)) {
                let granted: u32 = calls.iter().map(|calls| calls.granted).sum();
                grants.extend(std::iter::repeat_n(now, granted as usize));
            }
        }
        prop_assert_eq!(tests::invariants::arrivals("rate", grants, rate, 1), Ok(()));
    }

    #[test]
    fn quiet_hours_release_to_a_moment_that_is_not_quiet(
        start in 0u32..1_440, length in 1u32..1_439, zone in any::<Index>(), at in 0i64..400 * 24 * 60,
    ) {
        const ZONES: [&str; 6] =
            ["UTC", "America/Mexico_City", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Nairobi"];
        let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        let hours = QuietHours {
            start: clock(start),
            end: clock(start + length),
            time_zone: ZONES[zone.index(ZONES.len())].to_owned(),
        };
        prop_assert_eq!(quiet_hours::check(&hours), Ok(()));
        let mut request = request(Timestamp(T0));
        request.quiet_hours = Some(hours);
        let now = Timestamp(T0 + at * 60_000);
        if let Some(until) = quiet_hours::release_time(&request, now) {
            prop_assert!(now < until && until.millis_since(now) <= 26 * 3_600_000);
            prop_assert_eq!(quiet_hours::release_time(&request, until), None);
        }
        request.priority = Priority::Urgent;
        prop_assert_eq!(quiet_hours::release_time(&request, now), None);
    }

    /// For any commands in any order, a communication has a timer exactly while it is unfinished, and no message that
    /// may have been sent is recorded as not sent.
    #[test]
    fn any_order_of_commands_keeps_the_invariants(
        commands in prop::collection::vec((0u8..13, any::<u16>(), 0i64..200_000), 0..40),
    ) {
        let mut state = State::default();
        let (mut now, mut log) = (T0, Vec::new());
        for (kind, detail, wait) in commands {
            now += wait;
            let Ok(events) = decide(&state, command(kind, detail, Timestamp(now), &state)) else { continue };
            state = events.iter().fold(state, evolve);
            log.extend(events);
            let Ok(communication) = state.requested() else { continue };
            let timer = wake(&state, Timestamp(now), None);
            prop_assert_eq!(timer.is_none(), communication.is_finished(), "{:#?}", log);
            let due = matches!(readiness(communication, Timestamp(now)), Readiness::DeadlineReached(_));
            prop_assert!(due || timer.is_none_or(|timer| now < timer.0));
        }
        let doubts = log.iter().any(|event| matches!(event, CommunicationEvent::DeliveryAttemptResolved { outcome: events::Resolution::Unknown, .. }));
        let cancelled = log.iter().any(|event| matches!(event, CommunicationEvent::CommunicationCancelled { .. } | CommunicationEvent::CommunicationSuppressed { .. }));
        prop_assert!(!(doubts && cancelled), "may have been sent, but is recorded as not sent: {:#?}", log);
    }
}

fn command(kind: u8, detail: u16, now: Timestamp, state: &State) -> Command {
    let attempt = state.requested().map_or(1, |communication| communication.attempts);
    let outcome = match detail % 6 {
        0 => AttemptOutcome::Accepted { provider_message_id: "m".into(), segments: None, cost: None, latency_ms: 1 },
        1 => AttemptOutcome::InDoubt(InDoubtCause::Timeout),
        n => {
            let class = RefusalClass::ALL[usize::from(n + detail / 6) % RefusalClass::ALL.len()];
            AttemptOutcome::Refused { class, code: "x".into(), retry_after_ms: None }
        }
    };
    let fact = events::ReportedStatus::ALL[usize::from(detail) % events::ReportedStatus::ALL.len()];
    let report = domain::communication::DeliveryReport {
        attempt: Some(attempt.max(1)),
        fact,
        event_id: None,
        at: now,
        code: None,
    };
    match kind {
        0 => Command::Request(Box::new(request(Timestamp(T0)))),
        1 => Command::ApplyDeadlines { now },
        2 | 3 => Command::BeginAttempt {
            now,
            lease_until: now + 35_000,
            config: "c".into(),
            provider: "p".into(),
            about: Vec::new(),
        },
        4 | 5 => Command::RecordOutcome {
            attempt,
            now,
            chance: u64::from(detail),
            outcome,
            failover: detail.is_multiple_of(2),
        },
        6 => Command::Report(vec![report]),
        7 => Command::Cancel { by: "me".into(), reason: CancelReason::Requested },
        8 => Command::Suppress(events::SuppressReason::SuppressionList),
        9 => Command::DeadLetter(events::DeadLetterReason::Poison),
        10 => Command::Retry { by: "me".into(), now, at: detail.is_multiple_of(2).then_some(now + 5_000) },
        11 => Command::Defer { until: now + i64::from(detail), reason: events::DeferReason::QuietHours },
        _ => Command::Change {
            schedule: Some((now + i64::from(detail), now + 2 * policy::ACCOUNT_HOLD_MS)),
            content: None,
        },
    }
}

proptest! {
    #![proptest_config(config(12))]

    /// Pages of any size contain every row once and in order, with any filter.
    #[test]
    fn pages_hold_every_row_once(
        created in prop::collection::vec(0i64..20_000, 0..60), size in 1usize..25, only in prop::option::of(0u8..2),
    ) {
        let scratch = Scratch::new();
        let views = Database::open(&scratch.0.join("pages.db"), false).expect("a database");
        let view = ViewScope { view: CommunicationRow::VIEW, tenant: tenant(), mode: Mode::Live };
        let rows: Vec<CommunicationRow> = created.iter().enumerate().map(|(n, at)| row(n, *at)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let found = runtime.block_on(async {
            for chunk in rows.chunks(20) {
                let projected = |row| ProjectedRow::new(tenant(), Mode::Live, row).expect("a row");
                let chunk: Vec<_> = chunk.iter().map(projected).collect();
                views.apply(&chunk, Timestamp(T0)).await.expect("applied");
            }
            let filter = ListFilter { statuses: only.iter().map(|n| status((*n).into()).to_owned()).collect(), ..ListFilter::default() };
            let (mut found, mut after) = (Vec::new(), None::<String>);
            loop {
                let matches = |row: &CommunicationRow| filter.matches(row);
                let page = list(&views, &view, filter.ranges(), after.as_deref(), size, matches).await.expect("a page");
                assert!(page.rows.len() <= size);
                found.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break found;
                }
            }
        });
        let ids: BTreeSet<_> = found.iter().map(|row| row.id).collect();
        let expected = rows.iter().filter(|row| only.is_none_or(|n| row.status == status(n.into())));
        prop_assert_eq!(&ids, &expected.map(|row| row.id).collect());
        prop_assert_eq!(ids.len(), found.len());
        prop_assert!(found.is_sorted_by(|a, b| (b.created_at, b.id.to_string()) <= (a.created_at, a.id.to_string())));
    }
}

fn status(n: usize) -> &'static str {
    ["queued", "sent"][n % 2]
}

fn row(n: usize, at: i64) -> CommunicationRow {
    let id = events::CommunicationId::from_idempotency_key(&tenant(), &n.to_string());
    let meta = events::EventMetadata {
        at: Timestamp(T0 + at),
        command: "c".into(),
        correlation: None,
        causation: None,
        actor: "a".into(),
        traceparent: None,
    };
    let event = CommunicationEvent::CommunicationRequested(Box::new(request(Timestamp(T0))));
    let row =
        domain::communication_view::project(id, &[events::RecordedEvent { version: 1, meta, event }]).expect("a row");
    CommunicationRow { status: status(n).to_owned(), ..row }
}

/// Concurrent requests with repeated keys create one communication for each key, with the content of the first request.
#[tokio::test(flavor = "multi_thread")]
async fn accepting_is_idempotent_in_any_order() {
    let server = TestServer::new().await;
    let mut chance = tests::rng::SeededRng::new(7);
    for round in 0..12 {
        let tries: Vec<(u64, u64)> = (0..16).map(|_| (chance.below(3), chance.below(2))).collect();
        let sends = tries.iter().map(async |(key, content)| {
            let mut body = tests::server::email(&format!("idem-{round}-{key}@example.com"));
            body["content"] = json!(format!("content {content}"));
            let request = server.request(reqwest::Method::POST, "/api/communications/send");
            let request = request.header("idempotency-key", format!("{round}-{key}")).json(&body);
            (*key, *content, server.answer(request).await)
        });
        let mut created_by_key: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        let answers = futures_util::future::join_all(sends).await;
        for (key, content, answer) in answers.iter().filter(|(.., answer)| answer.status == StatusCode::CREATED) {
            let first = created_by_key.entry(*key).or_insert((answer.id(), *content));
            assert_eq!(first, &(answer.id(), *content), "a key has two communications or two bodies");
        }
        for (key, content, answer) in &answers {
            match answer.status {
                StatusCode::CREATED => assert_eq!(created_by_key[key].1, *content),
                StatusCode::UNPROCESSABLE_ENTITY => {
                    assert_eq!(answer.text("/code"), "idempotency_key_reused");
                    assert_ne!(created_by_key[key].1, *content);
                }
                other => panic!("{other}: {}", answer.body),
            }
        }
        for (key, (id, _)) in &created_by_key {
            server.until_status(id, "delivered").await;
            assert_eq!(server.inbox(&format!("idem-{round}-{key}@example.com")).await.len(), 1);
        }
    }
}

/// An invalid cursor is a client error, never a server error.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_cursors_are_rejected() {
    let server = TestServer::new().await;
    let mut chance = tests::rng::SeededRng::new(3);
    for _ in 0..200 {
        let length = 1 + chance.below(60) as usize;
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~%23";
        let cursor: Vec<u8> = (0..length).map(|_| alphabet[chance.below(alphabet.len() as u64) as usize]).collect();
        let cursor = String::from_utf8(cursor).expect("ASCII").replace('%', "%25");
        for path in ["/api/communications", "/api/dead-letters"] {
            let answer = server.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{cursor}");
            assert_eq!(answer.text("/errors/0/code"), "bad_cursor");
        }
    }
}
