//! Whether collections work: what the hourly check found, and the backfills.

use domain::access::{Permission, Reach};
use domain::collect::{Backfill, BackfillState, CollectionsState};
use domain::ports::Listed;

use super::backfill::FoundBackfill;
use super::checks::{Check, load_check};
use super::settings::CollectionsError;
use crate::app::App;
use crate::caller::Caller;
use crate::execute;
use crate::invoices::collections_of;

/// Maximum number of backfills in one answer: the newest.
const MAX_BACKFILLS: usize = 20;

/// Whether collections work.
pub struct CollectionsStatus {
    pub state: CollectionsState,
    pub check: Check,
    /// The newest first.
    pub backfills: Vec<FoundBackfill>,
}

/// # Errors
///
/// [`CollectionsError`]
pub async fn status(app: &App, caller: &Caller) -> Result<CollectionsStatus, CollectionsError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let state = collections_of(app, tenant).await?;
    let check = load_check(&*app.tenant_ports.documents, (tenant, mode), app.host.now()).await?;
    let all = execute::list_streams::<BackfillState>(&*app.store, tenant, Listed::Ever).await?;
    let of_mode = |backfill: &Backfill| backfill.plan.mode == mode;
    let named = all.into_iter().filter_map(|(id, state)| Some((id, state.backfill.filter(of_mode)?)));
    let mut backfills: Vec<_> = named.map(|(id, backfill)| FoundBackfill { id, backfill }).collect();
    backfills.sort_by_key(|found| std::cmp::Reverse(found.backfill.confirmed_at));
    backfills.truncate(MAX_BACKFILLS);
    Ok(CollectionsStatus { state, check, backfills })
}
