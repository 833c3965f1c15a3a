//! Signatures of the simulated providers' callbacks.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::SigningKey;
use p256::pkcs8::EncodePublicKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

macro_rules! hmac_of {
    ($($name:ident: $digest:ty),*) => {$(
        pub fn $name(key: &[u8], signed: &[u8]) -> Vec<u8> {
            let mut mac = Hmac::<$digest>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(signed);
            mac.finalize().into_bytes().to_vec()
        }
    )*};
}
hmac_of!(hmac_sha1: sha1::Sha1, hmac_sha256: Sha256);

/// Creates a P-256 key from random numbers.
pub fn ecdsa_key(random: [u128; 2]) -> SigningKey {
    let bytes: Vec<u8> = random.iter().flat_map(|part| part.to_be_bytes()).collect();
    // Only about one in 2^32 random numbers is not a valid key.
    SigningKey::from_slice(&bytes).or_else(|_| SigningKey::from_slice(&[1; 32])).expect("a small number is a key")
}

/// Returns the public key in base64 of DER.
pub fn public_key(key: &SigningKey) -> String {
    let der = key.verifying_key().to_public_key_der().expect("a P-256 key has a DER form");
    base64(der.as_bytes())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Creates a JSON Web Token that is signed with HS256.
pub fn jwt(claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Returns the headers that sign a body as <https://www.standardwebhooks.com> specifies.
pub fn standard_webhook_headers(secret: &str, id: &str, seconds: i64, body: &str) -> [(&'static str, String); 3] {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
    let signature = base64(&hmac_sha256(&key, format!("{id}.{seconds}.{body}").as_bytes()));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}
