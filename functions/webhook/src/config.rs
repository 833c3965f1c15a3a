//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use shell::settings::{SettingError, Settings, Tables};

use crate::{sendgrid, twilio};

/// The door's settings.
pub struct Config {
    pub tables: Tables,
    /// `SENDGRID_WEBHOOK_KEY`, `SENDGRID_SECOND_WEBHOOK_KEY`: the Event Webhook's verification key of each account. Without
    /// any, SendGrid's callbacks are refused.
    pub sendgrid: Vec<sendgrid::Verifier>,
    /// `TWILIO_AUTH_TOKEN`, `TWILIO_SECOND_AUTH_TOKEN`, with `PUBLIC_URL`. Without any, Twilio's callbacks are refused.
    pub twilio: Vec<twilio::Verifier>,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let mut sendgrid = Vec::new();
        for name in ["SENDGRID_WEBHOOK_KEY", "SENDGRID_SECOND_WEBHOOK_KEY"] {
            let Some(key) = settings.get(name) else { continue };
            sendgrid.push(sendgrid::Verifier::new(&key).ok_or(SettingError::NotAKey(name))?);
        }
        let mut twilio = Vec::new();
        for name in ["TWILIO_AUTH_TOKEN", "TWILIO_SECOND_AUTH_TOKEN"] {
            let Some(auth_token) = settings.get(name) else { continue };
            twilio.push(twilio::Verifier { auth_token, public_url: settings.need("PUBLIC_URL")? });
        }
        Ok(Config { tables: settings.tables()?, sendgrid, twilio })
    }
}
