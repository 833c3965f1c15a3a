//! Signs people in by an identity provider that speaks OpenID Connect.

use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{CodeGrant, IdentityProvider, SignInError};
use reqwest::{Client, Response};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::public_fetch::read_limited;

/// Maximum size of an answer, in bytes.
const MAX_BYTES: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// An identity provider, as its discovery document describes it.
pub struct HttpIdentityProvider {
    client: Client,
    issuer: String,
    client_id: String,
    /// Public clients have none.
    client_secret: Option<String>,
    endpoints: OnceCell<Endpoints>,
}

#[derive(Debug, Clone, Deserialize)]
struct Endpoints {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

fn unavailable(error: impl std::fmt::Display) -> SignInError {
    SignInError::Unavailable(error.to_string())
}

impl HttpIdentityProvider {
    pub fn new(client: Client, issuer: String, client_id: String, client_secret: Option<String>) -> Self {
        HttpIdentityProvider { client, issuer, client_id, client_secret, endpoints: OnceCell::new() }
    }

    async fn endpoints(&self) -> Result<&Endpoints, SignInError> {
        self.endpoints.get_or_try_init(|| self.discover()).await
    }

    async fn discover(&self) -> Result<Endpoints, SignInError> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let response = self.client.get(&url).timeout(TIMEOUT).send().await.map_err(unavailable)?;
        let found: Endpoints = read(response.error_for_status().map_err(unavailable)?).await?;
        // OpenID Connect Discovery, 4.3: or else another issuer could answer for this one.
        if found.issuer != self.issuer {
            return Err(unavailable(format!("{url} describes {}", found.issuer)));
        }
        Ok(found)
    }
}

async fn read<T: for<'a> Deserialize<'a>>(response: Response) -> Result<T, SignInError> {
    let body = read_limited(response, MAX_BYTES).await;
    let body = body.map_err(|_| unavailable("its answer is too large or incomplete"))?;
    serde_json::from_slice(&body).map_err(unavailable)
}

#[async_trait]
impl IdentityProvider for HttpIdentityProvider {
    async fn authorization_endpoint(&self) -> Result<String, SignInError> {
        Ok(self.endpoints().await?.authorization_endpoint.clone())
    }

    async fn redeem(&self, grant: &CodeGrant) -> Result<String, SignInError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", &grant.code),
            ("code_verifier", &grant.verifier),
            ("redirect_uri", &grant.redirect_uri),
        ];
        let request = self.client.post(&self.endpoints().await?.token_endpoint).timeout(TIMEOUT);
        let request = match &self.client_secret {
            Some(secret) => request.basic_auth(&self.client_id, Some(secret)),
            None => {
                form.push(("client_id", &self.client_id));
                request
            }
        };
        let response = request.form(&form).send().await.map_err(unavailable)?;
        if response.status().is_client_error() {
            return Err(SignInError::Refused("the code was not accepted".to_owned()));
        }
        Ok(read::<Tokens>(response.error_for_status().map_err(unavailable)?).await?.id_token)
    }
}
