//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use std::collections::BTreeMap;

use application::settings::{DeploymentProviderConfig, SettingError, Settings, TableNames};
use domain::ports::QueueId;

/// The door's settings.
pub struct Config {
    pub tables: TableNames,
    /// `SENDGRID_…`, `TWILIO_…`: the deployment's own accounts, with `SENDGRID_WEBHOOK_KEY` and `TWILIO_AUTH_TOKEN` to
    /// check their callbacks with.
    pub configured: Vec<DeploymentProviderConfig>,
    /// `SENDGRID_BASE_URL`, `TWILIO_BASE_URL`.
    pub bases: BTreeMap<String, String>,
    /// `PUBLIC_URL`: our address as providers know it, without a slash at the end.
    pub public_url: String,
    /// `CONTACT_KEY`: what contact hashes are keyed with. Required.
    pub contact_key: Vec<u8>,
    /// `SECRETS_KEY_ID`: the KMS key that tenants' credentials are sealed with.
    pub secrets_key: String,
    /// `QUEUE_<LANE>_URL` of every lane, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
    /// `FILES_BUCKET`: S3, where uploaded files lie.
    pub files_bucket: String,
    /// `INBOX_QUEUE_URL`: where facts wait whose message is not known yet.
    pub inbox_queue: String,
    /// `DOOR`: `inbox` serves that queue; anything else serves HTTP.
    pub is_inbox: bool,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config {
            tables: settings.tables()?,
            configured: settings.deployment_provider_configs()?,
            bases: settings.base_urls(),
            public_url: settings.get_or("PUBLIC_URL", ""),
            contact_key: settings.require("CONTACT_KEY")?.into_bytes(),
            secrets_key: settings.get_or("SECRETS_KEY_ID", ""),
            queues: settings.queues(),
            files_bucket: settings.get_or("FILES_BUCKET", ""),
            inbox_queue: settings.get_or("INBOX_QUEUE_URL", ""),
            is_inbox: settings.get_or("DOOR", "http") == "inbox",
        })
    }
}
