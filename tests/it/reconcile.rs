//! The hourly check of collections: timers that are lost or outdated are set, and what is odd is reported.

use std::sync::Arc;

use application::collections::checks::{Findings, record_statement};
use application::collections::status;
use application::execute::load;
use application::invoices::settings_stream;
use domain::collect::{DebtorCommand, SettingsCommand, debtor_key, defaults};
use domain::invoice::key_of;
use domain::ports::AppendRequest;
use events::{Channel, CollectionSettings, InvoiceEvent, Recipient, RecipientType, Timestamp};
use reconcile::{ReconcileHandler, Report};
use tests::harness::{RecordingAlerts, tenant};

use crate::backfills::{caller, project};
use crate::collections::{Collections, at, context, reference};

const HOUR_MS: i64 = 3_600_000;

fn handler(collections: &Collections, alerts: Arc<RecordingAlerts>) -> ReconcileHandler {
    let app = &collections.0.app;
    ReconcileHandler {
        store: app.store.clone(),
        views: app.views.clone(),
        documents: app.tenant_ports.documents.clone(),
        alerts,
        host: app.host.clone(),
    }
}

async fn reconcile(collections: &Collections) -> Report {
    project(collections).await;
    handler(collections, Arc::default()).run(None).await.expect("a report")
}

async fn findings(collections: &Collections) -> Findings {
    let found = status(&collections.0.app, &caller()).await.expect("a status").check;
    assert!(found.at.is_some());
    found.findings
}

/// Collections that were switched on by their use case, which the check relies on.
async fn switched_on() -> Collections {
    let collections = Collections::new().await;
    application::collections::enable(&collections.0.app, &caller()).await.expect("on");
    collections
}

async fn wake(collections: &Collections, id: &str) -> Option<Timestamp> {
    load(&*collections.0.app.store, &key_of(&tenant(), &reference(id))).await.expect("an invoice").wake
}

/// As if a fault had lost the timer.
async fn lose_timer(collections: &Collections, id: &str) {
    let key = key_of(&tenant(), &reference(id));
    let version = load(&*collections.0.app.store, &key).await.expect("an invoice").version;
    let append = AppendRequest {
        expected_version: version,
        encoded_events: Vec::new(),
        wake: None,
        queue: domain::ports::QueueId::Process,
        writer_id: "a fault".to_owned(),
        listing: Default::default(),
        roll_over: None,
        unmoved: Vec::new(),
    };
    use domain::aggregate::AggregateKey;
    collections.0.app.store.append(&key.stream_id(), append).await.expect("lost");
}

fn report(looked: u64, repaired: u64, lost: u64) -> Report {
    Report { tenants: 1, looked, repaired, lost, is_complete: true }
}

#[tokio::test]
async fn a_timer_that_is_lost_or_not_served_is_set_again_and_nothing_is_sent() {
    let collections = switched_on().await;
    collections.address("ada", Channel::Email, "ada@example.com").await;
    for id in ["1", "2", "3"] {
        collections.issue(id, "ada", 1_000, "2027-01-20").await;
    }
    collections.run_until(at("2027-01-15T09:00")).await;
    assert_eq!(reconcile(&collections).await, report(3, 0, 0));
    lose_timer(&collections, "1").await;
    assert_eq!((wake(&collections, "1").await, reconcile(&collections).await), (None, report(3, 1, 1)));
    assert_eq!(wake(&collections, "1").await, Some(collections.now()));
    assert_eq!(reconcile(&collections).await, report(3, 0, 0), "once");
    collections.run_until(at("2027-01-21T08:00")).await;
    // Timers are not served for some hours.
    collections.0.host.advance(4 * HOUR_MS);
    assert_eq!(reconcile(&collections).await, report(3, 3, 3));
    assert_eq!(collections.sent().await, []);
    collections.run_until(at("2027-01-21T12:05")).await;
    assert_eq!(collections.sent().await.len(), 1, "one message about three");
}

#[tokio::test]
async fn timers_follow_settings_zones_and_pauses_that_changed() {
    let collections = switched_on().await;
    let app = &collections.0.app;
    let context = context();
    let executor = app.executor(&context);
    let bea = Recipient { kind: RecipientType::Customer, id: Some("bea".to_owned()) };
    let bea = debtor_key(&tenant(), &bea).expect("a key");
    let pause = DebtorCommand::Pause { until: Some("2027-02-20".to_owned()), by: "support".to_owned() };
    executor.execute(&bea, pause).await.expect("paused");
    collections.issue("1", "ada", 1_000, "2027-01-20").await;
    collections.issue("2", "bea", 1_000, "2027-01-20").await;
    collections.run_until(at("2027-01-15T09:00")).await;
    let times = async || (wake(&collections, "1").await, wake(&collections, "2").await);
    assert_eq!(times().await, (Some(at("2027-01-21T08:58")), Some(at("2027-02-21T08:58"))));
    let settings = CollectionSettings { time: "07:00".to_owned(), ..defaults() };
    let change = SettingsCommand::Change { expected: None, settings: Box::new(settings) };
    executor.execute(&settings_stream(&tenant()), change).await.expect("changed");
    executor.execute(&bea, DebtorCommand::Resume { by: "support".to_owned() }).await.expect("resumed");
    assert_eq!(reconcile(&collections).await, report(2, 2, 0));
    assert_eq!(times().await, (Some(at("2027-01-21T06:58")), Some(at("2027-01-21T06:58"))));
    let zone = DebtorCommand::Change {
        expected: None,
        is_excluded: false,
        time_zone: Some("Asia/Tokyo".to_owned()),
        ladder: None,
    };
    executor.execute(&bea, zone).await.expect("changed");
    assert_eq!(reconcile(&collections).await, report(2, 1, 0));
    assert_eq!(times().await, (Some(at("2027-01-21T06:58")), Some(at("2027-01-20T21:58"))));
    application::collections::disable(app, &caller()).await.expect("off");
    assert_eq!(reconcile(&collections).await, Report { is_complete: true, ..Report::default() });
}

#[tokio::test]
async fn what_a_statement_does_not_name_and_what_disagrees_is_reported() {
    let collections = switched_on().await;
    for id in ["1", "2", "3"] {
        collections.issue(id, "ada", 1_000, "2027-01-20").await;
    }
    collections.pay("2", "p1", 100).await;
    collections.0.host.advance(48 * HOUR_MS);
    reconcile(&collections).await;
    assert_eq!(findings(&collections).await.unconfirmed.count, 0, "no statement yet");
    let stated = |balance| InvoiceEvent::BalanceStated { balance, source: collections.source("statement") };
    collections.record("1", stated(1_000)).await;
    collections.record("2", stated(500)).await;
    let app = &collections.0.app;
    record_statement(app, (&tenant(), events::Mode::Live), "flowpos", collections.now()).await.expect("recorded");
    reconcile(&collections).await;
    let found = findings(&collections).await;
    let id = |id: &str| domain::invoice::stream_name(&tenant(), &reference(id));
    assert_eq!((found.unconfirmed.count, found.unconfirmed.ids), (1, vec![id("3")]));
    assert_eq!((found.disagreements.count, found.disagreements.ids), (1, vec![id("2")]));
    assert_eq!(found.looked, 3);
}

#[tokio::test]
async fn a_check_that_is_cut_goes_on_and_many_lost_timers_raise_an_alert() {
    let collections = switched_on().await;
    for n in 0..450 {
        collections.issue(&n.to_string(), &format!("c{n}"), 1_000, "2027-01-20").await;
    }
    for n in 0..6 {
        lose_timer(&collections, &n.to_string()).await;
    }
    project(&collections).await;
    let alerts = Arc::new(RecordingAlerts::default());
    let handler = handler(&collections, alerts.clone());
    let over = collections.now();
    // A check that begins after its deadline looks at nothing, and one that passes it looks at a page at least.
    let cut = handler.run(Some(over)).await.expect("a report");
    assert_eq!((cut.looked, cut.is_complete), (0, false));
    let all = handler.run(None).await.expect("a report");
    assert_eq!((all.looked, all.lost, all.is_complete), (450, 6, true));
    assert_eq!(alerts.0.lock().expect("alerts").len(), 1);
    assert_eq!(handler.run(None).await.expect("a report").repaired, 0);
    assert_eq!(alerts.0.lock().expect("alerts").len(), 1);
}
