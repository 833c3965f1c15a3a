//! Properties of external input, as functions of bytes. `tests/it/properties.rs` runs them on corpora and random bytes,
//! `tests/fuzz` runs them under libFuzzer.

use std::sync::{Arc, LazyLock};

use domain::address;
use domain::business_event::{self, EventData, Interpretation};
use domain::circuit_breaker::CallResults;
use domain::communication::{Command, DeliveryReport, State, decide, evolve, wake};
use domain::consent::parse_keyword;
use domain::file_name::last_segment;
use domain::prices::PriceList;
use domain::provider::{CallbackRequest, MAX_ID, MessageRef, Provider, ProviderReport};
use domain::public_url;
use domain::render::{CompiledTemplate, RenderInput, max_characters, render_within};
use domain::schedule::{Recurrence, RecurrenceInput, When};
use domain::status::status;
use domain::text::check_line;
use domain::throttle::{Grant, GrantedCalls, ProviderThrottle};
use domain::{communication_view, explain};
use events::{Channel, CommunicationEvent, CommunicationId, EventMapping, RecordedEvent, ReportedStatus, Timestamp};
use futures_util::FutureExt;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::harness::{callback, example, parsed_callback, provider, verified};

/// The steps in which texts are rendered.
const STEPS: usize = 5_000;

const T0: i64 = crate::harness::T0;

/// A function that panics if its property does not hold.
pub type Property = fn(&[u8]);

/// Each property with its name, which is also the name of its corpus and of its libFuzzer target.
pub const TARGETS: [(&str, Property); 11] = [
    ("decode", decode),
    ("stream", stream),
    ("sendgrid", sendgrid),
    ("twilio", twilio),
    ("callbacks", callbacks),
    ("parsers", parsers),
    ("gate", gate),
    ("facts", facts),
    ("template", template),
    ("envelope", envelope),
    ("mapping", mapping),
];

/// A business event in any form either is refused with pointers, or has an id, a type and a source that can be part of a
/// key.
pub fn envelope(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let bus = business_event::parse_bus(value.clone(), Some("/id")).map(|bus| bus.envelope);
    for parsed in [business_event::parse(value), bus] {
        match parsed {
            Ok(envelope) => {
                for text in [&envelope.id, &envelope.kind, &envelope.source] {
                    assert!(!text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control));
                }
                assert!(0 < envelope.version && !business_event::is_reserved(&envelope.source));
            }
            Err(faults) => {
                assert!(faults.iter().all(|fault| fault.pointer.is_empty() || fault.pointer.starts_with('/')))
            }
        }
    }
}

/// Any mapping reads any data, or says where it cannot. The first zero byte separates them. What it reads of a known
/// type has amounts that are not negative.
pub fn mapping(bytes: &[u8]) {
    let (mapping, data) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(0));
    let Ok(data) = serde_json::from_slice::<Value>(data.strip_prefix(b"\0").unwrap_or(data)) else { return };
    let mapping = serde_json::from_slice::<EventMapping>(mapping).ok();
    let mapping = mapping.filter(|mapping| business_event::mapping_faults(mapping).is_empty());
    let kinds = business_event::EVENT_TYPES.iter().map(|known| known.name);
    let theirs = mapping.iter().flat_map(|mapping| mapping.types.keys().map(String::as_str));
    for kind in kinds.chain(theirs) {
        match business_event::interpret(mapping.as_ref(), (kind, 1), &data, &TimeZone::UTC).meaning {
            Interpretation::Known(read) => {
                assert!(read.mentions().len() <= 20);
                if let EventData::InvoiceIssued(invoice) = *read {
                    assert!(invoice.total.is_some_and(|total| 0 <= total));
                }
            }
            Interpretation::Invalid(faults) => {
                assert!(!faults.is_empty() && faults.iter().all(|fault| fault.pointer.starts_with("/data")));
            }
            Interpretation::Unknown | Interpretation::NewerVersion => (),
        }
    }
}

/// Any text is compiled and rendered within its limits, and its steps are always the same. Under libFuzzer,
/// `tests/fuzz/run` also reports texts that are slow.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let items: Vec<u32> = (0..100).collect();
    let variables = json!({ "a": items, "b": { "c": "d" }, "s": "2026-01-01", "n": 7, "items": [{ "name": "x" }] });
    let Ok(compiled) = CompiledTemplate::new(None, text) else { return };
    for channel in Channel::ALL.iter().copied() {
        let input = RenderInput {
            channel,
            template: None,
            text: Some(&compiled),
            subject: None,
            content: Some(text),
            variables: Some(&variables),
            attachments: &[],
            locale: None,
        };
        let (rendered, steps) = render_within(&input, STEPS);
        assert!(steps <= STEPS);
        if let Ok(message) = &rendered {
            assert!(message.text.chars().count() <= max_characters(channel));
            assert_eq!(render_within(&input, steps), (rendered, steps));
        }
    }
}

/// A stored line either is rejected, or decodes to an event that survives a round trip.
pub fn decode(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    if let Ok(recorded) = events::decode::<CommunicationEvent>(line) {
        let again = events::decode::<CommunicationEvent>(&events::encode(&recorded.event, &recorded.meta))
            .expect("our own line");
        assert_eq!((again.event, again.meta), (recorded.event, recorded.meta));
    }
}

/// A stream of any events in any order can be folded, and has a timer exactly while it is unfinished.
pub fn stream(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let records: Vec<RecordedEvent> = text.lines().filter_map(|line| events::decode(line).ok()).take(200).collect();
    let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
    let row =
        communication_view::project(CommunicationId::from_idempotency_key(&crate::harness::tenant(), "fuzz"), &records);
    let story = explain::explain(&records);
    let is_requested = matches!(records.first().map(|r| &r.event), Some(CommunicationEvent::CommunicationRequested(_)));
    if is_requested {
        let communication = state.requested().expect("its first event is a request");
        let row = row.expect("a row");
        assert_eq!(row.status, status(communication).as_str());
        assert_eq!(story.expect("a story").1.len(), records.len());
        assert_eq!(wake(&state, Timestamp(T0), None).is_none(), communication.is_finished());
        for command in
            [Command::ApplyDeadlines { now: Timestamp(i64::MAX / 2) }, Command::ApplyDeadlines { now: Timestamp(0) }]
        {
            let events = decide(&state, command).expect("deadlines are never rejected");
            assert!(events.len() <= 2);
        }
    }
}

/// A callback body either is rejected, or yields well-formed delivery reports.
pub fn sendgrid(bytes: &[u8]) {
    let settings = [("apiKey", "SG.x"), ("fromEmail", "a@example.com")];
    let provider = provider("sendgrid", Channel::Email, &settings).expect("a provider");
    check_callback(&*provider, &callback("https://x/webhooks/sendgrid/events", &[], bytes));
}

/// The same for a query and a body. The first zero byte separates them.
pub fn twilio(bytes: &[u8]) {
    let (query, body) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len() / 2));
    let query = String::from_utf8_lossy(query);
    let settings = [("accountSid", "AC1"), ("authToken", "t"), ("from", "+15005550006")];
    let provider = provider("twilio", Channel::Sms, &settings).expect("a provider");
    let signature = String::from_utf8_lossy(body);
    let url = format!("https://x/webhooks/twilio/sms-status?{query}");
    let request = callback(&url, &[("x-twilio-signature", &signature)], body);
    check_callback(&*provider, &request);
    assert!(verified(&*provider, &request, Timestamp(T0)).is_err(), "an invalid signature was accepted");
}

/// Any text that a caller gives as an address, a rule, a price list, a file or a link is refused, or read as something
/// that is not much longer. Under libFuzzer, `tests/fuzz/run` also reports texts that are slow.
pub fn parsers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for channel in Channel::ALL.iter().copied() {
        for region in [None, Some("KE")] {
            let Ok(address) = address::normalise(channel, text, region) else { continue };
            assert!(address.len() <= text.len() + 4, "{text} {address}");
            assert_eq!(address::normalise(channel, &address, None).as_ref(), Ok(&address));
        }
    }
    let _ = (address::country_of(text), PriceList::parse(text), parse_keyword(Channel::Sms, text), check_line(text));
    assert!(last_segment(text).is_none_or(|name| name.len() <= text.len()));
    assert!(!public_url::check(text).is_ok_and(|url| 9 * text.len() < url.as_str().len()));
    for (when, time) in [(When::Cron(text.to_owned()), None), (When::Rrule(text.to_owned()), Some("09:00".to_owned()))]
    {
        for time_zone in ["UTC", text] {
            let input = RecurrenceInput {
                when: when.clone(),
                time: time.clone(),
                time_zone: time_zone.to_owned(),
                start: "2026-12-01".to_owned(),
                end: None,
                exceptions: vec![text.to_owned()],
                additions: Vec::new(),
                clamp_to_month_end: false,
            };
            for exceptions in [Vec::new(), input.exceptions.clone()] {
                if let Ok(recurrence) = Recurrence::parse(RecurrenceInput { exceptions, ..input.clone() }) {
                    assert!(recurrence.preview(Timestamp(T0), 20).len() <= 20);
                }
            }
        }
    }
}

/// A callback to any provider either is rejected, or yields no more than its body says. The first line names the
/// provider, the second is the query, and the rest is the body. A callback to an unknown name goes to all.
pub fn callbacks(bytes: &[u8]) {
    static PROVIDERS: LazyLock<Vec<(&str, Arc<dyn Provider>)>> = LazyLock::new(|| {
        let connect = |(name, channel, _): (&'static str, Channel, _)| {
            let settings = example(name, channel, &[]);
            let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
            (name, provider(name, channel, &settings).expect("a provider"))
        };
        simulator::examples("").into_iter().map(connect).collect()
    });
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (name, query, body) = (part(), String::from_utf8_lossy(part()), part());
    // Its confirmation is a request to Amazon.
    if body.windows(24).any(|text| text == b"SubscriptionConfirmation") {
        return;
    }
    let url = format!("https://x/webhooks/p/c/s?{query}");
    let is_known = PROVIDERS.iter().any(|(known, _)| known.as_bytes() == name);
    for (_, provider) in PROVIDERS.iter().filter(|(known, _)| !is_known || known.as_bytes() == name) {
        for headers in
            [&[][..], &[("messagebird-signature-jwt", "e30.e30.e30"), ("authorization", "Bearer e30.e30.e30")]]
        {
            let request = callback(&url, headers, body);
            let _ = provider.verify_callback(&request, Timestamp(T0)).now_or_never();
            let Some(Ok(parsed)) = provider.parse_callback(&request, Timestamp(T0)).now_or_never() else { continue };
            let parsed = parsed.with_usable_ids();
            let parts = parsed.delivery_reports.len() + parsed.inbound.len() + parsed.consent_changes.len();
            assert!(parts <= 2 + body.len(), "{parts} parts of {} bytes", body.len());
            for ProviderReport { message, report } in &parsed.delivery_reports {
                if let MessageRef::ProviderMessageId(id) | MessageRef::LatestToAddress(id) = message {
                    assert!((1..=MAX_ID).contains(&id.len()));
                }
                assert!(report.code.as_ref().is_none_or(|code| code.chars().count() <= 40));
                assert!(report.event_id.as_ref().is_none_or(|id| id.len() <= 100));
            }
            // Text is at most decoded: an invalid byte becomes a replacement character of three.
            let written: usize =
                parsed.inbound.iter().filter_map(|message| message.text.as_ref()).map(String::len).sum();
            assert!(written <= 3 * (body.len() + query.len()));
        }
    }
}

fn check_callback(provider: &dyn Provider, request: &CallbackRequest) {
    let Ok(parsed) = parsed_callback(provider, request, Timestamp(T0)) else { return };
    for report in parsed.delivery_reports {
        // Which message it is about is said by an id: ours, which both providers echo, or at least theirs.
        match report.message {
            MessageRef::Attempt { attempt, .. } => assert!(!attempt.is_empty()),
            MessageRef::Communication { .. } => {}
            MessageRef::ProviderMessageId(id) => assert!(!id.is_empty()),
            MessageRef::LatestToAddress(_) => panic!("a report that names no message"),
        }
        assert!(report.report.code.is_none_or(|code| code.chars().count() <= 40));
    }
}

/// GCRA: at no time are more calls granted than the burst and the rate allow, and only returned tokens can be granted
/// again. An open breaker grants at most one call.
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
                let was_open = gate.breaker.open.is_some();
                let priority = usize::from(kind / 4 % 4);
                let mut wanted = [0; 4];
                wanted[priority] = amount;
                match gate.reserve(wanted, Timestamp(now)) {
                    Grant::Granted { mut calls, is_probe } => {
                        let GrantedCalls { granted, retry_slots } = std::mem::take(&mut calls[priority]);
                        assert_eq!(granted as usize + retry_slots.len(), amount as usize);
                        assert!(retry_slots.iter().all(|slot| now <= slot.0 && slot.0 <= now + 3_700_000));
                        // Retry slots start over once they are an hour ahead.
                        assert!(retry_slots.windows(2).filter(|pair| pair[1] < pair[0]).count() <= 1);
                        assert!(!was_open || granted <= 1);
                        assert!(was_open || !is_probe);
                        grants.extend(std::iter::repeat_n(now, granted as usize));
                    }
                    Grant::Blocked(until) => assert!(was_open && now < until.0),
                }
            }
            2 => {
                let unused = amount.min(grants.len() as u32) % 8;
                // Only the latest grants can still be unused.
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

/// Delivery reports give the same status in any order, late or repeated.
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
    let mut rotated = reports.clone();
    if !rotated.is_empty() {
        rotated.rotate_left(usize::from(*shuffle) % reports.len());
    }
    let reversed: Vec<DeliveryReport> = reports.iter().rev().cloned().collect();
    let twice: Vec<DeliveryReport> = reports.iter().chain(&reversed).cloned().collect();
    for ending in 0..4 {
        let expected = status_after(&reports, ending, 1);
        for (other, chunk) in [(&rotated, 1), (&reversed, 3), (&twice, 2), (&reports, usize::MAX)] {
            assert_eq!(status_after(other, ending, chunk), expected, "{reports:?}");
        }
    }
}

/// The public status and the evidence after an attempt that ended in one of four ways, and these reports in chunks.
/// `Accepted` is left out of the evidence, because our own record may already contain it.
fn status_after(reports: &[DeliveryReport], ending: u8, chunk: usize) -> (&'static str, Vec<ReportedStatus>) {
    let request = crate::harness::request(Timestamp(T0));
    let lease_until = Timestamp(T0 + 35_000);
    let (config, provider) = ("c".to_owned(), "p".to_owned());
    let begun = [
        CommunicationEvent::CommunicationRequested(Box::new(request)),
        CommunicationEvent::DeliveryAttemptStarted {
            attempt: 1,
            config,
            provider,
            idempotency_key: None,
            lease_until,
            about: Vec::new(),
        },
    ];
    let end = match ending {
        0 => None,
        1 => Some(CommunicationEvent::DeliveryAttemptAccepted {
            attempt: 1,
            provider_message_id: "m".to_owned(),
            segments: None,
            cost_micros: None,
            currency: None,
            cost_is_estimate: false,
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
    for chunk in reports.chunks(chunk.min(reports.len().max(1))) {
        let events = decide(&state, Command::Report(chunk.to_vec())).expect("the attempt exists");
        state = events.iter().fold(state, evolve);
    }
    let communication = state.requested().expect("requested");
    let facts = communication.evidence.keys().copied().filter(|fact| *fact != ReportedStatus::Accepted);
    (status(communication).as_str(), facts.collect())
}
