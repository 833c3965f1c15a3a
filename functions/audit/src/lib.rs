//! In: a scheduled event every night, or a call by hand. Out: a report of contradictions in the store; on request,
//! rebuilt views.
//! May touch: streams, read only; rows and counters, written only on request; alerts.
//! Never: repairs anything by itself, because a person must find the cause first.

pub mod config;
mod rebuild;

pub use rebuild::RebuildProgress;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use application::kinds::{lines_of, rules_of};
use domain::aggregate::Violation;
use domain::ports::{AlertSink, ClockAndRng, EventStore, ProjectedRow, StoreError, Stream, ViewScope, ViewStore};
use domain::stats::{Counters, add_counters, counter_delta, utc_day};
use events::{StreamId, Timestamp};

/// Maximum number of streams in one page of a scan.
const PAGE_SIZE: usize = 500;
/// Maximum number of findings that are listed. The others are only counted.
const MAX_REPORTED: usize = 100;

/// The ports of the function.
#[derive(Clone)]
pub struct AuditHandler {
    pub store: Arc<dyn EventStore>,
    pub views: Arc<dyn ViewStore>,
    pub host: Arc<dyn ClockAndRng>,
    /// How long a change can take to reach the views, in milliseconds. Streams that changed within this time are not
    /// compared with their rows.
    pub settle_ms: i64,
}

/// A contradiction in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant of `docs/reliability.md` that does not hold.
    pub invariant: &'static str,
    /// The stream or the counter that violates the invariant.
    pub about: String,
    /// A description of the contradiction.
    pub what: String,
}

/// The number of streams, events and days that were checked, and the findings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub streams: usize,
    pub events: usize,
    pub unfinished: usize,
    /// Streams of kinds that this version does not know.
    pub unknown: usize,
    /// Streams that changed too recently for their rows to be compared.
    pub moving: usize,
    /// Days whose counters were compared.
    pub days: usize,
    /// False if the deadline passed before everything was checked.
    pub is_complete: bool,
    pub findings: Vec<Finding>,
    /// The number of findings that are not listed.
    pub more: usize,
}

impl Report {
    fn add(&mut self, invariant: &'static str, about: impl ToString, what: impl Into<String>) {
        if self.findings.len() < MAX_REPORTED {
            self.findings.push(Finding { invariant, about: about.to_string(), what: what.into() });
        } else {
            self.more += 1;
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report { streams, events, unfinished, moving, days, .. } = self;
        writeln!(f, "{streams} streams, {events} events, {unfinished} unfinished, {days} days of counters compared")?;
        if *moving > 0 {
            writeln!(f, "{moving} changed a moment ago; their rows and days were not compared")?;
        }
        if self.unknown > 0 {
            writeln!(f, "{} are of a kind that this version does not know, and were not checked", self.unknown)?;
        }
        if !self.is_complete {
            writeln!(f, "the deadline passed before everything was checked; counters were not compared")?;
        }
        for Finding { invariant, about, what } in &self.findings {
            writeln!(f, "{invariant} {about}: {what}")?;
        }
        match self.findings.len() + self.more {
            0 => write!(f, "no differences"),
            count => write!(f, "{count} differences"),
        }
    }
}

/// The counters of one view, summed from its rows.
#[derive(Default)]
struct CounterRecount {
    days: BTreeMap<String, Counters>,
    total: Counters,
    /// Days that are not compared, because a row of them may still change.
    moving: BTreeSet<String>,
}

impl AuditHandler {
    /// Checks every stream, row and counter once. Stops at `deadline`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store could not be read.
    pub async fn run(&self, deadline: Option<Timestamp>) -> Result<Report, StoreError> {
        let mut report = Report::default();
        let mut views: BTreeMap<ViewScope, CounterRecount> = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(after.as_deref(), PAGE_SIZE).await?;
            let mut rows: BTreeMap<ViewScope, Vec<(StreamId, ProjectedRow)>> = BTreeMap::new();
            for (id, stream) in &page.streams {
                if let Some(row) = self.check_stream(id, stream, &mut report).await? {
                    rows.entry(row.scope.clone()).or_default().push((id.clone(), row));
                }
            }
            for (view, rows) in rows {
                self.check_rows(&view, rows, views.entry(view.clone()).or_default(), &mut report).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            if deadline.is_some_and(|deadline| deadline <= self.host.now()) {
                return Ok(report);
            }
        }
        for (view, recount) in views {
            self.check_counters(&view, recount, &mut report).await?;
        }
        report.is_complete = true;
        Ok(report)
    }

    /// Checks one stream by the rules of its kind. Returns the row that it should have, if its kind has rows.
    async fn check_stream(
        &self,
        id: &StreamId,
        stream: &Stream,
        report: &mut Report,
    ) -> Result<Option<ProjectedRow>, StoreError> {
        let Some(rules) = rules_of(id) else {
            report.unknown += 1;
            return Ok(None);
        };
        let lines = lines_of(&*self.store, id, stream.clone()).await?;
        report.streams += 1;
        report.events += lines.len();
        let audited = (rules.audit)(stream, &lines, self.host.now());
        report.unfinished += usize::from(!audited.is_complete);
        let name = stream_name(id);
        for Violation { invariant, what } in audited.violations {
            report.add(invariant, &name, what);
        }
        Ok(rules.project.and_then(|project| project(id, &lines).ok().flatten()))
    }

    /// Checks invariant I6: every row is the fold of its stream.
    async fn check_rows(
        &self,
        view: &ViewScope,
        expected: Vec<(StreamId, ProjectedRow)>,
        recount: &mut CounterRecount,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let keys: Vec<String> = expected.iter().map(|(_, row)| row.key.clone()).collect();
        let found = self.views.get_rows(view, &keys).await?;
        let settled_at = self.host.now() - self.settle_ms;
        for ((id, row), found) in expected.into_iter().zip(found) {
            let day = utc_day(row.created_at);
            if settled_at < row.updated_at {
                report.moving += 1;
                recount.moving.insert(day);
                continue;
            }
            add_counters(recount.days.entry(day).or_default(), &row.counters);
            add_counters(&mut recount.total, &row.counters);
            if found.as_ref() != Some(&row.body) {
                let at = match found.map(|body| row.position_of(&body)) {
                    Some(Ok(position)) => format!("the row has position {position}"),
                    Some(Err(_)) => "the row cannot be read".to_owned(),
                    None => "there is no row".to_owned(),
                };
                report.add("I6", stream_name(&id), format!("{at}, the fold of the stream has {}", row.position));
            }
        }
        Ok(())
    }

    /// Checks invariant I6: the counters are the sums of the rows.
    async fn check_counters(
        &self,
        view: &ViewScope,
        recount: CounterRecount,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let mut stored = self.views.daily_counters(view, "0000-01-01", "9999-12-31").await?;
        let name = format!("{} {} {}", view.tenant, view.mode.as_str(), view.view);
        let all: BTreeSet<String> = recount.days.keys().chain(stored.keys()).cloned().collect();
        for day in all.iter().filter(|day| !recount.moving.contains(*day)) {
            report.days += 1;
            let expected = recount.days.get(day).cloned().unwrap_or_default();
            let difference = counter_delta(&stored.remove(day).unwrap_or_default(), Some(&expected));
            if !difference.is_empty() {
                report.add("I6", format!("{name} {day}"), format!("counters are off by {difference:?}"));
            }
        }
        if recount.moving.is_empty() {
            let difference = counter_delta(&self.views.total_counters(view).await?.0, Some(&recount.total));
            if !difference.is_empty() {
                report.add("I6", format!("{name} in all"), format!("counters are off by {difference:?}"));
            }
        }
        Ok(())
    }
}

/// Returns the name of a stream in findings: its tenant and its id.
fn stream_name(id: &StreamId) -> String {
    format!("{} {}", id.tenant, id.id)
}

/// Raises an alert if there are findings.
///
/// # Errors
///
/// [`StoreError`]: the alert could not be raised.
pub async fn raise_alert(alerts: &dyn AlertSink, report: &Report) -> Result<(), StoreError> {
    if report.findings.is_empty() {
        return Ok(());
    }
    let count = report.findings.len() + report.more;
    alerts.raise(&format!("Tidings audit: {count} differences"), &report.to_string()).await
}
