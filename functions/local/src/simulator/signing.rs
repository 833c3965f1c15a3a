//! How the simulated providers sign.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
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

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A JSON Web Token, HS256.
pub fn jwt(claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// https://www.standardwebhooks.com: the headers of a body.
pub fn standard(secret: &str, id: &str, seconds: i64, body: &str) -> [(&'static str, String); 3] {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
    let signature = base64(&hmac_sha256(&key, format!("{id}.{seconds}.{body}").as_bytes()));
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}
