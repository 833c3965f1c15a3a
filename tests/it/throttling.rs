//! The function `deliver` at its limits: rate limits, circuit breakers, failover, quiet hours and provider queries.

use std::sync::Arc;

use application::{CommandContext, CommandExecutor};
use async_trait::async_trait;
use domain::aggregate::AggregateId;
use domain::circuit_breaker::{BreakerCause, OPEN_MS};
use domain::communication::{AttemptOutcome, Lifecycle, When};
use domain::policy;
use domain::ports::{Addition, CommunicationKey, CoordinationStore, QueryResult, StoreError, VersionedRecord};
use domain::provider_configs::{self, ProviderConfigState, Routing, RoutingCommand};
use domain::throttle::ProviderThrottle;
use events::RateLimit;
use events::{
    Channel, CommunicationEvent, CommunicationId, FailReason, InDoubtCause, InDoubtPolicy, Priority, QuietHours,
    RefusalClass, ResolvedBy, Timestamp,
};
use tests::harness::{Harness, ScriptedProvider, T0, accepted, refused, tenant};

const SLOW: RateLimit = RateLimit { burst: 3, per_second: 1 };

async fn accept_many(harness: &Harness, count: usize) -> Vec<CommunicationKey> {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(harness.accept(|_| ()).await);
    }
    keys
}

fn call_count(provider: &ScriptedProvider) -> usize {
    provider.sent_messages.lock().expect("sent messages").len()
}

async fn read_throttle(harness: &Harness, name: &str) -> (ProviderThrottle, u64) {
    let record =
        CoordinationStore::read_versioned(&*harness.store, &[name.to_owned()]).await.expect("an answer").remove(0);
    let version = record.as_ref().map_or(0, |record| record.version);
    (application::throttle_store::read(record.as_ref(), SLOW), version)
}

#[tokio::test]
async fn a_batch_takes_its_tokens_at_once_and_the_other_messages_get_retry_slots() {
    let mut harness = Harness::new();
    let provider = ScriptedProvider::at("mock", SLOW);
    harness.deliver.providers = vec![provider.clone()];
    let keys = accept_many(&harness, 6).await;
    assert_eq!(harness.batch(&keys).await, [] as [String; 0]);
    assert_eq!(call_count(&provider), 3);
    assert_eq!(read_throttle(&harness, "gate#mock").await.1, 1, "one write for the whole batch");
    let mut delays: Vec<u32> = harness.queue.take().into_iter().map(|(_, delay)| delay).collect();
    delays.sort_unstable();
    assert_eq!(delays, [2, 3, 4], "a second apart, rounded up");
    for key in &keys[3..] {
        assert_eq!(harness.event_names(key).await, ["CommunicationRequested"], "waiting adds no event");
    }
    harness.host.advance(4_000);
    harness.batch(&keys).await;
    assert_eq!(call_count(&provider), 6);
}

/// Accepts messages and delivers the first hint of each by itself, as if each came alone.
async fn accept_each(harness: &Harness, priority: Priority, count: usize) -> Vec<CommunicationKey> {
    let mut keys = Vec::new();
    for _ in 0..count {
        let key = harness.accept(|request| request.priority = priority).await;
        harness.hint(&key).await;
        keys.push(key);
    }
    keys
}

/// Moves the clock second by second and delivers the hints that are due, until all are sent. Returns the messages in
/// the order sent.
async fn send_all(harness: &Harness, provider: &ScriptedProvider, count: usize) -> Vec<CommunicationId> {
    let mut waiting: Vec<(i64, CommunicationKey)> = Vec::new();
    for second in 0..600 {
        let hints = harness.queue.take().into_iter();
        waiting.extend(hints.filter_map(|(hint, delay)| {
            Some((second + i64::from(delay), CommunicationKey::from_stream(&hint.stream)?))
        }));
        if waiting.is_empty() && count <= call_count(provider) {
            break;
        }
        harness.host.advance(1_000);
        let due = waiting.extract_if(.., |(at, _)| *at <= second + 1).map(|(_, key)| key).collect::<Vec<_>>();
        for batch in due.chunks(10) {
            harness.batch(batch).await;
        }
        if second % 60 == 0 {
            harness.schedule.sweep().await.expect("a sweep");
        }
    }
    let sent = provider.sent_messages.lock().expect("sent messages");
    sent.iter().map(|message| message.attempt.communication).collect()
}

#[tokio::test]
async fn urgent_messages_are_sent_before_high_normal_and_low_ones_that_wait() {
    let mut harness = Harness::new();
    let provider = ScriptedProvider::at("mock", RateLimit { burst: 1, per_second: 1 });
    harness.deliver.providers = vec![provider.clone()];
    let low = accept_each(&harness, Priority::Low, 6).await;
    let normal = accept_each(&harness, Priority::Normal, 2).await;
    let high = accept_each(&harness, Priority::High, 2).await;
    let urgent = accept_each(&harness, Priority::Urgent, 1).await;
    let order = send_all(&harness, &provider, 11).await;
    assert_eq!(order.len(), 11);
    let last_of =
        |keys: &[CommunicationKey]| order.iter().rposition(|id| keys.iter().any(|key| key.id == *id)).expect("sent");
    assert_eq!(order[0], low[0].id, "it was alone");
    assert_eq!([last_of(&urgent), last_of(&high), last_of(&normal)], [1, 3, 5], "{order:?}");
}

#[tokio::test]
async fn an_urgent_message_overtakes_four_hundred_low_ones() {
    let mut harness = Harness::new();
    let provider = ScriptedProvider::at("mock", RateLimit { burst: 100, per_second: 10 });
    harness.deliver.providers = vec![provider.clone()];
    let low = accept_many(&harness, 400).await;
    for batch in low.chunks(10) {
        harness.batch(batch).await;
    }
    let urgent = accept_each(&harness, Priority::Urgent, 1).await;
    let order = send_all(&harness, &provider, 401).await;
    let place = order.iter().position(|id| *id == urgent[0].id).expect("sent");
    assert!((100..=120).contains(&place), "{place} messages were sent before the urgent one");
    assert_eq!(order.len(), 401, "the others are sent as well");
}

#[tokio::test]
async fn a_batch_gives_its_only_call_to_its_most_urgent_message() {
    let mut harness = Harness::new();
    let provider = ScriptedProvider::at("mock", RateLimit { burst: 1, per_second: 1 });
    harness.deliver.providers = vec![provider.clone()];
    let mut keys = Vec::new();
    for priority in Priority::ALL {
        keys.push(harness.accept(|request| request.priority = *priority).await);
    }
    harness.batch(&keys).await;
    let sent = provider
        .sent_messages
        .lock()
        .expect("sent messages")
        .iter()
        .map(|m| m.attempt.communication)
        .collect::<Vec<_>>();
    assert_eq!(sent, [keys[3].id]);
    assert_eq!(read_throttle(&harness, "gate#mock").await.1, 1, "one write for the whole batch");
}

#[tokio::test]
async fn a_low_quota_alert_is_raised_before_messages_wait() {
    let mut harness = Harness::new();
    harness.deliver.providers = vec![ScriptedProvider::at("mock", RateLimit { burst: 10, per_second: 1 })];
    let keys = accept_many(&harness, 9).await;
    harness.batch(&keys[..8]).await;
    assert!(harness.alerts.0.lock().expect("alerts").is_empty());
    harness.hint(&keys[8]).await;
    assert_eq!(*harness.alerts.0.lock().expect("alerts"), ["mock is near its rate limit"]);
}

#[tokio::test]
async fn a_long_wait_is_left_to_the_timer_and_uses_no_attempt() {
    let mut harness = Harness::new();
    harness.deliver.providers = vec![ScriptedProvider::at("mock", SLOW)];
    let keys = accept_many(&harness, 90).await;
    for batch in keys.chunks(10) {
        harness.batch(batch).await;
    }
    assert!(harness.queue.take().iter().all(|(_, delay)| *delay <= 60));
    let last = harness.wake(&keys[89]).await.expect("a timer");
    assert!((T0 + 60_000..T0 + 100_000).contains(&last), "{}", last - T0);
    assert_eq!(harness.load(&keys[89]).await.state.requested().expect("requested").attempts, 0);
}

#[tokio::test]
async fn the_token_of_a_stale_hint_is_returned() {
    let mut harness = Harness::new();
    let provider = ScriptedProvider::at("mock", SLOW);
    harness.deliver.providers = vec![provider.clone()];
    let keys = accept_many(&harness, 2).await;
    harness.hint(&keys[0]).await;
    harness.batch(&[keys[1].clone(), keys[0].clone(), keys[0].clone()]).await;
    assert_eq!(read_throttle(&harness, "gate#mock").await.0.quota(harness.deliver.host.now()).remaining, 1);
}

/// A coordination store that is unavailable.
struct Unreachable;

#[async_trait]
impl CoordinationStore for Unreachable {
    async fn record_heartbeat(&self, _: &str, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn last_heartbeat(&self, _: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn read_versioned(&self, _: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError> {
        Err(StoreError::Unavailable("down".to_owned()))
    }

    async fn compare_and_swap(&self, _: &str, _: u64, _: &str) -> Result<Option<VersionedRecord>, StoreError> {
        Err(StoreError::Unavailable("down".to_owned()))
    }

    async fn add_within(&self, _: &str, _: i64, _: i64, _: Timestamp) -> Result<Addition, StoreError> {
        Err(StoreError::Unavailable("down".to_owned()))
    }

    async fn read_counters(&self, _: &[String]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::Unavailable("down".to_owned()))
    }
}

#[tokio::test]
async fn messages_are_deferred_while_the_rate_limiter_is_unavailable() {
    let mut harness = Harness::new();
    harness.deliver.limits = Arc::new(Unreachable);
    let keys = accept_many(&harness, 10).await;
    assert_eq!(harness.batch(&keys).await, [] as [String; 0]);
    assert_eq!(harness.sent_messages(), 0);
    let delays: Vec<u32> = harness.queue.take().into_iter().map(|(_, delay)| delay).collect();
    assert!(delays.len() == 10 && delays.iter().all(|delay| (5..=10).contains(delay)), "{delays:?}");
    harness.deliver.limits = harness.store.clone();
    harness.host.advance(10_000);
    harness.batch(&keys).await;
    assert_eq!(harness.sent_messages(), 10);
}

#[tokio::test]
async fn tenant_and_deployment_rate_limits_apply() {
    for (tenant_rate, global_rate) in [(Some(SLOW), None), (None, Some(SLOW))] {
        let mut harness = Harness::new();
        (harness.deliver.tenant_rate, harness.deliver.global_rate) = (tenant_rate, global_rate);
        let keys = accept_many(&harness, 5).await;
        harness.batch(&keys).await;
        assert_eq!(harness.sent_messages(), 3);
        let mut left = read_throttle(&harness, "gate#mock").await.0;
        left.limiter.rate = harness.deliver.providers[0].config().rate;
        let remaining = left.quota(harness.deliver.host.now()).remaining;
        assert_eq!(remaining, left.limiter.rate.burst - 3, "unused tokens of the provider are returned");
    }
}

fn unavailable() -> AttemptOutcome {
    refused(RefusalClass::Unavailable)
}

#[tokio::test]
async fn an_open_breaker_fails_over_to_the_second_provider() {
    let harness = Harness::with_failover();
    harness.answers(std::iter::repeat_n(unavailable(), 20));
    let keys = accept_many(&harness, 20).await;
    for batch in keys.chunks(10) {
        harness.batch(batch).await;
    }
    assert_eq!((call_count(&harness.provider), call_count(&harness.second)), (20, 0));
    assert_eq!(
        read_throttle(&harness, "gate#mock").await.0.breaker.open.map(|shut| shut.cause),
        Some(BreakerCause::Failing)
    );
    harness.host.advance(policy::FAILOVER_DELAY_MS);
    harness.batch(&keys).await;
    assert_eq!(
        (call_count(&harness.provider), call_count(&harness.second)),
        (20, 20),
        "retried at once by the second provider"
    );
    let fresh = harness.accept(|_| ()).await;
    harness.hint(&fresh).await;
    assert_eq!(
        (call_count(&harness.provider), call_count(&harness.second)),
        (20, 21),
        "the first provider is not called"
    );
    assert_eq!(harness.load(&fresh).await.state.requested().expect("requested").attempts, 1);

    harness.host.advance(OPEN_MS);
    let probes = accept_many(&harness, 3).await;
    harness.batch(&probes).await;
    assert_eq!(
        (call_count(&harness.provider), call_count(&harness.second)),
        (21, 23),
        "one probe, and the others by the second provider"
    );
    assert_eq!(read_throttle(&harness, "gate#mock").await.0.breaker.open, None);
}

#[tokio::test]
async fn without_a_second_provider_messages_wait_for_the_breaker() {
    let harness = Harness::new();
    harness.answers(std::iter::repeat_n(unavailable(), 20));
    let keys = accept_many(&harness, 20).await;
    for batch in keys.chunks(10) {
        harness.batch(batch).await;
    }
    let held = harness.accept(|_| ()).await;
    harness.hint(&held).await;
    assert_eq!((harness.event_names(&held).await.len(), harness.sent_messages()), (1, 20), "waiting uses no attempt");
    harness.host.advance(OPEN_MS + 5_000);
    harness.hint(&held).await;
    assert_eq!((harness.lifecycle(&held).await, harness.sent_messages()), (Lifecycle::Sent, 21));
}

#[tokio::test]
async fn an_attempt_in_doubt_never_fails_over() {
    let harness = Harness::with_failover();
    let key = harness.accept(|_| ()).await;
    harness.answers([AttemptOutcome::InDoubt(InDoubtCause::Timeout)]);
    harness.hint(&key).await;
    for _ in 0..3 {
        harness.host.advance(policy::EVIDENCE_WAIT_MS / 4);
        harness.hint(&key).await;
    }
    assert_eq!((call_count(&harness.provider), call_count(&harness.second)), (1, 0));
}

#[tokio::test]
async fn an_empty_account_disables_the_provider_raises_one_alert_and_fails_over() {
    let harness = Harness::with_failover();
    harness.answers(std::iter::repeat_n(refused(RefusalClass::Balance), 3));
    let keys = accept_many(&harness, 3).await;
    harness.batch(&keys).await;
    harness.host.advance(policy::FAILOVER_DELAY_MS);
    harness.batch(&keys).await;
    let fresh = harness.accept(|_| ()).await;
    harness.hint(&fresh).await;
    assert_eq!((call_count(&harness.provider), call_count(&harness.second)), (3, 4));
    assert_eq!(*harness.alerts.0.lock().expect("alerts"), ["mock reports that the account is empty"]);
    let state = harness.load(&keys[0]).await.state;
    let state = state.requested().expect("requested");
    assert_eq!((state.counted_attempts, state.attempts, &state.lifecycle), (0, 2, &Lifecycle::Sent));
}

#[tokio::test]
async fn a_message_that_every_provider_refuses_waits_for_its_retry() {
    let harness = Harness::with_failover();
    let key = harness.accept(|_| ()).await;
    harness.answers([unavailable()]);
    harness.second.answers.lock().expect("answers").push_back(unavailable());
    harness.hint(&key).await;
    harness.host.advance(policy::FAILOVER_DELAY_MS);
    harness.hint(&key).await;
    let Lifecycle::RetryWait { until: When::At(until) } = harness.lifecycle(&key).await else {
        panic!("it must wait for a retry")
    };
    assert!(until.0 - T0 > 200_000, "the delay after two counted attempts, not another failover at once");
}

#[tokio::test]
async fn a_tenants_routing_decides_which_provider_is_called() {
    let harness = Harness::with_failover();
    let origin = CommandContext::function("ops");
    let executor = CommandExecutor { store: &*harness.store, host: &*harness.host, origin: &origin };
    let set_enabled = async |config: &str, is_enabled| {
        let stream = AggregateId::<ProviderConfigState>::new(&tenant(), config);
        let command = provider_configs::Command::SetEnabled { config: config.to_owned(), is_enabled };
        executor.execute(&stream, command).await.expect("decided");
    };
    let [first, second] = ["mock", "mock-second"].map(str::to_owned);
    let stream = AggregateId::<Routing>::new(&tenant(), Channel::Email.as_str());
    let command = RoutingCommand::UseFirst { channel: Channel::Email, config: second.clone() };
    executor.execute(&stream, command).await.expect("decided");
    harness.hint(&harness.accept(|_| ()).await).await;
    assert_eq!((call_count(&harness.provider), call_count(&harness.second)), (0, 1));

    set_enabled(&first, false).await;
    set_enabled(&second, false).await;
    harness.host.advance(15_000);
    let key = harness.accept(|_| ()).await;
    harness.hint(&key).await;
    assert_eq!(
        (harness.lifecycle(&key).await, harness.event_names(&key).await.len()),
        (Lifecycle::Pending, 1),
        "without an enabled provider the message is held"
    );
    set_enabled(&first, true).await;
    harness.host.advance(15_000);
    harness.hint(&key).await;
    assert_eq!((call_count(&harness.provider), call_count(&harness.second)), (1, 1));
}

#[tokio::test]
async fn a_429_pauses_all_messages_of_the_provider() {
    let harness = Harness::new();
    let keys = accept_many(&harness, 2).await;
    let slow =
        AttemptOutcome::Refused { class: RefusalClass::Throttled, code: "429".into(), retry_after_ms: Some(9_000) };
    harness.answers([slow]);
    harness.hint(&keys[0]).await;
    harness.hint(&keys[1]).await;
    assert_eq!((harness.sent_messages(), harness.event_names(&keys[1]).await.len()), (1, 1));
    harness.host.advance(9_100);
    harness.batch(&keys).await;
    assert_eq!(harness.sent_messages(), 3);
}

#[tokio::test]
async fn quiet_hours_hold_a_message_and_release_it() {
    // T0 is 2027-01-15 08:00 UTC, which is 09:00 in Lagos.
    let quiet = QuietHours { start: "21:00".into(), end: "09:30".into(), time_zone: "Africa/Lagos".into() };
    let harness = Harness::new();
    let key = harness.accept(|request| request.quiet_hours = Some(quiet.clone())).await;
    harness.hint(&key).await;
    harness.hint(&key).await;
    assert_eq!(harness.event_names(&key).await, ["CommunicationRequested", "CommunicationDeferred"]);
    assert_eq!(harness.wake(&key).await, Some(T0 + 30 * 60_000));
    harness.host.advance(30 * 60_000);
    harness.hint(&key).await;
    assert_eq!(harness.lifecycle(&key).await, Lifecycle::Sent);
    let urgent = harness.accept(|request| {
        request.quiet_hours = Some(QuietHours { end: "10:00".into(), ..quiet });
        request.priority = events::Priority::Urgent;
    });
    let urgent = urgent.await;
    harness.hint(&urgent).await;
    assert_eq!(harness.lifecycle(&urgent).await, Lifecycle::Sent);
}

async fn in_doubt(harness: &Harness, policy: InDoubtPolicy) -> CommunicationKey {
    let key = harness.accept(|request| request.in_doubt = policy).await;
    harness.answers([AttemptOutcome::InDoubt(InDoubtCause::Timeout), accepted()]);
    harness.hint(&key).await;
    harness.host.advance(policy::EVIDENCE_WAIT_MS);
    key
}

async fn resolved_by(harness: &Harness, key: &CommunicationKey) -> Option<ResolvedBy> {
    let records = harness.load(key).await.records;
    records.iter().find_map(|record| match record.event {
        CommunicationEvent::DeliveryAttemptResolved { by, .. } => Some(by),
        _ => None,
    })
}

fn set_query_result(harness: &Harness, result: QueryResult) {
    *harness.provider.query_result.lock().expect("a query result") = result;
}

#[tokio::test]
async fn a_query_that_finds_the_message_resolves_the_doubt() {
    let harness = Harness::new();
    let key = in_doubt(&harness, InDoubtPolicy::Hold).await;
    set_query_result(&harness, QueryResult::Accepted("SM1".to_owned()));
    harness.hint(&key).await;
    assert_eq!((harness.lifecycle(&key).await, harness.sent_messages()), (Lifecycle::Sent, 1));
    assert_eq!(resolved_by(&harness, &key).await, Some(ResolvedBy::Query));
}

#[tokio::test]
async fn a_query_that_does_not_find_the_message_sends_it_again_even_under_hold() {
    let harness = Harness::new();
    let key = in_doubt(&harness, InDoubtPolicy::Hold).await;
    set_query_result(&harness, QueryResult::NotAccepted);
    harness.hint(&key).await;
    assert_eq!((harness.lifecycle(&key).await, harness.sent_messages()), (Lifecycle::Sent, 2));
    assert!(!harness.load(&key).await.state.requested().expect("requested").maybe_sent);
}

#[tokio::test]
async fn an_unanswered_query_is_repeated_until_the_policy_decides() {
    let harness = Harness::new();
    let key = in_doubt(&harness, InDoubtPolicy::Hold).await;
    set_query_result(&harness, QueryResult::NoResponse);
    for _ in 0..policy::QUERY_WINDOW_MS / policy::QUERY_INTERVAL_MS {
        harness.hint(&key).await;
        assert!(matches!(harness.lifecycle(&key).await, Lifecycle::InDoubt { .. }));
        harness.host.advance(policy::QUERY_INTERVAL_MS);
    }
    harness.hint(&key).await;
    assert_eq!(harness.lifecycle(&key).await, Lifecycle::Failed(FailReason::InDoubt));
    assert_eq!((resolved_by(&harness, &key).await, harness.sent_messages()), (Some(ResolvedBy::Policy), 1));
}
