//! All of it. Built in `main.rs`, then passed down; nothing else reads the environment.

use std::sync::Arc;

use application::app::RetentionPeriods;
use application::settings::{SettingError, Settings, TableNames};
use domain::ports::{JwksSource, ProviderConfig, QueueId};
use events::RateLimit;

use crate::tokens::TokenIssuer;

/// The door's settings.
pub struct Config {
    pub tables: TableNames,
    /// `VIEWS_TABLE`: rows and counters. Required.
    pub views_table: String,
    /// `QUEUE_<LANE>_URL` of every lane, such as `QUEUE_EMAIL_HIGH_URL`.
    pub queues: Vec<(QueueId, String)>,
    /// `PROVIDERS`: the provider configurations that the deployment has, such as `sendgrid,twilio`. Their rates are those of
    /// the deliver functions: `SENDGRID_RATE`, `TWILIO_RATE`.
    pub accounts: Vec<ProviderConfig>,
    /// `PUBLIC_URL`: where providers call back, without a slash at the end.
    pub public_url: String,
    /// `SECRETS_KEY_ID`: the KMS key that tenants' credentials are sealed with.
    pub secrets_key: String,
    /// `FILES_BUCKET`: S3, where uploaded files lie. Required.
    pub files_bucket: String,
    /// `CONTACT_KEY`: what contact hashes are keyed with. Required; never changed afterwards.
    pub contact_key: Vec<u8>,
    /// `RETENTION_SHORT_DAYS`, `RETENTION_DAYS`, `RETENTION_LONG_DAYS`: how long personal data is kept, by class. Default 7,
    /// 400 and 2557.
    pub retention: RetentionPeriods,
    /// `REQUEST_RATE`: how often a key may ask: `500,50` is 500 at once, then 50 a second. Not set: as often as it likes.
    pub request_rate: Option<RateLimit>,
    /// `JWT_ISSUER`: whose tokens are taken beside API keys. Not set: nobody's.
    pub jwt: Option<Jwt>,
}

/// An identity provider.
#[derive(Debug, Clone)]
pub struct Jwt {
    pub issuer: String,
    /// `JWT_AUDIENCE`. Required with `JWT_ISSUER`.
    pub audience: String,
    /// `JWKS_URL`. Default `<issuer>/.well-known/jwks.json`.
    pub keys_url: String,
    /// `JWT_TENANT_CLAIM`, `JWT_ROLE_CLAIM`. Default `tenant` and `role`.
    pub tenant_claim: String,
    pub role_claim: String,
}

impl Config {
    /// # Errors
    ///
    /// [`SettingError`]: names the setting.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let settings = Settings(var);
        let named = settings.or("PROVIDERS", "");
        let named: Vec<&str> = named.split(',').map(str::trim).collect();
        let mut accounts = settings.accounts()?;
        accounts.retain(|account| named.contains(&account.id.as_str()));
        Ok(Config {
            accounts,
            tables: settings.tables()?,
            views_table: settings.need("VIEWS_TABLE")?,
            queues: settings.queues(),
            public_url: settings.or("PUBLIC_URL", ""),
            secrets_key: settings.or("SECRETS_KEY_ID", ""),
            files_bucket: settings.need("FILES_BUCKET")?,
            contact_key: settings.need("CONTACT_KEY")?.into_bytes(),
            retention: RetentionPeriods::days(
                settings.number("RETENTION_SHORT_DAYS", 7)?,
                settings.number("RETENTION_DAYS", 400)?,
                settings.number("RETENTION_LONG_DAYS", 2_557)?,
            ),
            request_rate: settings.rate("REQUEST_RATE")?,
            jwt: match settings.or("JWT_ISSUER", "") {
                issuer if issuer.is_empty() => None,
                issuer => Some(Jwt {
                    audience: settings.need("JWT_AUDIENCE")?,
                    keys_url: settings.or("JWKS_URL", &keys_of(&issuer)),
                    tenant_claim: settings.or("JWT_TENANT_CLAIM", "tenant"),
                    role_claim: settings.or("JWT_ROLE_CLAIM", "role"),
                    issuer,
                }),
            },
        })
    }
}

/// Where an identity provider publishes its keys.
pub fn keys_of(issuer: &str) -> String {
    format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'))
}

impl Jwt {
    /// Ready to read tokens, by the keys as `keys` has them.
    pub fn connect(self, keys: Arc<dyn JwksSource>) -> TokenIssuer {
        let Jwt { issuer, audience, tenant_claim, role_claim, .. } = self;
        TokenIssuer { name: issuer, audience, tenant_claim, role_claim, keys, known: Default::default() }
    }
}
