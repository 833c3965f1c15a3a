//! The setting that the pages need in addition to those of the webhook function, whose program serves them.

use application::settings::Settings;

/// The setting of the pages.
pub struct Config {
    /// `FILES_BUCKET`: the S3 bucket of uploaded files.
    pub files_bucket: String,
}

impl Config {
    /// Reads the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Self {
        Config { files_bucket: Settings(var).get_or("FILES_BUCKET", "") }
    }
}
