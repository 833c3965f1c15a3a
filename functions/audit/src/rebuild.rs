//! The views made again from the streams, beside the projection that follows changes: the later image of a stream wins,
//! whoever brings it.

use std::collections::BTreeMap;

use domain::communication_view::project;
use domain::ports::{ProjectedRow, StoreError, ViewScope};
use events::{CommunicationEvent, Mode, Timestamp};

use crate::{Audit, PAGE};

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

impl Audit {
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
            for (key, stream) in &page.streams {
                let records = application::decode(stream).unwrap_or_default();
                let mode = match records.first().map(|record| &record.event) {
                    Some(CommunicationEvent::CommunicationRequested(request)) => request.mode,
                    _ => Mode::Live,
                };
                let Some(row) = project(key.id, &records) else {
                    tracing::error!(id = %key.id, "a stream passed over");
                    done.passed_over += 1;
                    continue;
                };
                let view = ViewScope { tenant: key.tenant.clone(), mode };
                views.entry(view.clone()).or_default().push(ProjectedRow { view, row });
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
