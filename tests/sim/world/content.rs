//! Personal content, documents, secrets and files.

use async_trait::async_trait;
use domain::message::MessageContent;
use domain::ports::{
    ContentKey, DocumentKey, DocumentStore, FetchError, FileFetcher, ObjectKey, ObjectStore, PresignedUpload,
    SecretCipher, StoreError, Vault,
};
use domain::printable_invoice::{InvoicePrinter, PrintError, PrintableInvoice};
use events::{TenantId, Timestamp};

use super::faults::unavailable;
use super::{World, WorldState};
use crate::bugs::Bug;

#[async_trait]
impl Vault for World {
    async fn put(&self, key: &ContentKey, content: &MessageContent, _: Timestamp) -> Result<(), StoreError> {
        self.write_io("vault put", |state| drop(state.vault.insert(key.clone(), content.clone()))).await
    }

    async fn get(&self, key: &ContentKey, _: Timestamp) -> Result<Option<MessageContent>, StoreError> {
        self.read_io("vault get").await?;
        Ok(self.state().vault.get(key).cloned())
    }

    async fn get_many(&self, keys: &[ContentKey], _: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError> {
        self.read_io("vault get").await?;
        let state = self.state();
        Ok(keys.iter().map(|key| state.vault.get(key).cloned()).collect())
    }

    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        _: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError> {
        self.read_io("vault of subject").await?;
        let state = self.state();
        let is_match = |key: &ContentKey| key.tenant == *tenant && key.subject == subject;
        let matches = state.vault.iter().rev().filter(|(key, _)| is_match(key));
        let page = matches.filter(|(key, _)| before.is_none_or(|before| key.path().1.as_str() < before));
        Ok(page.take(limit).map(|(key, content)| (key.clone(), content.clone())).collect())
    }

    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError> {
        self.write_io("vault erase", |state| drop(state.vault.remove(key))).await
    }
}

#[async_trait]
impl DocumentStore for World {
    async fn put_document(&self, key: &DocumentKey, body: &str, _: Option<Timestamp>) -> Result<(), StoreError> {
        let is_lost = self.state().bug == Some(Bug::EventDataLost) && key.collection == "business-event";
        let put = |state: &mut WorldState| {
            if !is_lost {
                state.documents.insert(key.clone(), body.to_owned());
            }
        };
        self.write_io("document put", put).await
    }

    async fn replace_document(
        &self,
        key: &DocumentKey,
        seen: Option<&str>,
        body: &str,
        _: Option<Timestamp>,
        _: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut is_replaced = false;
        self.write_io("document swap", |state| {
            is_replaced = state.documents.get(key).map(String::as_str) == seen;
            if is_replaced {
                state.documents.insert(key.clone(), body.to_owned());
            }
        })
        .await?;
        Ok(is_replaced)
    }

    async fn get_document(&self, key: &DocumentKey, _: Timestamp) -> Result<Option<String>, StoreError> {
        self.read_io("document").await?;
        Ok(self.state().documents.get(key).cloned())
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        self.write_io("document remove", |state| drop(state.documents.remove(key))).await
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        _: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.read_io("documents").await?;
        let state = self.state();
        let is_match = |key: &DocumentKey| key.tenant == *tenant && key.collection == collection;
        let matches = state.documents.iter().rev().filter(|(key, _)| is_match(key));
        let page = matches.filter(|(key, _)| before.is_none_or(|before| key.name.as_str() < before));
        Ok(page.take(limit).map(|(key, body)| (key.name.clone(), body.clone())).collect())
    }
}

/// Does not encrypt. It only simulates that the key service may be unavailable.
#[async_trait]
impl SecretCipher for World {
    async fn encrypt(&self, _: &str, plain: &str) -> Result<String, StoreError> {
        self.read_io("encrypt").await.map(|()| plain.to_owned())
    }

    async fn decrypt(&self, _: &str, sealed: &str) -> Result<String, StoreError> {
        self.read_io("decrypt").await.map(|()| sealed.to_owned())
    }
}

#[async_trait]
impl FileFetcher for World {
    async fn fetch(&self, _: &str, _: usize) -> Result<(Vec<u8>, String), FetchError> {
        self.read_io("fetch").await.map_err(|_| FetchError::NoResponse)?;
        Ok((b"%PDF".to_vec(), "application/pdf".to_owned()))
    }
}

/// Prints text in place of a PDF.
#[async_trait]
impl InvoicePrinter for World {
    async fn print(&self, invoice: PrintableInvoice) -> Result<Vec<u8>, PrintError> {
        Ok(format!("%PDF-1.7 {invoice:?}").into_bytes())
    }
}

#[async_trait]
impl ObjectStore for World {
    async fn upload_to(&self, _: &ObjectKey, _: &str, _: u64, _: Timestamp) -> Result<PresignedUpload, StoreError> {
        Err(unavailable())
    }

    async fn download_from(&self, _: &ObjectKey, _: &str, _: &str, _: Timestamp) -> Result<String, StoreError> {
        Err(unavailable())
    }

    async fn read(&self, key: &ObjectKey, _: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_io("object read").await?;
        Ok(self.state().objects.get(key).cloned())
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, _: &str) -> Result<(), StoreError> {
        let is_lost = self.state().bug == Some(Bug::DocumentLost);
        self.write_io("object write", |state| {
            if !is_lost {
                state.objects.insert(key.clone(), bytes);
            }
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.write_io("object delete", |state| drop(state.objects.remove(key))).await
    }
}
