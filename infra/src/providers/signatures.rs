//! What signatures have in common. Each provider's own scheme is in its own file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::CallbackRequest;
use events::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// Whether a request is signed with the keys; the reason why not. Without a time its window is not looked at.
pub(super) type SignatureCheck = fn(&CallbackRequest, &Keys, Option<Timestamp>) -> Verdict;
pub(super) type Verdict = Result<(), &'static str>;

/// What a signature is checked with.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    /// A shared secret.
    pub secret: String,
    /// Base64 of a public key.
    pub public_key: String,
    /// A certificate, where it needs no fetching.
    pub certificate: String,
}

pub(super) const SIGNATURE_MISMATCH: &str = "the signature is wrong";

/// Compares without telling by its time how much was right.
pub(super) fn same(a: &[u8], b: &[u8]) -> Verdict {
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

/// Bytes of hexadecimal digits of either case.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    digits.then(|| (0..text.len()).step_by(2).map(pair).collect())?
}

/// Within so many milliseconds of a time in seconds, on either side.
pub(super) fn within(now: Option<Timestamp>, seconds: i64, window_ms: i64) -> Verdict {
    let Some(now) = now else { return Ok(()) };
    let age = now.millis_since(Timestamp(seconds.saturating_mul(1_000)));
    match age {
        age if window_ms < age => Err("it is too old"),
        age if age < -window_ms => Err("its time is in the future"),
        _ => Ok(()),
    }
}

/// The claims of a JSON Web Token signed with a shared secret, by one of the algorithms of this provider.
pub(super) fn claims(
    token: &str,
    secret: &[u8],
    algorithms: &[jsonwebtoken::Algorithm],
) -> Result<serde_json::Value, &'static str> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| "the token cannot be read")?;
    if !algorithms.contains(&header.alg) {
        return Err("the token is signed by another algorithm");
    }
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    // Times are judged by our own clock.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let key = jsonwebtoken::DecodingKey::from_secret(secret);
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation)
        .map(|token| token.claims)
        .map_err(|_| SIGNATURE_MISMATCH)
}

const STANDARD_WINDOW_MS: i64 = 5 * 60_000;

/// https://www.standardwebhooks.com: base64 HMAC-SHA256 over id, timestamp and body; several while keys change.
pub(super) fn verify_standard(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>) -> Verdict {
    let id = request.header("webhook-id").ok_or("no webhook-id header")?;
    let timestamp = request.header("webhook-timestamp").ok_or("no webhook-timestamp header")?;
    let given = request.header("webhook-signature").ok_or("no webhook-signature header")?;
    let secret = keys.secret.strip_prefix("whsec_").unwrap_or(&keys.secret);
    let secret = STANDARD.decode(secret).ok().filter(|secret| !secret.is_empty());
    let secret = secret.ok_or("there is no webhook secret to check it with")?;
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &request.body];
    let expected = hmac_sha256(&secret, &signed);
    let is_it = |given: &str| {
        let signature = given.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| same(&expected, &signature).is_ok())
    };
    if !given.split(' ').any(is_it) {
        return Err(SIGNATURE_MISMATCH);
    }
    within(now, timestamp.parse().map_err(|_| "the timestamp is no number")?, STANDARD_WINDOW_MS)
}

/// A secret in the address: `?secret=…`, or what the path ends with.
pub(super) fn url_secret(request: &CallbackRequest, keys: &Keys, _: Option<Timestamp>) -> Verdict {
    let given = super::field(request.query().as_bytes(), "secret").ok_or("the address holds no secret")?;
    if keys.secret.is_empty() {
        return Err("there is no secret to compare with");
    }
    same(given.as_bytes(), keys.secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_read_in_either_case_or_not_at_all() {
        assert_eq!(decode_hex("00fFa1"), Some(vec![0, 255, 161]));
        for wrong in ["0", "0g", "éé", "+1"] {
            assert_eq!(decode_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_window_has_two_sides() {
        let now = Some(Timestamp(1_000_000));
        assert_eq!(within(now, 1_000, 5_000), Ok(()));
        assert!(within(now, 990, 5_000).is_err() && within(now, 1_010, 5_000).is_err());
        assert!(within(None, 0, 1).is_ok());
    }
}
