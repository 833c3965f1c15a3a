//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

/// A setting that is not there or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("SENDGRID_WEBHOOK_KEY is not the public key that SendGrid shows")]
    NotAKey,
}

/// The door's settings.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`: DynamoDB tables. Required.
    pub events_table: String,
    pub vault_table: String,
    pub limits_table: String,
    /// `SENDGRID_WEBHOOK_KEY`: the Event Webhook's verification key. Without it SendGrid's callbacks are refused.
    pub sendgrid: Option<crate::sendgrid::Verifier>,
    /// `TWILIO_AUTH_TOKEN`, with `PUBLIC_URL`. Without it Twilio's callbacks are refused.
    pub twilio: Option<crate::twilio::Verifier>,
}

impl Config {
    /// `var` is `|name| std::env::var(name).ok()` in main, a map in tests.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let need = |name: &'static str| var(name).ok_or(ConfigError::Missing(name));
        let key = |key: String| crate::sendgrid::Verifier::new(&key).ok_or(ConfigError::NotAKey);
        let twilio = match var("TWILIO_AUTH_TOKEN") {
            None => None,
            Some(auth_token) => Some(crate::twilio::Verifier { auth_token, public_url: need("PUBLIC_URL")? }),
        };
        Ok(Config {
            events_table: need("EVENTS_TABLE")?,
            vault_table: need("VAULT_TABLE")?,
            limits_table: need("LIMITS_TABLE")?,
            sendgrid: var("SENDGRID_WEBHOOK_KEY").map(key).transpose()?,
            twilio,
        })
    }
}
