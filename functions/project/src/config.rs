//! The settings of the function. Only its program reads the environment.

use application::settings::{SettingError, Settings, TableNames};

/// The settings of the function.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`. Required.
    pub tables: TableNames,
    /// `VIEWS_TABLE`: the table of rows and counters. Required.
    pub views_table: String,
    /// `REPAIRS_QUEUE_URL`: the queue of streams whose change could not be projected. Required.
    pub repairs_queue: String,
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
            repairs_queue: settings.require("REPAIRS_QUEUE_URL")?,
        })
    }
}
