//! The published keys of an identity provider.

use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{JwksSource, StoreError};
use reqwest::Client;

use super::public::read_limited;

/// Keys of all rotations take a few KB.
const MOST: usize = 256 * 1024;

pub struct HttpJwksSource {
    pub client: Client,
    pub url: String,
}

#[async_trait]
impl JwksSource for HttpJwksSource {
    async fn fetch(&self) -> Result<String, StoreError> {
        let unavailable = |why: String| StoreError::Unavailable(format!("{}: {why}", self.url));
        let answer = self.client.get(&self.url).timeout(Duration::from_secs(3)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status).map_err(|e| unavailable(e.to_string()))?;
        let body = read_limited(answer, MOST).await.map_err(|_| unavailable("too much, or cut off".to_owned()))?;
        String::from_utf8(body).map_err(|error| unavailable(error.to_string()))
    }
}
