//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use std::collections::BTreeMap;

use application::settings::{DeploymentProviderConfig, SettingError, Settings, TableNames};
use domain::ports::QueueId;
use events::RateLimit;

/// The door's settings.
pub struct Config {
    pub tables: TableNames,
    /// `QUEUE_<LANE>_URL`, such as `QUEUE_EMAIL_HIGH_URL`: of this channel, and of those that may be next.
    pub queues: Vec<(QueueId, String)>,
    /// `ALERTS_TOPIC_ARN`: SNS topic. Required.
    pub alerts_topic: String,
    /// `PROVIDER_TIMEOUT_MS`. Default 10000.
    pub provider_timeout_ms: u64,
    /// `TENANT_RATE`: what one tenant may send, as `burst,perSecond`. Default: as much as the providers take.
    pub tenant_rate: Option<RateLimit>,
    /// `GLOBAL_RATE`: what all tenants together may send. Default: as much as the providers take.
    pub global_rate: Option<RateLimit>,
    /// `SENDGRID_…`, `TWILIO_…`: the deployment's own accounts.
    pub configured: Vec<DeploymentProviderConfig>,
    /// `SENDGRID_BASE_URL`, `TWILIO_BASE_URL`.
    pub bases: BTreeMap<String, String>,
    /// `PUBLIC_URL`: where callbacks reach us, without a slash at the end.
    pub public_url: String,
    /// `FILES_BUCKET`: S3, where uploaded files lie, and copies of fetched ones. Required.
    pub files_bucket: String,
    /// `CONTACT_KEY`: what links to unsubscribe are signed with; without it emails have none.
    pub contact_key: Vec<u8>,
    /// `SECRETS_KEY_ID`: the KMS key that tenants' credentials are sealed with.
    pub secrets_key: String,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
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
            contact_key: settings.get_or("CONTACT_KEY", "").into_bytes(),
            secrets_key: settings.get_or("SECRETS_KEY_ID", ""),
        })
    }
}
