//! The API of a single SMS provider, which some systems use: a view of the tenant's first SMS channel.

use application::Caller;
use application::provider_account;
use application::provider_configs::{self, GivenSettings, NewProviderConfig, ProviderConfigChange};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::provider_configs::{RoutingCommand, TenantProviderConfig, TenantProviderConfigs};
use events::Channel;
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::channels::present_balance;
use crate::fields::{BodyReader, show_time};
use crate::{Api, Shared, json, read_body};

pub(crate) const PROVIDERS: [&str; 4] = ["AFRICASTALKING", "TWILIO", "BULKSMS", "CUSTOM"];

/// (the field of this API, our setting) of each provider.
fn names(provider: &str) -> [(&'static str, &'static str); 3] {
    match provider {
        "africastalking" => [("apiKey", "apiKey"), ("apiSecret", "username"), ("senderId", "senderId")],
        "bulksms" => [("apiKey", "tokenId"), ("apiSecret", "tokenSecret"), ("senderId", "from")],
        "custom" => [("apiKey", "authorization"), ("apiUrl", "url"), ("senderId", "")],
        _ => [("apiKey", "accountSid"), ("apiSecret", "authToken"), ("senderId", "from")],
    }
}

fn none() -> Problem {
    Problem::new(ProblemKind::NotFound, "No SMS provider is configured yet. PUT /api/sms-provider/config creates one.")
}

impl Api {
    async fn sms(&self, caller: &Caller) -> Result<(TenantProviderConfigs, Option<TenantProviderConfig>), Problem> {
        let configs = provider_configs::list(&self.app, caller).await?;
        let first = configs.for_channel(Channel::Sms).first().map(|config| (*config).clone());
        Ok((configs, first))
    }

    /// The configuration without its credentials.
    async fn show_sms(&self, caller: &Caller) -> Result<Response, Problem> {
        let (configs, config) = self.sms(caller).await?;
        let config = config.ok_or_else(none)?;
        let balance = provider_account::cached_balance(&self.app, caller, &config).await?;
        let own = |field: &str| {
            let (_, setting) = names(&config.provider).into_iter().find(|(name, _)| *name == field)?;
            config.settings.get(setting).cloned()
        };
        let body = json!({
            "id": config.id,
            "provider": config.provider.to_uppercase(),
            "apiUrl": own("apiUrl"),
            "senderId": own("senderId").or_else(|| sender(&config)),
            "isActive": !configs.disabled.contains(&config.id),
            "balance": balance.as_ref().map(|kept| &kept.balance.amount),
            "balanceUnit": balance.as_ref().map(|kept| &kept.balance.unit),
            "balanceLastChecked": balance.as_ref().map(|kept| show_time(kept.at)),
            "createdAt": show_time(config.added_at),
            "updatedAt": show_time(config.changed_at),
        });
        Ok(json(StatusCode::OK, &body))
    }
}

/// The sender in the body template of a custom provider.
fn sender(config: &TenantProviderConfig) -> Option<String> {
    let body: Value = serde_json::from_str(config.settings.get("body")?).ok()?;
    body["from"].as_str().map(str::to_owned)
}

/// The default body template of a custom provider.
fn custom_body(sender: Option<&str>) -> String {
    let mut body = json!({ "to": "{{to}}", "message": "{{text}}", "reference": "{{reference}}" });
    if let Some(sender) = sender {
        body["from"] = json!(sender);
    }
    body.to_string()
}

pub(crate) async fn get(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    api.show_sms(&caller).await
}

/// A new provider is added before the existing ones. The current provider is changed.
pub(crate) async fn put(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let provider = fields.required("provider", |f| f.one_of("provider", &PROVIDERS));
    let given: Vec<(&str, Option<String>)> =
        ["apiKey", "apiSecret", "apiUrl", "senderId"].map(|name| (name, fields.text(name, 2_000))).into();
    let is_active = fields.flag("isActive");
    let provider = provider.unwrap_or_default().to_lowercase();
    let wanted = names(&provider).map(|(name, _)| name);
    for (name, value) in &given {
        if value.is_some() && !wanted.contains(name) {
            fields.add_error(name, "unknown_setting", format!("This provider has no setting {name}."));
        }
    }
    let value = |field: &str| given.iter().find(|(name, _)| *name == field).and_then(|(_, value)| value.clone());
    let (_, first) = api.sms(&caller).await?;
    let first = first.filter(|config| config.provider == provider);
    let kind = provider_configs::kind(&api.app, &provider);
    for (field, setting) in names(&provider) {
        let is_needed = kind.is_some_and(|kind| kind.settings.iter().any(|s| s.name == setting && s.is_required));
        if first.is_none() && is_needed && value(field).is_none() {
            fields.add_error(field, "required", format!("{field} is required."));
        }
    }
    fields.finish()?;
    let kind = kind.ok_or_else(none)?;
    let mut settings = GivenSettings::default();
    let mut put = |setting: &str, value: String| {
        let is_secret = kind.settings.iter().any(|known| known.name == setting && known.is_secret);
        if is_secret { &mut settings.secret } else { &mut settings.plain }.insert(setting.to_owned(), value);
    };
    for (field, setting) in names(&provider) {
        match (value(field), setting) {
            (Some(key), "authorization") => put(setting, format!("Bearer {key}")),
            (Some(sender), "") => put("body", custom_body(Some(&sender))),
            (Some(value), setting) => put(setting, value),
            (None, _) => (),
        }
    }
    match first {
        Some(config) => {
            let change = ProviderConfigChange {
                settings: Some(settings),
                is_enabled: is_active,
                ..ProviderConfigChange::default()
            };
            provider_configs::change(&api.app, &caller, &config, change).await?;
        }
        None => {
            if provider == "custom" {
                settings.plain.entry("body".to_owned()).or_insert_with(|| custom_body(None));
            }
            let (channel, is_enabled) = (Channel::Sms, is_active.unwrap_or(true));
            let new = NewProviderConfig { kind, channel, name: None, settings, rate: None, is_enabled };
            let config = provider_configs::add(&api.app, &caller, new).await?;
            let command = RoutingCommand::UseFirst { channel: Channel::Sms, config };
            provider_configs::route(&api.app, &caller, command).await?;
        }
    }
    api.show_sms(&caller).await
}

/// Asks the provider for the balance.
pub(crate) async fn balance(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let config = api.sms(&caller).await?.1.ok_or_else(none)?;
    Ok(json(StatusCode::OK, &present_balance(&provider_account::fetch_balance(&api.app, &caller, &config).await?)))
}

pub(crate) async fn test(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let to = fields.required("phoneNumber", |f| f.text("phoneNumber", 40));
    let text = fields.text("message", 1_600);
    fields.finish()?;
    let config = api.sms(&caller).await?.1.ok_or_else(none)?;
    api.send_test(&caller, &config, ("/phoneNumber", to), text).await
}
