//! Sealing with a key of this machine's own.

use async_trait::async_trait;
use domain::ports::{SecretCipher, StoreError};

use crate::seal;

/// One key for everything; it never leaves its file.
pub struct LocalKeyCipher(pub [u8; 32]);

#[async_trait]
impl SecretCipher for LocalKeyCipher {
    async fn encrypt(&self, place: &str, plain: &str) -> Result<String, StoreError> {
        seal::seal(&self.0, b"", place, plain)
    }

    async fn decrypt(&self, place: &str, sealed: &str) -> Result<String, StoreError> {
        seal::open(&self.0, place, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sealed_opens_in_its_place_alone() {
        let sealer = LocalKeyCipher([7; 32]);
        let sealed = sealer.encrypt("acme#a.1", "secret").await.expect("sealed");
        assert!(!sealed.contains("secret"));
        assert_ne!(sealed, sealer.encrypt("acme#a.1", "secret").await.expect("sealed"), "a fresh nonce each time");
        assert_eq!(sealer.decrypt("acme#a.1", &sealed).await.expect("opened"), "secret");
        assert!(sealer.decrypt("other#a.1", &sealed).await.is_err(), "another's place");
        assert!(LocalKeyCipher([8; 32]).decrypt("acme#a.1", &sealed).await.is_err(), "another key");
        for wrong in ["", ".", "..", "AAAA.AAAA.AAAA", "not base64.x.y"] {
            assert!(sealer.decrypt("acme#a.1", wrong).await.is_err(), "{wrong}");
        }
    }
}
