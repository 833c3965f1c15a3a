//! The row of a communication, its counters and indexes, and which rows a filter lists.

use events::{
    CommunicationRequest, DeadLetterReason, EntityRef, EventMetadata, Priority, Recipient, RefusalClass, TenantId,
};

use super::*;
use crate::communication;

const T0: i64 = 1_800_000_000_000;

fn id() -> CommunicationId {
    CommunicationId::generate(Timestamp(T0), 7)
}

fn request() -> CommunicationRequest {
    CommunicationRequest {
        channel: Channel::Sms,
        priority: Priority::High,
        recipient: Recipient { kind: RecipientType::Customer, id: Some("7".to_owned()) },
        entity: Some(EntityRef { kind: "invoice".to_owned(), id: Some("INV-1".to_owned()) }),
        expires_at: Timestamp(T0 + 1_000_000),
        ..communication::tests::request()
    }
}

fn started(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptStarted {
        attempt,
        config: "first".into(),
        provider: "first".into(),
        idempotency_key: None,
        lease_until: Timestamp(T0 + 35_000),
        about: Vec::new(),
    }
}

fn refused(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptRefused {
        attempt,
        class: RefusalClass::Transient,
        code: "503".into(),
        counted: true,
        retry_at: None,
        failover: false,
    }
}

fn accepted(attempt: u16) -> CommunicationEvent {
    CommunicationEvent::DeliveryAttemptAccepted {
        attempt,
        provider_message_id: "SM1".into(),
        segments: Some(2),
        cost_micros: None,
        currency: None,
        cost_is_estimate: false,
        latency_ms: 12,
    }
}

fn reported(fact: ReportedStatus, ms: i64) -> CommunicationEvent {
    CommunicationEvent::DeliveryReported {
        attempt: None,
        fact,
        provider_event_id: None,
        provider_at: Timestamp(T0 + ms),
        code: None,
    }
}

/// The records of a stream: events and the milliseconds at which they were written.
fn records(request: CommunicationRequest, events: Vec<(i64, CommunicationEvent)>) -> Vec<RecordedEvent> {
    let first = (0, CommunicationEvent::CommunicationRequested(Box::new(request)));
    let record = |(ms, event): (i64, CommunicationEvent)| RecordedEvent {
        version: 1,
        meta: EventMetadata {
            at: Timestamp(T0 + ms),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "test".to_owned(),
            traceparent: None,
        },
        event,
    };
    std::iter::once(first).chain(events).map(record).collect()
}

fn row(events: Vec<(i64, CommunicationEvent)>) -> CommunicationRow {
    project(id(), &records(request(), events)).expect("a row")
}

fn delivered() -> CommunicationRow {
    row(vec![
        (10, started(1)),
        (20, refused(1)),
        (30, started(2)),
        (50, accepted(2)),
        (60, reported(ReportedStatus::Delivered, 55)),
        (70, reported(ReportedStatus::Clicked, 65)),
    ])
}

fn dead() -> CommunicationRow {
    let reason = DeadLetterReason::RetriesExhausted;
    let dead = CommunicationEvent::CommunicationDeadLettered { reason, maybe_sent: false };
    row(vec![(10, started(1)), (20, refused(1)), (30, dead)])
}

#[test]
fn a_stream_is_projected_with_its_mode_under_a_key_that_sorts_by_time() {
    let tenant: TenantId = "acme".parse().expect("a tenant");
    let stream = CommunicationKey { tenant, id: id() }.stream_id();
    let (mode, row) = State::project(&stream, &records(request(), vec![(10, started(1))])).expect("a row");
    assert_eq!((mode, row.position(), row.created_at()), (Mode::Live, 2, Timestamp(T0)));
    assert_eq!((row.updated_at(), row.key()), (Timestamp(T0 + 10), format!("{}#{}", time_prefix(Timestamp(T0)), id())));
}

#[test]
fn a_row_is_found_by_its_recipient_its_entity_and_as_a_dead_letter() {
    let indexes = |row: &CommunicationRow| row.indexes().into_keys().collect::<Vec<_>>();
    let plain = row(vec![]);
    assert!(plain.indexes()[&RowIndex::Recipient].contains('7'));
    assert_eq!(plain.indexes()[&RowIndex::Entity], "invoice#INV-1");
    assert!(!indexes(&plain).contains(&RowIndex::DeadLetters));
    assert!(indexes(&dead()).contains(&RowIndex::DeadLetters));
    let anonymous = CommunicationRequest {
        recipient: Recipient { kind: RecipientType::Customer, id: None },
        entity: None,
        ..request()
    };
    let anonymous = project(id(), &records(anonymous, vec![])).expect("a row");
    assert!(!indexes(&anonymous).contains(&RowIndex::Recipient) && !indexes(&anonymous).contains(&RowIndex::Entity));
}

#[test]
fn a_row_counts_once_in_each_counter_that_it_belongs_to() {
    let row = delivered();
    let counters = row.counters();
    for (name, amount) in [
        ("total", 1),
        ("channel.sms", 1),
        ("type.invoice", 1),
        ("provider.first", 1),
        ("sent", 1),
        ("accept_to_sent_ms", 50),
        ("accept_to_sent.100", 1),
        ("sent_to_delivered", 1),
        ("sent_to_delivered_ms", 5),
        ("sent_to_delivered.100", 1),
        ("delivered", 1),
        ("clicked", 1),
        ("retried", 1),
        ("retries", 1),
    ] {
        assert_eq!(counters.get(name), Some(&amount), "{name} in {counters:?}");
    }
    assert_eq!(counters.get(&format!("status.{}", row.status)), Some(&1));
    let first_attempt = self::row(vec![(10, started(1)), (20, accepted(1))]).counters();
    for name in ["delivered", "opened", "clicked", "complained", "unsubscribed", "retried", "retries"] {
        assert_eq!(first_attempt.get(name), None, "{name} in {first_attempt:?}");
    }
}

#[test]
fn a_filter_lists_the_rows_that_match_all_of_it() {
    let (row, dead) = (delivered(), dead());
    let text = |text: &str| Some(text.to_owned());
    let filters: [(&str, ListFilter, ListFilter); 9] = [
        (
            "channel",
            ListFilter { channel: Some(Channel::Sms), ..ListFilter::default() },
            ListFilter { channel: Some(Channel::Email), ..ListFilter::default() },
        ),
        (
            "kind",
            ListFilter { kind: Some(MessageType::Invoice), ..ListFilter::default() },
            ListFilter { kind: Some(MessageType::LowStockAlert), ..ListFilter::default() },
        ),
        (
            "recipient",
            ListFilter { recipient_id: text("7"), ..ListFilter::default() },
            ListFilter { recipient_id: text("8"), ..ListFilter::default() },
        ),
        (
            "entity type",
            ListFilter { entity_type: text("invoice"), ..ListFilter::default() },
            ListFilter { entity_type: text("sale"), ..ListFilter::default() },
        ),
        (
            "entity",
            ListFilter { entity_id: text("INV-1"), ..ListFilter::default() },
            ListFilter { entity_id: text("INV-2"), ..ListFilter::default() },
        ),
        (
            "provider",
            ListFilter { provider: text("first"), ..ListFilter::default() },
            ListFilter { provider: text("another"), ..ListFilter::default() },
        ),
        (
            "from",
            ListFilter { from: Some(Timestamp(T0)), ..ListFilter::default() },
            ListFilter { from: Some(Timestamp(T0 + 1)), ..ListFilter::default() },
        ),
        (
            "to",
            ListFilter { to: Some(Timestamp(T0 + 1)), ..ListFilter::default() },
            ListFilter { to: Some(Timestamp(T0)), ..ListFilter::default() },
        ),
        ("dead letters", ListFilter::default(), ListFilter { dead_letters_only: true, ..ListFilter::default() }),
    ];
    for (name, matching, other) in filters {
        assert!(matching.matches(&row), "{name}");
        assert!(!other.matches(&row), "{name}");
    }
    for wanted in ["retries_exhausted", "unavailable:503", "unavailable", "retries_exhausted (unavailable:503)"] {
        assert!(has_reason("retries_exhausted (unavailable:503)", wanted), "{wanted}");
    }
    for other in ["", "503", "unavail", "unavailable:500", "expired"] {
        assert!(!has_reason("retries_exhausted (unavailable:503)", other), "{other}");
    }
    let of_reason = |reason: &str| ListFilter { dead_letter_reason: text(reason), ..ListFilter::default() };
    assert!(ListFilter { dead_letters_only: true, ..of_reason("retries_exhausted") }.matches(&dead));
    assert!(!of_reason("expired").matches(&dead));
}

#[test]
fn a_filter_examines_the_narrowest_index() {
    let text = |text: &str| Some(text.to_owned());
    let entity = ListFilter { entity_type: text("invoice"), entity_id: text("INV-1"), ..ListFilter::default() };
    let recipient = ListFilter { recipient_id: text("7"), ..entity.clone() };
    let dead_letters = ListFilter { dead_letters_only: true, ..recipient.clone() };
    let by_provider_message = ListFilter { provider_message_id: text("SM1"), ..recipient.clone() };
    let customer = ListFilter { recipient_type: Some(RecipientType::Customer), ..recipient.clone() };
    let indexes = |filter: &ListFilter| {
        let indexes = filter.ranges().into_iter().map(|range| range.index);
        indexes
            .map(|index| index.map_or("all".to_owned(), |(index, value)| format!("{index:?} {value}")))
            .collect::<Vec<_>>()
    };
    assert_eq!(indexes(&ListFilter::default()), ["all"]);
    assert_eq!(indexes(&entity), ["Entity invoice#INV-1"]);
    assert_eq!(indexes(&customer), ["Recipient customer#7"]);
    assert_eq!(indexes(&recipient).len(), RecipientType::ALL.len(), "one range for each type of recipient");
    assert_eq!(indexes(&by_provider_message), ["ProviderMessage SM1"]);
    assert_eq!(indexes(&dead_letters), ["DeadLetters dead"]);
}

#[test]
fn a_row_shows_why_the_message_is_where_it_is() {
    let dead = dead();
    assert_eq!(dead.dead_letter_outcome.as_deref(), Some("retries_exhausted"));
    assert_eq!(dead.reason.as_deref(), Some("retries_exhausted (transient:503)"));
    assert_eq!(dead.failed_at, Some(Timestamp(T0 + 30)));
    let delivered = delivered();
    assert_eq!((delivered.dead_letter_outcome, delivered.reason), (None, None));
    let bounced = CommunicationEvent::DeliveryReported {
        attempt: None,
        fact: ReportedStatus::Bounced,
        provider_event_id: None,
        provider_at: Timestamp(T0 + 60),
        code: Some("5.1.1".into()),
    };
    let bounced = row(vec![(10, started(1)), (20, accepted(1)), (70, bounced)]);
    assert_eq!(bounced.reason.as_deref(), Some("bounced:5.1.1"));
    let CommunicationEvent::DeliveryAttemptRefused { attempt, class, code, counted, failover, .. } = refused(1) else {
        unreachable!("a refusal");
    };
    let retry_at = Some(Timestamp(T0 + 60_000));
    let again = CommunicationEvent::DeliveryAttemptRefused { attempt, class, code, counted, retry_at, failover };
    let waiting = row(vec![(10, started(1)), (20, again)]);
    assert_eq!((waiting.next_retry_at, waiting.reason.as_deref()), (retry_at, Some("transient:503")));
    let due = Some(Timestamp(T0 + 1_000));
    let scheduled = project(id(), &records(CommunicationRequest { scheduled_at: due, ..request() }, vec![]));
    let scheduled = scheduled.expect("a row");
    assert_eq!((scheduled.lifecycle.as_str(), scheduled.scheduled_at), ("scheduled", due));
    assert_eq!(row(vec![]).lifecycle, "queued");
}

#[test]
fn reasons_are_counted_by_class_and_numeric_code() {
    for (reason, counted) in [
        ("permanent:21211", "permanent:21211"),
        ("bounced:5.1.1", "bounced"),
        ("permanent:order-4711-of-ada", "permanent"),
        ("permanent:12345678", "permanent"),
        ("retries_exhausted (transient:503)", "transient:503"),
        ("expired", "expired"),
        ("", ""),
    ] {
        assert_eq!(counted_reason(reason), counted);
    }
}

#[test]
fn costs_and_reasons_are_counted_by_channel_and_provider() {
    let costing = |attempt: u16, micros: i64, in_currency: &str, is_estimate: bool| {
        let mut event = accepted(attempt);
        if let CommunicationEvent::DeliveryAttemptAccepted { cost_micros, currency, cost_is_estimate, .. } = &mut event
        {
            (*cost_micros, *currency, *cost_is_estimate) = (Some(micros), Some(in_currency.to_owned()), is_estimate);
        }
        event
    };
    let twice = row(vec![(10, costing(1, 100, "KES", true)), (20, costing(2, 50, "KES", false))]);
    assert_eq!((twice.cost_micros, twice.currency.as_deref(), twice.cost_is_estimate), (Some(150), Some("KES"), true));
    let counters = row(vec![(5, started(1)), (10, costing(1, 100, "KES", false))]).counters();
    let amount = |name: &str| counters.get(name).copied();
    assert_eq!(["cost.total.KES", "cost.channel.sms.KES", "cost.provider.first.KES"].map(amount), [Some(100); 3]);
    assert_eq!(amount("cost.estimated.KES"), None);
    let counters = dead().counters();
    let amount = |name: &str| counters.get(name).copied();
    let names =
        ["reason.total.transient:503", "reason.channel.sms.transient:503", "reason.provider.first.transient:503"];
    assert_eq!(names.map(amount), [Some(1); 3]);
    assert!(delivered().counters().keys().all(|name| !name.starts_with("reason.")));
}
