//! Fetches the published signing keys (JWKS) of an identity provider.

use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{JwksSource, StoreError};
use reqwest::Client;

use super::public_fetch::read_limited;

/// Maximum size of a key set, in bytes. A set with the keys of all rotations takes a few KB.
const MAX_BYTES: usize = 256 * 1024;

/// The key set at one address.
pub struct HttpJwksSource {
    pub client: Client,
    pub url: String,
}

#[async_trait]
impl JwksSource for HttpJwksSource {
    async fn fetch(&self) -> Result<String, StoreError> {
        let unavailable = |reason: String| StoreError::Unavailable(format!("{}: {reason}", self.url));
        let response = self.client.get(&self.url).timeout(Duration::from_secs(3)).send().await;
        let response =
            response.and_then(reqwest::Response::error_for_status).map_err(|error| unavailable(error.to_string()))?;
        let body = read_limited(response, MAX_BYTES).await;
        let body = body.map_err(|_| unavailable("the response is too large or incomplete".to_owned()))?;
        String::from_utf8(body).map_err(|error| unavailable(error.to_string()))
    }
}
