//! The tenants' templates: which there are, a moment old; and their words, which never change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ports::{DocumentKey, StoreError};
use domain::render::CompiledTemplate;
use domain::templates::{self, Templates};
use events::{Channel, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::Own;
use crate::journal;

/// How long a tenant's templates are believed without asking again, in milliseconds: what a change takes to be felt.
const TEMPLATES_TTL_MS: i64 = 15_000;
/// Tenants, and compiled versions, remembered at most.
const MAX_CACHED: usize = 5_000;

/// The words of one version, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub body: String,
}

#[derive(Default)]
pub struct TemplateCache {
    tenants: Mutex<HashMap<TenantId, (Arc<Templates>, Timestamp)>>,
    compiled: Mutex<HashMap<String, Arc<CompiledTemplate>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn insert<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if MAX_CACHED <= map.len() {
        map.clear();
    }
    map.insert(key, value);
}

impl Text {
    /// Names it: other words have another name, so that none are ever overwritten.
    pub fn hash(&self) -> String {
        crate::hash::body_hash(self)
    }
}

/// Where the words of a template lie.
pub fn template_content_key(tenant: &TenantId, template: &str, hash: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "template", name: format!("{template}#{hash}") }
}

/// Words by their hash; none where there are no such words.
///
/// # Errors
///
/// [`StoreError`]
pub async fn text(own: &Own, tenant: &TenantId, template: &str, hash: &str) -> Result<Option<Text>, StoreError> {
    let kept = own.documents.get_document(&template_content_key(tenant, template, hash), own.host.now()).await?;
    let read = |kept: String| serde_json::from_str(&kept).map_err(|error| StoreError::Unreadable(error.to_string()));
    kept.map(read).transpose()
}

impl TemplateCache {
    /// What a tenant decided, at most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn templates(&self, own: &Own, tenant: &TenantId) -> Result<Arc<Templates>, StoreError> {
        let now = own.host.now();
        if let Some((templates, until)) = lock(&self.tenants).get(tenant)
            && now < *until
        {
            return Ok(templates.clone());
        }
        let templates = Arc::new(journal::templates(&*own.journals, tenant).await?);
        self.know(tenant, templates.clone(), now);
        Ok(templates)
    }

    /// What was just read or decided.
    pub fn know(&self, tenant: &TenantId, templates: Arc<Templates>, now: Timestamp) {
        insert(&mut lock(&self.tenants), tenant.clone(), (templates, now + TEMPLATES_TTL_MS));
    }

    /// The words that a message was accepted with; none where they are built in, or gone.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn words(
        &self,
        own: &Own,
        tenant: &TenantId,
        channel: Channel,
        pinned: Option<&events::TemplateRef>,
    ) -> Result<Option<Arc<CompiledTemplate>>, StoreError> {
        let Some(pinned) = pinned.filter(|pinned| templates::find(&pinned.id).is_none()) else { return Ok(None) };
        let name = format!("{tenant}#{}#{}", pinned.id, pinned.version);
        if let Some(compiled) = lock(&self.compiled).get(&name) {
            return Ok(Some(compiled.clone()));
        }
        let mut templates = self.templates(own, tenant).await?;
        if templates.text_of(&pinned.id, pinned.version).is_none() {
            // Made a moment ago, perhaps.
            lock(&self.tenants).remove(tenant);
            templates = self.templates(own, tenant).await?;
        }
        let Some(hash) = templates.text_of(&pinned.id, pinned.version) else { return Ok(None) };
        let Some(Text { subject, body }) = text(own, tenant, &pinned.id, hash).await? else { return Ok(None) };
        let Ok(compiled) = CompiledTemplate::new(channel, subject.as_deref(), &body) else {
            tracing::error!(template = pinned.id, version = pinned.version, "words that were kept do not compile");
            return Ok(None);
        };
        let compiled = Arc::new(compiled);
        insert(&mut lock(&self.compiled), name, compiled.clone());
        Ok(Some(compiled))
    }
}
