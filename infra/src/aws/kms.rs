//! Envelopes: KMS wraps a fresh data key for each text, and unwraps it again.

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use domain::ports::{SecretCipher, StoreError};

use crate::seal;

/// Seals with a customer managed key. `place` is its encryption context too, so KMS itself refuses another.
pub struct KmsCipher {
    pub client: Client,
    pub key_id: String,
}

const CONTEXT: &str = "place";

fn unavailable<E: std::error::Error + Send + Sync + 'static, R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<E, R>,
) -> StoreError {
    StoreError::Unavailable(format!("kms: {}", DisplayErrorContext(&error)))
}

#[async_trait]
impl SecretCipher for KmsCipher {
    async fn encrypt(&self, place: &str, plain: &str) -> Result<String, StoreError> {
        let generate = self.client.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        let made = generate.encryption_context(CONTEXT, place).send().await.map_err(unavailable)?;
        let missing = || StoreError::Unavailable("kms: no data key".to_owned());
        let (data_key, wrapped) = (made.plaintext.ok_or_else(missing)?, made.ciphertext_blob.ok_or_else(missing)?);
        seal::seal(data_key.as_ref(), wrapped.as_ref(), place, plain)
    }

    async fn decrypt(&self, place: &str, sealed: &str) -> Result<String, StoreError> {
        let wrapped = Blob::new(seal::wrapped(sealed)?);
        let decrypt = self.client.decrypt().key_id(&self.key_id).ciphertext_blob(wrapped);
        let data_key = decrypt.encryption_context(CONTEXT, place).send().await.map_err(unavailable)?.plaintext;
        let data_key = data_key.ok_or_else(|| StoreError::Unavailable("kms: no data key".to_owned()))?;
        seal::open(data_key.as_ref(), place, sealed)
    }
}
