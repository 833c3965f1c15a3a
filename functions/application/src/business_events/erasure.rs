//! Personal data of business events: their data in the vault, found and deleted.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::business_event::{BusinessEventState, Command, Person};
use domain::ports::StoreError;
use events::{Mode, Timestamp};

use super::{StoredEvent, persons, stored};
use crate::app::App;
use crate::attachments;
use crate::caller::{Caller, Forbidden};
use crate::execute;

/// Why events were not erased, or not all of them. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A live caller sees everything about a person, a test caller only what test callers sent.
fn is_visible_to(caller: &Caller, mode: Mode) -> bool {
    caller.principal.mode == Mode::Live || caller.principal.mode == mode
}

/// Erases the events about one data subject, such as `customer:7`. Returns how many there were, and how many have no
/// record of it.
///
/// # Errors
///
/// [`EraseError`]
pub async fn erase(app: &App, caller: &Caller, subject: &str) -> Result<(usize, usize), EraseError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, documents) = (&caller.principal.tenant, &*app.tenant_ports.documents);
    // Expired data too: the store can keep it for days.
    let found = stored::of_subject(documents, tenant, subject, Timestamp(0)).await?;
    let (mut count, mut unrecorded) = (0, 0);
    for mode in Mode::ALL.iter().filter(|mode| is_visible_to(caller, **mode)) {
        count += usize::from(persons::erase(app, tenant, *mode, subject).await?);
    }
    for (content, id) in &found {
        let key = AggregateId::<BusinessEventState>::new(tenant, id);
        let event = execute::load(&*app.store, &key).await?.state.event;
        if event.is_some_and(|event| !is_visible_to(caller, event.received.mode)) {
            continue;
        }
        count += 1;
        let command = Command::Erase { by: caller.principal.actor_id() };
        if let Err(error) = app.executor(&caller.context()).execute(&key, command).await {
            tracing::error!(event = id, %error, "the erasure of an event has no record in its history");
            unrecorded += 1;
        }
        // What was printed for it may belong to no message yet.
        attachments::erase(app, tenant, &domain::invoice::printed_upload(tenant, id)).await?;
        stored::delete(documents, tenant, content).await?;
    }
    Ok((count, unrecorded))
}

/// What is known of a data subject from events, by mode, and the data of the events about them.
///
/// # Errors
///
/// [`EraseError`]
pub async fn of_subject(
    app: &App,
    caller: &Caller,
    subject: &str,
) -> Result<(Option<Person>, Vec<(String, StoredEvent)>), EraseError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, documents, now) = (&caller.principal.tenant, &*app.tenant_ports.documents, app.host.now());
    let person = persons::find(app, tenant, caller.principal.mode, subject).await?;
    let mut events = Vec::new();
    for (content, id) in stored::of_subject(documents, tenant, subject, now).await? {
        let key = AggregateId::<BusinessEventState>::new(tenant, &id);
        let event = execute::load(&*app.store, &key).await?.state.event;
        if event.is_some_and(|event| !is_visible_to(caller, event.received.mode)) {
            continue;
        }
        if let Some(stored) = stored::get(documents, tenant, &content, now).await? {
            events.push((id, stored));
        }
    }
    Ok((Some(person).filter(|person| *person != Person::default() && !person.is_removed), events))
}
