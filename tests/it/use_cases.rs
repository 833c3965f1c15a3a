//! The use cases without HTTP: what they refuse themselves, whoever calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::business_events::{self, NewEvent, StoredEvent};
use application::links::LinkKeys;
use application::preferences::{self, PreferenceError, PreferenceFault, PreferredAddresses};
use application::provider_configs::{self, NewProviderConfig, OrderFault, ProviderConfigChange, ProviderConfigError};
use application::provider_settings::{CheckedSettings, SmsField, SmsProviderFault};
use application::provider_status;
use application::retention::RetentionPeriods;
use application::sms_provider::{self, SmsProvider};
use application::statements::StatementTexts;
use application::templates::{
    self, CheckedContent, NewTemplate, PreviewRequest, TemplateChange, TemplateContent, TemplateError, TemplateFault,
    TemplateFilter,
};
use application::{App, Caller};
use domain::aggregate::AggregateId;
use domain::business_event::EventStatus;
use domain::ports::Principal;
use domain::preferences::{DEFAULTS, PreferenceChange};
use domain::provider_configs::{ProviderConfigState, TenantProviderConfig};
use events::{Channel, IntakeChannel, MessageType, Mode, Role};
use infra::embedded::Database;
use infra::providers::{HttpClients, HttpProviderFactory};
use serde_json::json;
use tests::harness::{FixedClock, RecordingAlerts, RecordingQueue, Scratch, objects, tenant, tenant_ports};

/// The use cases over a database in a temporary folder.
pub struct UseCases {
    pub app: App,
    pub host: Arc<FixedClock>,
    _scratch: Scratch,
}

impl UseCases {
    pub fn new() -> UseCases {
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
            alerts: Arc::new(RecordingAlerts::default()),
            tenant_ports,
            directory: Default::default(),
            library: Default::default(),
            defaults: Default::default(),
            sms_countries: None,
            tenant_rate: None,
            has_sandbox: false,
            accounts: Vec::new(),
            objects: objects(scratch.0.join("files")),
            printer: None,
            host: host.clone(),
            contact_key: vec![7; 32],
            link_keys: LinkKeys::new(vec![8; 32]),
            payment_url: None,
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        };
        UseCases { app, host, _scratch: scratch }
    }
}

fn caller(role: Role) -> Caller {
    Caller::new(Principal { role, ..Principal::admin(tenant(), "test", Mode::Live) })
}

#[tokio::test]
async fn a_change_of_preferences_is_checked_and_its_addresses_are_normalised() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let change =
        async |person: &str, change: PreferenceChange, addresses: &PreferredAddresses| match preferences::change(
            &app,
            &admin,
            person,
            change,
            StatementTexts::default(),
            addresses,
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

async fn sms_template(code: &str, body: &str) -> NewTemplate {
    let content = TemplateContent { subject: None, body: body.to_owned() };
    NewTemplate {
        code: code.to_owned(),
        locale: "default".to_owned(),
        kind: MessageType::GeneralNotification,
        name: "Offer".to_owned(),
        description: None,
        content: CheckedContent::new(Channel::Sms, content, None).await.expect("a free place").expect("content"),
        is_active: true,
    }
}

#[tokio::test]
async fn built_in_templates_and_invalid_codes_are_refused() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let wrong = templates::create(&app, &admin, sms_template("tpl_mine", "Hello").await).await;
    assert!(matches!(wrong, Err(TemplateError::Invalid(faults)) if matches!(faults[..], [TemplateFault::Code])));
    let id = "tpl_invoice_sms";
    let rename = TemplateChange { name: Some("Mine".to_owned()), ..TemplateChange::default() };
    assert!(matches!(templates::change(&app, &admin, id, rename).await, Err(TemplateError::BuiltIn)));
    assert!(matches!(templates::set_active(&app, &admin, id, false).await, Err(TemplateError::BuiltIn)));
    assert!(matches!(templates::delete(&app, &admin, id).await, Err(TemplateError::BuiltIn)));
}

#[tokio::test]
async fn a_change_of_a_template_keeps_the_other_parts_and_a_filter_selects_it() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let own = templates::create(&app, &admin, sms_template("offer", "Hello {{name}}").await).await.expect("created");
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

fn bulksms(app: &App, settings: &[(&str, &str)]) -> CheckedSettings {
    let mut checked = CheckedSettings::new(provider_configs::kind(app, "bulksms").expect("a kind"));
    for (name, value) in settings {
        checked.set(name, Some((*value).to_owned())).expect("a setting");
    }
    checked
}

async fn add_bulksms(app: &App, admin: &Caller) -> String {
    let settings = bulksms(app, &[("tokenId", "t"), ("tokenSecret", "s")]);
    let new = NewProviderConfig { channel: Channel::Sms, name: None, settings, rate: None, is_enabled: true };
    provider_configs::add(app, admin, new).await.expect("added")
}

/// The names of all stored credentials.
async fn secrets(app: &App) -> Vec<String> {
    let documents = &app.tenant_ports.documents;
    let listed = documents.list_documents(&tenant(), "secret", None, 100, app.host.now()).await.expect("documents");
    listed.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_a_provider_configuration_are_all_kept() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let id = add_bulksms(&app, &admin).await;
    let (_, config) = provider_configs::find(&app, &admin, &id).await.expect("a configuration");
    let before = app.tenant_ports.secrets(&tenant(), &config).await.expect("credentials");
    for round in 0..20_u32 {
        let text = |name: &str| format!("{name}-{round}");
        let change = |settings: &[(&str, &str)]| ProviderConfigChange {
            settings: Some(bulksms(&app, settings)),
            ..ProviderConfigChange::default()
        };
        let [id_change, secret_change] = [
            change(&[("tokenId", &text("id")), ("defaultRegion", "KE")]),
            change(&[("tokenSecret", &text("secret")), ("from", &text("from"))]),
        ];
        let [one, other] = [id_change, secret_change].map(|change| provider_configs::change(&app, &admin, &id, change));
        let (one, other) = tokio::join!(one, other);
        one.and(other).expect("both are changed");
        let (_, config) = provider_configs::find(&app, &admin, &id).await.expect("a configuration");
        let stored = app.tenant_ports.secrets(&tenant(), &config).await.expect("credentials");
        let kept = |name: &str| config.settings.get(name).or_else(|| stored.get(name)).cloned();
        assert_eq!(kept("tokenId"), Some(text("id")));
        assert_eq!(kept("tokenSecret"), Some(text("secret")));
        assert_eq!((kept("from"), kept("defaultRegion")), (Some(text("from")), Some("KE".to_owned())));
        assert_eq!(stored["callbackSecret"], before["callbackSecret"]);
        assert_eq!(secrets(&app).await.len(), 1, "superseded and unused credentials are deleted");
    }
}

#[tokio::test]
async fn a_change_without_the_old_credentials_is_refused_and_a_removal_deletes_all() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let [id, other] = [add_bulksms(&app, &admin).await, add_bulksms(&app, &admin).await];
    let (_, config) = provider_configs::find(&app, &admin, &id).await.expect("a configuration");
    // As a change leaves them that crashed after it stored new credentials.
    for secret in 2..=25 {
        let leftover = TenantProviderConfig { secret, secret_id: Some("lost".to_owned()), ..config.clone() };
        app.tenant_ports.store_secrets(&tenant(), &leftover, &BTreeMap::new()).await.expect("stored");
    }
    app.tenant_ports.delete_secrets(&tenant(), &config).await.expect("deleted");
    let settings = Some(bulksms(&app, &[("tokenSecret", "new")]));
    let change = ProviderConfigChange { settings, ..ProviderConfigChange::default() };
    let refused = provider_configs::change(&app, &admin, &id, change).await;
    assert!(matches!(refused, Err(ProviderConfigError::CredentialsMissing)), "{refused:?}");
    provider_configs::remove(&app, &admin, &id).await.expect("removed");
    let left = secrets(&app).await;
    assert!(left.len() == 1 && left[0].starts_with(&other), "{left:?}");
}

#[tokio::test]
async fn an_sms_provider_that_is_to_be_inactive_is_never_active() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let existing = add_bulksms(&app, &admin).await;
    let values = [(SmsField::ApiKey, "key"), (SmsField::ApiSecret, "user"), (SmsField::SenderId, "ACME")];
    let values = values.map(|(field, value)| (field, value.to_owned())).into();
    let wanted = SmsProvider { provider: "africastalking".to_owned(), values, is_active: Some(false) };
    sms_provider::set_sms_provider(&app, &admin, &wanted).await.expect("set");
    let (configs, first) = sms_provider::find(&app, &admin).await.expect("configurations");
    let first = first.expect("a configuration");
    assert_eq!(
        (first.provider.as_str(), configs.for_channel(Channel::Sms)[1].id.as_str()),
        ("africastalking", &*existing)
    );
    assert!(configs.disabled.contains(&first.id));
    let stream = AggregateId::<ProviderConfigState>::new(&tenant(), &first.id);
    let records = application::execute::history(&*app.store, &stream).await.expect("events");
    let commands: Vec<&str> = records.iter().map(|record| record.meta.command.as_str()).collect();
    assert!(commands.len() == 2 && commands[0] == commands[1], "it is added and disabled by one append: {records:?}");
    let none = SmsProvider { provider: "twilio".to_owned(), ..SmsProvider::default() };
    let faults = sms_provider::check(&app, &admin, &none).await.expect("faults");
    assert!(faults.contains(&SmsProviderFault::Required(SmsField::ApiKey)), "{faults:?}");
}

#[tokio::test]
async fn an_order_names_each_configuration_of_the_channel_at_most_once() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let admin = caller(Role::Admin);
    let id = add_bulksms(&app, &admin).await;
    let order = async |channel, ids: &[&str]| {
        provider_configs::order(&app, &admin, channel, ids.iter().map(|id| (*id).to_owned()).collect()).await
    };
    let refused = order(Channel::Sms, &["unknown", &id, &id]).await;
    assert!(matches!(&refused, Err(ProviderConfigError::Order(faults)) if *faults == [OrderFault(0), OrderFault(2)]));
    assert!(order(Channel::Email, &[&id]).await.is_err());
    assert_eq!(order(Channel::Sms, &[&id]).await.expect("ordered"), [id]);
}

#[tokio::test]
async fn use_cases_of_provider_configurations_need_the_permission() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let (admin, operator) = (caller(Role::Admin), caller(Role::Operator));
    let id = add_bulksms(&app, &admin).await;
    let (_, config) = provider_configs::find(&app, &admin, &id).await.expect("a configuration");
    let forbidden = |error: ProviderConfigError| matches!(error, ProviderConfigError::Forbidden(_));
    assert!(provider_configs::all(&app, &operator).await.is_err_and(forbidden));
    assert!(provider_configs::connect(&app, &operator, &config).await.is_err_and(forbidden));
    assert!(provider_configs::order(&app, &operator, Channel::Sms, Vec::new()).await.is_err_and(forbidden));
    assert!(sms_provider::set_sms_provider(&app, &operator, &SmsProvider::default()).await.is_err_and(forbidden));
    assert!(provider_configs::kinds(&app, &operator).is_err());
    assert!(provider_configs::connect(&app, &admin, &config).await.is_ok());
    assert_eq!(provider_status::list(&app, &operator).await.expect("an operator sees their state").len(), 1);
}

#[tokio::test]
async fn an_event_whose_invoice_must_be_printed_is_left_to_a_function_with_a_printer() {
    let UseCases { app, _scratch, .. } = UseCases::new();
    let app = App { has_sandbox: true, ..app };
    let caller = Caller::new(Principal::admin(tenant(), "erp", Mode::Test));
    let sale = json!({
        "sale": { "id": "1", "number": "INV-1", "date": "2027-01-10", "total": "5", "currency": "EUR",
                  "lines": [{ "description": "Rope" }] },
        "customer": { "id": "1", "email": "ada@example.com" },
    });
    let new = NewEvent {
        source: "erp".to_owned(),
        event_id: "1".to_owned(),
        occurred_at: None,
        via: IntakeChannel::Http,
        stored: StoredEvent { kind: "sale.created".to_owned(), version: 1, data: sale },
    };
    let taken = business_events::receive(&app, &caller, new).await.expect("stored");
    let left = business_events::handle(&app, &caller, taken).await.expect("left alone");
    assert_eq!((left.event.status, left.event.acts.len()), (EventStatus::Received, 0));
    let (_, wake) = business_events::find(&app, &caller, &left.id).await.expect("an event");
    assert!(wake.is_some(), "its timer has it handled");
    let app = App { printer: Some(Arc::new(pdf::PdfPrinter::default())), ..app };
    let handled = business_events::handle(&app, &caller, left).await.expect("handled");
    let sent = handled.event.acts.iter().find(|act| act.channel == Some(Channel::Email)).expect("an email");
    assert_eq!((handled.event.status, &sent.skipped, &sent.note), (EventStatus::Handled, &None, &None));
}
