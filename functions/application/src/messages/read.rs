//! Reading messages: one from its stream, many from the views.

use domain::access::{Permission, Reach};
use domain::communication_view::{CommunicationRow, ListFilter, project, targets};
use domain::message::{MessageContent, RenderedMessage};
use domain::ports::{CommunicationKey, ContentKey};
use domain::stats::Counters;
use events::{CommunicationId, CommunicationRequest, RecordedEvent, Timestamp};

use super::MessageError;
use crate::Loaded;
use crate::app::App;
use crate::caller::Caller;
use crate::execute::history_of;
use crate::templates::RenderingError;
use crate::views;

/// A message from its stream, with its personal data unless that was erased.
#[derive(Debug, Clone)]
pub struct Message {
    pub key: CommunicationKey,
    pub loaded: Loaded,
    pub row: CommunicationRow,
    /// `None` once it is erased.
    pub content: Option<MessageContent>,
    /// `None` once its content is erased, and if it cannot be rendered.
    pub rendered: Option<RenderedMessage>,
}

/// One page of messages, newest first.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The content is `None` once it is erased.
    pub rows: Vec<(CommunicationRow, Option<MessageContent>)>,
    /// Where the next page begins. `None` means that this is the last page.
    pub next: Option<String>,
    /// The counters of all of the tenant's messages. `None` if the caller may not see all of them.
    pub totals: Option<Counters>,
    /// When the counters were last written.
    pub as_of: Option<Timestamp>,
}

/// One message of this caller, read from its stream, so that callers see their own writes.
///
/// # Errors
///
/// [`MessageError::NotFound`], as [`load`].
pub async fn get(app: &App, caller: &Caller, id: CommunicationId) -> Result<Message, MessageError> {
    let (key, loaded) = load(app, caller, Permission::View, id).await?;
    let content = content_of(app, &key, &loaded).await?;
    message(app, key, loaded, content).await
}

/// The stream of one message of this caller, to read or to change it. Every use case of one message begins here.
///
/// # Errors
///
/// [`MessageError::NotFound`]: also for another tenant's, for one of the other mode, and for one that goes, or could go
/// with its fallback, where the caller may not send.
pub(super) async fn load(
    app: &App,
    caller: &Caller,
    permission: Permission,
    id: CommunicationId,
) -> Result<(CommunicationKey, Loaded), MessageError> {
    caller.authorise(permission, Reach::Scoped)?;
    let key = CommunicationKey { tenant: caller.principal.tenant.clone(), id };
    let loaded = app.executor(&caller.context()).load(&key).await?;
    if is_visible(caller, &loaded) { Ok((key, loaded)) } else { Err(MessageError::NotFound) }
}

/// Whether a stream is a message within the caller's mode and scope.
pub(super) fn is_visible(caller: &Caller, loaded: &Loaded) -> bool {
    let Ok(communication) = loaded.state.requested() else { return false };
    let request = &communication.request;
    request.mode == caller.principal.mode && caller.includes(&targets(request))
}

/// The stream of one message of this caller, with every event that it has ever had.
///
/// # Errors
///
/// As [`load`].
pub async fn history(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
) -> Result<(CommunicationKey, Loaded, Vec<RecordedEvent>), MessageError> {
    let (key, loaded) = load(app, caller, Permission::View, id).await?;
    let records = history_of(&*app.store, &key, &loaded).await?;
    Ok((key, loaded, records))
}

/// The content of a loaded message. Returns `None` if it was erased.
///
/// # Errors
///
/// [`MessageError`]
pub async fn content_of(
    app: &App,
    key: &CommunicationKey,
    loaded: &Loaded,
) -> Result<Option<MessageContent>, MessageError> {
    let communication = loaded.state.requested()?;
    let content_key = ContentKey::for_request(key, &communication.request, &communication.content_id);
    Ok(app.vault.get(&content_key, app.host.now()).await?)
}

/// The keys of the content of each fallback step.
pub fn fallback_content_keys(key: &CommunicationKey, request: &CommunicationRequest) -> Vec<ContentKey> {
    let (mut key, mut content_keys) = (key.clone(), Vec::new());
    for step in request.fallback.iter().flat_map(|fallback| &fallback.steps) {
        key.id = CommunicationId::for_fallback_of(&key.tenant, key.id);
        let step_request = CommunicationRequest { contact_hash: step.contact_hash.clone(), ..request.clone() };
        content_keys.push(ContentKey::for_request(&key, &step_request, &request.request_hash));
    }
    content_keys
}

/// The row of a loaded message, as the projection writes it.
pub(super) async fn row_of(
    app: &App,
    key: &CommunicationKey,
    loaded: &Loaded,
) -> Result<CommunicationRow, MessageError> {
    project(key.id, &history_of(&*app.store, key, loaded).await?).ok_or(MessageError::NotFound)
}

pub(super) async fn message(
    app: &App,
    key: CommunicationKey,
    loaded: Loaded,
    content: Option<MessageContent>,
) -> Result<Message, MessageError> {
    let row = row_of(app, &key, &loaded).await?;
    let rendered = match &content {
        Some(content) => rendered(app, &key, &loaded.state.requested()?.request, content).await?,
        None => None,
    };
    Ok(Message { key, loaded, row, content, rendered })
}

async fn rendered(
    app: &App,
    key: &CommunicationKey,
    request: &CommunicationRequest,
    content: &MessageContent,
) -> Result<Option<RenderedMessage>, MessageError> {
    match app.library.render(&app.tenant_ports, &key.tenant, request, content).await {
        Ok(rendered) => Ok(Some(rendered)),
        Err(RenderingError::Render(_)) => Ok(None),
        Err(RenderingError::Busy(busy)) => Err(busy.into()),
        Err(RenderingError::Store(error)) => Err(error.into()),
    }
}

/// The caller's messages that match the filter, from `after` on.
///
/// # Errors
///
/// [`MessageError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &ListFilter,
    after: Option<&str>,
    limit: usize,
) -> Result<Listed, MessageError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let scope = caller.scope();
    let matches = |row: &CommunicationRow| filter.matches(row) && caller.includes(&row.targets);
    let page = views::list(&*app.views, &scope, filter.ranges(), after, limit, matches).await?;
    let (totals, as_of) = app.views.total_counters(&scope).await?;
    let content_key = |row: &CommunicationRow| ContentKey {
        tenant: scope.tenant.clone(),
        subject: row.subject.clone(),
        id: row.id,
        content: row.content.clone(),
    };
    let content_keys: Vec<ContentKey> = page.rows.iter().map(content_key).collect();
    let contents = app.vault.get_many(&content_keys, app.host.now()).await?;
    let totals = caller.is_unrestricted().then_some(totals);
    Ok(Listed { rows: page.rows.into_iter().zip(contents).collect(), next: page.next, totals, as_of })
}
