//! The settings of the function. Only its program reads the environment.

use application::settings::{SettingError, Settings, TableNames};

/// The settings of the function.
pub struct Config {
    pub tables: TableNames,
    /// `VIEWS_TABLE`: the table of rows and counters. Required.
    pub views_table: String,
    /// `ALERTS_TOPIC_ARN`: the SNS topic of alerts. Required.
    pub alerts_topic: String,
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
            views_table: settings.require("VIEWS_TABLE")?,
            alerts_topic: settings.require("ALERTS_TOPIC_ARN")?,
        })
    }
}
