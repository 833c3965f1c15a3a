//! The settings that the pages need in addition to those of the webhook function, whose program serves them.

use application::links::LinkKeys;
use application::settings::{SettingError, Settings};

/// The settings of the pages.
pub struct Config {
    /// `FILES_BUCKET`: the S3 bucket of uploaded files.
    pub files_bucket: String,
    /// `LINK_KEYS`: the keys of signed links. Required.
    pub link_keys: LinkKeys,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingError`]: a setting is missing or invalid.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        Ok(Config { files_bucket: settings.get_or("FILES_BUCKET", ""), link_keys: settings.link_keys()? })
    }
}
