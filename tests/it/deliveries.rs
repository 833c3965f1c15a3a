//! The functions `deliver` and `schedule`: hints that are lost, duplicated or late, and attempts in doubt.

use std::sync::Arc;

use dead_letter::DeadLetterHandler;
use domain::communication::AttemptOutcome;
use domain::communication::{Command, DeliveryReport, Lifecycle};
use domain::policy;
use domain::ports::{AddressKey, CommunicationKey, EventStore};
use events::{
    CancelReason, Channel, DeadLetterReason, InDoubtCause, InDoubtPolicy, Mode, RefusalClass, ReportedStatus, Timestamp,
};
use tests::harness::{Harness, INVOCATION_MS, T0, accepted, hint_body, refused, tenant};

async fn lifecycle(harness: &Harness, key: &CommunicationKey) -> Lifecycle {
    harness.lifecycle(key).await
}

fn report(attempt: u16, fact: ReportedStatus) -> Command {
    let (event_id, code) = (None, None);
    Command::Report(vec![DeliveryReport { attempt: Some(attempt), fact, event_id, at: Timestamp(T0), code }])
}

#[tokio::test]
async fn a_hint_sends_once_and_ends_the_timer() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    assert_eq!(harness.wake(&key).await, Some(T0 + policy::REPAIR_DELAY_MS));
    harness.hint(&key).await;
    assert_eq!(
        harness.event_names(&key).await,
        ["CommunicationRequested", "DeliveryAttemptStarted", "DeliveryAttemptAccepted"]
    );
    assert_eq!((harness.sent_messages(), harness.wake(&key).await), (1, None));
}

#[tokio::test]
async fn the_sweep_repairs_a_lost_hint() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.host.advance(policy::REPAIR_DELAY_MS);
    assert_eq!(harness.sweep_and_deliver().await, 1);
    assert_eq!((lifecycle(&harness, &key).await, harness.sent_messages()), (Lifecycle::Sent, 1));
}

#[tokio::test]
async fn repairs_slow_down_while_they_have_no_effect() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let wake = harness.wake(&key).await.expect("a timer");
        harness.host.advance(wake - harness.deliver.host.now().0);
        harness.schedule.sweep().await.expect("a sweep");
        waits.push((harness.wake(&key).await.expect("a timer") - wake) / 60_000);
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
}

#[tokio::test]
async fn a_hint_for_a_later_time_is_sent_once() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.scheduled_at = Some(Timestamp(T0 + 300_000))).await;
    for tick in 0..5 {
        harness.schedule.sweep().await.expect("a sweep");
        assert_eq!(harness.queue.take().len(), usize::from(tick == 0));
        assert_eq!(harness.wake(&key).await, Some(T0 + 300_000 + policy::REPAIR_DELAY_MS));
        harness.host.advance(60_000);
    }
    harness.host.advance(policy::REPAIR_DELAY_MS);
    assert_eq!(harness.sweep_and_deliver().await, 1, "the hint was lost, so it is repaired");
    assert_eq!(harness.sent_messages(), 1);
}

#[tokio::test]
async fn a_sweep_that_cannot_send_leaves_the_timers_due() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.host.advance(policy::REPAIR_DELAY_MS);
    *harness.queue.is_down.lock().expect("a switch") = true;
    harness.schedule.sweep().await.expect_err("the queue is down");
    *harness.queue.is_down.lock().expect("a switch") = false;
    assert_eq!(harness.sweep_and_deliver().await, 1);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::Sent);
}

#[tokio::test]
async fn duplicate_and_concurrent_hints_send_once() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    futures_util::future::join_all((0..8).map(|_| harness.hint(&key))).await;
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 1);
    assert_eq!(harness.event_names(&key).await.len(), 3);
}

#[tokio::test]
async fn a_scheduled_messages_hint_is_delayed_to_its_second_and_never_sends_early() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.scheduled_at = Some(Timestamp(T0 + 90_500))).await;
    harness.schedule.sweep().await.expect("a sweep");
    let hints = harness.queue.take();
    assert_eq!(hints.iter().map(|(hint, delay)| (&hint.stream, *delay)).collect::<Vec<_>>(), [(&key.stream_id(), 91)]);
    harness.host.advance(90_499);
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 0);
    assert_eq!(harness.queue.take().len(), 1, "slightly early, so the hint is sent again");
    harness.host.advance(1);
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 1);
}

#[tokio::test]
async fn a_crash_after_the_claim_is_a_doubt_and_never_a_silent_second_send() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.in_doubt = InDoubtPolicy::Hold).await;
    let now = harness.deliver.host.now();
    let lease_until = now + INVOCATION_MS + policy::LEASE_MARGIN_MS;
    let claim =
        Command::BeginAttempt { now, lease_until, config: "mock".into(), provider: "mock".into(), about: Vec::new() };
    harness.execute(&key, claim).await;
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 0, "the lease holds");
    harness.host.advance(INVOCATION_MS + policy::LEASE_MARGIN_MS);
    harness.hint(&key).await;
    assert!(matches!(lifecycle(&harness, &key).await, Lifecycle::InDoubt { attempt: 1, .. }));
    harness.host.advance(policy::EVIDENCE_WAIT_MS);
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 0);
    let loaded = harness.load(&key).await;
    let communication = loaded.state.requested().expect("requested");
    assert_eq!((communication.lifecycle.as_str(), communication.maybe_sent), ("failed", true));
}

#[tokio::test]
async fn without_evidence_the_resend_policy_sends_again_and_sets_maybe_sent() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers([AttemptOutcome::InDoubt(InDoubtCause::Timeout)]);
    harness.hint(&key).await;
    assert_eq!(harness.wake(&key).await, Some(T0 + policy::EVIDENCE_WAIT_MS));
    harness.host.advance(policy::EVIDENCE_WAIT_MS);
    assert_eq!(harness.sweep_and_deliver().await, 1);
    assert_eq!(harness.sent_messages(), 2);
    assert_eq!(
        harness.event_names(&key).await[1..],
        [
            "DeliveryAttemptStarted",
            "DeliveryAttemptInDoubt",
            "DeliveryAttemptResolved",
            "DeliveryAttemptStarted",
            "DeliveryAttemptAccepted"
        ]
    );
    let loaded = harness.load(&key).await;
    assert!(loaded.state.requested().expect("requested").maybe_sent);
}

#[tokio::test]
async fn evidence_resolves_the_doubt_without_a_second_send() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers([AttemptOutcome::InDoubt(InDoubtCause::ConnectionLost)]);
    harness.hint(&key).await;
    harness.execute(&key, report(1, ReportedStatus::Delivered)).await;
    harness.host.advance(policy::EVIDENCE_WAIT_MS);
    harness.sweep_and_deliver().await;
    harness.hint(&key).await;
    assert_eq!((harness.sent_messages(), harness.wake(&key).await), (1, None));
}

#[tokio::test]
async fn a_callback_that_overtakes_our_own_write_loses_nothing() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    // The provider calls back before it has answered the request.
    let hinted = async { harness.hint(&key).await };
    let called_back = async {
        while harness.sent_messages() == 0 {
            tokio::task::yield_now().await;
        }
        harness.execute(&key, report(1, ReportedStatus::Delivered)).await;
    };
    futures_util::future::join(hinted, called_back).await;
    let names = harness.event_names(&key).await;
    assert_eq!(names.iter().filter(|name| **name == "DeliveryReported").count(), 1);
    assert_eq!(names.iter().filter(|name| **name == "DeliveryAttemptAccepted").count(), 1);
    assert_eq!((lifecycle(&harness, &key).await, harness.wake(&key).await), (Lifecycle::Sent, None));
}

#[tokio::test]
async fn five_refusals_use_up_the_retries_and_end_in_a_dead_letter() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers((0..5).map(|_| refused(RefusalClass::Transient)));
    harness.hint(&key).await;
    let mut waits = Vec::new();
    while let Some(wake) = harness.wake(&key).await {
        let wait = wake - harness.deliver.host.now().0;
        waits.push(wait);
        harness.host.advance(wait);
        harness.sweep_and_deliver().await;
    }
    assert_eq!(harness.sent_messages(), 5);
    for (wait, step) in waits.iter().zip(policy::RETRY_DELAYS_MS) {
        assert!((step * 4 / 5..=step * 6 / 5).contains(wait), "{waits:?}");
    }
    assert_eq!(waits.len(), 4);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::DeadLettered(DeadLetterReason::RetriesExhausted));
}

#[tokio::test]
async fn throttling_delays_a_message_without_counting_an_attempt() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.max_attempts = 1).await;
    let slow =
        AttemptOutcome::Refused { class: RefusalClass::Throttled, code: "429".into(), retry_after_ms: Some(7_000) };
    harness.answers([slow.clone(), slow]);
    harness.hint(&key).await;
    for _ in 0..2 {
        harness.host.advance(7_000);
        harness.hint(&key).await;
    }
    assert_eq!((lifecycle(&harness, &key).await, harness.sent_messages()), (Lifecycle::Sent, 3));
}

#[tokio::test]
async fn refused_credentials_hold_the_message_and_raise_an_alert() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers([refused(RefusalClass::Auth)]);
    harness.hint(&key).await;
    assert_eq!(harness.wake(&key).await, Some(T0 + policy::ACCOUNT_HOLD_MS));
    assert_eq!(*harness.alerts.0.lock().expect("alerts"), ["mock rejects our credentials"]);
}

#[tokio::test]
async fn a_cancelled_message_is_not_sent() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.execute(&key, Command::Cancel { by: "me".into(), reason: CancelReason::Requested }).await;
    harness.hint(&key).await;
    harness.host.advance(policy::REPAIR_DELAY_MS);
    assert_eq!((harness.sweep_and_deliver().await, harness.sent_messages()), (0, 0));
}

#[tokio::test]
async fn a_cancellation_during_a_refused_attempt_prevents_the_retry() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers([refused(RefusalClass::Transient)]);
    let cancelled = async {
        while harness.sent_messages() == 0 {
            tokio::task::yield_now().await;
        }
        harness.execute(&key, Command::Cancel { by: "me".into(), reason: CancelReason::Requested }).await;
    };
    futures_util::future::join(harness.hint(&key), cancelled).await;
    assert_eq!((lifecycle(&harness, &key).await, harness.wake(&key).await), (Lifecycle::Cancelled, None));
}

#[tokio::test]
async fn an_opt_out_between_acceptance_and_sending_is_respected() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let contact = AddressKey { tenant: tenant(), channel: Channel::Email, contact_hash: "hash-1".to_owned() };
    harness.store.suppress(&contact, "unsubscribed", Timestamp(T0)).await.expect("suppressed");
    harness.hint(&key).await;
    assert_eq!((lifecycle(&harness, &key).await.as_str(), harness.sent_messages()), ("suppressed", 0));
}

#[tokio::test]
async fn a_message_expires_at_its_expiry_time() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.expires_at = Timestamp(T0 + 3_000_000)).await;
    harness.host.advance(3_000_000);
    harness.sweep_and_deliver().await;
    assert_eq!(harness.sent_messages(), 0);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::DeadLettered(DeadLetterReason::Expired));
}

#[tokio::test]
async fn a_message_without_a_provider_fails_at_once() {
    let harness = Harness::new();
    let key = harness.accept(|request| request.mode = Mode::Test).await;
    harness.hint(&key).await;
    assert_eq!((lifecycle(&harness, &key).await.as_str(), harness.sent_messages()), ("failed", 0));
}

#[tokio::test]
async fn no_attempt_begins_with_too_little_time_left() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let deadline = harness.deliver.host.now() + policy::MIN_TIME_TO_CLAIM_MS - 1;
    harness.deliver.deliver(&key, deadline).await.expect("another invocation sends it");
    assert_eq!((harness.sent_messages(), harness.event_names(&key).await.len()), (0, 1));
    // A second later, and not only when the timer repairs a lost hint.
    let hints = harness.queue.take();
    assert_eq!(hints.iter().map(|(hint, delay)| (&hint.stream, *delay)).collect::<Vec<_>>(), [(&key.stream_id(), 1)]);
    assert_eq!(harness.wake(&key).await, Some(T0 + 1_000 + policy::REPAIR_DELAY_MS));
    harness.host.advance(1_000);
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 1);
}

#[tokio::test]
async fn one_bad_message_does_not_block_its_batch() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let message = |id: &str, body: String| application::hint::QueueMessage { id: id.to_owned(), body };
    let good = hint_body(&key);
    let unknown = good.replace(&key.id.to_string(), "com_00000000000000000000000000000000");
    let batch = vec![message("m1", "{not json".to_owned()), message("m2", good), message("m3", unknown)];
    let failed_ids = deliver::handle_batch(&harness.deliver, batch, harness.deliver.host.now() + INVOCATION_MS).await;
    assert_eq!(failed_ids, ["m1"]);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::Sent);
}

#[tokio::test]
async fn a_poison_message_becomes_an_event_and_an_alert() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let dead_letter =
        DeadLetterHandler { store: harness.store.clone(), alerts: harness.alerts.clone(), host: harness.host.clone() };
    let body = hint_body(&key);
    let messages = vec![
        application::hint::QueueMessage { id: "m1".into(), body: body.clone() },
        application::hint::QueueMessage { id: "m2".into(), body: "not ours".into() },
        application::hint::QueueMessage { id: "m3".into(), body },
    ];
    assert_eq!(dead_letter.handle_batch(messages).await, [] as [String; 0]);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::DeadLettered(DeadLetterReason::Poison));
    assert_eq!(
        harness.alerts.0.lock().expect("alerts").len(),
        2,
        "one for the dead letter and one for the unreadable message"
    );
    harness.hint(&key).await;
    assert_eq!(harness.sent_messages(), 0);
}

#[tokio::test]
async fn an_answer_after_the_leases_end_still_counts() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    harness.answers([accepted()]);
    let late = async {
        while harness.sent_messages() == 0 {
            tokio::task::yield_now().await;
        }
        harness.host.advance(INVOCATION_MS + policy::LEASE_MARGIN_MS);
        let now = harness.deliver.host.now();
        harness.execute(&key, Command::ApplyDeadlines { now }).await;
    };
    futures_util::future::join(harness.hint(&key), late).await;
    let names = harness.event_names(&key).await;
    assert_eq!(names[2..], ["DeliveryAttemptInDoubt", "DeliveryAttemptAccepted"]);
    assert_eq!(lifecycle(&harness, &key).await, Lifecycle::Sent);
}

#[tokio::test]
async fn a_stream_with_events_of_a_newer_version_is_not_processed() {
    let harness = Harness::new();
    let key = harness.accept(|_| ()).await;
    let newer = r#"{"type":"MoonLanded","version":1,"at":1,"command":"c","actor":"a","data":{}}"#;
    let append = domain::ports::AppendRequest {
        expected_version: 1,
        encoded_events: vec![newer.to_owned()],
        wake: Some(Timestamp(T0)),
        queue: domain::ports::QueueId::Delivery { channel: Channel::Email, is_high_priority: false },
        writer_id: "newer".to_owned(),
        listing: Default::default(),
        roll_over: None,
        unmoved: Vec::new(),
    };
    harness.store.append(&key.stream_id(), append).await.expect("appended");
    let deadline = harness.deliver.host.now() + INVOCATION_MS;
    harness.deliver.deliver(&key, deadline).await.expect_err("unreadable events are an error");
    assert_eq!(harness.sent_messages(), 0);
    let views: Arc<dyn domain::ports::ViewStore> = harness.store.clone();
    let project = project::ProjectHandler { store: harness.store.clone(), views, host: harness.host.clone() };
    let id = key.stream_id();
    let stream = EventStore::read(&*harness.store, &id).await.expect("a stream");
    project.project(vec![application::StreamImage { id, stream }]).await.expect("skipped");
}
