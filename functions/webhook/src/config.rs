//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use shell::settings::{SettingError, Settings, Tables};

use crate::{sendgrid, twilio};

/// The door's settings.
pub struct Config {
    pub tables: Tables,
    /// `SENDGRID_WEBHOOK_KEY`: the Event Webhook's verification key. Without it SendGrid's callbacks are refused.
    pub sendgrid: Option<sendgrid::Verifier>,
    /// `TWILIO_AUTH_TOKEN`, with `PUBLIC_URL`. Without it Twilio's callbacks are refused.
    pub twilio: Option<twilio::Verifier>,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let key = |key: String| sendgrid::Verifier::new(&key).ok_or(SettingError::NotAKey("SENDGRID_WEBHOOK_KEY"));
        let twilio = match settings.get("TWILIO_AUTH_TOKEN") {
            None => None,
            Some(auth_token) => Some(twilio::Verifier { auth_token, public_url: settings.need("PUBLIC_URL")? }),
        };
        Ok(Config {
            tables: settings.tables()?,
            sendgrid: settings.get("SENDGRID_WEBHOOK_KEY").map(key).transpose()?,
            twilio,
        })
    }
}
