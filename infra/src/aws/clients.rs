//! The SDK clients of all services, built from one configuration and one HTTP client.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[cfg(feature = "providers")]
use super::parameters::ParameterStore;
#[cfg(feature = "providers")]
use super::s3::S3ObjectStore;

/// An environment variable that the Lambda runtime normally sets is missing.
#[derive(Debug)]
pub struct MissingSetting(pub &'static str);

impl std::fmt::Display for MissingSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not set", self.0)
    }
}

impl std::error::Error for MissingSetting {}

/// Builds the clients of all services. The configuration comes from the environment variables that Lambda sets, so that
/// a cold start needs no calls to look it up.
#[derive(Clone)]
pub struct Aws {
    http: SharedHttpClient,
    region: Region,
    credentials: SharedCredentialsProvider,
    /// The same credentials in a form that can sign addresses.
    #[cfg_attr(not(feature = "providers"), expect(dead_code))]
    signing_credentials: Credentials,
    endpoint: Option<String>,
}

/// Configures the client of one service. This is a macro because each service's builder is a separate type.
macro_rules! configured {
    ($aws:expr, $service:ident) => {{
        let mut config = $service::Config::builder()
            .behavior_version_latest()
            .http_client($aws.http.clone())
            .region($aws.region.clone())
            .credentials_provider($aws.credentials.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts());
        config.set_endpoint_url($aws.endpoint.clone());
        config
    }};
}

impl Aws {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and, for emulators,
    /// `AWS_ENDPOINT_URL`. `var` is `|name| std::env::var(name).ok()` in a function's main.
    ///
    /// # Errors
    ///
    /// [`MissingSetting`] if one of the first three variables is not set.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, MissingSetting> {
        let require = |name| var(name).ok_or(MissingSetting(name));
        let region = var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION"));
        let credentials = Credentials::new(
            require("AWS_ACCESS_KEY_ID")?,
            require("AWS_SECRET_ACCESS_KEY")?,
            var("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()),
            None,
            "environment",
        );
        Ok(Aws {
            http: http_client(),
            region: Region::new(region.ok_or(MissingSetting("AWS_REGION"))?),
            credentials: SharedCredentialsProvider::new(credentials.clone()),
            signing_credentials: credentials,
            endpoint: var("AWS_ENDPOINT_URL").filter(|url| !url.is_empty()),
        })
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.dynamodb_with(|config| config)
    }

    /// Returns a client with a changed configuration, such as an interceptor that counts requests.
    pub fn dynamodb_with(
        &self,
        change: impl FnOnce(aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder,
    ) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::from_conf(change(configured!(self, aws_sdk_dynamodb)).build())
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::from_conf(configured!(self, aws_sdk_sqs).build())
    }

    pub fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::from_conf(configured!(self, aws_sdk_eventbridge).build())
    }

    pub fn kms(&self) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::from_conf(configured!(self, aws_sdk_kms).build())
    }

    /// Where secrets are.
    #[cfg(feature = "providers")]
    pub fn parameters(&self, client: reqwest::Client) -> ParameterStore {
        let (region, credentials) = (self.region.to_string(), self.signing_credentials.clone());
        ParameterStore { client, region, credentials, endpoint: self.endpoint.clone() }
    }

    /// The store of uploaded files in a bucket.
    #[cfg(feature = "providers")]
    pub fn s3(&self, client: reqwest::Client, bucket: String) -> S3ObjectStore {
        let (region, credentials) = (self.region.to_string(), self.signing_credentials.clone());
        S3ObjectStore { client, bucket, region, credentials, endpoint: self.endpoint.clone() }
    }

    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::from_conf(configured!(self, aws_sdk_sns).build())
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(5))
        .build()
}

/// A client that trusts only Amazon's own root certificates. Loading the complete list of the operating system takes
/// longer than everything else in a cold start.
fn http_client() -> SharedHttpClient {
    let amazon = |der: &&[u8]| {
        let has = |name: &[u8]| der.windows(name.len()).any(|part| part == name);
        has(b"Amazon Root CA") || has(b"Starfield Services Root")
    };
    let mut trust = TrustStore::empty();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).filter(amazon) {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(root));
        trust = trust.with_pem_certificate(pem);
    }
    let context = TlsContext::builder().with_trust_store(trust).build().expect("roots compiled in are certificates");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https()
}
