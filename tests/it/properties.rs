//! Properties: what comes from outside in every form, requests repeated in any order, lists in pages of any size.
//! `docs/testing.md` says how to run them for longer, and under libFuzzer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use domain::communication::{AttemptOutcome, Command, Readiness, State, decide, evolve, readiness, wake};
use domain::communication_view::CommunicationRow;
use domain::ports::{ListFilter, ProjectedRow, ViewScope, ViewStore};
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

/// The same cases in every run; `PROPERTY_TIMES=100 PROPERTY_SEED=7` takes more and others.
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
fn every_input_of_every_corpus_holds() {
    for (name, property) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has a corpus");
        inputs.iter().for_each(|input| property(input));
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// An input of a corpus with some bytes changed, cut, doubled, or joined to another.
    #[test]
    fn inputs_near_a_corpus_hold(
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
        for (place, byte) in changes {
            if !input.is_empty() {
                let place = place.index(input.len());
                input[place] = byte;
            }
        }
        if let Some(cut) = cut {
            input.truncate(cut.index(input.len() + 1));
        }
        property(&input);
    }

    #[test]
    fn bytes_of_any_kind_hold(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        TARGETS.iter().for_each(|(_, property)| property(&bytes));
    }

    #[test]
    fn a_rate_is_kept_whatever_is_asked_and_when(steps in prop::collection::vec((0i64..4_000, 0u32..30), 1..60)) {
        let rate = events::RateLimit { burst: 7, per_second: 3 };
        let (mut limiter, mut now, mut grants) = (throttle::ProviderThrottle::new(rate), T0, Vec::new());
        for (wait, wanted) in steps {
            now += wait;
            if let throttle::Grant::Granted { granted, .. } = limiter.reserve(wanted, Timestamp(now)) {
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
        let mut asked = request(Timestamp(T0));
        asked.quiet_hours = Some(hours);
        let now = Timestamp(T0 + at * 60_000);
        if let Some(until) = quiet_hours::release_time(&asked, now) {
            prop_assert!(now < until && until.millis_since(now) <= 26 * 3_600_000);
            prop_assert_eq!(quiet_hours::release_time(&asked, until), None);
        }
        asked.priority = Priority::Urgent;
        prop_assert_eq!(quiet_hours::release_time(&asked, now), None);
    }

    /// Whatever is commanded in whatever order: a timer as long as it is unfinished, attempts one after the other, no
    /// end that forgets what may have been sent.
    #[test]
    fn any_order_of_commands_keeps_the_promises(commands in prop::collection::vec((0u8..13, any::<u16>(), 0i64..200_000), 0..40)) {
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
        prop_assert!(!(doubts && cancelled), "maybe sent, and said not to be: {:#?}", log);
    }
}

fn command(kind: u8, detail: u16, now: Timestamp, state: &State) -> Command {
    let attempt = state.requested().map_or(1, |communication| communication.attempts);
    let outcome = match detail % 6 {
        0 => AttemptOutcome::Accepted {
            provider_message_id: "m".into(),
            segments: None,
            cost_micros: None,
            latency_ms: 1,
        },
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
        2 | 3 => Command::BeginAttempt { now, lease_until: now + 35_000, config: "c".into(), provider: "p".into() },
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

    /// Pages of any size: every row once, in order, whichever filter.
    #[test]
    fn pages_hold_every_row_once(
        created in prop::collection::vec(0i64..20_000, 0..60), size in 1usize..25, only in prop::option::of(0u8..2),
    ) {
        let scratch = Scratch::new();
        let views = Database::open(&scratch.0.join("pages.db"), false).expect("a database");
        let view = ViewScope { tenant: tenant(), mode: Mode::Live };
        let rows: Vec<CommunicationRow> = created.iter().enumerate().map(|(n, at)| row(n, *at)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let found = runtime.block_on(async {
            for some in rows.chunks(20) {
                let some: Vec<_> = some.iter().map(|row| ProjectedRow { view: view.clone(), row: row.clone() }).collect();
                views.apply(&some, Timestamp(T0)).await.expect("applied");
            }
            let filter = ListFilter { status: only.map(|n| status(n.into()).to_owned()), ..ListFilter::default() };
            let (mut found, mut after) = (Vec::new(), None::<String>);
            loop {
                let page = views.list(&view, &filter, after.as_deref(), size).await.expect("a page");
                assert!(page.rows.len() <= size);
                found.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break found;
                }
            }
        });
        let ids: BTreeSet<_> = found.iter().map(|row| row.id).collect();
        let wanted = rows.iter().filter(|row| only.is_none_or(|n| row.status == status(n.into())));
        prop_assert_eq!(&ids, &wanted.map(|row| row.id).collect());
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

/// Requests repeated, side by side and with other words: one communication for each key, and only with its first words.
#[tokio::test(flavor = "multi_thread")]
async fn accepting_is_idempotent_in_any_order() {
    let server = TestServer::new().await;
    let mut chance = tests::rng::SeededRng::new(7);
    for round in 0..12 {
        let tries: Vec<(u64, u64)> = (0..16).map(|_| (chance.below(3), chance.below(2))).collect();
        let sends = tries.iter().map(async |(key, words)| {
            let mut body = tests::server::email(&format!("idem-{round}-{key}@example.com"));
            body["content"] = json!(format!("words {words}"));
            let request = server.request(reqwest::Method::POST, "/api/communications/send");
            let request = request.header("idempotency-key", format!("{round}-{key}")).json(&body);
            (*key, *words, server.answer(request).await)
        });
        let mut kept: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        let answers = futures_util::future::join_all(sends).await;
        for (key, words, answer) in answers.iter().filter(|(.., answer)| answer.status == StatusCode::CREATED) {
            let first = kept.entry(*key).or_insert((answer.id(), *words));
            assert_eq!(first, &(answer.id(), *words), "one communication, with one body");
        }
        for (key, words, answer) in &answers {
            match answer.status {
                StatusCode::CREATED => assert_eq!(kept[key].1, *words),
                StatusCode::UNPROCESSABLE_ENTITY => {
                    assert_eq!(answer.text("/code"), "idempotency_key_reused");
                    assert_ne!(kept[key].1, *words);
                }
                other => panic!("{other}: {}", answer.body),
            }
        }
        for (key, (id, _)) in &kept {
            server.until_status(id, "delivered").await;
            assert_eq!(server.inbox(&format!("idem-{round}-{key}@example.com")).await.len(), 1);
        }
    }
}

/// A cursor of somebody's own making is refused, never an error of ours.
#[tokio::test(flavor = "multi_thread")]
async fn cursors_that_are_not_ours_are_refused() {
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
