//! Hashes that stand for what must not be stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::StreamKey;
use events::{TenantId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// 128 bits of a hash, in 22 characters.
fn short(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&bytes[..16])
}

/// Names a body. JSON maps are sorted, so the order of fields does not matter.
pub fn body_hash(body: &impl serde::Serialize) -> String {
    short(&Sha256::digest(serde_json::to_vec(body).unwrap_or_default()))
}

/// Stands for an address: the same for one tenant, and nobody without the key can try addresses against it.
pub fn contact_hash(key: &[u8], tenant: &TenantId, contact: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(tenant.as_str().as_bytes());
    mac.update(b"#");
    mac.update(contact.to_lowercase().as_bytes());
    short(&mac.finalize().into_bytes())
}

/// The checksum of a file, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time how much was right. Nothing is the same as no secret.
pub fn same_secret(expected: &str, given: &str) -> bool {
    !expected.is_empty() && Sha256::digest(expected) == Sha256::digest(given)
}

/// What is stored of an API key.
pub fn key_hash(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}

/// Lets whoever holds it unsubscribe the person that one message went to: `acme/com_…/…`.
pub fn unsubscribe_token(key: &[u8], stream: &StreamKey) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("unsubscribe#{}", stream.path()).as_bytes());
    format!("{}/{}/{}", stream.tenant, stream.id, short(&mac.finalize().into_bytes()))
}

/// Lets whoever holds it change the preferences of one person until a time: `acme/Y3VzdG9tZXI6Nw/1795000000000/…`.
pub fn preferences_token(key: &[u8], tenant: &TenantId, person: &str, until: Timestamp) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    let path = format!("{tenant}/{}/{}", URL_SAFE_NO_PAD.encode(person), until.0);
    mac.update(format!("preferences#{path}").as_bytes());
    format!("{path}/{}", short(&mac.finalize().into_bytes()))
}

/// Whose preferences a token is for; none where it is not one of ours, or its time is over.
pub fn preferences_of(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let mut parts = token.split('/');
    let tenant: TenantId = parts.next()?.parse().ok()?;
    let person = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
    let until = Timestamp(parts.next()?.parse().ok()?);
    let is_ours = same_secret(&preferences_token(key, &tenant, &person, until), token);
    (is_ours && now < until).then_some((tenant, person))
}

/// Lets whoever holds it read one uploaded file until a time: `acme/att_…/1795000000000/…`.
pub fn file_token(key: &[u8], tenant: &TenantId, id: &str, until: Timestamp) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    let path = format!("{tenant}/{id}/{}", until.0);
    mac.update(format!("file#{path}").as_bytes());
    format!("{path}/{}", short(&mac.finalize().into_bytes()))
}

/// Which file a token is for; none where it is not one of ours, or its time is over.
pub fn file_of(key: &[u8], token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let mut parts = token.split('/');
    let (tenant, id): (TenantId, _) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
    let until = Timestamp(parts.next()?.parse().ok()?);
    let is_ours = same_secret(&file_token(key, &tenant, &id, until), token);
    (is_ours && now < until).then_some((tenant, id))
}

/// The message that a token is for; none where it is not one of ours.
pub fn unsubscribed(key: &[u8], token: &str) -> Option<StreamKey> {
    let mut parts = token.split('/');
    let stream = StreamKey { tenant: parts.next()?.parse().ok()?, id: parts.next()?.parse().ok()? };
    same_secret(&unsubscribe_token(key, &stream), token).then_some(stream)
}
