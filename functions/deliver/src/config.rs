//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

/// A setting that is not there or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is not a number")]
    NotANumber(&'static str),
}

/// SendGrid's account.
pub struct SendGridConfig {
    /// `SENDGRID_API_KEY`. Without it there is no email.
    pub api_key: String,
    /// `SENDGRID_BASE_URL`. Default `https://api.sendgrid.com`.
    pub base_url: String,
    /// `SENDGRID_FROM_EMAIL`. Required with the key.
    pub from_email: String,
    /// `SENDGRID_FROM_NAME`. Default: the address.
    pub from_name: String,
}

/// Twilio's account.
pub struct TwilioConfig {
    /// `TWILIO_ACCOUNT_SID`. Without it there is no SMS.
    pub account_sid: String,
    /// `TWILIO_AUTH_TOKEN`. Required with the account.
    pub auth_token: String,
    /// `TWILIO_PHONE_NUMBER`: the number messages come from. Required with the account.
    pub from: String,
    /// `TWILIO_BASE_URL`. Default `https://api.twilio.com`.
    pub base_url: String,
    /// `PUBLIC_URL`: where callbacks reach us, without a slash at the end. Required with the account.
    pub public_url: String,
}

/// The door's settings.
pub struct Config {
    /// `EVENTS_TABLE`, `VAULT_TABLE`, `LIMITS_TABLE`: DynamoDB tables. Required.
    pub events_table: String,
    pub vault_table: String,
    pub limits_table: String,
    /// `QUEUE_<LANE>_URL` of this channel's two queues, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(domain::ports::Lane, String)>,
    /// `ALERTS_TOPIC_ARN`: SNS topic. Required.
    pub alerts_topic: String,
    /// `PROVIDER_TIMEOUT_MS`. Default 10000.
    pub provider_timeout_ms: u64,
    pub sendgrid: Option<SendGridConfig>,
    pub twilio: Option<TwilioConfig>,
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
        let or = |name: &str, default: &str| var(name).unwrap_or_else(|| default.to_owned());
        let sendgrid = match var("SENDGRID_API_KEY") {
            None => None,
            Some(api_key) => {
                let from_email = need("SENDGRID_FROM_EMAIL")?;
                Some(SendGridConfig {
                    api_key,
                    base_url: or("SENDGRID_BASE_URL", "https://api.sendgrid.com"),
                    from_name: or("SENDGRID_FROM_NAME", &from_email),
                    from_email,
                })
            }
        };
        let twilio = match var("TWILIO_ACCOUNT_SID") {
            None => None,
            Some(account_sid) => Some(TwilioConfig {
                account_sid,
                auth_token: need("TWILIO_AUTH_TOKEN")?,
                from: need("TWILIO_PHONE_NUMBER")?,
                base_url: or("TWILIO_BASE_URL", "https://api.twilio.com"),
                public_url: need("PUBLIC_URL")?,
            }),
        };
        let timeout = or("PROVIDER_TIMEOUT_MS", "10000");
        Ok(Config {
            events_table: need("EVENTS_TABLE")?,
            vault_table: need("VAULT_TABLE")?,
            limits_table: need("LIMITS_TABLE")?,
            queues: shell::queues(var),
            alerts_topic: need("ALERTS_TOPIC_ARN")?,
            provider_timeout_ms: timeout.parse().map_err(|_| ConfigError::NotANumber("PROVIDER_TIMEOUT_MS"))?,
            sendgrid,
            twilio,
        })
    }
}
