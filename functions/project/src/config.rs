//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use application::settings::{SettingError, Settings};

/// The door's settings.
pub struct Config {
    /// `VIEWS_TABLE`: rows and counters. Required.
    pub views_table: String,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { views_table: settings.need("VIEWS_TABLE")? })
    }
}
