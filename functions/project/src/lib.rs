//! In: streams that changed, whole. Out: their rows and counters.
//! May touch: views.
//! Never: reads or writes a stream; holds up its neighbours for one that it cannot read.

pub mod config;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::communication_view;
use domain::ports::{ClockAndRng, ProjectedRow, StoreError, StreamKey, ViewScope, ViewStore};
use events::{CommunicationEvent, Mode, RecordedEvent};

/// Rows of one transaction.
const MAX_ROWS_PER_TRANSACTION: usize = 20;

/// Everything the door may touch.
#[derive(Clone)]
pub struct Project {
    pub views: Arc<dyn ViewStore>,
    pub host: Arc<dyn ClockAndRng>,
}

/// A stream as it was after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub key: StreamKey,
    pub lines: Vec<String>,
}

impl Project {
    /// Folds each stream into its row. Only the longest image of a stream counts; a replay changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: show all of them again. What cannot be read is logged and passed over.
    pub async fn project(&self, images: Vec<Image>) -> Result<(), StoreError> {
        let mut newest: BTreeMap<StreamKey, Vec<String>> = BTreeMap::new();
        for Image { key, lines } in images {
            let kept = newest.entry(key).or_default();
            if kept.len() < lines.len() {
                *kept = lines;
            }
        }
        let mut by_view: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
        for (key, lines) in newest {
            if let Some(projected) = fold(&key, &lines) {
                by_view.entry(projected.view.clone()).or_default().push(projected);
            }
        }
        for rows in by_view.values() {
            for some in rows.chunks(MAX_ROWS_PER_TRANSACTION) {
                match self.views.apply(some, self.host.now()).await {
                    Err(StoreError::Unreadable(error)) => tracing::error!(error, "rows passed over"),
                    other => other?,
                }
            }
        }
        Ok(())
    }
}

fn fold(key: &StreamKey, lines: &[String]) -> Option<ProjectedRow> {
    let records: Result<Vec<RecordedEvent>, _> = lines.iter().map(|line| events::decode(line)).collect();
    let records = match records {
        Ok(records) => records,
        Err(error) => {
            tracing::error!(id = %key.id, %error, "a stream passed over");
            return None;
        }
    };
    let row = communication_view::project(key.id, &records)?;
    let mode = match &records.first()?.event {
        CommunicationEvent::CommunicationRequested(request) => request.mode,
        _ => Mode::Live,
    };
    Some(ProjectedRow { view: ViewScope { tenant: key.tenant.clone(), mode }, row })
}
