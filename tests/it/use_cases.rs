//! The use cases without HTTP: what they refuse themselves, whoever calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::preferences::{self, PreferenceError, PreferenceFault, PreferredAddresses};
use application::retention::RetentionPeriods;
use application::{App, Caller};
use domain::ports::Principal;
use domain::preferences::{DEFAULTS, PreferenceChange};
use events::{Channel, Mode, Role};
use infra::embedded::Database;
use infra::providers::{HttpClients, HttpProviderFactory};
use tests::harness::{FixedClock, RecordingQueue, Scratch, objects, tenant, tenant_ports};

/// The use cases over a database in a temporary folder.
struct UseCases {
    app: App,
    _scratch: Scratch,
}

impl UseCases {
    fn new() -> UseCases {
        let scratch = Scratch::new();
        let store = Arc::new(Database::open(&scratch.0.join("use-cases.db"), false).expect("a database"));
        let host = FixedClock::new();
        let (http, simulators, bases) = (HttpClients::new(), BTreeMap::new(), BTreeMap::new());
        let mut tenant_ports = tenant_ports(store.clone(), host.clone());
        tenant_ports.connector = Arc::new(HttpProviderFactory { http, simulators, bases });
        let app = App {
            store: store.clone(),
            vault: store.clone(),
            queue: Arc::new(RecordingQueue::default()),
            views: store.clone(),
            keys: store.clone(),
            limits: store,
            tenant_ports,
            directory: Default::default(),
            library: Default::default(),
            defaults: Default::default(),
            has_sandbox: false,
            accounts: Vec::new(),
            objects: objects(scratch.0.join("files")),
            host,
            contact_key: vec![7; 32],
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        };
        UseCases { app, _scratch: scratch }
    }
}

fn caller(role: Role) -> Caller {
    Caller::new(Principal { role, ..Principal::admin(tenant(), "test", Mode::Live) })
}

#[tokio::test]
async fn a_change_of_preferences_is_checked_and_its_addresses_are_normalised() {
    let UseCases { app, _scratch } = UseCases::new();
    let admin = caller(Role::Admin);
    let change =
        async |person: &str, change: PreferenceChange, addresses: &PreferredAddresses| match preferences::change(
            &app, &admin, person, change, addresses,
        )
        .await
        {
            Ok(_) => Vec::new(),
            Err(PreferenceError::Invalid(faults)) => faults,
            Err(error) => panic!("{error}"),
        };
    let out = PreferenceChange { opted_out: Some(true), ..PreferenceChange::default() };
    assert_eq!(change(DEFAULTS, out.clone(), &PreferredAddresses::new()).await, [PreferenceFault::NotForDefaults]);
    let number = |text: &str| PreferredAddresses::from([(Channel::Sms, Some(text.to_owned()))]);
    let faults = change("customer:ada", PreferenceChange::default(), &number("12")).await;
    assert!(matches!(faults[..], [PreferenceFault::Address(Channel::Sms, _)]), "{faults:?}");
    assert_eq!(change("customer:ada", out, &number("+44 7700 900001")).await, []);
    let (stored, addresses) = preferences::get(&app, &admin, "customer:ada").await.expect("preferences");
    assert!(stored.opted_out.is_some());
    assert_eq!(addresses[&Channel::Sms], "+447700900001");
}
