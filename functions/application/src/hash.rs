//! Hashes that stand for what must not be stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::CommunicationKey;
use events::{TenantId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

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

/// Names a body. JSON maps are sorted, so the order of fields does not matter.
pub fn body_hash(body: &impl serde::Serialize) -> String {
    truncated_base64(&Sha256::digest(serde_json::to_vec(body).unwrap_or_default()))
}

/// Stands for an address: the same for one tenant, and nobody without the key can try addresses against it.
pub fn contact_hash(key: &[u8], tenant: &TenantId, contact: &str) -> String {
    hmac_base64(key, &format!("{tenant}#{}", contact.to_lowercase()))
}

/// The checksum of a file, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time how much was right. Nothing is the same as no secret.
pub fn constant_time_eq(expected: &str, given: &str) -> bool {
    !expected.is_empty() && Sha256::digest(expected) == Sha256::digest(given)
}

/// What is stored of an API key.
pub fn key_hash(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}

/// Lets whoever holds it unsubscribe the person that one message went to: `acme/com_…/…`.
pub fn unsubscribe_token(key: &[u8], stream: &CommunicationKey) -> String {
    format!(
        "{}/{}/{}",
        stream.tenant,
        stream.id,
        hmac_base64(key, &format!("unsubscribe#{}", stream.stream_id().storage_key()))
    )
}

/// Lets whoever holds it do one thing with one thing of a tenant's, until a time.
fn timed_token(key: &[u8], purpose: &str, (tenant, name): (&TenantId, &str), until: Timestamp) -> String {
    let path = format!("{tenant}/{name}/{}", until.0);
    format!("{path}/{}", hmac_base64(key, &format!("{purpose}#{path}")))
}

/// What such a token is for; none where it is not one of ours, or its time is over.
fn verify_timed_token(key: &[u8], purpose: &str, token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let mut parts = token.split('/');
    let (tenant, name): (TenantId, _) = (parts.next()?.parse().ok()?, parts.next()?);
    let until = Timestamp(parts.next()?.parse().ok()?);
    let is_ours = constant_time_eq(&timed_token(key, purpose, (&tenant, name), until), token);
    (is_ours && now < until).then(|| (tenant, name.to_owned()))
}

/// Lets whoever holds it change the preferences of one person: `acme/Y3VzdG9tZXI6Nw/1795000000000/…`.
pub fn preferences_token(key: &[u8], tenant: &TenantId, person: &str, until: Timestamp) -> String {
    timed_token(key, "preferences", (tenant, &URL_SAFE_NO_PAD.encode(person)), until)
}

/// Whose preferences a token is for.
pub fn verify_preferences_token(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let (tenant, person) = verify_timed_token(key, "preferences", token, now)?;
    Some((tenant, String::from_utf8(URL_SAFE_NO_PAD.decode(person).ok()?).ok()?))
}

/// Lets whoever holds it read one uploaded file: `acme/att_…/1795000000000/…`.
pub fn file_token(key: &[u8], tenant: &TenantId, id: &str, until: Timestamp) -> String {
    timed_token(key, "file", (tenant, id), until)
}

/// Which file a token is for.
pub fn verify_file_token(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    verify_timed_token(key, "file", token, now)
}

/// The message that a token is for; none where it is not one of ours.
pub fn verify_unsubscribe_token(key: &[u8], token: &str) -> Option<CommunicationKey> {
    let mut parts = token.split('/');
    let stream = CommunicationKey { tenant: parts.next()?.parse().ok()?, id: parts.next()?.parse().ok()? };
    constant_time_eq(&unsubscribe_token(key, &stream), token).then_some(stream)
}
