//! Tokens (JWT) of the deployment's identity provider. Its users need no API key.

use std::sync::{Arc, Mutex, PoisonError};

use domain::ports::{JwksSource, Principal};
use events::{Channel, Mode, Role, TenantId, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use problem::{Problem, ProblemKind};
use serde_json::{Map, Value};

/// Signature algorithms with a public key.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// The tolerance for differing clocks, in milliseconds.
const LEEWAY_MS: i64 = 60_000;
/// How long the provider's keys are cached, in milliseconds.
const JWKS_TTL_MS: i64 = 3_600_000;
/// The shortest time between two requests for the keys, so that tokens with unknown keys do not cause a request each.
const JWKS_REFETCH_INTERVAL_MS: i64 = 60_000;

/// The issuer of the tokens, and the claims that identify the caller.
pub struct TokenIssuer {
    /// The expected `iss` and `aud` claims.
    pub name: String,
    pub audience: String,
    /// The claims with the tenant and the role.
    pub tenant_claim: String,
    pub role_claim: String,
    pub keys: Arc<dyn JwksSource>,
    pub known: Mutex<CachedJwks>,
}

/// The keys as they were last fetched.
#[derive(Default)]
pub struct CachedJwks {
    keys: Option<JwkSet>,
    seen_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

fn refused(why: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Unauthenticated, format!("The token is not accepted: {why}."))
}

/// Whether the text looks like a token: it has three parts and is not an API key.
pub(crate) fn is_token(text: &str) -> bool {
    !text.starts_with("td_") && text.split('.').count() == 3
}

impl TokenIssuer {
    /// Verifies a token and returns its principal.
    ///
    /// # Errors
    ///
    /// [`ProblemKind::Unauthenticated`] says what is wrong with the token. [`ProblemKind::Unavailable`]: the keys
    /// cannot be fetched.
    pub async fn principal(&self, token: &str, now: Timestamp) -> Result<Principal, Problem> {
        let header = decode_header(token).map_err(|_| refused("it cannot be parsed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("its algorithm is not allowed"));
        }
        let jwk = self.key(header.kid.as_deref(), now).await?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| refused("its key cannot be used"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // The times are checked below, with this process's clock.
        validation.validate_exp = false;
        let read = decode::<Map<String, Value>>(token, &key, &validation);
        let claims = read.map_err(|error| refused(describe(&error)))?.claims;
        self.read(&claims, now)
    }

    fn read(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Principal, Problem> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let time = |name: &str| Some(Timestamp((claims.get(name)?.as_f64()? * 1_000.0) as i64));
        let expires_at = time("exp").ok_or_else(|| refused("it has no exp claim"))? + LEEWAY_MS;
        if expires_at <= now {
            return Err(refused("it has expired"));
        }
        if time("nbf").is_some_and(|from| now + LEEWAY_MS < from) {
            return Err(refused("it is not valid yet"));
        }
        let tenant = text(&self.tenant_claim).and_then(|tenant| tenant.parse::<TenantId>().ok());
        let tenant =
            tenant.ok_or_else(|| refused(format!("its claim {} does not name a tenant", self.tenant_claim)))?;
        // The claim holds one role, or the groups of a user. The first group that is a role counts.
        let role = match claims.get(&self.role_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).find_map(|group| group.parse().ok()),
            _ => text(&self.role_claim).and_then(|role| role.parse().ok()),
        };
        let roles = || format!("its claim {} is not one of {}", self.role_claim, Role::names().join(", "));
        let role = role.ok_or_else(|| refused(roles()))?;
        let mode = match claims.get("mode") {
            None => Mode::Live,
            Some(mode) => {
                let mode = mode.as_str().and_then(|mode| mode.parse().ok());
                mode.ok_or_else(|| refused("its claim mode must be live or test"))?
            }
        };
        let channel = |name: &Value| name.as_str()?.parse::<Channel>().ok();
        let channels = match claims.get("channels") {
            None => None,
            Some(Value::Array(names)) => {
                let read: Option<Vec<Channel>> = names.iter().map(channel).collect();
                Some(read.ok_or_else(|| refused("its claim channels contains an unknown channel"))?)
            }
            Some(_) => return Err(refused("its claim channels is not a list")),
        };
        let subject = text("sub").filter(|sub| sub.len() <= 255 && !sub.chars().any(char::is_control));
        let actor = subject.ok_or_else(|| refused("it has no sub claim"))?.to_owned();
        Ok(Principal { tenant, actor, mode, role, channels, expires_at: Some(expires_at), team: None, is_user: true })
    }

    /// The key that a token names. If it is unknown, the keys are fetched again, because providers change them.
    async fn key(&self, id: Option<&str>, now: Timestamp) -> Result<Jwk, Problem> {
        let (found, is_fresh, may_ask) = {
            let known = self.lock();
            let is_fresh = known.seen_at.is_some_and(|at| now.millis_since(at) < JWKS_TTL_MS);
            let may_ask = known.asked_at.is_none_or(|at| JWKS_REFETCH_INTERVAL_MS <= now.millis_since(at));
            (known.keys.as_ref().and_then(|keys| of(keys, id)), is_fresh, may_ask)
        };
        if !may_ask || (found.is_some() && is_fresh) {
            return found.ok_or_else(|| refused("it was signed with a key that the issuer does not publish"));
        }
        self.lock().asked_at = Some(now);
        let asked = match self.keys.fetch().await {
            Ok(text) => serde_json::from_str::<JwkSet>(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match asked {
            Ok(keys) => {
                let found = of(&keys, id);
                let mut known = self.lock();
                (known.keys, known.seen_at) = (Some(keys), Some(now));
                found.ok_or_else(|| refused("it was signed with a key that the issuer does not publish"))
            }
            Err(error) => {
                tracing::error!(error, "the issuer's keys could not be fetched");
                // If the fetch fails, the cached keys are used.
                let gone = || {
                    Problem::new(
                        ProblemKind::Unavailable,
                        "The issuer's keys could not be fetched. Try again in a minute.",
                    )
                };
                found.ok_or_else(gone)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CachedJwks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds a key by its id. Without an id, the only key.
fn of(keys: &JwkSet, id: Option<&str>) -> Option<Jwk> {
    let signs = |jwk: &&Jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    match (id, keys.keys.as_slice()) {
        (Some(id), all) => all.iter().filter(signs).find(|jwk| jwk.common.key_id.as_deref() == Some(id)).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

fn describe(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is invalid",
        ErrorKind::InvalidIssuer => "it is from another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of iss, aud, exp and sub",
        ErrorKind::InvalidAlgorithm => "its algorithm is not its key's",
        _ => "it cannot be parsed",
    }
}
