//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use application::settings::{SettingError, Settings, TableNames};

/// The settings of the function.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`. Required.
    pub tables: TableNames,
    /// `VIEWS_TABLE`: rows and counters. Required.
    pub views_table: String,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { tables: settings.tables()?, views_table: settings.require("VIEWS_TABLE")? })
    }
}
