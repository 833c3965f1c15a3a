//! Requests to addresses that tenants choose. Only public addresses are called, by https, without redirects, and the
//! size of the response is limited.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{FetchError, FileFetcher};
use domain::public_url::{self, is_public};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response};
use url::Url;

use super::client::client_builder;

/// Checks an address before its name is resolved.
///
/// # Errors
///
/// [`FetchError::Refused`] with the reason why the address must not be called.
pub fn check_public_url(text: &str) -> Result<Url, FetchError> {
    public_url::check(text).map_err(FetchError::Refused)
}

/// Resolves names and drops every address that is not public. Because the connection uses the resolved address, a name
/// cannot resolve to another address after the check.
struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = resolved.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// A client that reaches only public addresses. Addresses given as digits bypass its resolver, so callers check them
/// with [`check_public_url`] first.
pub(super) fn public_client() -> Client {
    client_builder().dns_resolver(PublicResolver).build().expect("roots compiled in are certificates")
}

/// Fetches the files that tenants refer to. It reaches only public addresses and follows no redirects.
#[derive(Clone)]
pub struct PublicFileFetcher {
    pub client: Client,
    pub timeout: Duration,
}

#[async_trait]
impl FileFetcher for PublicFileFetcher {
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError> {
        let url = check_public_url(address)?;
        let response = self.client.get(url).timeout(self.timeout).send().await;
        let response = response.map_err(|_| FetchError::NoResponse)?;
        if !response.status().is_success() {
            return Err(FetchError::NoResponse);
        }
        if response.content_length().is_some_and(|length| max_bytes < length as usize) {
            return Err(FetchError::TooLarge(max_bytes));
        }
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or("application/octet-stream").split(';').next().unwrap_or_default().trim().to_owned();
        Ok((read_limited(response, max_bytes).await?, kind))
    }
}

/// Returns the `Content-Disposition` header of a download. The name may hold any characters, because it is
/// percent-encoded.
pub fn content_disposition(name: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("attachment; filename*=UTF-8''{}", encoded.replace('+', "%20"))
}

/// Reads the body and stops as soon as it exceeds `max_bytes`.
///
/// # Errors
///
/// - [`FetchError::TooLarge`]: the body is longer.
/// - [`FetchError::NoResponse`]: the connection broke before the body ended.
pub(crate) async fn read_limited(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::NoResponse)? {
        bytes.extend_from_slice(&chunk);
        if max_bytes < bytes.len() {
            return Err(FetchError::TooLarge(max_bytes));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_notation() {
        for trick in [
            "http://example.com/a.pdf",
            "ftp://example.com/a.pdf",
            "file:///etc/passwd",
            "https://localhost/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://db.internal/",
            "https://printer.local/",
            "https://intranet/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://10.0.0.8/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[2001:db8::1]/",
            "https://example.com@127.0.0.1/",
            "https://user:pass@example.com/",
            "https://example.com:22/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://198.18.0.1/",
            "https://",
            "not an address",
        ] {
            assert!(check_public_url(trick).is_err(), "{trick}");
        }
        for good in
            ["https://example.com/a.pdf", "https://93.184.216.34/", "https://[2606:4700::1111]/", "https://a.b:8443/"]
        {
            assert!(check_public_url(good).is_ok(), "{good}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_not_called() {
        // `check_public_url` refuses `localhost` already. This calls the client without it, to test the resolver.
        let error = public_client().get("https://localhost:1/").send().await.expect_err("nothing public");
        assert!(error.is_connect() || error.is_request(), "{error}");
        let fetched = PublicFileFetcher { client: public_client(), timeout: Duration::from_secs(1) }
            .fetch("https://127.0.0.1/", 10)
            .await;
        assert_eq!(fetched, Err(FetchError::Refused("it is not a public address")));
    }
}
