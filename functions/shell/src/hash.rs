//! Hashes that stand for what must not be stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::TenantId;
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

/// Compares without telling by its time how much was right. Nothing is the same as no secret.
pub fn same_secret(expected: &str, given: &str) -> bool {
    !expected.is_empty() && Sha256::digest(expected) == Sha256::digest(given)
}

/// What is stored of an API key.
pub fn key_hash(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}
