//! Uploaded files in S3. Every request uses a presigned address, which permits one operation until it expires. Clients
//! get such addresses for uploads and downloads, and our own requests use them too.

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

/// How long the addresses of our own requests are valid. They are used at once.
const OWN_ADDRESS_MS: i64 = 300_000;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum validity of a presigned address that S3 accepts.
const MAX_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Stores uploaded files in a bucket.
pub struct S3ObjectStore {
    pub client: Client,
    pub bucket: String,
    pub region: String,
    pub credentials: Credentials,
    /// The address of an emulator. Requests go to AWS if it is `None`.
    pub endpoint: Option<String>,
}

fn to_store_error(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(elapsed.as_millis() as i64)
}

impl S3ObjectStore {
    fn address(&self, key: &ObjectKey) -> String {
        let S3ObjectStore { bucket, region, endpoint, .. } = self;
        match endpoint {
            Some(endpoint) => format!("{endpoint}/{bucket}/{}", key.path()),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com/{}", key.path()),
        }
    }

    /// Adds a signature to an address. It covers the method, the headers and the query, and it is valid until `until`.
    fn presign(
        &self,
        method: &Method,
        address: &str,
        headers: &[(String, String)],
        until: Timestamp,
    ) -> Result<String, StoreError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in =
            Some(Duration::from_millis(until.millis_since(now()).max(1_000) as u64).min(MAX_VALIDITY));
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
            .map_err(to_store_error)?;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(method.as_str(), address, headers, SignableBody::UnsignedPayload);
        let (instructions, _) =
            sign(signable.map_err(to_store_error)?, &params.into()).map_err(to_store_error)?.into_parts();
        let mut url: url::Url = address.parse().map_err(to_store_error)?;
        let query: Vec<String> = url.query().map(str::to_owned).into_iter().collect();
        let signature = instructions.params().iter().map(|(name, value)| format!("{name}={}", percent_encode(value)));
        url.set_query(Some(&query.into_iter().chain(signature).collect::<Vec<_>>().join("&")));
        Ok(url.into())
    }

    /// Sends one of our own requests. A missing object is not an error, so the caller checks the status.
    async fn send_request(
        &self,
        method: Method,
        key: &ObjectKey,
        body: Option<(Vec<u8>, &str)>,
    ) -> Result<Response, StoreError> {
        let headers: Vec<(String, String)> =
            body.iter().map(|(_, mime)| ("content-type".to_owned(), (*mime).to_owned())).collect();
        let url = self.presign(&method, &self.address(key), &headers, now() + OWN_ADDRESS_MS)?;
        let mut request = self.client.request(method, url).timeout(TIMEOUT);
        if let Some((bytes, mime)) = body {
            request = request.header("content-type", mime).body(bytes);
        }
        let response = request.send().await.map_err(|error| to_store_error(error.without_url()))?;
        match response.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(response),
            status => Err(to_store_error(format!("S3 answered {status}"))),
        }
    }
}

fn percent_encode(text: &str) -> String {
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
        // The signature covers these headers, so S3 rejects an upload of another size or type.
        let headers =
            vec![("content-length".to_owned(), size.to_string()), ("content-type".to_owned(), mime.to_owned())];
        let url = self.presign(&Method::PUT, &self.address(key), &headers, until)?;
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
            percent_encode(&content_disposition(name)),
            percent_encode(mime)
        );
        self.presign(&Method::GET, &format!("{}?{query}", self.address(key)), &[], until)
    }

    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let response = self.send_request(Method::GET, key, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read_limited(response, max_bytes).await.map(Some).map_err(to_store_error)
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, mime: &str) -> Result<(), StoreError> {
        self.send_request(Method::PUT, key, Some((bytes, mime))).await.map(drop)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.send_request(Method::DELETE, key, None).await.map(drop)
    }
}
