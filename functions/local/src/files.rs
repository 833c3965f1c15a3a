use async_trait::async_trait;
use domain::ports::{FetchError, FileFetcher};
use infra::providers::check_public_url;

/// Simulates the files that tenants link to. It makes no request, but refuses the same addresses as the real adapter.
pub struct SimulatedFiles;

#[async_trait]
impl FileFetcher for SimulatedFiles {
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError> {
        check_public_url(address)?;
        if address.contains("missing") {
            return Err(FetchError::NoResponse);
        }
        if address.contains("large") {
            return Err(FetchError::TooLarge(max_bytes));
        }
        Ok((format!("stands in for {address}").into_bytes(), "text/plain".to_owned()))
    }
}
