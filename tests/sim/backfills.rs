//! Backfills in the simulation of collections: what people do with them, and what must hold.

use std::collections::BTreeMap;

use application::collections::{
    BackfillError, CollectionsError, NewBackfill, PreviewError, confirm, get, preview, preview_days, status, stop,
};
use application::kinds::rules_of;
use application::{App, Caller, ExecuteError};
use domain::aggregate::{AggregateKey, fold};
use domain::collect::{BackfillRejection, BackfillState};
use domain::ports::Principal;
use events::{
    BackfillEvent, BackfillSteps, CollectionCause, CollectionsEvent, EventFamily, InvoiceEvent, Mode, RecordedEvent,
    StreamId, StreamKind, TenantId, Timestamp,
};

use crate::INVOCATION_MS;
use crate::collection_plan::tenant_of;
use crate::world::{World, WorldState};

fn caller(tenant: usize) -> Caller {
    Caller::new(Principal::admin(tenant_of(tenant), "ops", Mode::Live))
}

fn is_final<R>(error: &ExecuteError<R>) -> bool {
    matches!(error, ExecuteError::Rejected(_))
}

/// A person looks at a preview and confirms it. Returns whether it must be repeated.
pub async fn begin(app: &App, tenant: usize, steps: BackfillSteps, per_day: u32) -> bool {
    let caller = caller(tenant);
    let Ok(state) = get(app, &caller).await else { return true };
    let (first, _) = preview_days(&state.settings(), app.host.now());
    let preview = match preview(app, &caller, first).await {
        Ok(preview) => preview,
        Err(error) => return matches!(error, PreviewError::Store(_)),
    };
    let confirmed_messages = preview.total.message_count();
    match confirm(app, &caller, NewBackfill { preview: preview.id, steps, per_day, confirmed_messages }).await {
        Ok(_) => false,
        Err(BackfillError::Store(_)) => true,
        Err(BackfillError::Execute(error)) => !is_final::<BackfillRejection>(&error),
        Err(_) => false,
    }
}

/// A person stops what is under way. Returns whether it must be repeated.
pub async fn stop_all(app: &App, tenant: usize) -> bool {
    let caller = caller(tenant);
    let found = match status(app, &caller).await {
        Ok(found) => found.backfills,
        Err(error) => return matches!(error, CollectionsError::Store(_)),
    };
    for found in found.iter().filter(|found| found.backfill.ended.is_none()) {
        match stop(app, &caller, &found.id).await {
            Ok(_) => (),
            Err(BackfillError::Execute(error)) if is_final(&error) => (),
            Err(_) => return true,
        }
    }
    false
}

/// The view of invoices follows their streams.
pub fn project(world: &World) {
    let mut guard = world.state();
    let state = &mut *guard;
    let changed: Vec<StreamId> = state.feed.iter_mut().flat_map(|feed| feed.drain(..)).map(|image| image.id).collect();
    for id in changed.into_iter().filter(|id| id.kind == StreamKind::INVOICE) {
        let project = rules_of(&id).and_then(|rules| rules.project).expect("invoices have rows");
        if let Some(row) = project(&id, &state.history(&id)).expect("a row") {
            state.rows.insert((row.scope.clone(), row.key.clone()), row);
        }
    }
}

fn records<E: EventFamily>(state: &WorldState, id: &StreamId) -> Vec<RecordedEvent<E>> {
    state.history(id).iter().map(|line| events::decode(line).expect("an event")).collect()
}

/// When a backfill planned an invoice, and when it ended.
type Planned = (Timestamp, Option<Timestamp>);

/// I31: every backfill ends. I38: none has more invoices on a day than were confirmed or goes on after its end, and no
/// old invoice is taken up otherwise. Returns the number of invoices that were taken up.
///
/// # Errors
///
/// The first invariant that does not hold.
pub fn check(state: &WorldState) -> Result<usize, String> {
    let mut planned: BTreeMap<(TenantId, String), Vec<Planned>> = BTreeMap::new();
    let mut running: BTreeMap<(TenantId, Mode), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for id in state.streams.keys().filter(|id| id.kind == StreamKind::BACKFILL) {
        let records = records::<BackfillEvent>(state, id);
        let fail = |name: &str, why: &str| Err(format!("{name}: {why}: {id}\n{records:#?}"));
        let Some(backfill) = fold(BackfillState::default(), &records).backfill else { continue };
        let is_end =
            |record: &&RecordedEvent<BackfillEvent>| matches!(record.event, BackfillEvent::BackfillEnded { .. });
        let Some(end) = records.iter().find(is_end) else { return fail("I31", "a backfill has not ended") };
        let of_mode = running.entry((id.tenant.clone(), backfill.plan.mode)).or_default();
        let (from, until) = (backfill.confirmed_at, end.meta.at);
        if of_mode.iter().any(|(other, ended)| *other < until && from < *ended) {
            return fail("I38", "two backfills went on at the same time");
        }
        of_mode.push((from, until));
        let mut days: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &records {
            let BackfillEvent::BackfillPagePlanned { day, invoices, .. } = &record.event else { continue };
            *days.entry(day).or_default() += invoices.len();
            for invoice in invoices {
                let key = (id.tenant.clone(), invoice.clone());
                planned.entry(key).or_default().push((record.meta.at, Some(end.meta.at)));
            }
        }
        if days.values().any(|count| (backfill.plan.per_day as usize) < *count) {
            return fail("I38", "a day had more invoices than were confirmed");
        }
        let is_page =
            |record: &RecordedEvent<BackfillEvent>| matches!(record.event, BackfillEvent::BackfillPagePlanned { .. });
        if records.iter().skip_while(|record| !is_end(record)).any(is_page) {
            return fail("I38", "a backfill went on after its end");
        }
    }
    let mut begun = 0;
    for id in state.streams.keys().filter(|id| id.kind == StreamKind::INVOICE) {
        let settings = application::invoices::settings_stream(&id.tenant).stream_id();
        let is_enabled = |day: &str| {
            let settings = records::<CollectionsEvent>(state, &settings);
            settings
                .iter()
                .any(|record| matches!(&record.event, CollectionsEvent::CollectionsEnabled { from } if from == day))
        };
        for record in records::<InvoiceEvent>(state, id) {
            let InvoiceEvent::CollectionBegun { from, cause } = &record.event else { continue };
            if !matches!(cause, CollectionCause::Backfill | CollectionCause::BackfillLater) {
                continue;
            }
            begun += 1;
            let at = record.meta.at;
            let is_in =
                |(planned, ended): &Planned| *planned <= at && ended.is_none_or(|ended| at <= ended + INVOCATION_MS);
            let plans = planned.get(&(id.tenant.clone(), id.id.clone()));
            if !plans.is_some_and(|plans| plans.iter().any(is_in)) || !is_enabled(from) {
                return Err(format!("I38: {id} was taken up at {at:?} by no backfill: {plans:?}"));
            }
        }
    }
    Ok(begun)
}
