//! The settings of the function. Only its program reads the environment.

use std::collections::BTreeMap;

use application::settings::{DeploymentProviderConfig, SettingError, Settings, TableNames};
use domain::ports::QueueId;
use events::TenantId;

/// The settings of the function.
pub struct Config {
    pub tables: TableNames,
    /// `SENDGRID_…`, `TWILIO_…`: the deployment's provider configurations. Callbacks are verified with
    /// `SENDGRID_WEBHOOK_KEY` and `TWILIO_AUTH_TOKEN`.
    pub configured: Vec<DeploymentProviderConfig>,
    /// `SENDGRID_BASE_URL`, `TWILIO_BASE_URL`: the addresses of providers, by name. Default: their public addresses.
    pub bases: BTreeMap<String, String>,
    /// `PUBLIC_URL`: the address of the deployment that providers call, without a slash at the end.
    pub public_url: String,
    /// `CONTACT_KEY`: the key of address hashes. Required.
    pub contact_key: Vec<u8>,
    /// `SECRETS_KEY_ID`: the KMS key that encrypts tenants' credentials.
    pub secrets_key: String,
    /// `QUEUE_<NAME>_URL` of every priority queue, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
    /// `UNMATCHED_QUEUE_URL`: the queue of delivery reports whose message is not known yet.
    pub unmatched_queue: String,
    /// `VIEWS_TABLE`: rows of messages, by their providers' ids. Required.
    pub views_table: String,
    /// `DEPLOYMENT_TENANT`: the tenant that incoming messages on the deployment's accounts belong to, and callbacks that
    /// only contain a provider's message id. Default: none; they are dropped.
    pub deployment_tenant: Option<TenantId>,
    /// `HANDLER`: `unmatched` handles that queue, `http` (the default) handles HTTP.
    pub handles_unmatched: bool,
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
            configured: settings.deployment_provider_configs()?,
            bases: settings.base_urls(),
            public_url: settings.get_or("PUBLIC_URL", ""),
            contact_key: settings.key("CONTACT_KEY")?,
            views_table: settings.require("VIEWS_TABLE")?,
            deployment_tenant: settings.tenant("DEPLOYMENT_TENANT")?,
            secrets_key: settings.get_or("SECRETS_KEY_ID", ""),
            queues: settings.queues(),
            unmatched_queue: settings.get_or("UNMATCHED_QUEUE_URL", ""),
            handles_unmatched: settings.get_or("HANDLER", "http") == "unmatched",
        })
    }
}
