//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use domain::gate::Rate;
use domain::ports::{Account, Lane};
use shell::settings::{SettingError, Settings, Tables};

/// One SendGrid account. The second one's settings begin with `SENDGRID_SECOND_`; it is tried when the first is not called.
pub struct SendGridConfig {
    pub account: Account,
    /// `SENDGRID_API_KEY`. Without it the account is not used.
    pub api_key: String,
    /// `SENDGRID_BASE_URL`. Default `https://api.sendgrid.com`. For both accounts.
    pub base_url: String,
    /// `SENDGRID_FROM_EMAIL`. Required with a key. For both accounts.
    pub from_email: String,
    /// `SENDGRID_FROM_NAME`. Default: the address. For both accounts.
    pub from_name: String,
}

/// One Twilio account. The second one's settings begin with `TWILIO_SECOND_`.
pub struct TwilioConfig {
    pub account: Account,
    /// `TWILIO_ACCOUNT_SID`. Without it the account is not used.
    pub account_sid: String,
    /// `TWILIO_AUTH_TOKEN`. Required with the account.
    pub auth_token: String,
    /// `TWILIO_PHONE_NUMBER`: the number messages come from. Required with the account.
    pub from: String,
    /// `TWILIO_BASE_URL`. Default `https://api.twilio.com`. For both accounts.
    pub base_url: String,
    /// `PUBLIC_URL`: where callbacks reach us, without a slash at the end. Required with an account.
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
    /// `TENANT_RATE`: what one tenant may send, as `burst,perSecond`. Default: as much as the providers take.
    pub tenant_rate: Option<Rate>,
    /// `GLOBAL_RATE`: what all tenants together may send. Default: as much as the providers take.
    pub global_rate: Option<Rate>,
    pub sendgrid: Vec<SendGridConfig>,
    pub twilio: Vec<TwilioConfig>,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let (mut sendgrid, mut twilio) = (Vec::new(), Vec::new());
        for account in settings.accounts()? {
            match account.config.as_str() {
                "sendgrid" => sendgrid.extend(read_sendgrid(&settings, account, "SENDGRID_API_KEY")?),
                "sendgrid-second" => sendgrid.extend(read_sendgrid(&settings, account, "SENDGRID_SECOND_API_KEY")?),
                "twilio" => {
                    let names = ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"];
                    twilio.extend(read_twilio(&settings, account, names)?);
                }
                "twilio-second" => {
                    let names = ["TWILIO_SECOND_ACCOUNT_SID", "TWILIO_SECOND_AUTH_TOKEN", "TWILIO_SECOND_PHONE_NUMBER"];
                    twilio.extend(read_twilio(&settings, account, names)?);
                }
                _ => (),
            }
        }
        Ok(Config {
            tables: settings.tables()?,
            queues: settings.queues(),
            alerts_topic: settings.need("ALERTS_TOPIC_ARN")?,
            provider_timeout_ms: settings.number("PROVIDER_TIMEOUT_MS", 10_000)?,
            tenant_rate: settings.rate("TENANT_RATE")?,
            global_rate: settings.rate("GLOBAL_RATE")?,
            sendgrid,
            twilio,
        })
    }
}

fn read_sendgrid<F: Fn(&str) -> Option<String>>(
    settings: &Settings<F>,
    account: Account,
    key: &str,
) -> Result<Option<SendGridConfig>, SettingError> {
    let Some(api_key) = settings.get(key) else { return Ok(None) };
    let from_email = settings.need("SENDGRID_FROM_EMAIL")?;
    Ok(Some(SendGridConfig {
        account,
        api_key,
        base_url: settings.or("SENDGRID_BASE_URL", "https://api.sendgrid.com"),
        from_name: settings.or("SENDGRID_FROM_NAME", &from_email),
        from_email,
    }))
}

fn read_twilio<F: Fn(&str) -> Option<String>>(
    settings: &Settings<F>,
    account: Account,
    [sid, token, number]: [&'static str; 3],
) -> Result<Option<TwilioConfig>, SettingError> {
    let Some(account_sid) = settings.get(sid) else { return Ok(None) };
    Ok(Some(TwilioConfig {
        account,
        account_sid,
        auth_token: settings.need(token)?,
        from: settings.need(number)?,
        base_url: settings.or("TWILIO_BASE_URL", "https://api.twilio.com"),
        public_url: settings.need("PUBLIC_URL")?,
    }))
}
