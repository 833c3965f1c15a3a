//! Code that SES and SNS share: requests signed with a tenant's access key, and notifications signed with X.509
//! certificates.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{CallbackRequest, InvalidSetting};
use events::Timestamp;
use reqwest::RequestBuilder;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm};
use serde::Deserialize;

use super::http::{HttpClients, MAX_RESPONSE_BYTES};
use super::registration::{ConnectionSettings, invalid_setting};
use super::signatures::{SIGNATURE_MISMATCH, VerificationKeys, VerifyResult, check_freshness};

/// Signs requests to one AWS service in one region with a tenant's access key.
pub(super) struct SigV4Signer {
    credentials: Credentials,
    pub region: String,
    service: &'static str,
}

impl SigV4Signer {
    pub fn from_settings(
        connection: &ConnectionSettings,
        service: &'static str,
    ) -> Result<SigV4Signer, InvalidSetting> {
        let region = connection.require("region")?;
        let is_region = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_region || region.len() > 30 {
            return Err(invalid_setting("region", "region is a name such as eu-west-1."));
        }
        let (access_key, secret) = (connection.require("accessKeyId")?, connection.require("secretAccessKey")?);
        let credentials = Credentials::new(access_key, secret, connection.get("sessionToken"), None, "channel");
        Ok(SigV4Signer { credentials, region, service })
    }

    /// Adds the signature to a request. It uses the machine's clock, because AWS accepts a signature for a few minutes
    /// only.
    pub fn sign(&self, request: RequestBuilder, body: &[u8]) -> RequestBuilder {
        let (client, built) = request.build_split();
        let Ok(built) = built else { return RequestBuilder::from_parts(client, invalid_request()) };
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build();
        let headers = built.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable =
            SignableRequest::new(built.method().as_str(), built.url().as_str(), headers, SignableBody::Bytes(body));
        let signed = params.ok().zip(signable.ok()).and_then(|(params, signable)| sign(signable, &params.into()).ok());
        let mut request = RequestBuilder::from_parts(client, built);
        if let Some(signed) = signed {
            let (instructions, _) = signed.into_parts();
            for (name, value) in instructions.headers() {
                request = request.header(name, value);
            }
        }
        request
    }
}

/// Replaces a request that could not be built. It fails with a builder error when it is sent.
fn invalid_request() -> reqwest::Request {
    reqwest::Request::new(reqwest::Method::GET, "invalid:".parse().expect("an address"))
}

/// Returns the bare name of an error, such as `TooManyRequestsException`. AWS may add a namespace before it and an
/// address after it.
pub(super) fn error_name(text: &str) -> String {
    let name = text.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().chars().take(40).collect()
}

/// A message that an SNS topic posts to an HTTP subscriber.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SnsEnvelope {
    #[serde(rename = "Type")]
    pub kind: String,
    pub message_id: String,
    pub topic_arn: String,
    pub message: String,
    pub timestamp: String,
    subject: Option<String>,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    pub subscribe_url: Option<String>,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL", alias = "SigningCertUrl")]
    cert_url: String,
}

impl SnsEnvelope {
    pub fn read(body: &[u8]) -> Result<SnsEnvelope, &'static str> {
        serde_json::from_slice(body).map_err(|_| "not a message of an SNS topic")
    }

    /// Returns the text that SNS signs: selected fields in a fixed order, with each name and each value on its own
    /// line.
    fn signed_text(&self) -> Result<String, &'static str> {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name}\n{value}\n"));
        match self.kind.as_str() {
            "Notification" => {
                line("Message", &self.message);
                line("MessageId", &self.message_id);
                self.subject.iter().for_each(|subject| line("Subject", subject));
            }
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                line("Message", &self.message);
                line("MessageId", &self.message_id);
                line("SubscribeURL", self.subscribe_url.as_deref().ok_or("no SubscribeURL")?);
            }
            _ => return Err("the message type is unknown"),
        }
        line("Timestamp", &self.timestamp);
        if self.kind != "Notification" {
            line("Token", self.token.as_deref().ok_or("no Token")?);
        }
        line("TopicArn", &self.topic_arn);
        line("Type", &self.kind);
        Ok(text)
    }

    fn verify_with(&self, certificate: &CertificateDer<'_>, now: Option<Timestamp>) -> VerifyResult {
        let rsa = match self.signature_version.as_str() {
            "1" => Rsa(&aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
            "2" => Rsa(&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256),
            _ => return Err("the signature version is unknown"),
        };
        let signature = STANDARD.decode(&self.signature).map_err(|_| "the signature is not base64")?;
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| "the certificate cannot be read")?;
        let signed = self.signed_text()?;
        certificate.verify_signature(&rsa, signed.as_bytes(), &signature).map_err(|_| SIGNATURE_MISMATCH)?;
        let at: jiff::Timestamp = self.timestamp.parse().map_err(|_| "the timestamp is not a time")?;
        check_freshness(now, at.as_second(), WINDOW_MS)
    }
}

/// Maximum age of a notification, in milliseconds. SNS retries for about an hour, and clocks may differ by five
/// minutes.
const WINDOW_MS: i64 = 3_600_000 + 300_000;

/// Lets `webpki` verify a signature with an RSA algorithm of `aws-lc-rs`.
#[derive(Debug)]
struct Rsa(&'static aws_lc_rs::signature::RsaParameters);

impl SignatureVerificationAlgorithm for Rsa {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(self.0, key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        rustls_pki_types::alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        rustls_pki_types::alg_id::RSA_PKCS1_SHA256
    }
}

/// Parses an address of Amazon SNS: `https://sns.<region>.amazonaws.com/…`. No other address may be fetched, because it
/// comes from a message that is not verified yet.
fn parse_sns_url(address: &str) -> Option<url::Url> {
    let url: url::Url = address.parse().ok()?;
    let host = url.host_str()?;
    let region = host.strip_prefix("sns.")?;
    let region = region.strip_suffix(".amazonaws.com").or_else(|| region.strip_suffix(".amazonaws.com.cn"))?;
    let is_region =
        region.len() >= 3 && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let is_plain = url.scheme() == "https" && url.port().is_none() && url.username().is_empty();
    (is_region && is_plain && url.password().is_none()).then_some(url)
}

fn certificate_url(envelope: &SnsEnvelope) -> Result<url::Url, &'static str> {
    let url = parse_sns_url(&envelope.cert_url).ok_or("the certificate is not at an address of Amazon SNS")?;
    if url.path().ends_with(".pem") { Ok(url) } else { Err("the certificate's address does not end with .pem") }
}

fn certificate(pem: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    CertificateDer::from_pem_slice(pem).map_err(|_| "the certificate cannot be read")
}

/// Verifies a recorded notification with the certificate that was recorded with it.
pub(super) fn verify(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let envelope = SnsEnvelope::read(&request.body)?;
    certificate_url(&envelope)?;
    envelope.verify_with(&certificate(keys.certificate.as_bytes())?, now)
}

/// The topic that may send notifications to one configuration, with its cached certificates.
pub(super) struct SnsTopic {
    pub arn: String,
    certificates: Mutex<HashMap<String, CertificateDer<'static>>>,
}

/// Maximum number of certificates that are cached for a topic.
const MAX_CACHED: usize = 20;

impl SnsTopic {
    pub fn new(arn: String) -> SnsTopic {
        SnsTopic { arn, certificates: Mutex::default() }
    }

    /// Verifies a notification with its certificate, which is fetched from Amazon or from `base_override`.
    pub async fn verify(
        &self,
        request: &CallbackRequest,
        http: &HttpClients,
        base_override: Option<&str>,
        now: Timestamp,
    ) -> VerifyResult {
        let envelope = SnsEnvelope::read(&request.body)?;
        if self.arn.is_empty() {
            return Err("no topicArn is configured");
        }
        if envelope.topic_arn != self.arn {
            return Err("it comes from another topic");
        }
        let url = certificate_url(&envelope)?;
        let cached = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(url.as_str()).cloned();
        let certificate = match cached {
            Some(certificate) => certificate,
            None => {
                let pem = fetch(http, base_override, &url).await.ok_or("the certificate cannot be fetched")?;
                let fetched = certificate(&pem)?;
                let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
                if MAX_CACHED <= certificates.len() {
                    certificates.clear();
                }
                certificates.insert(url.to_string(), fetched.clone());
                fetched
            }
        };
        envelope.verify_with(&certificate, Some(now))
    }

    /// Confirms the subscription. SNS sends nothing to an address before that.
    pub async fn confirm(
        &self,
        envelope: &SnsEnvelope,
        http: &HttpClients,
        base_override: Option<&str>,
    ) -> Result<(), &'static str> {
        let url = envelope
            .subscribe_url
            .as_deref()
            .and_then(parse_sns_url)
            .ok_or("the SubscribeURL is not an address of Amazon SNS")?;
        fetch(http, base_override, &url).await.map(|_| ()).ok_or("the subscription could not be confirmed")
    }
}

async fn fetch(http: &HttpClients, base_override: Option<&str>, url: &url::Url) -> Option<Vec<u8>> {
    let path = &url[url::Position::BeforePath..];
    let address = base_override.map_or_else(|| url.to_string(), |base| format!("{base}{path}"));
    let request = http.client.get(address).timeout(Duration::from_secs(5));
    let response = request.send().await.ok()?.error_for_status().ok()?;
    let body = response.bytes().await.ok()?;
    (body.len() <= MAX_RESPONSE_BYTES).then(|| body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_fetched_only_from_amazon() {
        for good in ["https://sns.eu-west-1.amazonaws.com/a.pem", "https://sns.cn-north-1.amazonaws.com.cn/a.pem"] {
            assert!(parse_sns_url(good).is_some(), "{good}");
        }
        for bad in [
            "http://sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.com/a.pem",
            "https://evil.com/sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.com/a.pem",
            "https://user@sns.eu-west-1.amazonaws.com/a.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
            "https://sns.x.amazonaws.com/a.pem",
            "https://sns.a.b.amazonaws.com/a.pem",
            "https://sns-eu-west-1.s3.amazonaws.com/a.pem",
        ] {
            assert!(parse_sns_url(bad).is_none(), "{bad}");
        }
    }
}
