//! The settings of the function. Only its program reads the environment.

use application::settings::{AppConfig, SettingError, Settings};
use events::TenantId;

use crate::EventSources;

/// The settings of the function.
pub struct Config {
    pub app: AppConfig,
    /// `EVENT_SOURCES`: the sources and accounts that are trusted, and the tenants that they may speak for. JSON. Default
    /// none: every event is parked.
    pub sources: EventSources,
    /// `UNASSIGNED_TENANT`: the tenant under which events are parked that name no tenant. Default `unassigned`.
    pub unassigned: TenantId,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`SettingError`]: a setting is missing or invalid.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let sources = settings.get_or("EVENT_SOURCES", "[]");
        let sources = EventSources::parse(&sources).map_err(|why| SettingError::NotSources("EVENT_SOURCES", why))?;
        let unassigned = settings.get_or("UNASSIGNED_TENANT", "unassigned");
        let unassigned = unassigned.parse().map_err(|_| SettingError::NotATenant("UNASSIGNED_TENANT"))?;
        Ok(Config { app: AppConfig::read(&settings)?, sources, unassigned })
    }
}
