//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

/// A setting that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set")]
pub struct MissingSetting(&'static str);

/// The door's settings.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`: DynamoDB tables. Required.
    pub events_table: String,
    pub vault_table: String,
    pub limits_table: String,
    /// `ALERTS_TOPIC_ARN`: SNS topic. Required.
    pub alerts_topic: String,
}

impl Config {
    /// `var` is `|name| std::env::var(name).ok()` in main, a map in tests.
    ///
    /// # Errors
    ///
    /// [`MissingSetting`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, MissingSetting> {
        let need = |name| var(name).filter(|value| !value.is_empty()).ok_or(MissingSetting(name));
        Ok(Config {
            events_table: need("EVENTS_TABLE")?,
            vault_table: need("VAULT_TABLE")?,
            limits_table: need("LIMITS_TABLE")?,
            alerts_topic: need("ALERTS_TOPIC_ARN")?,
        })
    }
}
