//! The settings of the API function.

use std::sync::Arc;

use application::settings::{AppConfig, SettingError, Settings};
use domain::ports::JwksSource;
use events::RateLimit;

use crate::tokens::TokenIssuer;

/// The settings of the function.
pub struct Config {
    pub app: AppConfig,
    /// `REQUEST_RATE`: the rate limit of each key. `500,50` is a burst of 500, then 50 a second. Default no limit.
    pub request_rate: Option<RateLimit>,
    /// `JWT_ISSUER`: the issuer of the tokens that are accepted beside API keys. Default none.
    pub jwt: Option<Jwt>,
    /// How people sign in to the console. Default none: the deployment has no console.
    pub console: Option<ConsoleClient>,
}

/// The console, as a client of the identity provider.
#[derive(Debug, Clone)]
pub struct ConsoleClient {
    /// `CONSOLE_CLIENT_ID`. Requires `JWT_ISSUER` and `PUBLIC_URL`.
    pub id: String,
    /// `CONSOLE_CLIENT_SECRET`. Public clients have none.
    pub secret: Option<String>,
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
        let console = match settings.get_or("CONSOLE_CLIENT_ID", "") {
            id if id.is_empty() => None,
            id => {
                settings.require("JWT_ISSUER")?;
                settings.require("PUBLIC_URL")?;
                let secret = Some(settings.get_or("CONSOLE_CLIENT_SECRET", "")).filter(|secret| !secret.is_empty());
                Some(ConsoleClient { id, secret })
            }
        };
        Ok(Config {
            app: AppConfig::read(&settings)?,
            request_rate: settings.rate("REQUEST_RATE")?,
            console,
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

/// The default address of an identity provider's keys.
pub fn keys_of(issuer: &str) -> String {
    format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'))
}

impl Jwt {
    /// The same identity provider, for tokens that it makes for one client.
    pub fn for_client(&self, id: &str) -> Jwt {
        Jwt { audience: id.to_owned(), ..self.clone() }
    }

    /// Creates the verifier of the tokens, with keys from `keys`.
    pub fn connect(self, keys: Arc<dyn JwksSource>) -> TokenIssuer {
        let Jwt { issuer, audience, tenant_claim, role_claim, .. } = self;
        TokenIssuer {
            name: issuer,
            audience,
            tenant_claim,
            role_claim,
            keys,
            known: Default::default(),
            fetching: Default::default(),
        }
    }
}
