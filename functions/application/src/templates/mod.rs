//! Use cases of templates. A tenant's own templates are streams; the built-in ones are compiled in.

mod cache;
mod compiled;
mod content;
mod drafts;
mod preview;
mod recent;

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::render::RenderError;
use domain::templates::{self, Command, Rejection, SystemTemplate, Template, TemplateState, TemplateVersion};
use events::{Channel, MessageType};

pub use cache::{RenderingError, TemplateCache, TemplateContent, load_content, template_content_key};
pub use content::{CheckedContent, ContentFault, TemplateFault, is_code, is_locale};
pub use drafts::{FullDraft, NewDraft, Sample, discard_draft, draft, publish, samples, save_draft, set_samples};
pub use preview::{PreviewRequest, UnsavedTemplate, Validation, builtin_variables, preview, validate};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::document;
use crate::execute::{self, ExecuteError};
use crate::rendering::Busy;

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
    /// A built-in template does not compile, which is a mistake of ours.
    #[error("a built-in template does not compile: {0}")]
    BuiltInBroken(RenderError),
    /// The template has faults.
    #[error("the template is not valid: {0:?}")]
    Invalid(Vec<TemplateFault>),
    /// The template cannot be rendered with these variables.
    #[error("the message cannot be rendered: {0}")]
    NotRendered(RenderError),
    #[error(transparent)]
    Busy(#[from] Busy),
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
    pub subject: Option<String>,
    pub body: Option<String>,
    /// The variables that the content may use. `None`, if the content changes, means those that it uses.
    pub variables: Option<Vec<String>>,
    pub is_active: Option<bool>,
}

/// Selects templates. What is `None` selects all.
#[derive(Debug, Clone, Default)]
pub struct TemplateFilter {
    /// Templates for any channel are selected too.
    pub channel: Option<Channel>,
    pub kind: Option<MessageType>,
    pub locale: Option<String>,
    pub code: Option<String>,
    pub is_active: Option<bool>,
}

impl TemplateFilter {
    fn selects(&self, template: &VisibleTemplate) -> bool {
        let (channel, kind, locale, code, is_active) = match template {
            VisibleTemplate::Own(own) => {
                (Some(own.channel), own.kind, own.locale.as_str(), own.code.as_str(), own.is_active)
            }
            VisibleTemplate::BuiltIn(builtin) => (builtin.channel, builtin.kind, builtin.locale, builtin.code, true),
        };
        self.channel.is_none_or(|asked| channel.is_none_or(|channel| channel == asked))
            && self.kind.is_none_or(|asked| asked == kind)
            && self.locale.as_ref().is_none_or(|asked| asked == locale)
            && self.code.as_ref().is_none_or(|asked| asked == code)
            && self.is_active.is_none_or(|asked| asked == is_active)
    }
}

fn stream(caller: &Caller, id: &str) -> AggregateId<TemplateState> {
    AggregateId::new(&caller.principal.tenant, id)
}

/// The tenant's own templates, read from the store.
async fn list_own(app: &App, caller: &Caller) -> Result<Vec<Template>, StoreError> {
    let states = execute::list::<TemplateState>(&*app.store, &caller.principal.tenant).await?;
    Ok(states.into_iter().filter_map(|(_, state)| state.template).collect())
}

/// The templates that a filter selects: the tenant's own, read from the store, and then the built-in ones.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn list(app: &App, caller: &Caller, filter: &TemplateFilter) -> Result<Vec<VisibleTemplate>, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let own = list_own(app, caller).await?.into_iter().map(|own| VisibleTemplate::Own(Box::new(own)));
    let all = own.chain(templates::all().iter().map(VisibleTemplate::BuiltIn));
    Ok(all.filter(|template| filter.selects(template)).collect())
}

/// How often each template was used, by its id. Empty for a restricted caller, who may not see all messages.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn usage(app: &App, caller: &Caller) -> Result<BTreeMap<String, i64>, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    if !caller.is_unrestricted() {
        return Ok(BTreeMap::new());
    }
    let (totals, _) = app.views.total_counters(&caller.scope()).await?;
    let of_template = |(name, count): (String, i64)| Some((name.strip_prefix("template.")?.to_owned(), count));
    Ok(totals.into_iter().filter_map(of_template).collect())
}

/// # Errors
///
/// [`TemplateError::NotFound`]
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<VisibleTemplate, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
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
/// [`TemplateError::BuiltIn`], and as [`find`].
async fn find_own(app: &App, caller: &Caller, id: &str) -> Result<Template, TemplateError> {
    match find(app, caller, id).await? {
        VisibleTemplate::Own(own) => {
            caller.check_channel(own.channel)?;
            Ok(*own)
        }
        VisibleTemplate::BuiltIn(_) => Err(TemplateError::BuiltIn),
    }
}

/// Every version of the tenant's own template, oldest first.
///
/// # Errors
///
/// [`TemplateError`]
pub async fn versions(app: &App, caller: &Caller, id: &str) -> Result<Vec<TemplateVersion>, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
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
    caller.authorise(Permission::View, Reach::Scoped)?;
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
/// [`TemplateError::Invalid`]: nothing was created.
pub async fn create(app: &App, caller: &Caller, new: NewTemplate) -> Result<Template, TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    let NewTemplate { code, locale, kind, name, description, content, is_active } = new;
    let mut faults = Vec::new();
    faults.extend((!is_code(&code)).then_some(TemplateFault::Code));
    faults.extend((!is_locale(&locale)).then_some(TemplateFault::Locale));
    if !faults.is_empty() {
        return Err(TemplateError::Invalid(faults));
    }
    let (channel, variables) = (content.channel(), content.variables().to_vec());
    caller.check_channel(channel)?;
    let id = templates::template_id(&code, channel, &locale);
    let others = list_own(app, caller).await?.len();
    let text = store_content(app, caller, &id, content.content()).await?;
    let command =
        Command::Create { code, channel, locale, kind, name, description, text, variables, is_active, others };
    execute(app, caller, &id, command).await?.ok_or(TemplateError::NotFound)
}

/// The content of a template after a change.
struct MergedContent {
    /// The version that the unchanged parts are taken from.
    base: u32,
    /// All parts of it.
    content: TemplateContent,
    /// The same content after the check. `None` if nothing of it changes.
    changed: Option<CheckedContent>,
}

async fn merge(
    app: &App,
    caller: &Caller,
    id: &str,
    change: &TemplateChange,
) -> Result<Result<MergedContent, Vec<TemplateFault>>, TemplateError> {
    let own = find_own(app, caller, id).await?;
    let (latest, old) = version(app, caller, &own, None).await?;
    let TemplateChange { subject, body, variables, .. } = change;
    let is_changed = subject.is_some() || body.is_some() || variables.is_some();
    let content = TemplateContent { subject: subject.clone().or(old.subject), body: body.clone().unwrap_or(old.body) };
    if !is_changed {
        return Ok(Ok(MergedContent { base: latest.version, content, changed: None }));
    }
    Ok(match CheckedContent::new(own.channel, content.clone(), variables.clone()).await? {
        Ok(checked) => Ok(MergedContent { base: latest.version, content, changed: Some(checked) }),
        Err(faults) => Err(faults.into_iter().map(TemplateFault::Content).collect()),
    })
}

/// Checks a change of the tenant's own template. Nothing is stored. Returns everything that is wrong with it.
///
/// # Errors
///
/// [`TemplateError`]: there is no such template that could be changed.
pub async fn check_change(
    app: &App,
    caller: &Caller,
    id: &str,
    change: &TemplateChange,
) -> Result<Vec<TemplateFault>, TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    Ok(merge(app, caller, id, change).await?.err().unwrap_or_default())
}

/// Changes the tenant's own template. New content is a new version; messages keep the version that they were accepted
/// with. Returns the template and its content.
///
/// # Errors
///
/// [`TemplateError::Invalid`] as [`check_change`], [`TemplateError::BuiltIn`]
pub async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    change: TemplateChange,
) -> Result<(Template, TemplateContent), TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    let MergedContent { base, content, changed } =
        merge(app, caller, id, &change).await?.map_err(TemplateError::Invalid)?;
    let TemplateChange { expected, kind, name, description, is_active, .. } = change;
    // Unchanged parts are taken from the version just read, so that must still be the latest.
    let expected = expected.or(changed.as_ref().map(|_| base));
    let text = match changed {
        None => None,
        Some(checked) => {
            let text = store_content(app, caller, id, checked.content()).await?;
            Some((text, checked.variables().to_vec()))
        }
    };
    let command = Command::Change { expected, kind, name, description, text, is_active };
    let template = execute(app, caller, id, command).await?.ok_or(TemplateError::NotFound)?;
    Ok((template, content))
}

/// Sets whether new messages use the tenant's own template.
///
/// # Errors
///
/// [`TemplateError::BuiltIn`], [`TemplateError::NotFound`]
pub async fn set_active(app: &App, caller: &Caller, id: &str, is_active: bool) -> Result<Template, TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    find_own(app, caller, id).await?;
    let is_active = Some(is_active);
    let command = Command::Change { expected: None, kind: None, name: None, description: None, text: None, is_active };
    execute(app, caller, id, command).await?.ok_or(TemplateError::NotFound)
}

/// Deletes the tenant's own template.
///
/// # Errors
///
/// [`TemplateError::BuiltIn`], [`TemplateError::NotFound`]
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    find_own(app, caller, id).await?;
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
