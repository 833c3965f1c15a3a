//! Envelope encryption with KMS. Each text gets a new data key, which KMS encrypts and later decrypts.

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{DisplayErrorContext, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use domain::ports::{SecretCipher, StoreError};

use crate::seal;

/// Encrypts with a customer managed key. The context is KMS's encryption context too, so KMS itself refuses to decrypt
/// the data key in another context.
pub struct KmsCipher {
    pub client: Client,
    pub key_id: String,
}

/// The name of our entry in the encryption context. It must never change, because stored data keys are bound to it.
const CONTEXT_NAME: &str = "place";

fn to_store_error<E: std::error::Error + Send + Sync + 'static, R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<E, R>,
) -> StoreError {
    StoreError::Unavailable(format!("kms: {}", DisplayErrorContext(&error)))
}

#[async_trait]
impl SecretCipher for KmsCipher {
    async fn encrypt(&self, context: &str, plain: &str) -> Result<String, StoreError> {
        let generate = self.client.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        let generated = generate.encryption_context(CONTEXT_NAME, context).send().await.map_err(to_store_error)?;
        let missing = || StoreError::Unavailable("kms: no data key".to_owned());
        let (data_key, wrapped_key) =
            (generated.plaintext.ok_or_else(missing)?, generated.ciphertext_blob.ok_or_else(missing)?);
        seal::encrypt(data_key.as_ref(), wrapped_key.as_ref(), context, plain)
    }

    async fn decrypt(&self, context: &str, encrypted: &str) -> Result<String, StoreError> {
        let wrapped_key = Blob::new(seal::wrapped_data_key(encrypted)?);
        let decrypt = self.client.decrypt().key_id(&self.key_id).ciphertext_blob(wrapped_key);
        let data_key =
            decrypt.encryption_context(CONTEXT_NAME, context).send().await.map_err(to_store_error)?.plaintext;
        let data_key = data_key.ok_or_else(|| StoreError::Unavailable("kms: no data key".to_owned()))?;
        seal::decrypt(data_key.as_ref(), context, encrypted)
    }
}
