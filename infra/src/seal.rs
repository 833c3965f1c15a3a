//! Encryption of stored secrets with AES-256-GCM. The data key is stored with the text, encrypted ("wrapped") by a key
//! that is not stored. The context is authenticated too, so a text cannot be decrypted in another context.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ports::StoreError;

fn unreadable() -> StoreError {
    StoreError::Unreadable("encrypted text".to_owned())
}

fn key(bytes: &[u8]) -> Result<LessSafeKey, StoreError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| unreadable())
}

/// Returns `wrapped.nonce.text`, each in base64.
pub(crate) fn encrypt(data_key: &[u8], wrapped_key: &[u8], context: &str, plain: &str) -> Result<String, StoreError> {
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| unreadable())?;
    let mut text = plain.as_bytes().to_vec();
    let encrypted = key(data_key)?.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(context.as_bytes()),
        &mut text,
    );
    encrypted.map_err(|_| unreadable())?;
    Ok(format!("{}.{}.{}", STANDARD.encode(wrapped_key), STANDARD.encode(nonce), STANDARD.encode(text)))
}

/// Returns the wrapped data key of an encrypted text.
#[cfg(feature = "aws")]
pub(crate) fn wrapped_data_key(encrypted: &str) -> Result<Vec<u8>, StoreError> {
    let wrapped_key = encrypted.split('.').next().unwrap_or_default();
    STANDARD.decode(wrapped_key).map_err(|_| unreadable())
}

/// Reverses [`encrypt`]. Fails if the key or the context differs, or if the text was changed.
pub(crate) fn decrypt(data_key: &[u8], context: &str, encrypted: &str) -> Result<String, StoreError> {
    let part =
        |index: usize| STANDARD.decode(encrypted.split('.').nth(index).unwrap_or_default()).map_err(|_| unreadable());
    let nonce: [u8; NONCE_LEN] = part(1)?.try_into().map_err(|_| unreadable())?;
    let mut text = part(2)?;
    let decrypted =
        key(data_key)?.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut text);
    let plain = decrypted.map_err(|_| unreadable())?;
    String::from_utf8(plain.to_vec()).map_err(|_| unreadable())
}
