//! What SES and SNS have in common: requests signed with a tenant's own keys, and notifications signed with X.509.

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

/// A tenant's keys for one region.
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
        let (key, secret) = (connection.require("accessKeyId")?, connection.require("secretAccessKey")?);
        let credentials = Credentials::new(key, secret, connection.get("sessionToken"), None, "channel");
        Ok(SigV4Signer { credentials, region, service })
    }

    /// The same request with its signature, by the real clock: a signature is valid for minutes.
    pub fn sign(&self, request: RequestBuilder, body: &[u8]) -> RequestBuilder {
        let (client, built) = request.build_split();
        let Ok(built) = built else { return RequestBuilder::from_parts(client, fallback()) };
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

/// Never sent: a request that cannot be built stays one that cannot be built.
fn fallback() -> reqwest::Request {
    reqwest::Request::new(reqwest::Method::GET, "invalid:".parse().expect("an address"))
}

/// The name of an error, without its address and namespace: `TooManyRequestsException`.
pub(super) fn error_name(text: &str) -> String {
    let name = text.split(':').next().unwrap_or_default();
    name.rsplit('#').next().unwrap_or_default().chars().take(40).collect()
}

/// One message of an SNS topic, over HTTP.
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

    /// What is signed: some fields, in an order of its own, each on two lines.
    fn signed(&self) -> Result<String, &'static str> {
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
            _ => return Err("a type that SNS does not have"),
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
            _ => return Err("a signature version that SNS does not have"),
        };
        let signature = STANDARD.decode(&self.signature).map_err(|_| "the signature is not base64")?;
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| "the certificate cannot be read")?;
        let signed = self.signed()?;
        certificate.verify_signature(&rsa, signed.as_bytes(), &signature).map_err(|_| SIGNATURE_MISMATCH)?;
        let at: jiff::Timestamp = self.timestamp.parse().map_err(|_| "the timestamp is no time")?;
        check_freshness(now, at.as_second(), WINDOW_MS)
    }
}

/// SNS retries for about an hour.
const WINDOW_MS: i64 = 3_600_000 + 300_000;

/// RSA with the key of any certificate.
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

/// Amazon's own addresses alone: `https://sns.<region>.amazonaws.com/…`. Nothing else is ever fetched.
fn is_sns(address: &str) -> Option<url::Url> {
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
    let url = is_sns(&envelope.cert_url).ok_or("the certificate is not at an address of Amazon SNS")?;
    if url.path().ends_with(".pem") { Ok(url) } else { Err("the certificate's address does not end with .pem") }
}

fn certificate(pem: &[u8]) -> Result<CertificateDer<'static>, &'static str> {
    CertificateDer::from_pem_slice(pem).map_err(|_| "the certificate cannot be read")
}

/// With a certificate at hand.
pub(super) fn verify(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let envelope = SnsEnvelope::read(&request.body)?;
    certificate_url(&envelope)?;
    envelope.verify_with(&certificate(keys.certificate.as_bytes())?, now)
}

/// A notification's sender: where certificates come from, and which topic may speak.
pub(super) struct SnsTopic {
    pub arn: String,
    certificates: Mutex<HashMap<String, CertificateDer<'static>>>,
}

/// Certificates remembered, at most.
const KEPT: usize = 20;

impl SnsTopic {
    pub fn new(arn: String) -> SnsTopic {
        SnsTopic { arn, certificates: Mutex::default() }
    }

    /// Fetches the certificate, from Amazon or from what stands in for it (`at`), and checks with it.
    pub async fn verify(
        &self,
        request: &CallbackRequest,
        http: &HttpClients,
        at: Option<&str>,
        now: Timestamp,
    ) -> VerifyResult {
        let envelope = SnsEnvelope::read(&request.body)?;
        if self.arn.is_empty() {
            return Err("there is no topicArn to compare with");
        }
        if envelope.topic_arn != self.arn {
            return Err("it comes from another topic");
        }
        let url = certificate_url(&envelope)?;
        let known = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(url.as_str()).cloned();
        let certificate = match known {
            Some(known) => known,
            None => {
                let pem = fetch(http, at, &url).await.ok_or("the certificate cannot be fetched")?;
                let fetched = certificate(&pem)?;
                let mut kept = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
                if KEPT <= kept.len() {
                    kept.clear();
                }
                kept.insert(url.to_string(), fetched.clone());
                fetched
            }
        };
        envelope.verify_with(&certificate, Some(now))
    }

    /// Says yes to SNS, which asks before it sends to an address.
    pub async fn confirm(
        &self,
        envelope: &SnsEnvelope,
        http: &HttpClients,
        at: Option<&str>,
    ) -> Result<(), &'static str> {
        let url = envelope.subscribe_url.as_deref().and_then(is_sns).ok_or("the SubscribeURL is not Amazon's")?;
        fetch(http, at, &url).await.map(|_| ()).ok_or("the subscription could not be confirmed")
    }
}

async fn fetch(http: &HttpClients, at: Option<&str>, url: &url::Url) -> Option<Vec<u8>> {
    let path = &url[url::Position::BeforePath..];
    let address = at.map_or_else(|| url.to_string(), |at| format!("{at}{path}"));
    let request = http.client.get(address).timeout(Duration::from_secs(5));
    let answer = request.send().await.ok()?.error_for_status().ok()?;
    let body = answer.bytes().await.ok()?;
    (body.len() <= MAX_RESPONSE_BYTES).then(|| body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_come_from_amazon_alone() {
        for good in ["https://sns.eu-west-1.amazonaws.com/a.pem", "https://sns.cn-north-1.amazonaws.com.cn/a.pem"] {
            assert!(is_sns(good).is_some(), "{good}");
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
            assert!(is_sns(bad).is_none(), "{bad}");
        }
    }
}
