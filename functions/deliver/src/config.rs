//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use domain::ports::Lane;
use shell::settings::{SettingError, Settings, Tables};

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
    pub tables: Tables,
    /// `QUEUE_<LANE>_URL` of this channel's two queues, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(Lane, String)>,
    /// `ALERTS_TOPIC_ARN`: SNS topic. Required.
    pub alerts_topic: String,
    /// `PROVIDER_TIMEOUT_MS`. Default 10000.
    pub provider_timeout_ms: u64,
    pub sendgrid: Option<SendGridConfig>,
    pub twilio: Option<TwilioConfig>,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let sendgrid = match settings.get("SENDGRID_API_KEY") {
            None => None,
            Some(api_key) => {
                let from_email = settings.need("SENDGRID_FROM_EMAIL")?;
                Some(SendGridConfig {
                    api_key,
                    base_url: settings.or("SENDGRID_BASE_URL", "https://api.sendgrid.com"),
                    from_name: settings.or("SENDGRID_FROM_NAME", &from_email),
                    from_email,
                })
            }
        };
        let twilio = match settings.get("TWILIO_ACCOUNT_SID") {
            None => None,
            Some(account_sid) => Some(TwilioConfig {
                account_sid,
                auth_token: settings.need("TWILIO_AUTH_TOKEN")?,
                from: settings.need("TWILIO_PHONE_NUMBER")?,
                base_url: settings.or("TWILIO_BASE_URL", "https://api.twilio.com"),
                public_url: settings.need("PUBLIC_URL")?,
            }),
        };
        Ok(Config {
            tables: settings.tables()?,
            queues: settings.queues(),
            alerts_topic: settings.need("ALERTS_TOPIC_ARN")?,
            provider_timeout_ms: settings.number("PROVIDER_TIMEOUT_MS", 10_000)?,
            sendgrid,
            twilio,
        })
    }
}
