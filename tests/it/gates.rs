//! The deliver door at its limits: rates, breakers, failover, quiet hours, and providers that are asked.

use std::sync::Arc;

use async_trait::async_trait;
use domain::circuit_breaker::{BreakerCause, OPEN_MS};
use domain::communication::{AttemptOutcome, Lifecycle, When};
use domain::policy;
use domain::ports::{CoordinationStore, QueryResult, StoreError, StreamKey, VersionedRecord};
use domain::provider_configs;
use domain::throttle::ProviderThrottle;
use events::RateLimit;
use events::{
    Channel, CommunicationEvent, FailReason, InDoubtCause, InDoubtPolicy, QuietHours, RefusalClass, ResolvedBy,
    Timestamp,
};
use tests::bench::{Harness, ScriptedProvider, T0, accepted, refused, tenant};

const SLOW: RateLimit = RateLimit { burst: 3, per_second: 1 };

async fn several(bench: &Harness, count: usize) -> Vec<StreamKey> {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(bench.accept(|_| ()).await);
    }
    keys
}

fn called(provider: &ScriptedProvider) -> usize {
    provider.asked.lock().expect("asked").len()
}

async fn gate(bench: &Harness, name: &str) -> (ProviderThrottle, u64) {
    let record =
        CoordinationStore::read_versioned(&*bench.store, &[name.to_owned()]).await.expect("an answer").remove(0);
    let version = record.as_ref().map_or(0, |record| record.version);
    (application::gate::read(record.as_ref(), SLOW), version)
}

#[tokio::test]
async fn a_batch_takes_its_tokens_at_once_and_the_rest_wait_their_turn() {
    let mut bench = Harness::new();
    let provider = ScriptedProvider::at("told", SLOW);
    bench.deliver.providers = vec![provider.clone()];
    let keys = several(&bench, 6).await;
    assert_eq!(bench.batch(&keys).await, [] as [String; 0]);
    assert_eq!(called(&provider), 3);
    assert_eq!(gate(&bench, "gate#told").await.1, 1, "one write for the whole batch");
    let delays: Vec<u32> = bench.queue.take().into_iter().map(|(_, delay)| delay).collect();
    assert_eq!(delays, [2, 3, 4], "a second apart, rounded up");
    for key in &keys[3..] {
        assert_eq!(bench.names(key).await, ["CommunicationRequested"], "a wait is no event");
    }
    bench.host.advance(4_000);
    bench.batch(&keys).await;
    assert_eq!(called(&provider), 6);
}

#[tokio::test]
async fn somebody_is_told_before_messages_wait() {
    let mut bench = Harness::new();
    bench.deliver.providers = vec![ScriptedProvider::at("told", RateLimit { burst: 10, per_second: 1 })];
    let keys = several(&bench, 9).await;
    bench.batch(&keys[..8]).await;
    assert!(bench.alerts.0.lock().expect("alerts").is_empty());
    bench.hint(&keys[8]).await;
    assert_eq!(*bench.alerts.0.lock().expect("alerts"), ["told is near its limit"]);
}

#[tokio::test]
async fn a_long_wait_is_left_to_the_timer_and_burns_nothing() {
    let mut bench = Harness::new();
    bench.deliver.providers = vec![ScriptedProvider::at("told", SLOW)];
    let keys = several(&bench, 90).await;
    for some in keys.chunks(10) {
        bench.batch(some).await;
    }
    assert!(bench.queue.take().iter().all(|(_, delay)| *delay <= 60));
    let last = bench.wake(&keys[89]).await.expect("a timer");
    assert!((T0 + 60_000..T0 + 100_000).contains(&last), "{}", last - T0);
    assert_eq!(bench.load(&keys[89]).await.state.requested().expect("requested").attempts, 0);
}

#[tokio::test]
async fn what_was_taken_for_a_stale_hint_is_given_back() {
    let mut bench = Harness::new();
    let provider = ScriptedProvider::at("told", SLOW);
    bench.deliver.providers = vec![provider.clone()];
    let keys = several(&bench, 2).await;
    bench.hint(&keys[0]).await;
    bench.batch(&[keys[1].clone(), keys[0].clone(), keys[0].clone()]).await;
    assert_eq!(gate(&bench, "gate#told").await.0.quota(bench.deliver.host.now()).remaining, 1);
}

/// Limits that nobody reaches.
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
}

#[tokio::test]
async fn limits_that_cannot_be_reached_defer_and_never_flood() {
    let mut bench = Harness::new();
    bench.deliver.limits = Arc::new(Unreachable);
    let keys = several(&bench, 10).await;
    assert_eq!(bench.batch(&keys).await, [] as [String; 0]);
    assert_eq!(bench.asked(), 0);
    let delays: Vec<u32> = bench.queue.take().into_iter().map(|(_, delay)| delay).collect();
    assert!(delays.len() == 10 && delays.iter().all(|delay| (5..=10).contains(delay)), "{delays:?}");
    bench.deliver.limits = bench.store.clone();
    bench.host.advance(10_000);
    bench.batch(&keys).await;
    assert_eq!(bench.asked(), 10);
}

#[tokio::test]
async fn a_tenant_and_all_of_them_have_limits_of_their_own() {
    for (tenant_rate, global_rate) in [(Some(SLOW), None), (None, Some(SLOW))] {
        let mut bench = Harness::new();
        (bench.deliver.tenant_rate, bench.deliver.global_rate) = (tenant_rate, global_rate);
        let keys = several(&bench, 5).await;
        bench.batch(&keys).await;
        assert_eq!(bench.asked(), 3);
        let mut left = gate(&bench, "gate#told").await.0;
        left.limiter.rate = bench.deliver.providers[0].config().rate;
        let remaining = left.quota(bench.deliver.host.now()).remaining;
        assert_eq!(remaining, left.limiter.rate.burst - 3, "tokens of the provider came back");
    }
}

fn unavailable() -> AttemptOutcome {
    refused(RefusalClass::Unavailable)
}

#[tokio::test]
async fn a_breaker_that_opens_sends_everything_to_the_second_provider() {
    let bench = Harness::with_failover();
    bench.answers(std::iter::repeat_n(unavailable(), 20));
    let keys = several(&bench, 20).await;
    for some in keys.chunks(10) {
        bench.batch(some).await;
    }
    assert_eq!((called(&bench.provider), called(&bench.second)), (20, 0));
    assert_eq!(gate(&bench, "gate#told").await.0.breaker.open.map(|shut| shut.cause), Some(BreakerCause::Failing));
    bench.host.advance(policy::FAILOVER_DELAY_MS);
    bench.batch(&keys).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (20, 20), "at once, by the other one");
    let fresh = bench.accept(|_| ()).await;
    bench.hint(&fresh).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (20, 21), "not even tried");
    assert_eq!(bench.load(&fresh).await.state.requested().expect("requested").attempts, 1);

    bench.host.advance(OPEN_MS);
    let probes = several(&bench, 3).await;
    bench.batch(&probes).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (21, 23), "one probe, the others elsewhere");
    assert_eq!(gate(&bench, "gate#told").await.0.breaker.open, None);
}

#[tokio::test]
async fn without_a_second_provider_messages_wait_for_the_breaker() {
    let bench = Harness::new();
    bench.answers(std::iter::repeat_n(unavailable(), 20));
    let keys = several(&bench, 20).await;
    for some in keys.chunks(10) {
        bench.batch(some).await;
    }
    let held = bench.accept(|_| ()).await;
    bench.hint(&held).await;
    assert_eq!((bench.names(&held).await.len(), bench.asked()), (1, 20), "no attempt is burned");
    bench.host.advance(OPEN_MS + 5_000);
    bench.hint(&held).await;
    assert_eq!((bench.lifecycle(&held).await, bench.asked()), (Lifecycle::Sent, 21));
}

#[tokio::test]
async fn an_attempt_in_doubt_is_never_given_to_another_provider() {
    let bench = Harness::with_failover();
    let key = bench.accept(|_| ()).await;
    bench.answers([AttemptOutcome::InDoubt(InDoubtCause::Timeout)]);
    bench.hint(&key).await;
    for _ in 0..3 {
        bench.host.advance(policy::EVIDENCE_WAIT_MS / 4);
        bench.hint(&key).await;
    }
    assert_eq!((called(&bench.provider), called(&bench.second)), (1, 0));
}

#[tokio::test]
async fn refused_credentials_disable_the_account_tell_one_person_once_and_fail_over() {
    let bench = Harness::with_failover();
    bench.answers(std::iter::repeat_n(refused(RefusalClass::Balance), 3));
    let keys = several(&bench, 3).await;
    bench.batch(&keys).await;
    bench.host.advance(policy::FAILOVER_DELAY_MS);
    bench.batch(&keys).await;
    let fresh = bench.accept(|_| ()).await;
    bench.hint(&fresh).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (3, 4));
    assert_eq!(*bench.alerts.0.lock().expect("alerts"), ["told says that our account is empty"]);
    let state = bench.load(&keys[0]).await.state;
    let state = state.requested().expect("requested");
    assert_eq!((state.counted_attempts, state.attempts, &state.lifecycle), (0, 2, &Lifecycle::Sent));
}

#[tokio::test]
async fn what_every_provider_refuses_falls_back_to_waiting() {
    let bench = Harness::with_failover();
    let key = bench.accept(|_| ()).await;
    bench.answers([unavailable()]);
    bench.second.answers.lock().expect("answers").push_back(unavailable());
    bench.hint(&key).await;
    bench.host.advance(policy::FAILOVER_DELAY_MS);
    bench.hint(&key).await;
    let Lifecycle::RetryWait { until: When::At(until) } = bench.lifecycle(&key).await else { panic!("it waits") };
    assert!(until.0 - T0 > 200_000, "the ladder of two counted attempts, not another round at once");
}

#[tokio::test]
async fn a_tenants_route_decides_who_is_tried() {
    let bench = Harness::with_failover();
    let decide = async |command| {
        let ports = (&*bench.deliver.own.journals, &*bench.deliver.own.host);
        application::journal::change_provider_configs(ports, &tenant(), "ops", command).await.expect("decided");
    };
    let [first, second] = ["told", "told-second"].map(str::to_owned);
    decide(provider_configs::Command::Switch { config: second.clone(), channel: Channel::Email }).await;
    bench.hint(&bench.accept(|_| ()).await).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (0, 1));

    decide(provider_configs::Command::Disable { config: first.clone() }).await;
    decide(provider_configs::Command::Disable { config: second }).await;
    bench.host.advance(15_000);
    let key = bench.accept(|_| ()).await;
    bench.hint(&key).await;
    assert_eq!(
        (bench.lifecycle(&key).await, bench.names(&key).await.len()),
        (Lifecycle::Pending, 1),
        "held, not failed"
    );
    decide(provider_configs::Command::Enable { config: first }).await;
    bench.host.advance(15_000);
    bench.hint(&key).await;
    assert_eq!((called(&bench.provider), called(&bench.second)), (1, 1));
}

#[tokio::test]
async fn a_429_slows_everybody_down() {
    let bench = Harness::new();
    let keys = several(&bench, 2).await;
    let slow =
        AttemptOutcome::Refused { class: RefusalClass::Throttled, code: "429".into(), retry_after_ms: Some(9_000) };
    bench.answers([slow]);
    bench.hint(&keys[0]).await;
    bench.hint(&keys[1]).await;
    assert_eq!((bench.asked(), bench.names(&keys[1]).await.len()), (1, 1));
    bench.host.advance(9_100);
    bench.batch(&keys).await;
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn quiet_hours_hold_a_message_and_release_it() {
    // T0 is 2027-01-15 08:00 UTC: 9 in the morning in Lagos.
    let quiet = QuietHours { start: "21:00".into(), end: "09:30".into(), time_zone: "Africa/Lagos".into() };
    let bench = Harness::new();
    let key = bench.accept(|request| request.quiet_hours = Some(quiet.clone())).await;
    bench.hint(&key).await;
    bench.hint(&key).await;
    assert_eq!(bench.names(&key).await, ["CommunicationRequested", "CommunicationDeferred"]);
    assert_eq!(bench.wake(&key).await, Some(T0 + 30 * 60_000));
    bench.host.advance(30 * 60_000);
    bench.hint(&key).await;
    assert_eq!(bench.lifecycle(&key).await, Lifecycle::Sent);
    let urgent = bench.accept(|request| {
        request.quiet_hours = Some(QuietHours { end: "10:00".into(), ..quiet });
        request.priority = events::Priority::Urgent;
    });
    let urgent = urgent.await;
    bench.hint(&urgent).await;
    assert_eq!(bench.lifecycle(&urgent).await, Lifecycle::Sent);
}

async fn in_doubt(bench: &Harness, policy: InDoubtPolicy) -> StreamKey {
    let key = bench.accept(|request| request.in_doubt = policy).await;
    bench.answers([AttemptOutcome::InDoubt(InDoubtCause::Timeout), accepted()]);
    bench.hint(&key).await;
    bench.host.advance(policy::EVIDENCE_WAIT_MS);
    key
}

async fn resolved_by(bench: &Harness, key: &StreamKey) -> Option<ResolvedBy> {
    let records = bench.load(key).await.records;
    records.iter().find_map(|record| match record.event {
        CommunicationEvent::DeliveryAttemptResolved { by, .. } => Some(by),
        _ => None,
    })
}

fn says(bench: &Harness, found: QueryResult) {
    *bench.provider.found.lock().expect("found") = found;
}

#[tokio::test]
async fn a_provider_that_has_it_ends_the_doubt() {
    let bench = Harness::new();
    let key = in_doubt(&bench, InDoubtPolicy::Hold).await;
    says(&bench, QueryResult::Accepted("SM1".to_owned()));
    bench.hint(&key).await;
    assert_eq!((bench.lifecycle(&key).await, bench.asked()), (Lifecycle::Sent, 1));
    assert_eq!(resolved_by(&bench, &key).await, Some(ResolvedBy::Query));
}

#[tokio::test]
async fn a_provider_that_has_it_not_lets_even_a_held_one_go_out() {
    let bench = Harness::new();
    let key = in_doubt(&bench, InDoubtPolicy::Hold).await;
    says(&bench, QueryResult::NotAccepted);
    bench.hint(&key).await;
    assert_eq!((bench.lifecycle(&key).await, bench.asked()), (Lifecycle::Sent, 2));
    assert!(!bench.load(&key).await.state.requested().expect("requested").maybe_sent);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_asked_again_and_then_the_policy_decides() {
    let bench = Harness::new();
    let key = in_doubt(&bench, InDoubtPolicy::Hold).await;
    says(&bench, QueryResult::NoResponse);
    for _ in 0..policy::QUERY_WINDOW_MS / policy::QUERY_INTERVAL_MS {
        bench.hint(&key).await;
        assert!(matches!(bench.lifecycle(&key).await, Lifecycle::InDoubt { .. }));
        bench.host.advance(policy::QUERY_INTERVAL_MS);
    }
    bench.hint(&key).await;
    assert_eq!(bench.lifecycle(&key).await, Lifecycle::Failed(FailReason::InDoubt));
    assert_eq!((resolved_by(&bench, &key).await, bench.asked()), (Some(ResolvedBy::Policy), 1));
}
