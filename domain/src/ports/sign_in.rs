//! How people sign in: by an identity provider that speaks OpenID Connect.

use async_trait::async_trait;
use events::Timestamp;

use super::Principal;

/// Why somebody could not sign in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The identity provider, or the token, says no.
    #[error("{0}")]
    Refused(String),
    #[error("the identity provider did not answer: {0}")]
    Unavailable(String),
}

/// A code that the identity provider gave to a browser, with what proves that this deployment asked for it.
#[derive(Debug, Clone)]
pub struct CodeGrant {
    pub code: String,
    /// The secret of which the browser showed a hash (PKCE).
    pub verifier: String,
    /// The address that the browser was sent back to.
    pub redirect_uri: String,
}

/// An identity provider, for one client.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// The address at which people sign in.
    async fn authorization_endpoint(&self) -> Result<String, SignInError>;

    /// Exchanges a code for an ID token, which is not verified yet.
    async fn redeem(&self, grant: &CodeGrant) -> Result<String, SignInError>;
}

/// Verifies ID tokens.
#[async_trait]
pub trait IdTokenVerifier: Send + Sync {
    /// The person whom a token is about. The token must have been made for this `nonce`.
    async fn verify(&self, token: &str, nonce: &str, now: Timestamp) -> Result<Principal, SignInError>;
}
