//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use domain::ports::Lane;

/// A setting that is not there or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is not a number")]
    NotANumber(&'static str),
}

/// The door's settings.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `VIEWS_TABLE`, `LIMITS_TABLE`: DynamoDB tables. Required.
    pub events_table: String,
    pub vault_table: String,
    pub views_table: String,
    pub limits_table: String,
    /// `QUEUE_<LANE>_URL` of every lane, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(Lane, String)>,
    /// `CONTACT_KEY`: what contact hashes are keyed with. Required; never changed afterwards.
    pub contact_key: Vec<u8>,
    /// `RETENTION_DAYS`: how long personal data is kept. Default 400.
    pub retention_days: i64,
}

impl Config {
    /// `var` is `|name| std::env::var(name).ok()` in main, a map in tests.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let need = |name| var(name).filter(|value| !value.is_empty()).ok_or(ConfigError::Missing(name));
        let days = var("RETENTION_DAYS").unwrap_or_else(|| "400".to_owned());
        Ok(Config {
            events_table: need("EVENTS_TABLE")?,
            vault_table: need("VAULT_TABLE")?,
            views_table: need("VIEWS_TABLE")?,
            limits_table: need("LIMITS_TABLE")?,
            queues: shell::queues(&var),
            contact_key: need("CONTACT_KEY")?.into_bytes(),
            retention_days: days.parse().map_err(|_| ConfigError::NotANumber("RETENTION_DAYS"))?,
        })
    }
}
