//! The tenants' templates, at most 15 seconds old, their content, which never changes, and the rendering of messages.

use std::sync::Arc;

use domain::aggregate::AggregateId;
use domain::message::{MessageContent, RenderedMessage};
use domain::ports::{DocumentKey, StoreError};
use domain::render::{CompiledTemplate, RenderError, render_request};
use domain::templates::{self, TemplateCatalogue, TemplateState};
use events::{CommunicationRequest, TemplateRef, TenantId};
use serde::{Deserialize, Serialize};

use super::compiled::CompiledTexts;
use super::recent::RecentlyRendered;
use crate::cache::Cached;
use crate::directory::TenantPorts;
use crate::document;
use crate::execute;
use crate::rendering::{self, Busy};

/// How long a tenant's templates are cached, in milliseconds. A change takes effect everywhere within this time.
const TEMPLATES_TTL_MS: i64 = 15_000;
/// The most tenants that are cached.
const MAX_CACHED: usize = 5_000;

/// The content of one version, as the tenant wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateContent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub body: String,
}

pub struct TemplateCache {
    tenants: Cached<TenantId, Arc<TemplateCatalogue>>,
    compiled: CompiledTexts,
    /// `None` in a process that does not both accept and deliver.
    recent: Option<RecentlyRendered>,
}

/// Why a message was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderingError {
    /// The same message always fails.
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Default for TemplateCache {
    fn default() -> Self {
        let tenants = Cached::new(TEMPLATES_TTL_MS, MAX_CACHED);
        TemplateCache { tenants, compiled: CompiledTexts::default(), recent: None }
    }
}

impl TemplateContent {
    /// The name of the content. Other content has another name, so that none is ever overwritten.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it has no JSON form.
    pub fn hash(&self) -> Result<String, StoreError> {
        crate::hash::hash_of(self)
    }
}

/// Where the content of a template is stored.
pub fn template_content_key(tenant: &TenantId, template: &str, hash: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "template", name: format!("{template}#{hash}") }
}

/// Content by its hash. Returns `None` if there is none.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load_content(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    template: &str,
    hash: &str,
) -> Result<Option<TemplateContent>, StoreError> {
    let kept = tenant_ports
        .documents
        .get_document(&template_content_key(tenant, template, hash), tenant_ports.host.now())
        .await?;
    kept.as_deref().map(document::decode).transpose()
}

/// The hash of a version's content. A version of a template that was deleted has one too.
async fn content_hash(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    pinned: &TemplateRef,
) -> Result<Option<String>, StoreError> {
    if pinned.text.is_some() {
        return Ok(pinned.text.clone());
    }
    let stream = AggregateId::<TemplateState>::new(tenant, &pinned.id);
    let versions = templates::versions(&execute::history(&*tenant_ports.store, &stream).await?);
    let version = versions.into_iter().rev().find(|version| version.version == pinned.version);
    Ok(version.map(|version| version.text))
}

impl TemplateCache {
    /// The cache of a process that accepts and delivers messages.
    pub fn of_one_process() -> TemplateCache {
        TemplateCache { recent: Some(RecentlyRendered::default()), ..TemplateCache::default() }
    }

    /// Keeps what a new message was rendered to, for its delivery.
    pub(crate) fn keep(&self, request: &CommunicationRequest, content: &MessageContent, rendered: RenderedMessage) {
        if let (Some(recent), None) = (&self.recent, request.scheduled_at) {
            recent.put(request, content, rendered);
        }
    }

    /// A tenant's templates, at most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn templates(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
    ) -> Result<Arc<TemplateCatalogue>, StoreError> {
        let load = async {
            let states = execute::list::<TemplateState>(&*tenant_ports.store, tenant).await?;
            Ok(Arc::new(states.into_iter().filter_map(|(_, state)| state.template).collect()))
        };
        self.tenants.get_or_load(tenant, tenant_ports.host.now(), load).await
    }

    /// Removes a tenant's templates, so that the next call reads them from the store.
    pub fn invalidate(&self, tenant: &TenantId) {
        self.tenants.invalidate(tenant);
    }

    /// Renders a message as it is sent.
    ///
    /// # Errors
    ///
    /// [`RenderingError`]
    pub async fn render(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        request: &CommunicationRequest,
        content: &MessageContent,
    ) -> Result<RenderedMessage, RenderingError> {
        if let Some(rendered) = self.recent.as_ref().and_then(|recent| recent.take(request, content)) {
            return Ok(rendered);
        }
        let compiled = match (&request.template, &content.content) {
            (Some(pinned), _) => self.compiled_template(tenant_ports, tenant, pinned).await?,
            (None, Some(text)) if content.variables.is_some() => {
                Some(self.compiled_content(content.subject.as_deref(), text).await?)
            }
            (None, _) => None,
        };
        let at_once = |steps| render_request(request, content, compiled.as_deref(), steps);
        let apart = || {
            let (request, content, compiled) = (request.clone(), content.clone(), compiled.clone());
            move |steps| render_request(&request, &content, compiled.as_deref(), steps)
        };
        Ok(rendering::render(at_once, apart).await??)
    }

    /// The template that a message was accepted with. Returns `None` if it is built in, or its content is gone.
    async fn compiled_template(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        pinned: &TemplateRef,
    ) -> Result<Option<Arc<CompiledTemplate>>, RenderingError> {
        if templates::find(&pinned.id).is_some() {
            return Ok(None);
        }
        let name = format!("{tenant}#{}#{}", pinned.id, pinned.version);
        if let Some(compiled) = self.compiled.get(&name) {
            return Ok(Some(compiled));
        }
        let Some(hash) = content_hash(tenant_ports, tenant, pinned).await? else { return Ok(None) };
        let Some(TemplateContent { subject, body }) = load_content(tenant_ports, tenant, &pinned.id, &hash).await?
        else {
            return Ok(None);
        };
        let Ok(compiled) = rendering::compile(subject.as_deref(), &body).await? else {
            tracing::error!(template = pinned.id, version = pinned.version, "stored content does not compile");
            return Ok(None);
        };
        let compiled = Arc::new(compiled);
        self.compiled.insert(name, compiled.clone(), body.len());
        Ok(Some(compiled))
    }

    /// Free content, compiled.
    async fn compiled_content(
        &self,
        subject: Option<&str>,
        body: &str,
    ) -> Result<Arc<CompiledTemplate>, RenderingError> {
        let name = crate::hash::hash_of(&(subject, body))?;
        if let Some(compiled) = self.compiled.get(&name) {
            return Ok(compiled);
        }
        let compiled = rendering::compile(subject, body).await?.map_err(|(_, error)| error)?;
        let compiled = Arc::new(compiled);
        self.compiled.insert(name, compiled.clone(), body.len());
        Ok(compiled)
    }
}
