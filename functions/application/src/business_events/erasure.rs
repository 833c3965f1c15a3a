//! Personal data of business events: their data in the vault, found and deleted.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::business_event::{BusinessEventState, Command};
use domain::ports::StoreError;
use events::Timestamp;

use super::stored;
use crate::app::App;
use crate::caller::{Caller, Forbidden};

/// Why events were not erased, or not all of them. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Store(#[from] StoreError),
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
    let mut unrecorded = 0;
    for (content, id) in &found {
        let key = AggregateId::<BusinessEventState>::new(tenant, id);
        let command = Command::Erase { by: caller.principal.actor_id() };
        if let Err(error) = app.executor(&caller.context()).execute(&key, command).await {
            tracing::error!(event = id, %error, "the erasure of an event has no record in its history");
            unrecorded += 1;
        }
        stored::delete(documents, tenant, content).await?;
    }
    Ok((found.len(), unrecorded))
}
