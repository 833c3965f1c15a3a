//! Tokens (JWT) of the deployment's identity provider. Its users need no API key.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{IdTokenVerifier, JwksSource, Principal, SignInError};
use domain::text::check_line;
use events::{Channel, Mode, Role, TenantId, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
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
/// The shortest time between two fetches of known keys, so that tokens with unknown keys do not cause a fetch each.
const JWKS_REFETCH_INTERVAL_MS: i64 = 60_000;
/// The wait after a fetch that failed, in milliseconds. It doubles with each failure, up to the longest.
const FIRST_RETRY_MS: i64 = 1_000;
const LONGEST_RETRY_MS: i64 = 60_000;
/// The latest expiry of a token that is taken for a time, in seconds: the end of the year 9999.
const LATEST_TIME_S: f64 = 253_402_300_799.0;

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
    /// Held while the keys are fetched.
    pub fetching: tokio::sync::Mutex<()>,
}

/// The keys as they were last fetched.
#[derive(Default)]
pub struct CachedJwks {
    keys: Option<JwkSet>,
    seen_at: Option<Timestamp>,
    /// Fetches in a row that failed, and when the next one may begin.
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl CachedJwks {
    /// The answer for a token with the key `id`. `None` means that the keys must be fetched first.
    fn answer(&self, id: Option<&str>, now: Timestamp) -> Option<Result<Jwk, Problem>> {
        let found = self.keys.as_ref().and_then(|keys| of(keys, id));
        let age_ms = self.seen_at.map(|at| now.millis_since(at));
        if let Some(found) = &found
            && age_ms.is_some_and(|age_ms| age_ms < JWKS_TTL_MS)
        {
            return Some(Ok(found.clone()));
        }
        if let Some(retry_at) = self.retry_at.filter(|retry_at| now < *retry_at) {
            return Some(found.ok_or_else(|| unavailable(retry_at.millis_since(now))));
        }
        age_ms.is_some_and(|age_ms| age_ms < JWKS_REFETCH_INTERVAL_MS).then(|| found.ok_or_else(unknown_key))
    }

    fn fetched(&mut self, keys: JwkSet, now: Timestamp) {
        *self = CachedJwks { keys: Some(keys), seen_at: Some(now), ..CachedJwks::default() };
    }

    fn failed(&mut self, now: Timestamp) {
        let wait_ms = (FIRST_RETRY_MS << self.failures.min(6)).min(LONGEST_RETRY_MS);
        (self.failures, self.retry_at) = (self.failures + 1, Some(now + wait_ms));
    }
}

/// Nobody can say whether the token is valid.
fn unavailable(wait_ms: i64) -> Problem {
    let retry_after_s = u32::try_from((wait_ms.max(1) + 999) / 1_000).ok();
    let detail = "The issuer's keys could not be fetched. The token may be valid: try again.";
    Problem { retry_after_s, ..Problem::new(ProblemKind::Unavailable, detail) }
}

fn unknown_key() -> Problem {
    refused("it was signed with a key that the issuer does not publish")
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
        self.read(&self.claims(token, now).await?, now)
    }

    /// The claims of a token whose signature, issuer and audience are right. Its times are not checked.
    async fn claims(&self, token: &str, now: Timestamp) -> Result<Map<String, Value>, Problem> {
        let header = decode_header(token).map_err(|_| refused("it cannot be parsed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused("its algorithm is not allowed"));
        }
        // RFC 7515, 4.1.11: whoever does not understand a critical extension must refuse the token. None is understood.
        if has_critical_extensions(token) {
            return Err(refused("its header has critical extensions"));
        }
        let jwk = self.key(header.kid.as_deref(), now).await?;
        // RFC 8725, 3.1: a key is used with its own algorithm only.
        if jwk.common.key_algorithm.is_some_and(|of_key| of_key != KeyAlgorithm::from(header.alg)) {
            return Err(refused("its algorithm is not its key's"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| refused("its key cannot be used"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // The times are checked below, with this process's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let read = decode::<Map<String, Value>>(token, &key, &validation);
        Ok(read.map_err(|error| refused(describe(&error)))?.claims)
    }

    fn read(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Principal, Problem> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if text("iss") != Some(&self.name) {
            return Err(refused("it is from another issuer"));
        }
        let time = |name: &str| {
            let Some(claim) = claims.get(name) else { return Ok(None) };
            let seconds = claim.as_f64().filter(|seconds| (0.0..=LATEST_TIME_S).contains(seconds));
            let seconds = seconds.ok_or_else(|| refused(format!("its claim {name} is not a time")))?;
            Ok::<_, Problem>(Some(Timestamp((seconds * 1_000.0) as i64)))
        };
        let expires_at = time("exp")?.ok_or_else(|| refused("it has no exp claim"))? + LEEWAY_MS;
        if expires_at <= now {
            return Err(refused("it has expired"));
        }
        if time("nbf")?.is_some_and(|from| now + LEEWAY_MS < from) {
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
        let subject = text("sub").filter(|sub| sub.len() <= 255 && check_line(sub).is_none());
        let actor = subject.ok_or_else(|| refused("it has no sub claim"))?.to_owned();
        Ok(Principal { tenant, actor, mode, role, channels, expires_at: Some(expires_at), team: None, is_user: true })
    }

    /// The key that a token names. If it is unknown, the keys are fetched again, because providers change them. All
    /// requests that need a fetch wait for the same one.
    async fn key(&self, id: Option<&str>, now: Timestamp) -> Result<Jwk, Problem> {
        if let Some(answer) = self.lock().answer(id, now) {
            return answer;
        }
        let _only_fetch = self.fetching.lock().await;
        if let Some(answer) = self.lock().answer(id, now) {
            return answer;
        }
        let fetched = match self.keys.fetch().await {
            Ok(text) => serde_json::from_str::<JwkSet>(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut known = self.lock();
        match fetched {
            Ok(keys) => known.fetched(keys, now),
            Err(error) => {
                tracing::error!(error, "the issuer's keys could not be fetched");
                known.failed(now);
            }
        }
        known.answer(id, now).unwrap_or_else(|| Err(unknown_key()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CachedJwks> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl IdTokenVerifier for TokenIssuer {
    async fn verify(&self, token: &str, nonce: &str, now: Timestamp) -> Result<Principal, SignInError> {
        let read = async {
            let claims = self.claims(token, now).await?;
            if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
                return Err(refused("it was not made for this sign-in"));
            }
            self.read(&claims, now)
        };
        read.await.map_err(|problem| match problem.kind {
            ProblemKind::Unavailable => SignInError::Unavailable(problem.detail),
            _ => SignInError::Refused(problem.detail),
        })
    }
}

/// Whether the header has the parameter `crit`, with whatever value: an empty list or null is not allowed either.
fn has_critical_extensions(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<Map<String, Value>>(&header).ok());
    header.is_none_or(|header| header.contains_key("crit"))
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
