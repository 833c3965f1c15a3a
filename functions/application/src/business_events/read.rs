//! Reading business events, and deciding on those that were not handled.

use domain::access::{Permission, Reach};
use domain::business_event::{BusinessEvent, BusinessEventFilter, BusinessEventRow, Command, Interpretation};
use domain::ports::{ViewRow, ViewScope};
use events::{BusinessEventEvent, RecordedEvent, Timestamp};

use super::{BusinessEventError, StoredEvent, Taken, handle, stored, stream, understand};
use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::Caller;
use crate::execute::{self, Loaded};
use crate::views::{self, RowPage};

/// One page of events of the caller's mode, newest first.
///
/// # Errors
///
/// [`BusinessEventError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &BusinessEventFilter,
    after: Option<&str>,
    size: usize,
) -> Result<RowPage<BusinessEventRow>, BusinessEventError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let (tenant, mode) = (caller.principal.tenant.clone(), caller.principal.mode);
    let scope = ViewScope { view: BusinessEventRow::VIEW, tenant, mode };
    let matches = |row: &BusinessEventRow| filter.matches(row);
    Ok(views::list(&*app.views, &scope, vec![filter.range()], after, size, matches).await?)
}

async fn load(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<(BusinessEvent, Loaded<domain::business_event::BusinessEventState>), BusinessEventError> {
    let loaded = execute::load(&*app.store, &stream(&caller.principal.tenant, id)).await?;
    let event = loaded.state.event.clone().filter(|event| event.received.mode == caller.principal.mode);
    Ok((*event.ok_or(BusinessEventError::NotFound)?, loaded))
}

/// One event, from its stream.
///
/// # Errors
///
/// [`BusinessEventError::NotFound`]: also for one of the other mode.
pub async fn find(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<(BusinessEvent, Option<Timestamp>), BusinessEventError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let (event, loaded) = load(app, caller, id).await?;
    Ok((event, loaded.wake))
}

/// The complete history of an event, in order.
///
/// # Errors
///
/// As [`find`].
pub async fn history(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<Vec<RecordedEvent<BusinessEventEvent>>, BusinessEventError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let (_, loaded) = load(app, caller, id).await?;
    Ok(execute::history_of(&*app.store, &stream(&caller.principal.tenant, id), &loaded).await?)
}

/// The data of an event as its source sent it. Returns `None` once it is erased or has expired.
///
/// # Errors
///
/// [`BusinessEventError`]
pub async fn raw(app: &App, caller: &Caller, event: &BusinessEvent) -> Result<Option<StoredEvent>, BusinessEventError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (documents, content) = (&*app.tenant_ports.documents, &event.received.classification.content);
    Ok(stored::get(documents, &caller.principal.tenant, content, app.host.now()).await?)
}

/// Has an event handled again that was not handled, by the mapping of now.
///
/// # Errors
///
/// [`BusinessEventError`]
pub async fn replay(app: &App, caller: &Caller, id: &str) -> Result<Taken, BusinessEventError> {
    caller.authorise(Permission::Operate, Reach::Everything)?;
    let (event, loaded) = load(app, caller, id).await?;
    let (tenant, documents, now) = (&caller.principal.tenant, &*app.tenant_ports.documents, app.host.now());
    let old = &event.received.classification.content;
    let Some(stored) = stored::get(documents, tenant, old, now).await? else {
        return Err(BusinessEventError::NoData);
    };
    let understood = understand(app, tenant, &event.received.source, &stored).await?;
    actions::record(app, caller, &Action::BusinessEventReplayed { event: id.to_owned() }).await?;
    // The mapping of now may know the person whom it is about, where an erasure looks for it.
    let content = stored::content_name(understood.subject.as_deref(), id, &event.received.body_hash);
    if content != *old {
        stored::put(documents, tenant, &content, &stored, now).await?;
    }
    let classification = understood.classification(stored.version, content.clone());
    let by = caller.actor().name();
    let command = Command::Replay { by, classification };
    let key = stream(tenant, id);
    let replayed = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    let event = *replayed.state.event.ok_or(BusinessEventError::NotFound)?;
    if content != *old && event.received.classification.content == content {
        stored::delete(documents, tenant, old).await?;
    }
    handle(app, caller, Taken { id: id.to_owned(), event, is_replay: false }).await
}

/// Decides that an event will not be handled.
///
/// # Errors
///
/// [`BusinessEventError`]
pub async fn discard(
    app: &App,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> Result<BusinessEvent, BusinessEventError> {
    caller.authorise(Permission::Operate, Reach::Everything)?;
    let (_, loaded) = load(app, caller, id).await?;
    actions::record(app, caller, &Action::BusinessEventDiscarded { event: id.to_owned() }).await?;
    let command = Command::Discard { by: caller.actor().name(), reason };
    let key = stream(&caller.principal.tenant, id);
    let discarded = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    Ok(*discarded.state.event.ok_or(BusinessEventError::NotFound)?)
}

/// What a bulk replay did to one event, or would do.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub id: String,
    /// How it is understood now: `known`, `unknown`, `invalid`, `newer_version` or `no_data`.
    pub meaning: &'static str,
    /// What became of it. `None` if nothing was done.
    pub status: Option<&'static str>,
}

/// Replays the events that match, newest first, at most `limit`. With `is_dry_run` nothing changes. Returns them, and
/// whether there are more.
///
/// # Errors
///
/// [`BusinessEventError`]: some may have been replayed. It can be repeated.
pub async fn replay_many(
    app: &App,
    caller: &Caller,
    filter: &BusinessEventFilter,
    limit: usize,
    is_dry_run: bool,
) -> Result<(Vec<Replayed>, bool), BusinessEventError> {
    caller.authorise(Permission::Operate, Reach::Everything)?;
    let page = list(app, caller, filter, None, limit).await?;
    let mut replayed = Vec::new();
    for row in page.rows {
        let (event, _) = load(app, caller, &row.id).await?;
        let (tenant, documents) = (&caller.principal.tenant, &*app.tenant_ports.documents);
        let content = &event.received.classification.content;
        let stored = stored::get(documents, tenant, content, app.host.now()).await?;
        let meaning = match stored {
            None => "no_data",
            Some(stored) => match understand(app, tenant, &event.received.source, &stored).await?.interpreted.meaning {
                Interpretation::Known(_) => "known",
                Interpretation::Unknown => "unknown",
                Interpretation::NewerVersion => "newer_version",
                Interpretation::Invalid(_) => "invalid",
            },
        };
        // What would only be parked again is left alone.
        let status = if meaning == "known" && !is_dry_run {
            Some(replay(app, caller, &row.id).await?.event.status.as_str())
        } else {
            None
        };
        replayed.push(Replayed { id: row.id, meaning, status });
    }
    Ok((replayed, page.next.is_some()))
}
