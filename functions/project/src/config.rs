//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

/// A setting that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set")]
pub struct MissingSetting(&'static str);

/// The door's settings.
pub struct Config {
    /// `VIEWS_TABLE`: DynamoDB table. Required.
    pub views_table: String,
}

impl Config {
    /// `var` is `|name| std::env::var(name).ok()` in main, a map in tests.
    ///
    /// # Errors
    ///
    /// [`MissingSetting`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, MissingSetting> {
        let need = |name| var(name).filter(|value| !value.is_empty()).ok_or(MissingSetting(name));
        Ok(Config { views_table: need("VIEWS_TABLE")? })
    }
}
