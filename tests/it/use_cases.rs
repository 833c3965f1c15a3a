//! The use cases without HTTP: what they refuse themselves, whoever calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::preferences::{self, PreferenceError, PreferenceFault, PreferredAddresses};
use application::retention::RetentionPeriods;
use application::templates::{
    self, CheckedContent, NewTemplate, PreviewRequest, TemplateChange, TemplateContent, TemplateError, TemplateFault,
    TemplateFilter,
};
use application::{App, Caller};
use domain::ports::Principal;
use domain::preferences::{DEFAULTS, PreferenceChange};
use events::{Channel, MessageType, Mode, Role};
use infra::embedded::Database;
use infra::providers::{HttpClients, HttpProviderFactory};
use serde_json::json;
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

fn sms_template(code: &str, body: &str) -> NewTemplate {
    let content = TemplateContent { subject: None, body: body.to_owned() };
    NewTemplate {
        code: code.to_owned(),
        locale: "default".to_owned(),
        kind: MessageType::GeneralNotification,
        name: "Offer".to_owned(),
        description: None,
        content: CheckedContent::new(Channel::Sms, content, None).expect("content"),
        is_active: true,
    }
}

#[tokio::test]
async fn built_in_templates_and_invalid_codes_are_refused() {
    let UseCases { app, _scratch } = UseCases::new();
    let admin = caller(Role::Admin);
    let wrong = templates::create(&app, &admin, sms_template("tpl_mine", "Hello")).await;
    assert!(matches!(wrong, Err(TemplateError::Invalid(faults)) if matches!(faults[..], [TemplateFault::Code])));
    let id = "tpl_invoice_sms";
    let rename = TemplateChange { name: Some("Mine".to_owned()), ..TemplateChange::default() };
    assert!(matches!(templates::change(&app, &admin, id, rename).await, Err(TemplateError::BuiltIn)));
    assert!(matches!(templates::set_active(&app, &admin, id, false).await, Err(TemplateError::BuiltIn)));
    assert!(matches!(templates::delete(&app, &admin, id).await, Err(TemplateError::BuiltIn)));
}

#[tokio::test]
async fn a_change_of_a_template_keeps_the_other_parts_and_a_filter_selects_it() {
    let UseCases { app, _scratch } = UseCases::new();
    let admin = caller(Role::Admin);
    let own = templates::create(&app, &admin, sms_template("offer", "Hello {{name}}")).await.expect("created");
    let change = TemplateChange { body: Some("Hi {{name}}".to_owned()), ..TemplateChange::default() };
    let stale = TemplateChange { expected: Some(1), ..change.clone() };
    let (changed, content) = templates::change(&app, &admin, &own.id, change).await.expect("changed");
    assert_eq!((changed.latest.version, content.body.as_str(), changed.name.as_str()), (2, "Hi {{name}}", "Offer"));
    assert!(templates::change(&app, &admin, &own.id, stale).await.is_err(), "it is based on an old version");
    let filter = TemplateFilter { code: Some("offer".to_owned()), ..TemplateFilter::default() };
    assert_eq!(templates::list(&app, &admin, &filter).await.expect("templates").len(), 1);
    let email = TemplateFilter { channel: Some(Channel::Email), ..filter };
    assert!(templates::list(&app, &admin, &email).await.expect("templates").is_empty());
    let request = PreviewRequest { version: Some(1), channel: None, locale: None, variables: json!({ "name": "Ada" }) };
    let message = templates::preview(&app, &admin, &own.id, request).await.expect("rendered");
    assert_eq!(message.text, "Hello Ada");
}
