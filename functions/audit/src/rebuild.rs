//! The views made again from the streams, beside the projection that follows changes: the later image of a stream wins,
//! whoever brings it.

use std::collections::BTreeMap;

use application::kinds::rules_of;
use domain::ports::{ProjectedRow, StoreError, ViewScope};
use events::Timestamp;

use crate::{AuditHandler, PAGE};

/// Rows of one transaction.
const MAX_ROWS_PER_TRANSACTION: usize = 20;

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RebuildProgress {
    /// Streams whose rows were brought.
    pub streams: usize,
    /// Streams that cannot be read: passed over, and logged.
    pub passed_over: usize,
    /// What the next call takes as `after`; none at the end.
    pub next: Option<String>,
}

impl AuditHandler {
    /// Brings every stream to the views, until `deadline`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: begin again at the same place; what was brought is there.
    pub async fn rebuild(
        &self,
        after: Option<String>,
        deadline: Option<Timestamp>,
    ) -> Result<RebuildProgress, StoreError> {
        let mut done = RebuildProgress { next: after, ..RebuildProgress::default() };
        loop {
            let page = self.store.scan(done.next.as_deref(), PAGE).await?;
            let mut views: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
            for (id, stream) in page.streams {
                let Some(project) = rules_of(&id).and_then(|rules| rules.project) else { continue };
                let lines = if stream.first() == 0 { stream.lines } else { self.store.read_history(&id).await? };
                let Ok(Some(projected)) = project(&id, &lines) else {
                    tracing::error!(stream = %id, "a stream is passed over");
                    done.passed_over += 1;
                    continue;
                };
                views.entry(projected.view.clone()).or_default().push(projected);
                done.streams += 1;
            }
            for rows in views.values().flat_map(|rows| rows.chunks(MAX_ROWS_PER_TRANSACTION)) {
                self.views.apply(rows, self.host.now()).await?;
            }
            done.next = page.next;
            if done.next.is_none() || deadline.is_some_and(|deadline| deadline <= self.host.now()) {
                return Ok(done);
            }
        }
    }
}
