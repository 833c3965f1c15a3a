//! The settings of the function. Only its program reads the environment.

use application::settings::{SettingError, Settings, TableNames};
use domain::ports::QueueId;

/// The settings of the function.
pub struct Config {
    pub tables: TableNames,
    /// `QUEUE_<NAME>_URL` of every priority queue, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingError`]: a setting is missing or invalid.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { tables: settings.tables()?, queues: settings.queues() })
    }
}
