//! Hashes that are stored in place of personal data and secrets, and signed tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{CommunicationKey, StoreError};
use events::{TenantId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::document;

/// 128 bits of a hash, in 22 characters.
fn truncated_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&bytes[..16])
}

/// The HMAC-SHA256 of a text, truncated and in base64.
fn hmac_base64(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    truncated_base64(&mac.finalize().into_bytes())
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

/// A token that unsubscribes the recipient of one message: `acme/com_…/…`.
pub fn unsubscribe_token(key: &[u8], stream: &CommunicationKey) -> String {
    format!(
        "{}/{}/{}",
        stream.tenant,
        stream.id,
        hmac_base64(key, &format!("unsubscribe#{}", stream.stream_id().storage_key()))
    )
}

/// A token for one purpose and one named object of a tenant, valid until a time.
fn timed_token(key: &[u8], purpose: &str, (tenant, name): (&TenantId, &str), until: Timestamp) -> String {
    let path = format!("{tenant}/{name}/{}", until.0);
    format!("{path}/{}", hmac_base64(key, &format!("{purpose}#{path}")))
}

/// The tenant and the name in a token. Returns `None` if its signature is wrong or it has expired.
fn verify_timed_token(key: &[u8], purpose: &str, token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let mut parts = token.split('/');
    let (tenant, name): (TenantId, _) = (parts.next()?.parse().ok()?, parts.next()?);
    let until = Timestamp(parts.next()?.parse().ok()?);
    let is_ours = constant_time_eq(&timed_token(key, purpose, (&tenant, name), until), token);
    (is_ours && now < until).then(|| (tenant, name.to_owned()))
}

/// A token that changes the preferences of one person: `acme/Y3VzdG9tZXI6Nw/1795000000000/…`.
pub fn preferences_token(key: &[u8], tenant: &TenantId, person: &str, until: Timestamp) -> String {
    timed_token(key, "preferences", (tenant, &URL_SAFE_NO_PAD.encode(person)), until)
}

/// The tenant and the person of a token. Returns `None` if it is not valid.
pub fn verify_preferences_token(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let (tenant, person) = verify_timed_token(key, "preferences", token, now)?;
    Some((tenant, String::from_utf8(URL_SAFE_NO_PAD.decode(person).ok()?).ok()?))
}

/// A token that reads one uploaded file: `acme/att_…/1795000000000/…`.
pub fn file_token(key: &[u8], tenant: &TenantId, id: &str, until: Timestamp) -> String {
    timed_token(key, "file", (tenant, id), until)
}

/// The tenant and the file of a token. Returns `None` if it is not valid.
pub fn verify_file_token(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    verify_timed_token(key, "file", token, now)
}

/// The message of a token. Returns `None` if it is not valid.
pub fn verify_unsubscribe_token(key: &[u8], token: &str) -> Option<CommunicationKey> {
    let mut parts = token.split('/');
    let stream = CommunicationKey { tenant: parts.next()?.parse().ok()?, id: parts.next()?.parse().ok()? };
    constant_time_eq(&unsubscribe_token(key, &stream), token).then_some(stream)
}
