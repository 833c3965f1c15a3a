//! The settings of the function. Only its program reads the environment.

use application::settings::{SettingError, Settings, TableNames};

/// The settings of the function.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`. Required.
    pub tables: TableNames,
    /// `EVENT_BUS`: the name of the bus on EventBridge. Required.
    pub bus: String,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingError`]: a setting is missing or invalid.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { tables: settings.tables()?, bus: settings.require("EVENT_BUS")? })
    }
}
