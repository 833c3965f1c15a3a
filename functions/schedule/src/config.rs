//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use application::settings::{SettingError, Settings, TableNames};
use domain::ports::QueueId;

/// The door's settings.
pub struct Config {
    pub tables: TableNames,
    /// `QUEUE_<LANE>_URL` of every lane, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
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
