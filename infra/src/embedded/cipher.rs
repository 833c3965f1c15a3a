//! Encryption with a key that is stored on this machine.

use async_trait::async_trait;
use domain::ports::{SecretCipher, StoreError};

use crate::seal;

/// Encrypts everything with one local key.
pub struct LocalKeyCipher(pub [u8; 32]);

#[async_trait]
impl SecretCipher for LocalKeyCipher {
    async fn encrypt(&self, context: &str, plain: &str) -> Result<String, StoreError> {
        seal::encrypt(&self.0, b"", context, plain)
    }

    async fn decrypt(&self, context: &str, encrypted: &str) -> Result<String, StoreError> {
        seal::decrypt(&self.0, context, encrypted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_is_decrypted_only_with_its_key_and_context() {
        let cipher = LocalKeyCipher([7; 32]);
        let encrypted = cipher.encrypt("acme#a.1", "secret").await.expect("encrypted");
        assert!(!encrypted.contains("secret"));
        assert_ne!(
            encrypted,
            cipher.encrypt("acme#a.1", "secret").await.expect("encrypted"),
            "each encryption has a new nonce"
        );
        assert_eq!(cipher.decrypt("acme#a.1", &encrypted).await.expect("decrypted"), "secret");
        assert!(cipher.decrypt("other#a.1", &encrypted).await.is_err(), "another context");
        assert!(LocalKeyCipher([8; 32]).decrypt("acme#a.1", &encrypted).await.is_err(), "another key");
        for wrong in ["", ".", "..", "AAAA.AAAA.AAAA", "not base64.x.y"] {
            assert!(cipher.decrypt("acme#a.1", wrong).await.is_err(), "{wrong}");
        }
    }
}
