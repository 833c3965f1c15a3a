//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use application::settings::{SettingError, Settings, TableNames};

/// The door's settings.
pub struct Config {
    pub tables: TableNames,
    /// `ALERTS_TOPIC_ARN`: SNS topic. Required.
    pub alerts_topic: String,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { tables: settings.tables()?, alerts_topic: settings.require("ALERTS_TOPIC_ARN")? })
    }
}
