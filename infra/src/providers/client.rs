//! The HTTP client that all requests to providers are made with.

use std::time::Duration;

use reqwest::Client;

/// Mozilla's root certificates, compiled in.
fn roots() -> impl Iterator<Item = reqwest::Certificate> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    roots.filter_map(|der| reqwest::Certificate::from_der(der).ok())
}

/// The settings of every client: no redirects, no retries and no proxy. A hidden retry could send a message
/// twice within one attempt.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    Client::builder()
        .tls_certs_only(roots())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
}

/// The client for addresses that we chose ourselves. It does not check whether an address is public.
pub fn http_client() -> Client {
    client_builder().build().expect("roots compiled in are certificates")
}
