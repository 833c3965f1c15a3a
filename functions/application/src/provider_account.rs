//! Use cases that try a provider configuration: the balance of its account, a check of its credentials, a test message.

use domain::access::{Permission, Reach};
use domain::ports::DocumentKey;
use domain::provider::{AccountQueryError, Balance};
use domain::provider_configs::TenantProviderConfig;
use events::{Channel, MessageType, Priority, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::Caller;
use crate::document;
use crate::hash::hash_of;
use crate::messages::{self, Accepted, ChannelChoice, MessageError, NewContent, NewMessage};
use crate::provider_configs::{ProviderConfigError, connect};

/// How long a balance is cached, in milliseconds.
const BALANCE_TTL_MS: i64 = 3_600_000;
/// How long a provider may take to answer, in milliseconds.
const QUERY_TIMEOUT_MS: u64 = 5_000;

/// A balance, and when the provider was asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CachedBalance {
    pub balance: Balance,
    pub at: Timestamp,
}

fn balance_key(caller: &Caller, config: &TenantProviderConfig) -> DocumentKey {
    let name = format!("{}#{}#{}", config.id, config.secret, caller.principal.mode.as_str());
    DocumentKey { tenant: caller.principal.tenant.clone(), collection: "balance", name }
}

/// The balance as the provider last reported it, at most an hour ago.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn cached_balance(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<Option<CachedBalance>, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let stored = app.tenant_ports.documents.get_document(&balance_key(caller, config), app.host.now()).await?;
    Ok(stored.and_then(|stored| serde_json::from_str(&stored).ok()))
}

/// Asks the provider for the balance.
///
/// # Errors
///
/// [`ProviderConfigError::AccountQuery`]
pub async fn fetch_balance(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<CachedBalance, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let now = app.host.now();
    let provider = connect(app, caller, config).await?;
    let balance = provider.balance(QUERY_TIMEOUT_MS).await;
    let balance =
        balance.map_err(|error| ProviderConfigError::AccountQuery { provider: config.provider.clone(), error })?;
    let fetched = CachedBalance { balance, at: now };
    let body = document::encode(&fetched)?;
    let until = Some(now + BALANCE_TTL_MS);
    app.tenant_ports.documents.put_document(&balance_key(caller, config), &body, until).await?;
    Ok(fetched)
}

/// Asks the provider whether the credentials are valid. The inner result is its answer.
///
/// # Errors
///
/// [`ProviderConfigError`]: the provider could not be asked.
pub async fn check_credentials(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<Result<(), AccountQueryError>, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    Ok(connect(app, caller, config).await?.check_credentials(QUERY_TIMEOUT_MS).await)
}

/// Sends a message through this configuration and no other, even if it is disabled. The outer error is about the
/// configuration, the inner one about the message.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn send_test(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
    to: Option<String>,
    text: Option<String>,
) -> Result<Result<Accepted, MessageError>, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let provider = connect(app, caller, config).await?;
    let is_email = config.channel == Channel::Email;
    let message = NewMessage {
        channel: Some(ChannelChoice::Fixed(config.channel)),
        kind: Some(MessageType::GeneralNotification),
        fingerprint: hash_of(&(&config.id, &to, &text))?,
        to,
        content: NewContent {
            subject: is_email.then(|| format!("A test of {}", config.name)),
            text: text.or_else(|| Some(format!("A test of {} by Tidings.", config.name))),
            ..NewContent::default()
        },
        priority: Some(Priority::Urgent),
        via: Some(config.id.clone()),
        ..NewMessage::default()
    };
    Ok(messages::send_test(app, caller, &message, &*provider).await)
}
