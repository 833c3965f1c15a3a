//! Drafts of the next version, and the sample data of previews. No message uses either.

use domain::access::{Permission, Reach};
use domain::ports::DocumentKey;
use domain::templates::{Command, Rejection, Template, TemplateDraft, samples_of_system};
use events::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache::{TemplateContent, load_content};
use super::content::{CheckedContent, ContentFault, TemplateFault};
use super::{TemplateError, VisibleTemplate, execute, find, find_own, store_content};
use crate::app::App;
use crate::caller::Caller;
use crate::document;
use crate::execute::ExecuteError;
use crate::hash::hash_of;

/// Variables for previews, with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub name: String,
    pub variables: Value,
}

/// A draft with its content.
#[derive(Debug)]
pub struct FullDraft {
    pub template: Template,
    pub draft: TemplateDraft,
    pub content: TemplateContent,
    /// What must be mended before it can be published.
    pub faults: Vec<ContentFault>,
}

/// A draft to be saved. Its content may have faults.
#[derive(Debug, Clone)]
pub struct NewDraft {
    /// The number of the draft that it replaces, or 0 if there must be none.
    pub expected: Option<u32>,
    /// The version that it was written from.
    pub base: Option<u32>,
    pub content: TemplateContent,
}

fn no_draft() -> TemplateError {
    ExecuteError::Rejected(Rejection::NoDraft).into()
}

async fn with_faults(template: Template, content: TemplateContent) -> Result<FullDraft, TemplateError> {
    let draft = template.draft.clone().ok_or_else(no_draft)?;
    let checked = CheckedContent::new(template.channel, content.clone(), None).await?;
    Ok(FullDraft { template, draft, content, faults: checked.err().unwrap_or_default() })
}

/// The draft of the tenant's own template.
///
/// # Errors
///
/// [`Rejection::NoDraft`], [`TemplateError::BuiltIn`], [`TemplateError::NotFound`]
pub async fn draft(app: &App, caller: &Caller, id: &str) -> Result<FullDraft, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let template = find_own(app, caller, id).await?;
    let hash = template.draft.as_ref().map(|draft| draft.text.clone()).ok_or_else(no_draft)?;
    let content = load_content(&app.tenant_ports, &caller.principal.tenant, id, &hash).await?;
    with_faults(template, content.ok_or_else(no_draft)?).await
}

/// Saves a draft in place of the one before it.
///
/// # Errors
///
/// [`Rejection::DraftChanged`], [`TemplateError::BuiltIn`], [`TemplateError::NotFound`]
pub async fn save_draft(app: &App, caller: &Caller, id: &str, new: NewDraft) -> Result<FullDraft, TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    find_own(app, caller, id).await?;
    let NewDraft { expected, base, content } = new;
    let text = store_content(app, caller, id, &content).await?;
    let command = Command::SaveDraft { expected, base, text };
    let template = execute(app, caller, id, command).await?.ok_or(TemplateError::NotFound)?;
    with_faults(template, content).await
}

/// Discards the draft. Nothing happens if there is none.
///
/// # Errors
///
/// As [`save_draft`].
pub async fn discard_draft(app: &App, caller: &Caller, id: &str, expected: Option<u32>) -> Result<(), TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    find_own(app, caller, id).await?;
    execute(app, caller, id, Command::DiscardDraft { expected }).await?;
    Ok(())
}

/// Makes the draft the next version. `expected` is the number of the draft and `base` the version that it follows.
/// Returns the template and its content.
///
/// # Errors
///
/// [`TemplateError::Invalid`]: the draft has faults. [`Rejection::Changed`], and as [`save_draft`].
pub async fn publish(
    app: &App,
    caller: &Caller,
    id: &str,
    expected: Option<u32>,
    base: Option<u32>,
) -> Result<(Template, TemplateContent), TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    let FullDraft { template, draft, content, .. } = draft(app, caller, id).await?;
    let checked = CheckedContent::new(template.channel, content.clone(), None).await?;
    let checked =
        checked.map_err(|faults| TemplateError::Invalid(faults.into_iter().map(TemplateFault::Content).collect()))?;
    let variables = checked.variables().to_vec();
    let command = Command::Publish { expected: expected.unwrap_or(draft.draft), base, variables };
    let template = execute(app, caller, id, command).await?.ok_or(TemplateError::NotFound)?;
    Ok((template, content))
}

fn samples_key(tenant: &TenantId, id: &str, hash: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "template", name: format!("{id}#samples-{hash}") }
}

/// The sample data of a template. System templates come with some.
///
/// # Errors
///
/// [`TemplateError::NotFound`]
pub async fn samples(app: &App, caller: &Caller, id: &str) -> Result<Vec<Sample>, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let of_system = |code: &str| {
        samples_of_system(code).map(|variables| Sample { name: "Example".to_owned(), variables: json!(variables) })
    };
    match find(app, caller, id).await? {
        VisibleTemplate::BuiltIn(builtin) => Ok(of_system(builtin.code).into_iter().collect()),
        VisibleTemplate::Own(own) => {
            let Some(hash) = &own.samples else { return Ok(of_system(&own.code).into_iter().collect()) };
            let key = samples_key(&caller.principal.tenant, id, hash);
            let stored = app.tenant_ports.documents.get_document(&key, app.host.now()).await?;
            Ok(stored.as_deref().map(document::decode).transpose()?.unwrap_or_default())
        }
    }
}

/// Replaces the sample data of the tenant's own template.
///
/// # Errors
///
/// [`TemplateError::BuiltIn`], [`TemplateError::NotFound`]
pub async fn set_samples(app: &App, caller: &Caller, id: &str, samples: &[Sample]) -> Result<(), TemplateError> {
    caller.authorise(Permission::Templates, Reach::Scoped)?;
    find_own(app, caller, id).await?;
    let hash = hash_of(&samples)?;
    let body = document::encode(&samples)?;
    let key = samples_key(&caller.principal.tenant, id, &hash);
    app.tenant_ports.documents.put_document(&key, &body, None).await?;
    execute(app, caller, id, Command::SetSamples { samples: hash }).await?;
    Ok(())
}
