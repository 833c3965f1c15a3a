//! Hashes that are stored in place of personal data and secrets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::StoreError;
use events::TenantId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::document;

/// 128 bits of a hash, in 22 characters.
fn truncated_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&bytes[..16])
}

/// 128 bits of the HMAC-SHA256 of a text.
pub(crate) fn hmac(key: &[u8], text: &str) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()[..16].try_into().expect("16 of 32 bytes")
}

/// The HMAC-SHA256 of a text, truncated and in base64.
pub(crate) fn hmac_base64(key: &[u8], text: &str) -> String {
    truncated_base64(&hmac(key, text))
}

/// A mark by which a key is recognised, and which does not reveal it.
pub fn key_mark(key: &[u8]) -> String {
    hmac_base64(key, "tidings key mark")
}

/// The hash of a body. JSON maps are sorted, so the order of fields does not matter.
pub fn body_hash(body: &serde_json::Value) -> String {
    truncated_base64(&Sha256::digest(body.to_string()))
}

/// The hash of a value's JSON form: that of [`body_hash`] for the same JSON.
///
/// # Errors
///
/// [`StoreError::Unreadable`]: the value has no JSON form. It must not share the hash of another one.
pub fn hash_of(value: &impl serde::Serialize) -> Result<String, StoreError> {
    Ok(truncated_base64(&Sha256::digest(document::encode(value)?)))
}

/// The hash of an address. It is keyed, so that without the key addresses cannot be tried against it, and it differs
/// between tenants.
pub fn contact_hash(key: &[u8], tenant: &TenantId, contact: &str) -> String {
    hmac_base64(key, &format!("{tenant}#{}", contact.to_lowercase()))
}

/// The checksum of a file, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in constant time. An empty `expected` equals nothing.
pub fn constant_time_eq(expected: &str, given: &str) -> bool {
    !expected.is_empty() && Sha256::digest(expected) == Sha256::digest(given)
}

/// The hash of an API key, which is stored in its place.
pub fn key_hash(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}
