//! The registry of the kinds of streams. Projections, rebuilds, audits and dead letters handle every kind that is
//! listed here, and pass over the others.

use domain::aggregate::{Aggregate, AggregateId, Erasure, Violation, decode_snapshot, encode_snapshot, fold};
use domain::api_key::ApiKeyState;
use domain::business_event::{AutomationState, BusinessEventState, MappingState};
use domain::collect::{BackfillState, CollectionsState, DebtorState, NoticeState};
use domain::communication::State;
use domain::inbound_message::InboundMessageState;
use domain::invoice::InvoiceState;
use domain::payment_link::PaymentLinkState;
use domain::ports::{EventStore, ProjectedRow, StoreError, Stream};
use domain::preferences::Preferences;
use domain::projection::Projection;
use domain::provider_configs::{ProviderConfigState, Routing};
use domain::publication::{PublicEvent, Publication};
use domain::schedule::ScheduleState;
use domain::templates::TemplateState;
use domain::tenant_limits::TenantLimits;
use events::{EventFamily, StreamId, StreamKind, Timestamp};
use futures_util::future::BoxFuture;

use crate::app::App;
use crate::execute::{CommandExecutor, ExecuteError, decode};
use crate::process::ProcessError;
use crate::time::show_time;
use crate::{business_events, collections, schedules};

/// The rules of one kind of stream, for everything that handles streams of any kind.
pub struct StreamRules {
    pub kind: StreamKind,
    /// Its event types, each with the version that is written today.
    pub event_types: &'static [(&'static str, u16)],
    pub erasure: Erasure,
    /// Projects all events of a stream to its row. `None` if streams of this kind have no rows.
    pub project: Option<ProjectFn>,
    /// What its events after a position mean to other systems. `None` if they mean nothing to them.
    pub publish: Option<PublishFn>,
    /// Checks a stream, given all of its events and the current time.
    pub audit: AuditFn,
    /// Brings a stream that makes others act as far as it can go. `None` if streams of this kind are no processes.
    pub process: Option<ProcessFn>,
    /// Ends a stream whose hint crashed its consumer. Returns whether anything was appended.
    pub dead_letter: DeadLetterFn,
    /// Ends what a worker of an earlier process had begun. Returns when the stream must be looked at next, unless that
    /// is at once or never.
    pub resume: ResumeFn,
    /// Where the API shows the events of a stream.
    pub events_path: Option<&'static str>,
}

type ProjectFn = fn(&StreamId, &[String]) -> Result<Option<ProjectedRow>, StoreError>;
type PublishFn = fn(&StreamId, &[String], u64) -> Result<Vec<PublicEvent>, StoreError>;
type ProcessFn = for<'a> fn(&'a App, &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>>;
type AuditFn = fn(&Stream, &[String], Timestamp) -> AuditedStream;
type DeadLetterFn =
    for<'a> fn(&'a CommandExecutor<'a>, &'a StreamId) -> BoxFuture<'a, Result<bool, ExecuteError<String>>>;
type ResumeFn =
    for<'a> fn(&'a CommandExecutor<'a>, &'a StreamId) -> BoxFuture<'a, Result<Option<Timestamp>, ExecuteError<String>>>;

/// The result of the audit of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditedStream {
    pub violations: Vec<Violation>,
    pub is_complete: bool,
    /// Whether lists show it, by its state.
    pub is_listed: bool,
}

/// Every kind that this version knows.
pub static KINDS: [StreamRules; 18] = [
    StreamRules::new::<State>(Some(project::<State>), None)
        .shown_at("/api/communications/{id}/events")
        .published(publish::<State>),
    StreamRules::new::<TemplateState>(None, None),
    StreamRules::new::<ProviderConfigState>(None, None),
    StreamRules::new::<Routing>(None, None),
    StreamRules::new::<TenantLimits>(None, None),
    StreamRules::new::<Preferences>(None, None),
    StreamRules::new::<ApiKeyState>(None, None),
    StreamRules::new::<InboundMessageState>(None, None),
    StreamRules::new::<ScheduleState>(None, Some(schedules::run))
        .shown_at("/api/schedules/{id}/events")
        .published(publish::<ScheduleState>),
    StreamRules::new::<MappingState>(None, None),
    StreamRules::new::<AutomationState>(None, None),
    StreamRules::new::<BusinessEventState>(Some(project::<BusinessEventState>), Some(business_events::run))
        .shown_at("/api/business-events/{id}/events")
        .published(publish::<BusinessEventState>),
    StreamRules::new::<InvoiceState>(Some(project::<InvoiceState>), Some(run_invoice))
        .shown_at("/api/invoices/{id}/events")
        .published(publish::<InvoiceState>),
    StreamRules::new::<CollectionsState>(None, None).published(publish::<CollectionsState>),
    StreamRules::new::<DebtorState>(None, None),
    StreamRules::new::<NoticeState>(None, Some(collections::run_notice)),
    StreamRules::new::<BackfillState>(None, Some(collections::run_backfill)).published(publish::<BackfillState>),
    StreamRules::new::<PaymentLinkState>(Some(project::<PaymentLinkState>), None)
        .published(publish::<PaymentLinkState>),
];

impl StreamRules {
    const fn new<A: Aggregate>(project: Option<ProjectFn>, process: Option<ProcessFn>) -> StreamRules {
        StreamRules {
            kind: A::KIND,
            event_types: A::Event::TYPES,
            erasure: A::ERASURE,
            project,
            publish: None,
            process,
            audit: audit::<A>,
            dead_letter: dead_letter::<A>,
            resume: resume::<A>,
            events_path: None,
        }
    }

    const fn published(mut self, publish: PublishFn) -> StreamRules {
        self.publish = Some(publish);
        self
    }

    const fn shown_at(mut self, events_path: &'static str) -> StreamRules {
        self.events_path = Some(events_path);
        self
    }
}

/// The rules of a kind. A kind that this version does not know is passed over, with a metric.
pub fn rules_of(id: &StreamId) -> Option<&'static StreamRules> {
    let rules = KINDS.iter().find(|rules| rules.kind == id.kind);
    if rules.is_none() {
        tracing::warn!(stream = %id, metric = "UnknownStream", "a stream of a kind of a newer version is passed over");
    }
    rules
}

/// All events of a stream that was read with others. Reads nothing unless the stream has rolled over.
///
/// # Errors
///
/// [`StoreError`]
pub async fn lines_of(store: &dyn EventStore, id: &StreamId, stream: Stream) -> Result<Vec<String>, StoreError> {
    if stream.first() == 0 { Ok(stream.lines) } else { store.read_history(id).await }
}

/// The row of a stream that was read with others. Returns `None` if it has none.
///
/// # Errors
///
/// [`StoreError`]
pub async fn row_of(store: &dyn EventStore, id: &StreamId, stream: Stream) -> Result<Option<ProjectedRow>, StoreError> {
    let Some(project) = rules_of(id).and_then(|rules| rules.project) else { return Ok(None) };
    project(id, &lines_of(store, id, stream).await?)
}

/// What the events of a stream after a position mean to other systems. Reads nothing unless the stream has rolled over.
///
/// # Errors
///
/// [`StoreError`]
pub async fn public_events(
    store: &dyn EventStore,
    id: &StreamId,
    stream: Stream,
    after: u64,
) -> Result<Vec<PublicEvent>, StoreError> {
    let Some(publish) = rules_of(id).and_then(|rules| rules.publish) else { return Ok(Vec::new()) };
    publish(id, &lines_of(store, id, stream).await?, after)
}

/// Carries out what people asked for, and then looks at the reminders of an invoice. Neither waits for the other.
fn run_invoice<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let sent = business_events::run_sendings(app, id).await;
        collections::run_invoice(app, id).await?;
        sent
    })
}

fn publish<A: Publication>(id: &StreamId, lines: &[String], after: u64) -> Result<Vec<PublicEvent>, StoreError> {
    Ok(domain::publication::publish::<A>(id, &decode::<A::Event>(lines)?, after, show_time))
}

fn project<P: Projection>(id: &StreamId, lines: &[String]) -> Result<Option<ProjectedRow>, StoreError> {
    P::project(id, &decode::<P::Event>(lines)?)
        .map(|(mode, row)| ProjectedRow::new(id.tenant.clone(), mode, &row))
        .transpose()
}

/// The longest delay of a timer. A timer that is later than this is not served at all.
const OVERDUE_MS: i64 = domain::policy::MAX_REPAIR_DELAY_MS + 10 * 60_000;

/// I5: the events can be read, and every position has one. I14: the snapshot agrees with them. I1: the stream has a
/// timer until it is complete, and the timer is served. What else is checked depends on the kind.
fn audit<A: Aggregate>(stream: &Stream, lines: &[String], now: Timestamp) -> AuditedStream {
    let mut violations = Vec::new();
    let mut add = |invariant, what| violations.push(Violation { invariant, what });
    if stream.version != lines.len() as u64 {
        add("I5", format!("at position {} with {} events", stream.version, lines.len()));
    }
    let records = match decode::<A::Event>(lines) {
        Ok(records) => records,
        Err(error) => {
            add("I5", error.to_string());
            return AuditedStream { violations, is_complete: true, is_listed: false };
        }
    };
    let state = fold(A::default(), &records);
    let found = state.audit(&records);
    if found.iter().any(|violation| violation.invariant == "I5") {
        violations.extend(found);
        return AuditedStream { violations, is_complete: true, is_listed: state.is_listed() };
    }
    if !agrees_with_snapshot(stream, &state) {
        add("I14", "its snapshot and newest events fold to another state than all of its events".to_owned());
    }
    let is_complete = state.is_complete();
    match stream.wake {
        Some(_) if is_complete => add("I1", "complete, but it has a timer".to_owned()),
        None if !is_complete => add("I1", "not complete, but it has no timer".to_owned()),
        Some(wake) if OVERDUE_MS < now.millis_since(wake) => {
            add("I1", format!("its timer has not been served for {} s", now.millis_since(wake) / 1_000));
        }
        _ => (),
    }
    violations.extend(found);
    AuditedStream { violations, is_complete, is_listed: state.is_listed() }
}

/// A snapshot of another version is not used, so it agrees with everything.
fn agrees_with_snapshot<A: Aggregate>(stream: &Stream, state: &A) -> bool {
    let Some(snapshot) = stream.snapshot.as_deref().and_then(decode_snapshot::<A>) else { return true };
    let Ok(newest) = decode::<A::Event>(&stream.lines) else { return true };
    match (encode_snapshot(&fold(snapshot, &newest)), encode_snapshot(state)) {
        (Ok(folded), Ok(expected)) => folded == expected,
        (Err(_), _) | (_, Err(_)) => true,
    }
}

fn dead_letter<'a, A: Aggregate>(
    executor: &'a CommandExecutor<'a>,
    id: &'a StreamId,
) -> BoxFuture<'a, Result<bool, ExecuteError<String>>> {
    Box::pin(async move {
        let Some(command) = A::dead_letter() else { return Ok(false) };
        let stream = AggregateId::<A>::new(&id.tenant, &id.id);
        match executor.execute(&stream, command).await {
            Ok(after) => Ok(after.appended > 0),
            Err(error) => Err(error.map_rejection(|rejection| rejection.to_string())),
        }
    })
}

fn resume<'a, A: Aggregate>(
    executor: &'a CommandExecutor<'a>,
    id: &'a StreamId,
) -> BoxFuture<'a, Result<Option<Timestamp>, ExecuteError<String>>> {
    Box::pin(async move {
        let stream = AggregateId::<A>::new(&id.tenant, &id.id);
        let now = executor.host.now();
        let mut loaded = executor.load(&stream).await?;
        if let Some(command) = A::after_restart(now) {
            let resumed = executor.execute_loaded(&stream, loaded, command).await;
            loaded = resumed.map_err(|error| error.map_rejection(|rejection| rejection.to_string()))?;
        }
        Ok(loaded.state.wake(now, None).filter(|next| now < *next))
    })
}
