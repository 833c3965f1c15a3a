//! Use cases of templates. A tenant's own templates are streams; the built-in ones are compiled in.

mod cache;
mod content;

use std::collections::BTreeMap;

use domain::access::Permission;
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::templates::{self, Command, Rejection, SystemTemplate, Template, TemplateState, TemplateVersion};
use events::MessageType;

pub use cache::{TemplateCache, TemplateContent, load_content, template_content_key};
pub use content::{CheckedContent, ContentFault};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::document;
use crate::execute::{self, ExecuteError};

/// Why a use case of templates had no effect.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such template")]
    NotFound,
    #[error("there is no such version of the template")]
    NoVersion,
    #[error("the template is built in")]
    BuiltIn,
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A template that a caller may see.
#[derive(Debug, Clone)]
pub enum VisibleTemplate {
    Own(Box<Template>),
    BuiltIn(&'static SystemTemplate),
}

/// A template to be created, of the channel of its content.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    pub code: String,
    pub locale: String,
    pub kind: MessageType,
    pub name: String,
    pub description: Option<String>,
    pub content: CheckedContent,
    pub is_active: bool,
}

/// A change of a template. What is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct TemplateChange {
    /// The version that the change is based on. It is rejected if there is a newer one.
    pub expected: Option<u32>,
    pub kind: Option<MessageType>,
    pub name: Option<String>,
    pub description: Option<String>,
    /// New content, of the template's channel.
    pub content: Option<CheckedContent>,
    pub is_active: Option<bool>,
}

fn stream(caller: &Caller, id: &str) -> AggregateId<TemplateState> {
    AggregateId::new(&caller.principal.tenant, id)
}

/// The tenant's own templates, read from the store.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<Template>, TemplateError> {
    caller.authorise(Permission::View)?;
    let states = execute::list::<TemplateState>(&*app.store, &caller.principal.tenant).await?;
    Ok(states.into_iter().filter_map(|(_, state)| state.template).collect())
}

/// How often each template was used, by its id.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn usage(app: &App, caller: &Caller) -> Result<BTreeMap<String, i64>, TemplateError> {
    caller.authorise(Permission::View)?;
    let (totals, _) = app.views.total_counters(&caller.scope()).await?;
    let of_template = |(name, count): (String, i64)| Some((name.strip_prefix("template.")?.to_owned(), count));
    Ok(totals.into_iter().filter_map(of_template).collect())
}

/// # Errors
///
/// [`TemplateError::NotFound`]
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<VisibleTemplate, TemplateError> {
    caller.authorise(Permission::View)?;
    if let Some(builtin) = templates::find(id) {
        return Ok(VisibleTemplate::BuiltIn(builtin));
    }
    let loaded = execute::load(&*app.store, &stream(caller, id)).await?;
    let own = loaded.state.template.ok_or(TemplateError::NotFound)?;
    Ok(VisibleTemplate::Own(Box::new(own)))
}

/// The tenant's own template of this id.
///
/// # Errors
///
/// [`TemplateError::BuiltIn`], as [`find`].
pub async fn find_own(app: &App, caller: &Caller, id: &str) -> Result<Template, TemplateError> {
    match find(app, caller, id).await? {
        VisibleTemplate::Own(own) => Ok(*own),
        VisibleTemplate::BuiltIn(_) => Err(TemplateError::BuiltIn),
    }
}

/// Every version of the tenant's own template, oldest first.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn versions(app: &App, caller: &Caller, id: &str) -> Result<Vec<TemplateVersion>, TemplateError> {
    caller.authorise(Permission::View)?;
    Ok(templates::versions(&execute::history(&*app.store, &stream(caller, id)).await?))
}

/// One version of a template. `None` means the latest.
///
/// # Errors
///
/// [`TemplateError::NoVersion`]
pub async fn version(
    app: &App,
    caller: &Caller,
    template: &Template,
    version: Option<u32>,
) -> Result<(TemplateVersion, TemplateContent), TemplateError> {
    caller.authorise(Permission::View)?;
    let version = match version.filter(|version| *version != template.latest.version) {
        None => template.latest.clone(),
        Some(version) => {
            let versions = versions(app, caller, &template.id).await?;
            versions.into_iter().find(|known| known.version == version).ok_or(TemplateError::NoVersion)?
        }
    };
    let content = load_content(&app.tenant_ports, &caller.principal.tenant, &template.id, &version.text).await?;
    Ok((version, content.ok_or(TemplateError::NoVersion)?))
}

/// # Errors
///
/// [`TemplateError`]
pub async fn create(app: &App, caller: &Caller, new: NewTemplate) -> Result<Template, TemplateError> {
    caller.authorise(Permission::Templates)?;
    let NewTemplate { code, locale, kind, name, description, content, is_active } = new;
    let (channel, variables) = (content.channel(), content.variables().to_vec());
    let id = templates::template_id(&code, channel, &locale);
    let others = list(app, caller).await?.len();
    let text = store_content(app, caller, &id, content.content()).await?;
    let command =
        Command::Create { code, channel, locale, kind, name, description, text, variables, is_active, others };
    execute(app, caller, &id, command).await?.ok_or(TemplateError::NotFound)
}

/// Changes the tenant's own template. New content is a new version; messages keep the version that they were accepted
/// with.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn change(app: &App, caller: &Caller, id: &str, change: TemplateChange) -> Result<Template, TemplateError> {
    caller.authorise(Permission::Templates)?;
    let TemplateChange { expected, kind, name, description, content, is_active } = change;
    let text = match content {
        None => None,
        Some(content) => {
            let text = store_content(app, caller, id, content.content()).await?;
            Some((text, content.variables().to_vec()))
        }
    };
    let command = Command::Change { expected, kind, name, description, text, is_active };
    execute(app, caller, id, command).await?.ok_or(TemplateError::NotFound)
}

/// # Errors
///
/// [`TemplateError`]
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), TemplateError> {
    caller.authorise(Permission::Templates)?;
    execute(app, caller, id, Command::Delete).await?;
    Ok(())
}

/// The content is stored before the event that names it. A crash between the two leaves content without a version.
async fn store_content(app: &App, caller: &Caller, id: &str, content: &TemplateContent) -> Result<String, StoreError> {
    let hash = content.hash()?;
    let body = document::encode(content)?;
    let key = template_content_key(&caller.principal.tenant, id, &hash);
    app.tenant_ports.documents.put_document(&key, &body, None).await?;
    Ok(hash)
}

async fn execute(
    app: &App,
    caller: &Caller,
    id: &str,
    command: Command,
) -> Result<Option<Template>, ExecuteError<Rejection>> {
    let loaded = app.executor(&caller.context()).execute(&stream(caller, id), command).await?;
    app.library.invalidate(&caller.principal.tenant);
    Ok(loaded.state.template)
}
