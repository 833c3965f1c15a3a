//! Functions for signature checks. A scheme that only one provider uses is in that provider's file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::CallbackRequest;
use events::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::attempt_ids::form_field;

/// Checks whether a request is signed with the keys. Without a time, the age of the request is not checked.
pub(super) type SignatureCheck = fn(&CallbackRequest, &VerificationKeys, Option<Timestamp>) -> VerifyResult;
/// The error is the reason why the signature is not accepted.
pub(super) type VerifyResult = Result<(), &'static str>;

/// The keys that a signature is checked with. Each scheme uses one of them.
#[derive(Debug, Clone, Default)]
pub(super) struct VerificationKeys {
    /// A shared secret.
    pub secret: String,
    /// A public key in base64.
    pub public_key: String,
    /// A PEM certificate. It is used instead of the one that the request refers to.
    pub certificate: String,
}

pub(super) const SIGNATURE_MISMATCH: &str = "the signature is wrong";

/// Compares in constant time, so that the duration does not reveal how many bytes match.
pub(super) fn constant_time_eq(a: &[u8], b: &[u8]) -> VerifyResult {
    if bool::from(a.ct_eq(b)) { Ok(()) } else { Err(SIGNATURE_MISMATCH) }
}

macro_rules! hmac_of {
    ($($name:ident: $digest:ty),*) => {$(
        pub(super) fn $name(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            let mut mac = Hmac::<$digest>::new_from_slice(key).expect("HMAC takes keys of any length");
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
    )*};
}
hmac_of!(hmac_md5: md5::Md5, hmac_sha1: Sha1, hmac_sha256: Sha256, hmac_sha512: Sha512);

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Decodes hexadecimal digits of either case.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(pair).collect())?
}

/// Checks that a time in Unix seconds is at most `window_ms` before or after now.
pub(super) fn check_freshness(now: Option<Timestamp>, seconds: i64, window_ms: i64) -> VerifyResult {
    let Some(now) = now else { return Ok(()) };
    let age = now.millis_since(Timestamp(seconds.saturating_mul(1_000)));
    match age {
        age if window_ms < age => Err("it is too old"),
        age if age < -window_ms => Err("its time is in the future"),
        _ => Ok(()),
    }
}

/// Returns the claims of a JSON Web Token that is signed with a shared secret, by one of the given algorithms.
pub(super) fn verify_jwt_claims(
    token: &str,
    secret: &[u8],
    algorithms: &[jsonwebtoken::Algorithm],
) -> Result<serde_json::Value, &'static str> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| "the token cannot be read")?;
    if !algorithms.contains(&header.alg) {
        return Err("the token is signed by another algorithm");
    }
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    // The caller checks the times, by our own clock.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let key = jsonwebtoken::DecodingKey::from_secret(secret);
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation)
        .map(|token| token.claims)
        .map_err(|_| SIGNATURE_MISMATCH)
}

const STANDARD_WINDOW_MS: i64 = 5 * 60_000;

/// Checks the signature of Standard Webhooks (https://www.standardwebhooks.com): base64 HMAC-SHA256 over id, timestamp
/// and body. The header holds several signatures while keys are rotated.
pub(super) fn verify_standard(
    request: &CallbackRequest,
    keys: &VerificationKeys,
    now: Option<Timestamp>,
) -> VerifyResult {
    let id = request.header("webhook-id").ok_or("no webhook-id header")?;
    let timestamp = request.header("webhook-timestamp").ok_or("no webhook-timestamp header")?;
    let signatures = request.header("webhook-signature").ok_or("no webhook-signature header")?;
    let secret = keys.secret.strip_prefix("whsec_").unwrap_or(&keys.secret);
    let secret = STANDARD.decode(secret).ok().filter(|secret| !secret.is_empty());
    let secret = secret.ok_or("no webhook secret is configured")?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body];
    let expected = hmac_sha256(&secret, &signed);
    let is_valid = |text: &str| {
        let signature = text.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| constant_time_eq(&expected, &signature).is_ok())
    };
    if !signatures.split(' ').any(is_valid) {
        return Err(SIGNATURE_MISMATCH);
    }
    check_freshness(now, timestamp.parse().map_err(|_| "the timestamp is not a number")?, STANDARD_WINDOW_MS)
}

/// Checks a shared secret in the query of the callback address: `?secret=…`.
pub(super) fn url_secret(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let secret = form_field(request.query().as_bytes(), "secret").ok_or("the address holds no secret")?;
    if keys.secret.is_empty() {
        return Err("no secret is configured");
    }
    constant_time_eq(secret.as_bytes(), keys.secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_decoded_in_either_case() {
        assert_eq!(decode_hex("00fFa1"), Some(vec![0, 255, 161]));
        for wrong in ["0", "0g", "éé", "+1"] {
            assert_eq!(decode_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_too_far_in_the_past_or_future_are_refused() {
        let now = Some(Timestamp(1_000_000));
        assert_eq!(check_freshness(now, 1_000, 5_000), Ok(()));
        assert!(check_freshness(now, 990, 5_000).is_err() && check_freshness(now, 1_010, 5_000).is_err());
        assert!(check_freshness(None, 0, 1).is_ok());
    }
}
