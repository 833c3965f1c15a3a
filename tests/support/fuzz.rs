//! Properties of what comes from outside, as functions of bytes: `tests/it/properties.rs` feeds them corpora and chance,
//! `tests/fuzz` feeds them to libFuzzer. Each panics where its property does not hold.

use domain::circuit_breaker::CallResults;
use domain::communication::{Command, DeliveryReport, State, decide, evolve, wake};
use domain::provider::{CallbackRequest, MessageRef, Provider};
use domain::status::status;
use domain::throttle::{Grant, ProviderThrottle};
use domain::{communication_view, explain};
use events::{Channel, CommunicationEvent, CommunicationId, RecordedEvent, ReportedStatus, Timestamp};

use crate::harness::{callback, parsed_callback, provider, verified};

const T0: i64 = crate::harness::T0;

/// Panics where its property does not hold.
pub type Property = fn(&[u8]);

/// (name, property): the names are those of the corpora and of the libFuzzer targets.
pub const TARGETS: [(&str, Property); 6] = [
    ("decode", decode),
    ("stream", stream),
    ("sendgrid", sendgrid),
    ("twilio", twilio),
    ("gate", gate),
    ("facts", facts),
];

/// A stored line is read or refused; what was read is written again as the same.
pub fn decode(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    if let Ok(recorded) = events::decode::<CommunicationEvent>(line) {
        let again = events::decode::<CommunicationEvent>(&events::encode(&recorded.event, &recorded.meta))
            .expect("our own line");
        assert_eq!((again.event, again.meta), (recorded.event, recorded.meta));
    }
}

/// Whatever events a stream holds, in whatever order: it folds, and has a timer as long as it is unfinished.
pub fn stream(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let records: Vec<RecordedEvent> = text.lines().filter_map(|line| events::decode(line).ok()).take(200).collect();
    let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
    let row =
        communication_view::project(CommunicationId::from_idempotency_key(&crate::harness::tenant(), "fuzz"), &records);
    let story = explain::explain(&records);
    let begun = matches!(records.first().map(|r| &r.event), Some(CommunicationEvent::CommunicationRequested(_)));
    if begun {
        let communication = state.requested().expect("it began with a request");
        let row = row.expect("a row");
        assert_eq!(row.status, status(communication).as_str());
        assert_eq!(story.expect("a story").1.len(), records.len());
        assert_eq!(wake(&state, Timestamp(T0), None).is_none(), communication.is_finished());
        for command in
            [Command::ApplyDeadlines { now: Timestamp(i64::MAX / 2) }, Command::ApplyDeadlines { now: Timestamp(0) }]
        {
            let events = decide(&state, command).expect("time is never refused");
            assert!(events.len() <= 2);
        }
    }
}

/// A callback's body is read or refused, and names at most what it says.
pub fn sendgrid(bytes: &[u8]) {
    let settings = [("apiKey", "SG.x"), ("fromEmail", "a@example.com")];
    let provider = provider("sendgrid", Channel::Email, &settings).expect("a provider");
    said(&*provider, &callback("https://x/webhooks/sendgrid/events", &[], bytes));
}

/// The same; before the first zero byte is the query, after it the body.
pub fn twilio(bytes: &[u8]) {
    let (query, body) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len() / 2));
    let query = String::from_utf8_lossy(query);
    let settings = [("accountSid", "AC1"), ("authToken", "t"), ("from", "+15005550006")];
    let provider = provider("twilio", Channel::Sms, &settings).expect("a provider");
    let signature = String::from_utf8_lossy(body);
    let url = format!("https://x/webhooks/twilio/sms-status?{query}");
    let request = callback(&url, &[("x-twilio-signature", &signature)], body);
    said(&*provider, &request);
    assert!(verified(&*provider, &request, Timestamp(T0)).is_err(), "nobody guesses a signature");
}

fn said(provider: &dyn Provider, request: &CallbackRequest) {
    let Ok(heard) = parsed_callback(provider, request, Timestamp(T0)) else { return };
    for told in heard.delivery_reports {
        assert!(matches!(told.message, MessageRef::Attempt { .. }));
        assert!(told.report.code.is_none_or(|code| code.chars().count() <= 40));
    }
}

/// GCRA: in no stretch of time are more calls granted than the burst and the rate allow; what is given back may be used
/// again, and no more than that. A breaker that is open grants one call at most.
pub fn gate(bytes: &[u8]) {
    let [burst, per_second, steps @ ..] = bytes else { return };
    let rate = events::RateLimit { burst: u32::from(*burst % 50) + 1, per_second: u32::from(*per_second % 100) + 1 };
    let mut gate = ProviderThrottle::new(rate);
    let (mut now, mut grants) = (T0, Vec::new());
    for step in steps.chunks_exact(2).take(300) {
        let [kind, amount] = step else { continue };
        let amount = u32::from(*amount);
        match kind % 4 {
            0 => now += i64::from(amount) * 10,
            1 => {
                let was_shut = gate.breaker.open.is_some();
                match gate.reserve(amount, Timestamp(now)) {
                    Grant::Granted { granted, retry_slots, is_probe } => {
                        assert_eq!(granted as usize + retry_slots.len(), amount as usize);
                        assert!(retry_slots.iter().all(|turn| now <= turn.0 && turn.0 <= now + 3_700_000));
                        // The queue of retry slots folds over itself after an hour.
                        assert!(retry_slots.windows(2).filter(|pair| pair[1] < pair[0]).count() <= 1);
                        assert!(!was_shut || granted <= 1);
                        assert!(was_shut || !is_probe);
                        grants.extend(std::iter::repeat_n(now, granted as usize));
                    }
                    Grant::Blocked(until) => assert!(was_shut && now < until.0),
                }
            }
            2 => {
                let unused = amount.min(grants.len() as u32) % 8;
                // Only the latest can be unused still.
                grants.truncate(grants.len() - unused as usize);
                gate.record_results(CallResults { unused, ..CallResults::default() }, Timestamp(now));
            }
            _ => {
                let failures = amount % 16;
                gate.record_results(
                    CallResults { failures, successes: amount % 3, ..CallResults::default() },
                    Timestamp(now),
                );
            }
        }
        let quota = gate.quota(Timestamp(now));
        assert!(quota.remaining <= rate.burst && now <= quota.available_at.0);
        let stored = serde_json::to_string(&gate).expect("a record");
        assert_eq!(serde_json::from_str::<ProviderThrottle>(&stored).expect("our own record"), gate);
    }
    crate::invariants::arrivals("gate", grants, rate, 1).unwrap_or_else(|why| panic!("{why}"));
}

/// Facts come in any order, twice, late: the status is the same.
pub fn facts(bytes: &[u8]) {
    let [shuffle, rest @ ..] = bytes else { return };
    let report = |pair: &[u8]| DeliveryReport {
        attempt: Some(1),
        fact: ReportedStatus::ALL[usize::from(pair[0]) % ReportedStatus::ALL.len()],
        event_id: None,
        at: Timestamp(T0 + i64::from(pair[1])),
        code: None,
    };
    let reports: Vec<DeliveryReport> = rest.chunks_exact(2).map(report).take(24).collect();
    let mut turned = reports.clone();
    if !turned.is_empty() {
        turned.rotate_left(usize::from(*shuffle) % reports.len());
    }
    let reversed: Vec<DeliveryReport> = reports.iter().rev().cloned().collect();
    let twice: Vec<DeliveryReport> = reports.iter().chain(&reversed).cloned().collect();
    for ending in 0..4 {
        let told = told(&reports, ending, 1);
        for (other, chunk) in [(&turned, 1), (&reversed, 3), (&twice, 2), (&reports, usize::MAX)] {
            assert_eq!(self::told(other, ending, chunk), told, "{reports:?}");
        }
    }
}

/// The public status, and the facts kept (but for bare acceptance, which our own record may have said already), of an attempt that ended one of four ways and was reported on so.
fn told(reports: &[DeliveryReport], ending: u8, chunk: usize) -> (&'static str, Vec<ReportedStatus>) {
    let request = crate::harness::request(Timestamp(T0));
    let lease_until = Timestamp(T0 + 35_000);
    let (config, provider) = ("c".to_owned(), "p".to_owned());
    let begun = [
        CommunicationEvent::CommunicationRequested(Box::new(request)),
        CommunicationEvent::DeliveryAttemptStarted { attempt: 1, config, provider, idempotency_key: None, lease_until },
    ];
    let end = match ending {
        0 => None,
        1 => Some(CommunicationEvent::DeliveryAttemptAccepted {
            attempt: 1,
            provider_message_id: "m".to_owned(),
            segments: None,
            cost_micros: None,
            latency_ms: 1,
        }),
        2 => Some(CommunicationEvent::DeliveryAttemptInDoubt {
            attempt: 1,
            cause: events::InDoubtCause::Timeout,
            evidence_until: lease_until,
        }),
        _ => Some(CommunicationEvent::CommunicationDeadLettered {
            reason: events::DeadLetterReason::Poison,
            maybe_sent: true,
        }),
    };
    let mut state = begun.iter().chain(&end).fold(State::default(), evolve);
    for some in reports.chunks(chunk.min(reports.len().max(1))) {
        let events = decide(&state, Command::Report(some.to_vec())).expect("an attempt that was made");
        state = events.iter().fold(state, evolve);
    }
    let communication = state.requested().expect("requested");
    let facts = communication.evidence.keys().copied().filter(|fact| *fact != ReportedStatus::Accepted);
    (status(communication).as_str(), facts.collect())
}
