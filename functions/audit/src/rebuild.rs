//! Rebuilds the views from the streams. The projection can run at the same time, because a row is only replaced by that
//! of a later position.

use std::collections::BTreeMap;

use application::kinds::rules_of;
use domain::ports::{ProjectedRow, StoreError, ViewScope};
use events::Timestamp;

use crate::{AuditHandler, PAGE_SIZE};

/// Maximum number of rows in one transaction.
const MAX_ROWS_PER_TRANSACTION: usize = 20;

/// The progress of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildProgress {
    /// Streams whose rows were written.
    pub streams: usize,
    /// Streams that cannot be read. They are logged and skipped.
    pub skipped: usize,
    /// The argument `after` of the next call. `None` if the rebuild is complete.
    pub next: Option<String>,
}

impl AuditHandler {
    /// Writes the rows of all streams after `after`. Stops at `deadline`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the caller must repeat the call with the same `after`. Rows that were written already do no
    /// harm.
    pub async fn rebuild(
        &self,
        after: Option<String>,
        deadline: Option<Timestamp>,
    ) -> Result<RebuildProgress, StoreError> {
        let mut progress = RebuildProgress { next: after, ..RebuildProgress::default() };
        loop {
            let page = self.store.scan(progress.next.as_deref(), PAGE_SIZE).await?;
            let mut views: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
            for (id, stream) in page.streams {
                let Some(project) = rules_of(&id).and_then(|rules| rules.project) else { continue };
                let lines = if stream.first() == 0 { stream.lines } else { self.store.read_history(&id).await? };
                let Ok(Some(projected)) = project(&id, &lines) else {
                    tracing::error!(stream = %id, "a stream was skipped");
                    progress.skipped += 1;
                    continue;
                };
                views.entry(projected.view.clone()).or_default().push(projected);
                progress.streams += 1;
            }
            for rows in views.values().flat_map(|rows| rows.chunks(MAX_ROWS_PER_TRANSACTION)) {
                self.views.apply(rows, self.host.now()).await?;
            }
            progress.next = page.next;
            if progress.next.is_none() || deadline.is_some_and(|deadline| deadline <= self.host.now()) {
                return Ok(progress);
            }
        }
    }
}
