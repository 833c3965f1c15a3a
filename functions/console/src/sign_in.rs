//! Signing in by an identity provider: the OpenID Connect code flow with PKCE, and the sessions that follow.

use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{
    ClockAndRng, CodeGrant, DocumentKey, DocumentStore, IdTokenVerifier, IdentityProvider, Principal, SignInError,
    StoreError,
};
use events::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cookie::cookie;

/// The session of a browser: its tenant and a secret.
pub const SESSION: &str = "__Host-session";
/// A sign-in that has begun.
pub const ATTEMPT: &str = "__Host-sign-in";
/// How long a sign-in may take, in seconds.
pub const ATTEMPT_S: i64 = 600;
/// A session ends so long after its last page, in milliseconds.
const IDLE_MS: i64 = 3_600_000;
/// A session ends so long after it began, in milliseconds.
const LONGEST_MS: i64 = 12 * 3_600_000;
/// How often the use of a session is written down, in milliseconds.
const TOUCH_MS: i64 = 300_000;

/// How people sign in to a deployment.
pub struct SignIn {
    pub provider: Arc<dyn IdentityProvider>,
    pub tokens: Arc<dyn IdTokenVerifier>,
    pub documents: Arc<dyn DocumentStore>,
    pub client_id: String,
    /// The base address of the console, without a slash at the end.
    pub url: String,
}

/// A session, as it is stored under the hash of its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub principal: Principal,
    /// Every form sends it back.
    pub form_token: String,
    began_at: Timestamp,
    seen_at: Timestamp,
}

/// What a browser keeps while its person signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    /// The page that was asked for.
    pub to: String,
}

fn secret(host: &dyn ClockAndRng) -> String {
    format!("{:032x}{:032x}", host.random(), host.random())
}

impl Attempt {
    pub fn new(host: &dyn ClockAndRng, to: &str) -> Attempt {
        Attempt { state: secret(host), nonce: secret(host), verifier: secret(host), to: own_path(to).to_owned() }
    }

    /// The attempt that a browser has begun.
    pub fn of(headers: &HeaderMap) -> Option<Attempt> {
        let kept = cookie(headers, ATTEMPT)?;
        let mut parts = kept.splitn(4, '.').map(str::to_owned);
        let (state, nonce, verifier, to) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let to = URL_SAFE_NO_PAD.decode(to).ok().and_then(|to| String::from_utf8(to).ok())?;
        Some(Attempt { state, nonce, verifier, to: own_path(&to).to_owned() })
    }

    pub fn cookie(&self) -> String {
        let Attempt { state, nonce, verifier, to } = self;
        let to = URL_SAFE_NO_PAD.encode(to);
        format!("{ATTEMPT}={state}.{nonce}.{verifier}.{to}; {ATTRIBUTES}; Max-Age={ATTEMPT_S}")
    }

    /// Whether an answer belongs to this attempt.
    pub fn is_answered_by(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

/// The attributes of cookies that only this deployment may set and read. `Lax`, because people come back from the
/// identity provider by a link.
pub const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// A path of the console. Others lead to the overview.
pub fn own_path(to: &str) -> &str {
    // Browsers leave out tabs and line ends, and read `\\` as `/`.
    let is_plain = to.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    let is_own = is_plain && to.starts_with('/') && !to.starts_with("//") && to.len() <= 1_000;
    if is_own { to } else { "/" }
}

impl SignIn {
    fn redirect_uri(&self) -> String {
        format!("{}/session/callback", self.url)
    }

    /// The address of the identity provider at which the person signs in.
    pub async fn address(&self, attempt: &Attempt) -> Result<String, SignInError> {
        let endpoint = self.provider.authorization_endpoint().await?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&attempt.verifier));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri())
            .append_pair("scope", "openid")
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{separator}{query}"))
    }

    /// Begins the session of the person whom a code is about. Returns its cookie.
    pub async fn begin(&self, attempt: &Attempt, code: &str, host: &dyn ClockAndRng) -> Result<String, SignInError> {
        let grant =
            CodeGrant { code: code.to_owned(), verifier: attempt.verifier.clone(), redirect_uri: self.redirect_uri() };
        let token = self.provider.redeem(&grant).await?;
        let now = host.now();
        let principal = self.tokens.verify(&token, &attempt.nonce, now).await?;
        // The token says who it is. How long the session lasts is decided here.
        let principal = Principal { expires_at: Some(now + LONGEST_MS), ..principal };
        let session = Session { principal, form_token: secret(host), began_at: now, seen_at: now };
        let id = secret(host);
        let unavailable = |error: StoreError| SignInError::Unavailable(error.to_string());
        self.put(&key(&session.principal.tenant, &id), &session, now).await.map_err(unavailable)?;
        Ok(format!("{SESSION}={}~{id}; {ATTRIBUTES}; Max-Age={}", session.principal.tenant, LONGEST_MS / 1_000))
    }

    async fn put(&self, key: &DocumentKey, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let body = serde_json::to_string(session).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let until = (now + IDLE_MS).min(session.began_at + LONGEST_MS);
        self.documents.put_document(key, &body, Some(until)).await
    }

    /// The session of a browser.
    pub async fn find(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let Some(key) = key_of(headers) else { return Ok(None) };
        let Some(body) = self.documents.get_document(&key, now).await? else { return Ok(None) };
        let Ok(mut session) = serde_json::from_str::<Session>(&body) else { return Ok(None) };
        if session.began_at + LONGEST_MS <= now {
            return Ok(None);
        }
        if TOUCH_MS <= now.millis_since(session.seen_at) {
            session.seen_at = now;
            // Only if it was not ended meanwhile: a page that is under way must not bring it back.
            let until = (now + IDLE_MS).min(session.began_at + LONGEST_MS);
            let touched = serde_json::to_string(&session).unwrap_or_default();
            self.documents.replace_document(&key, Some(&body), &touched, Some(until), now).await?;
        }
        Ok(Some(session))
    }

    /// Ends the session of a browser.
    pub async fn end(&self, headers: &HeaderMap) -> Result<(), StoreError> {
        match key_of(headers) {
            Some(key) => self.documents.delete_document(&key).await,
            None => Ok(()),
        }
    }
}

fn key_of(headers: &HeaderMap) -> Option<DocumentKey> {
    let (tenant, id) = cookie(headers, SESSION)?.split_once('~')?;
    let tenant = tenant.parse().ok()?;
    (id.len() == 64).then(|| key(&tenant, id))
}

/// Only the hash of the secret is stored.
fn key(tenant: &events::TenantId, id: &str) -> DocumentKey {
    let hash: String = Sha256::digest(id).iter().map(|byte| format!("{byte:02x}")).collect();
    DocumentKey { tenant: tenant.clone(), collection: "console-session", name: hash }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    struct Host;

    impl ClockAndRng for Host {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn random(&self) -> u128 {
            7
        }
    }

    #[test]
    fn an_attempt_survives_its_cookie() {
        let attempt = Attempt::new(&Host, "/messages?q=a;b=1");
        let cookie = attempt.cookie();
        let kept = cookie.split(';').next().expect("a value");
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(kept).expect("a header"))]);
        assert_eq!(Attempt::of(&headers), Some(attempt.clone()));
        assert!(attempt.is_answered_by(&attempt.state) && !attempt.is_answered_by(""));
        assert!(cookie.contains("HttpOnly") && cookie.contains("Secure") && cookie.starts_with("__Host-"));
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        let all =
            ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nb", "/\t/evil.example", "/é"];
        assert_eq!(all.map(own_path), ["/"; 7]);
        assert_eq!(own_path("/messages?q=1"), "/messages?q=1");
    }
}
