//! The settings of the function. Only its program reads the environment.

use std::collections::BTreeMap;

use application::links::LinkKeys;
use application::settings::{DeploymentProviderConfig, SettingError, Settings, TableNames};
use domain::ports::QueueId;
use events::RateLimit;

/// The settings of the function.
pub struct Config {
    pub tables: TableNames,
    /// `QUEUE_<NAME>_URL`, such as `QUEUE_EMAIL_HIGH_URL`: the queues of this channel and of the channels of its
    /// fallbacks.
    pub queues: Vec<(QueueId, String)>,
    /// `ALERTS_TOPIC_ARN`: the SNS topic of alerts. Required.
    pub alerts_topic: String,
    /// `PROVIDER_TIMEOUT_MS`: how long a call to a provider may take, in milliseconds. Default: 10000.
    pub provider_timeout_ms: u64,
    /// `TENANT_RATE`: the rate limit of each tenant, as `burst,perSecond`. Default: only the providers' limits.
    pub tenant_rate: Option<RateLimit>,
    /// `GLOBAL_RATE`: the rate limit of all tenants together, as `burst,perSecond`. Default: only the providers'
    /// limits.
    pub global_rate: Option<RateLimit>,
    /// `SENDGRID_…`, `TWILIO_…`: the deployment's provider configurations.
    pub configured: Vec<DeploymentProviderConfig>,
    /// `SENDGRID_BASE_URL`, `TWILIO_BASE_URL`: the addresses of providers, by name. Default: their public addresses.
    pub bases: BTreeMap<String, String>,
    /// `PUBLIC_URL`: the address of the deployment that providers call, without a slash at the end.
    pub public_url: String,
    /// `FILES_BUCKET`: the S3 bucket of uploaded files and of copies of fetched ones. Required.
    pub files_bucket: String,
    /// `LINK_KEYS`: the keys of links to unsubscribe. Without them, emails have no such link.
    pub link_keys: Option<LinkKeys>,
    /// `SECRETS_KEY_ID`: the KMS key that encrypts tenants' credentials.
    pub secrets_key: String,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingError`]: a setting is missing or invalid.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config {
            tables: settings.tables()?,
            queues: settings.queues(),
            alerts_topic: settings.require("ALERTS_TOPIC_ARN")?,
            provider_timeout_ms: settings.number("PROVIDER_TIMEOUT_MS", 10_000)?,
            tenant_rate: settings.rate("TENANT_RATE")?,
            global_rate: settings.rate("GLOBAL_RATE")?,
            configured: settings.deployment_provider_configs()?,
            bases: settings.base_urls(),
            public_url: settings.get_or("PUBLIC_URL", ""),
            files_bucket: settings.require("FILES_BUCKET")?,
            link_keys: settings.get("LINK_KEYS").map(|_| settings.link_keys()).transpose()?,
            secrets_key: settings.get_or("SECRETS_KEY_ID", ""),
        })
    }
}
