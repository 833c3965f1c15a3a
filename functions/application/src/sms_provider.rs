//! A single SMS provider, as some systems configure it: a view of the tenant's first SMS configuration.

use domain::access::{Permission, Reach};
use domain::provider_configs::{TenantProviderConfig, TenantProviderConfigs};
use events::Channel;
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::provider_configs::{self, NewProviderConfig, ProviderConfigChange, ProviderConfigError};
use crate::provider_settings::{CheckedSettings, SmsField, SmsProviderFault};

/// The SMS provider that a caller wants.
#[derive(Debug, Clone, Default)]
pub struct SmsProvider {
    /// The kind of provider, such as `twilio`.
    pub provider: String,
    pub values: Vec<(SmsField, String)>,
    /// `None` does not change it. A new provider is active.
    pub is_active: Option<bool>,
}

/// The setting of a provider for each field that it has. A custom provider has its sender in its body template.
fn settings_of(provider: &str) -> [(SmsField, &'static str); 3] {
    use SmsField::{ApiKey, ApiSecret, ApiUrl, SenderId};
    match provider {
        "africastalking" => [(ApiKey, "apiKey"), (ApiSecret, "username"), (SenderId, "senderId")],
        "bulksms" => [(ApiKey, "tokenId"), (ApiSecret, "tokenSecret"), (SenderId, "from")],
        "custom" => [(ApiKey, AUTHORIZATION), (ApiUrl, "url"), (SenderId, BODY)],
        _ => [(ApiKey, "accountSid"), (ApiSecret, "authToken"), (SenderId, "from")],
    }
}

/// The settings of a custom provider that are made from a field.
const AUTHORIZATION: &str = "authorization";
const BODY: &str = "body";

/// The default body template of a custom provider.
fn custom_body(sender: Option<&str>) -> String {
    let mut body = json!({ "to": "{{to}}", "message": "{{text}}", "reference": "{{reference}}" });
    if let Some(sender) = sender {
        body["from"] = json!(sender);
    }
    body.to_string()
}

/// The value of a field that is not a credential.
pub fn shown_value(config: &TenantProviderConfig, field: SmsField) -> Option<String> {
    let (_, setting) = settings_of(&config.provider).into_iter().find(|(of, _)| *of == field)?;
    let value = config.settings.get(setting)?;
    if setting != BODY {
        return Some(value.clone());
    }
    let body: Value = serde_json::from_str(value).ok()?;
    body["from"].as_str().map(str::to_owned)
}

/// The tenant's configurations, and the first of them for SMS.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn find(
    app: &App,
    caller: &Caller,
) -> Result<(TenantProviderConfigs, Option<TenantProviderConfig>), ProviderConfigError> {
    let configs = provider_configs::all(app, caller).await?;
    let first = configs.for_channel(Channel::Sms).first().map(|config| (*config).clone());
    Ok((configs, first))
}

/// The configuration that [`set`] would change.
async fn current(
    app: &App,
    caller: &Caller,
    provider: &str,
) -> Result<Option<TenantProviderConfig>, ProviderConfigError> {
    Ok(find(app, caller).await?.1.filter(|config| config.provider == provider))
}

fn faults(app: &App, current: Option<&TenantProviderConfig>, wanted: &SmsProvider) -> Vec<SmsProviderFault> {
    let fields = settings_of(&wanted.provider);
    let has_field = |field: SmsField| fields.iter().any(|(of, _)| *of == field);
    let given = || wanted.values.iter().map(|(field, _)| *field);
    let unknown = given().filter(|field| !has_field(*field)).map(SmsProviderFault::Unknown);
    let kind = provider_configs::kind(app, &wanted.provider);
    let is_missing = |(field, setting): &(SmsField, &str)| {
        // The body template of a custom provider has a default.
        let is_needed =
            |name: &str| kind.is_some_and(|kind| kind.settings.iter().any(|s| s.name == name && s.is_required));
        *setting != BODY && is_needed(setting) && !given().any(|of| of == *field)
    };
    let required = fields.iter().filter(|field| current.is_none() && is_missing(field));
    unknown.chain(required.map(|(field, _)| SmsProviderFault::Required(*field))).collect()
}

/// Checks what [`set`] would be given. Nothing is stored.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn check(
    app: &App,
    caller: &Caller,
    wanted: &SmsProvider,
) -> Result<Vec<SmsProviderFault>, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    Ok(faults(app, current(app, caller, &wanted.provider).await?.as_ref(), wanted))
}

/// Changes the first SMS configuration if it is of this provider. Another provider is added before the existing ones.
/// In both cases one append takes effect, or none.
///
/// # Errors
///
/// [`ProviderConfigError::SmsProvider`] as [`check`]: nothing was changed.
pub async fn set_sms_provider(app: &App, caller: &Caller, wanted: &SmsProvider) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let current = current(app, caller, &wanted.provider).await?;
    let faults = faults(app, current.as_ref(), wanted);
    if !faults.is_empty() {
        return Err(ProviderConfigError::SmsProvider(faults));
    }
    let kind = provider_configs::kind(app, &wanted.provider).ok_or(ProviderConfigError::NotFound)?;
    let mut settings = CheckedSettings::new(kind);
    let mut set = |name: &str, value: String| {
        settings.set(name, Some(value)).map_err(|fault| ProviderConfigError::Settings(vec![fault]))
    };
    if current.is_none() && wanted.provider == "custom" {
        set(BODY, custom_body(None))?;
    }
    for (field, setting) in settings_of(&wanted.provider) {
        let Some((_, value)) = wanted.values.iter().find(|(of, _)| *of == field) else { continue };
        let value = match setting {
            AUTHORIZATION => format!("Bearer {value}"),
            BODY => custom_body(Some(value)),
            _ => value.clone(),
        };
        set(setting, value)?;
    }
    match current {
        Some(config) => {
            let is_enabled = wanted.is_active;
            let change = ProviderConfigChange { settings: Some(settings), is_enabled, ..Default::default() };
            provider_configs::change(app, caller, &config.id, change).await
        }
        None => {
            let is_enabled = wanted.is_active.unwrap_or(true);
            let new = NewProviderConfig { channel: Channel::Sms, name: None, settings, rate: None, is_enabled };
            provider_configs::add_first(app, caller, new).await.map(|_| ())
        }
    }
}
