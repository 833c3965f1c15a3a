//! The contract of the index by due day.

use std::collections::BTreeMap;

use domain::ports::{ProjectedRow, RowIndex, RowRange, ViewRow, ViewScope, ViewStore, time_prefix};
use domain::stats::Counters;
use events::{Mode, Timestamp};

use super::{NOW, tenant, view};

/// A row that moves in the index by due day.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct DueRow {
    id: String,
    position: u64,
    due: Option<String>,
    group: Option<String>,
}

impl ViewRow for DueRow {
    const VIEW: &'static str = "due";

    fn key(&self) -> String {
        format!("{}#{}", time_prefix(NOW), self.id)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        NOW
    }

    fn updated_at(&self) -> Timestamp {
        NOW
    }

    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        self.group.iter().map(|group| (RowIndex::Due, group.clone())).collect()
    }

    fn due(&self) -> Option<String> {
        self.due.clone()
    }

    fn counters(&self) -> Counters {
        Counters::new()
    }
}

pub async fn rows_are_listed_by_their_due_day(views: &dyn ViewStore) {
    let scope = ViewScope { view: DueRow::VIEW, ..view() };
    let row = |id: &str, position: u64, due: Option<&str>, group: Option<&str>| DueRow {
        id: id.to_owned(),
        position,
        due: due.map(str::to_owned),
        group: group.map(str::to_owned),
    };
    let apply = async |rows: &[DueRow]| {
        let rows: Vec<_> = rows.iter().map(|row| ProjectedRow::new(tenant("acme"), Mode::Live, row)).collect();
        let rows: Vec<ProjectedRow> = rows.into_iter().collect::<Result<_, _>>().expect("rows");
        views.apply(&rows, NOW).await.expect("applied");
    };
    let list = async |group: &str, from: &str, before: &str, size: usize| {
        let index = Some((RowIndex::Due, group.to_owned()));
        let mut range = RowRange { index, from: from.to_owned(), before: before.to_owned() };
        let mut found = Vec::new();
        loop {
            let page = application::views::page::<DueRow>(views, &scope, &range, size).await.expect("a page");
            assert!(page.rows.len() <= size);
            found.extend(page.rows.into_iter().map(|row| row.id));
            match page.next {
                Some(next) => range.before = next,
                None => return found.join(" "),
            }
        }
    };
    apply(&[
        row("a", 1, Some("2027-01-10"), Some("idle")),
        row("b", 1, Some("2027-01-10"), Some("idle")),
        row("c", 1, Some("2026-12-31"), Some("idle")),
        row("d", 1, Some("2027-02-01"), Some("idle")),
        row("e", 1, Some("2027-01-05"), Some("collected")),
        row("f", 1, None, Some("idle")),
        row("g", 1, Some("2027-01-06"), None),
    ])
    .await;
    for size in [1, 2, 3, 100] {
        assert_eq!(list("idle", "0", "~", size).await, "d b a c", "the latest first, in pages of {size}");
        assert_eq!(list("idle", "2026-12-31", "2027-01-10", size).await, "c", "the last day is not included");
        assert_eq!(list("idle", "2027-01-10", "2027-01-11", size).await, "b a");
        assert_eq!(list("collected", "0", "~", size).await, "e");
    }
    // One moves to another day, one to another group, and one leaves the index.
    apply(&[
        row("a", 2, Some("2027-03-01"), Some("idle")),
        row("b", 2, Some("2027-01-10"), Some("collected")),
        row("c", 2, Some("2026-12-31"), None),
    ])
    .await;
    assert_eq!((list("idle", "0", "~", 2).await, list("collected", "0", "~", 2).await), ("a d".into(), "b e".into()));
    let all = RowRange { index: None, from: "0".to_owned(), before: "~".to_owned() };
    let page = application::views::list(views, &scope, vec![all], None, 10, |_: &DueRow| true).await;
    assert_eq!(page.expect("a list").rows.len(), 7, "every row has one key in the list of all");
}
