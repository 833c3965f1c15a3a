//! Uploaded files in S3, by addresses that carry their signature: whoever has one may do that one thing until its time is
//! over. Ours are made the same way.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use domain::ports::{ObjectKey, ObjectStore, PresignedUpload, StoreError};
use events::Timestamp;
use reqwest::{Client, Method, Response, StatusCode};

use crate::providers::{content_disposition, read_limited};

/// Ours are used at once.
const OURS_MS: i64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(10);
/// S3 takes no longer ones.
const MOST: Duration = Duration::from_secs(7 * 24 * 3_600);

pub struct S3ObjectStore {
    pub client: Client,
    pub bucket: String,
    pub region: String,
    pub credentials: Credentials,
    /// An emulator's address.
    pub endpoint: Option<String>,
}

fn down(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis() as i64)
}

impl S3ObjectStore {
    fn address(&self, key: &ObjectKey) -> String {
        let S3ObjectStore { bucket, region, endpoint, .. } = self;
        match endpoint {
            Some(endpoint) => format!("{endpoint}/{bucket}/{}", key.path()),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com/{}", key.path()),
        }
    }

    /// `address` with a signature over the method, these headers and the query, valid until then.
    fn signed(
        &self,
        method: &Method,
        address: &str,
        headers: &[(String, String)],
        until: Timestamp,
    ) -> Result<String, StoreError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_millis(until.millis_since(now()).max(1_000) as u64).min(MOST));
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(down)?;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(method.as_str(), address, headers, SignableBody::UnsignedPayload);
        let (instructions, _) = sign(signable.map_err(down)?, &params.into()).map_err(down)?.into_parts();
        let mut url: url::Url = address.parse().map_err(down)?;
        let query: Vec<String> = url.query().map(str::to_owned).into_iter().collect();
        let signature = instructions.params().iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        url.set_query(Some(&query.into_iter().chain(signature).collect::<Vec<_>>().join("&")));
        Ok(url.into())
    }

    async fn ask(
        &self,
        method: Method,
        key: &ObjectKey,
        body: Option<(Vec<u8>, &str)>,
    ) -> Result<Response, StoreError> {
        let headers: Vec<(String, String)> =
            body.iter().map(|(_, mime)| ("content-type".to_owned(), (*mime).to_owned())).collect();
        let url = self.signed(&method, &self.address(key), &headers, now() + OURS_MS)?;
        let mut request = self.client.request(method, url).timeout(TIMEOUT);
        if let Some((bytes, mime)) = body {
            request = request.header("content-type", mime).body(bytes);
        }
        let answer = request.send().await.map_err(|error| down(error.without_url()))?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(answer),
            status => Err(down(format!("S3 answered {status}"))),
        }
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[async_trait]
impl ObjectStore for S3ObjectStore {
    async fn upload_to(
        &self,
        key: &ObjectKey,
        mime: &str,
        size: u64,
        until: Timestamp,
    ) -> Result<PresignedUpload, StoreError> {
        // Signed too: nothing longer, and nothing of another type, is taken.
        let headers =
            vec![("content-length".to_owned(), size.to_string()), ("content-type".to_owned(), mime.to_owned())];
        let url = self.signed(&Method::PUT, &self.address(key), &headers, until)?;
        Ok(PresignedUpload { url, headers })
    }

    async fn download_from(
        &self,
        key: &ObjectKey,
        name: &str,
        mime: &str,
        until: Timestamp,
    ) -> Result<String, StoreError> {
        let query = format!(
            "response-content-disposition={}&response-content-type={}",
            encoded(&content_disposition(name)),
            encoded(mime)
        );
        self.signed(&Method::GET, &format!("{}?{query}", self.address(key)), &[], until)
    }

    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = self.ask(Method::GET, key, None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read_limited(answer, max_bytes).await.map(Some).map_err(down)
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, mime: &str) -> Result<(), StoreError> {
        self.ask(Method::PUT, key, Some((bytes, mime))).await.map(drop)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.ask(Method::DELETE, key, None).await.map(drop)
    }
}
