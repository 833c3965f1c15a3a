//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use domain::ports::Lane;
use shell::settings::{SettingError, Settings, Tables};

/// The door's settings.
pub struct Config {
    pub tables: Tables,
    /// `QUEUE_<LANE>_URL` of every lane, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(Lane, String)>,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { tables: settings.tables()?, queues: settings.queues() })
    }
}
