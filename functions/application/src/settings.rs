//! Reads settings. The `config.rs` of each function names its own settings.

use std::collections::BTreeMap;

use domain::address::is_country_list;
use domain::ports::{ProviderConfig, QueueId};
use domain::prices::{PriceList, PriceListError};
use domain::{policy, public_url};
use events::RateLimit;
use events::{Channel, Mode, TenantId};

use crate::links::LinkKeys;
use crate::retention::RetentionPeriods;

/// Minimum length of a key.
const MIN_KEY_BYTES: usize = 32;

/// A setting that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is not a number")]
    NotANumber(&'static str),
    #[error("{0} is not the name of a tenant")]
    NotATenant(&'static str),
    #[error("{0} is not a list of sources: {1}")]
    NotSources(&'static str, String),
    #[error("{0} is not a key of at least 32 characters")]
    NotAKey(&'static str),
    #[error("{0} is not a rate such as 100,10: a burst of 100, then 10 a second")]
    NotARate(&'static str),
    #[error("{0} is not a list of countries such as KE,TZ, or *")]
    NotCountries(&'static str),
    #[error("{0} is not the address of a payment page: {1}")]
    NotAPaymentPage(&'static str, &'static str),
    #[error("{0} is not a price list: {1}")]
    NotAPriceList(&'static str, PriceListError),
}

/// The source of settings: `|name| std::env::var(name).ok()` in main, a map in tests. An empty value counts as missing.
pub struct Settings<F>(pub F);

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    pub fn get_or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    /// # Errors
    ///
    /// [`SettingError::Missing`]
    pub fn require(&self, name: &'static str) -> Result<String, SettingError> {
        self.get(name).ok_or(SettingError::Missing(name))
    }

    /// A key of at least 32 characters, such as `openssl rand -hex 32` prints.
    ///
    /// # Errors
    ///
    /// [`SettingError::Missing`], [`SettingError::NotAKey`]
    pub fn key(&self, name: &'static str) -> Result<Vec<u8>, SettingError> {
        let key = self.require(name)?.into_bytes();
        if key.len() < MIN_KEY_BYTES { Err(SettingError::NotAKey(name)) } else { Ok(key) }
    }

    /// `LINK_KEYS`: the key that links are signed with, and after a comma each earlier one whose links are still valid.
    ///
    /// # Errors
    ///
    /// [`SettingError::Missing`], [`SettingError::NotAKey`]
    pub fn link_keys(&self) -> Result<LinkKeys, SettingError> {
        const NAME: &str = "LINK_KEYS";
        let text = self.require(NAME)?;
        let mut keys = text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(|key| key.as_bytes().to_vec());
        if keys.clone().any(|key| key.len() < MIN_KEY_BYTES) {
            return Err(SettingError::NotAKey(NAME));
        }
        let current = keys.next().ok_or(SettingError::Missing(NAME))?;
        Ok(keys.fold(LinkKeys::new(current), LinkKeys::accept))
    }

    /// # Errors
    ///
    /// [`SettingError::NotANumber`]
    pub fn number<T: std::str::FromStr>(&self, name: &'static str, default: T) -> Result<T, SettingError> {
        let text = self.get(name);
        text.map_or(Ok(default), |text| text.parse().map_err(|_| SettingError::NotANumber(name)))
    }

    /// # Errors
    ///
    /// [`SettingError::NotATenant`]
    pub fn tenant(&self, name: &'static str) -> Result<Option<TenantId>, SettingError> {
        self.get(name).map(|text| text.parse().map_err(|_| SettingError::NotATenant(name))).transpose()
    }

    /// The queues that `QUEUE_<NAME>_URL` settings name, such as `QUEUE_EMAIL_HIGH_URL`.
    pub fn queues(&self) -> Vec<(QueueId, String)> {
        let url = |queue: QueueId| {
            let name = queue.name().replace('-', "_").to_uppercase();
            Some((queue, self.get(&format!("QUEUE_{name}_URL"))?))
        };
        QueueId::all().filter_map(url).collect()
    }

    /// `100,10`: a burst of 100, then 10 a second.
    ///
    /// # Errors
    ///
    /// [`SettingError::NotARate`]
    pub fn rate(&self, name: &'static str) -> Result<Option<RateLimit>, SettingError> {
        let text = self.get(name);
        text.map(|text| RateLimit::parse(&text).ok_or(SettingError::NotARate(name))).transpose()
    }

    /// `KE,TZ`, or `*` for all countries. Without the setting there are none.
    ///
    /// # Errors
    ///
    /// [`SettingError::NotCountries`]
    pub fn countries(&self, name: &'static str) -> Result<String, SettingError> {
        let text = self.get_or(name, "");
        if text.is_empty() || is_country_list(&text) { Ok(text) } else { Err(SettingError::NotCountries(name)) }
    }

    /// `https://pay.example.com`: the address before `/pay/`.
    ///
    /// # Errors
    ///
    /// [`SettingError::NotAPaymentPage`]
    pub fn payment_url(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        let text = self.get(name);
        let read = text.map(|text| public_url::check_page(&text));
        read.transpose().map_err(|fault| SettingError::NotAPaymentPage(name, fault))
    }

    /// `KES KE=0.80, *=2`: what a message costs, by country.
    ///
    /// # Errors
    ///
    /// [`SettingError::NotAPriceList`]
    pub fn prices(&self, name: &'static str) -> Result<Option<PriceList>, SettingError> {
        let text = self.get(name);
        let read = text.map(|text| PriceList::parse(&text));
        read.transpose().map_err(|error| SettingError::NotAPriceList(name, error))
    }

    /// The provider configurations that a deployment may have, in the order they are tried.
    ///
    /// # Errors
    ///
    /// [`SettingError`]
    pub fn deployment_configs(&self) -> Result<Vec<ProviderConfig>, SettingError> {
        let account = |(config, provider, channel, rate, prices): Account| {
            let rate = self.rate(rate)?.unwrap_or_else(|| policy::default_rate_limit(provider, channel));
            let (config, provider) = (config.to_owned(), provider.to_owned());
            let prices = self.prices(prices)?;
            Ok(ProviderConfig { id: config, provider, channel, mode: Mode::Live, rate, prices })
        };
        ACCOUNTS.into_iter().map(account).collect()
    }

    /// # Errors
    ///
    /// [`SettingError::Missing`]
    pub fn tables(&self) -> Result<TableNames, SettingError> {
        Ok(TableNames {
            events: self.require("EVENTS_TABLE")?,
            vault: self.require("VAULT_TABLE")?,
            limits: self.require("LIMITS_TABLE")?,
        })
    }
}

/// The settings of the functions that run use cases: `api` and `process`.
pub struct AppConfig {
    pub tables: TableNames,
    /// `VIEWS_TABLE`: rows and counters. Required.
    pub views_table: String,
    /// `QUEUE_<NAME>_URL` of every work queue, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
    /// `PROVIDERS`: the provider configurations that the deployment has, such as `sendgrid,twilio`. Their rates and
    /// prices are those of the deliver functions: `SENDGRID_RATE`, `SENDGRID_PRICES`, `TWILIO_RATE`, `TWILIO_PRICES`.
    pub accounts: Vec<ProviderConfig>,
    /// `TENANT_RATE`: the rate limit of each tenant, as in the deliver functions.
    pub tenant_rate: Option<RateLimit>,
    /// `SMS_COUNTRIES`: the countries that the deployment's accounts send SMS to, such as `KE,TZ`, or `*`. Default: none.
    pub sms_countries: String,
    /// `ALERTS_TOPIC_ARN`: the SNS topic of alerts. Required.
    pub alerts_topic: String,
    /// `PUBLIC_URL`: the public address, which providers send callbacks to, without a slash at the end.
    pub public_url: String,
    /// `SECRETS_KEY_ID`: the KMS key that tenants' credentials are encrypted with.
    pub secrets_key: String,
    /// `FILES_BUCKET`: the S3 bucket of uploaded files. Required.
    pub files_bucket: String,
    /// `CONTACT_KEY`: the key of address hashes. Required. It must never change.
    pub contact_key: Vec<u8>,
    /// `LINK_KEYS`: the keys of signed links. Required.
    pub link_keys: LinkKeys,
    /// `PAYMENT_URL`: where customers pay, if their tenant has no payment page of its own. Default: a page of this
    /// deployment.
    pub payment_url: Option<String>,
    /// `RETENTION_SHORT_DAYS`, `RETENTION_DAYS`, `RETENTION_LONG_DAYS`: how long personal data is kept, by class.
    /// Default 7, 400 and 2557.
    pub retention: RetentionPeriods,
}

impl AppConfig {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read<F: Fn(&str) -> Option<String>>(settings: &Settings<F>) -> Result<Self, SettingError> {
        let named = settings.get_or("PROVIDERS", "");
        let named: Vec<&str> = named.split(',').map(str::trim).collect();
        let mut accounts = settings.deployment_configs()?;
        accounts.retain(|account| named.contains(&account.id.as_str()));
        Ok(AppConfig {
            accounts,
            sms_countries: settings.countries("SMS_COUNTRIES")?,
            alerts_topic: settings.require("ALERTS_TOPIC_ARN")?,
            tenant_rate: settings.rate("TENANT_RATE")?,
            tables: settings.tables()?,
            views_table: settings.require("VIEWS_TABLE")?,
            queues: settings.queues(),
            public_url: settings.get_or("PUBLIC_URL", ""),
            secrets_key: settings.get_or("SECRETS_KEY_ID", ""),
            files_bucket: settings.require("FILES_BUCKET")?,
            contact_key: settings.key("CONTACT_KEY")?,
            link_keys: settings.link_keys()?,
            payment_url: settings.payment_url("PAYMENT_URL")?,
            retention: RetentionPeriods::days(
                settings.number("RETENTION_SHORT_DAYS", 7)?,
                settings.number("RETENTION_DAYS", 400)?,
                settings.number("RETENTION_LONG_DAYS", 2_557)?,
            ),
        })
    }
}

/// (our name, the provider's name, its channel, the settings of its rate and of its prices). `<PROVIDER>_RATE` and
/// `<PROVIDER>_PRICES` apply to each of its accounts.
type Account = (&'static str, &'static str, Channel, &'static str, &'static str);

const ACCOUNTS: [Account; 4] = [
    ("sendgrid", "sendgrid", Channel::Email, "SENDGRID_RATE", "SENDGRID_PRICES"),
    ("sendgrid-second", "sendgrid", Channel::Email, "SENDGRID_RATE", "SENDGRID_PRICES"),
    ("twilio", "twilio", Channel::Sms, "TWILIO_RATE", "TWILIO_PRICES"),
    ("twilio-second", "twilio", Channel::Sms, "TWILIO_RATE", "TWILIO_PRICES"),
];

/// A provider configuration of the deployment, with its settings.
#[derive(Debug, Clone)]
pub struct DeploymentProviderConfig {
    pub account: ProviderConfig,
    pub settings: BTreeMap<String, String>,
    /// The path of its callbacks, which follows `PUBLIC_URL`.
    pub callback_path: &'static str,
}

/// (our name, the required setting, [(the provider's name of a setting, our name of it)]).
type Named = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const SETTINGS: [Named; 4] = [
    (
        "sendgrid",
        "SENDGRID_API_KEY",
        &[
            ("apiKey", "SENDGRID_API_KEY"),
            ("fromEmail", "SENDGRID_FROM_EMAIL"),
            ("fromName", "SENDGRID_FROM_NAME"),
            ("webhookKey", "SENDGRID_WEBHOOK_KEY"),
        ],
    ),
    (
        "sendgrid-second",
        "SENDGRID_SECOND_API_KEY",
        &[
            ("apiKey", "SENDGRID_SECOND_API_KEY"),
            ("fromEmail", "SENDGRID_FROM_EMAIL"),
            ("fromName", "SENDGRID_FROM_NAME"),
            ("webhookKey", "SENDGRID_SECOND_WEBHOOK_KEY"),
        ],
    ),
    (
        "twilio",
        "TWILIO_ACCOUNT_SID",
        &[("accountSid", "TWILIO_ACCOUNT_SID"), ("authToken", "TWILIO_AUTH_TOKEN"), ("from", "TWILIO_PHONE_NUMBER")],
    ),
    (
        "twilio-second",
        "TWILIO_SECOND_ACCOUNT_SID",
        &[
            ("accountSid", "TWILIO_SECOND_ACCOUNT_SID"),
            ("authToken", "TWILIO_SECOND_AUTH_TOKEN"),
            ("from", "TWILIO_SECOND_PHONE_NUMBER"),
        ],
    ),
];

/// The path of the callbacks to a configuration of the deployment.
pub fn callback_path(provider: &str, channel: Channel) -> &'static str {
    match (provider, channel) {
        ("sendgrid", _) => "/webhooks/sendgrid/events",
        ("twilio", Channel::Whatsapp) => "/webhooks/twilio/whatsapp-status",
        ("twilio", Channel::Messenger) => "/webhooks/twilio/messenger-status",
        _ => "/webhooks/twilio/sms-status",
    }
}

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    /// The deployment's own configurations: those whose required setting is present.
    ///
    /// # Errors
    ///
    /// [`SettingError`]
    pub fn deployment_provider_configs(&self) -> Result<Vec<DeploymentProviderConfig>, SettingError> {
        let accounts = self.deployment_configs()?.into_iter().zip(SETTINGS);
        let there = accounts.filter(|(_, (_, first, _))| self.get(first).is_some());
        let configured = there.map(|(account, (_, _, names))| {
            let settings = names.iter().filter_map(|(name, setting)| Some(((*name).to_owned(), self.get(setting)?)));
            let callback_path = callback_path(&account.provider, account.channel);
            DeploymentProviderConfig { settings: settings.collect(), account, callback_path }
        });
        Ok(configured.collect())
    }

    /// Addresses that replace the providers' own: `SENDGRID_BASE_URL`, `TWILIO_BASE_URL`.
    pub fn base_urls(&self) -> BTreeMap<String, String> {
        let named = [("sendgrid", "SENDGRID_BASE_URL"), ("twilio", "TWILIO_BASE_URL")];
        let given = named.into_iter().filter_map(|(provider, name)| Some((provider.to_owned(), self.get(name)?)));
        given.collect()
    }
}

/// The three tables of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// `EVENTS_TABLE`: streams and guards.
    pub events: String,
    /// `VAULT_TABLE`: personal data, API keys and documents.
    pub vault: String,
    /// `LIMITS_TABLE`: heartbeats, rate buckets, circuit breakers.
    pub limits: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &'static [(&'static str, &'static str)]) -> Settings<impl Fn(&str) -> Option<String>> {
        Settings(|name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn shared_accounts_have_the_prices_of_the_deployment() {
        let priced = settings(&[("TWILIO_PRICES", "KES KE=0.80")]).deployment_configs().expect("settings");
        let cost = |id: &str, to: &str| {
            let account = priced.iter().find(|account| account.id == id).expect("an account");
            account.estimate_cost(to, Some(2)).map(|cost| (cost.micros, cost.currency))
        };
        let kenyan = Some((1_600_000, "KES".to_owned()));
        assert_eq!((cost("twilio", "+254711000000"), cost("twilio-second", "+254711000000")), (kenyan.clone(), kenyan));
        assert_eq!(cost("twilio", "+12025550123"), None, "the deployment's list replaces the list prices");
        assert_eq!(cost("sendgrid", "ada@example.com"), Some((399, "USD".to_owned())));
        let wrong = settings(&[("SENDGRID_PRICES", "USD *=free")]).deployment_configs().expect_err("a price");
        assert!(wrong.to_string().starts_with("SENDGRID_PRICES is not a price list"), "{wrong}");
    }

    #[test]
    fn a_payment_page_is_a_public_https_address() {
        let page = |value: &'static [(&'static str, &'static str)]| settings(value).payment_url("PAYMENT_URL");
        assert_eq!(page(&[]), Ok(None));
        assert_eq!(
            page(&[("PAYMENT_URL", "https://acme.example.com/x/")]),
            Ok(Some("https://acme.example.com/x".to_owned()))
        );
        let wrong = page(&[("PAYMENT_URL", "http://acme.example.com")]).expect_err("not https");
        assert_eq!(wrong.to_string(), "PAYMENT_URL is not the address of a payment page: it is not https");
    }

    #[test]
    fn shared_accounts_send_sms_nowhere_until_countries_are_listed() {
        let countries = |value: &'static [(&'static str, &'static str)]| settings(value).countries("SMS_COUNTRIES");
        assert_eq!(countries(&[]), Ok(String::new()));
        assert_eq!(countries(&[("SMS_COUNTRIES", "KE, TZ")]), Ok("KE, TZ".to_owned()));
        assert_eq!(countries(&[("SMS_COUNTRIES", "Kenya")]), Err(SettingError::NotCountries("SMS_COUNTRIES")));
    }
}
