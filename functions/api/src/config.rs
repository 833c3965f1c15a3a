//! The settings. They are read once and passed down; nothing else reads the environment.

use std::sync::Arc;

use application::settings::{AppConfig, SettingError, Settings};
use domain::ports::JwksSource;
use events::RateLimit;

use crate::tokens::TokenIssuer;

/// The settings of the function.
pub struct Config {
    pub app: AppConfig,
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
        Ok(Config {
            app: AppConfig::read(&settings)?,
            request_rate: settings.rate("REQUEST_RATE")?,
            jwt: match settings.get_or("JWT_ISSUER", "") {
                issuer if issuer.is_empty() => None,
                issuer => Some(Jwt {
                    audience: settings.require("JWT_AUDIENCE")?,
                    keys_url: settings.get_or("JWKS_URL", &keys_of(&issuer)),
                    tenant_claim: settings.get_or("JWT_TENANT_CLAIM", "tenant"),
                    role_claim: settings.get_or("JWT_ROLE_CLAIM", "role"),
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
