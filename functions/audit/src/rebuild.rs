//! Rebuilds the views from the streams. The projection can run at the same time, because the later image of a stream
//! wins.

use std::collections::BTreeMap;

use application::kinds::{lines_of, rules_of};
use domain::ports::{ProjectedRow, StoreError, ViewScope};
use events::Timestamp;

use crate::{AuditHandler, PAGE_SIZE};

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
    /// Writes the rows of every stream behind `after`. Stops at `deadline`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: call it again with the same `after`. Rows that were written already do no harm.
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
                let lines = lines_of(&*self.store, &id, stream).await?;
                let Ok(Some(projected)) = project(&id, &lines) else {
                    tracing::error!(stream = %id, "a stream was skipped");
                    progress.skipped += 1;
                    continue;
                };
                views.entry(projected.scope.clone()).or_default().push(projected);
                progress.streams += 1;
            }
            for rows in views.values().flat_map(|rows| rows.chunks(self.views.max_rows())) {
                self.views.apply(rows, self.host.now()).await?;
            }
            progress.next = page.next;
            if progress.next.is_none() || deadline.is_some_and(|deadline| deadline <= self.host.now()) {
                return Ok(progress);
            }
        }
    }
}
