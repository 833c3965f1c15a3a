//! The invariants of collections, checked on the streams and on what the providers were told to say.

use std::collections::{BTreeMap, BTreeSet};

use domain::aggregate::{Aggregate, AggregateKey, fold};
use domain::collect::{Calendar, CollectionsState, DebtorState, NoticeState, debtor_key, parse_day};
use domain::communication::{State, evolve};
use domain::invoice::{Hold, InvoiceState, StepOutcome};
use domain::ports::{CommunicationKey, Stream};
use events::{
    AttemptId, Channel, CollectionCause, CollectionsEvent, CommunicationEvent, CommunicationId, CommunicationRequest,
    EventFamily, EventMetadata, InvoiceEvent, MessageType, NoticeEvent, NoticeInvoice, RecordedEvent, StepSkipReason,
    StreamId, StreamKind, TenantId, Timestamp,
};
use tests::invariants::{CommunicationTrace, Sent};

use crate::INVOCATION_MS;
use crate::collection_plan::{Invoice, Plan};
use crate::invariants::check_audit;
use crate::world::{World, WorldState};

/// How long a timer may be overdue at the end, in milliseconds.
const OVERDUE_MS: i64 = 10 * 60_000;

/// What happened in the runs. The test asserts on it, so that runs are known to cover every case.
#[derive(Debug, Default)]
pub struct Figures {
    notices: usize,
    several: usize,
    claims: usize,
    fallbacks: usize,
    partly_paid: usize,
    suppressed: usize,
    skipped: BTreeMap<&'static str, usize>,
    postponed: usize,
    /// Invoices that a backfill took up.
    backfilled: usize,
    faults: u64,
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        self.notices += other.notices;
        self.several += other.several;
        self.claims += other.claims;
        self.fallbacks += other.fallbacks;
        self.partly_paid += other.partly_paid;
        self.suppressed += other.suppressed;
        other.skipped.iter().for_each(|(reason, count)| *self.skipped.entry(reason).or_default() += count);
        self.postponed += other.postponed;
        self.backfilled += other.backfilled;
        self.faults += other.faults;
    }

    pub fn covers_everything(&self) -> bool {
        let counts = [self.notices, self.several, self.claims, self.fallbacks, self.partly_paid, self.suppressed];
        let reasons = [
            StepSkipReason::Superseded,
            StepSkipReason::KnownTooLate,
            StepSkipReason::TooLate,
            StepSkipReason::Settled,
            StepSkipReason::NotCollectible,
        ];
        let is_skipped = reasons.iter().all(|reason| self.skipped.contains_key(reason.as_str()));
        counts.iter().all(|count| *count > 0)
            && is_skipped
            && self.postponed > 0
            && self.backfilled > 0
            && self.faults > 0
    }
}

/// A notice, with its messages and those that followed them.
struct Told<'a> {
    notice: &'a StreamId,
    kept: &'a [NoticeInvoice],
}

struct Check<'a> {
    state: &'a WorldState,
    plan: &'a Plan,
    /// For each stream, its appends: their place in the order of all appends, and the version afterwards.
    appends: BTreeMap<&'a StreamId, Vec<(usize, u64)>>,
    invoices: BTreeMap<StreamId, Vec<RecordedEvent<InvoiceEvent>>>,
    notices: BTreeMap<StreamId, (NoticeState, Vec<RecordedEvent<NoticeEvent>>)>,
    figures: Figures,
}

/// # Errors
///
/// The first invariant that does not hold.
pub fn check(world: &World, plan: &Plan) -> Result<Figures, String> {
    let figures = {
        let state = world.state();
        let mut appends: BTreeMap<&StreamId, Vec<(usize, u64)>> = BTreeMap::new();
        for (place, (id, version)) in state.appends.iter().enumerate() {
            appends.entry(id).or_default().push((place, *version));
        }
        let of_kind = |kind| state.streams.keys().filter(move |id| id.kind == kind);
        let invoices = of_kind(StreamKind::INVOICE).map(|id| (id.clone(), records(&state, id))).collect();
        let notice = |id: &StreamId| {
            let records = records(&state, id);
            (id.clone(), (fold(NoticeState::default(), &records), records))
        };
        let notices = of_kind(StreamKind::NOTICE).map(notice).collect();
        let figures = Figures { faults: state.injected, ..Figures::default() };
        let mut check = Check { state: &state, plan, appends, invoices, notices, figures };
        check.beginnings()?;
        check.figures.backfilled = crate::backfills::check(&state)?;
        check.notices()?;
        check.messages()?;
        check.steps()?;
        check.facts()?;
        check.figures
    };
    check_audit(world)?;
    Ok(figures)
}

fn records<E: EventFamily>(state: &WorldState, id: &StreamId) -> Vec<RecordedEvent<E>> {
    state.history(id).iter().map(|line| events::decode(line).expect("an event")).collect()
}

impl Check<'_> {
    /// The version of a stream just before an append of another one.
    fn version_at(&self, id: &StreamId, place: usize) -> usize {
        let appends = self.appends.get(id).map(Vec::as_slice).unwrap_or_default();
        let before = appends.partition_point(|(at, _)| *at < place);
        before.checked_sub(1).map_or(0, |last| appends[last].1 as usize)
    }

    fn invoice_at(&self, id: &StreamId, place: usize) -> InvoiceState {
        let version = self.version_at(id, place);
        fold(InvoiceState::default(), &self.invoices[id][..version])
    }

    fn debtor_at(&self, request: &CommunicationRequest, tenant: &TenantId, place: usize) -> DebtorState {
        let Some(key) = debtor_key(tenant, &request.recipient) else { return DebtorState::default() };
        let id = key.stream_id();
        let records = records(self.state, &id);
        fold(DebtorState::default(), &records[..self.version_at(&id, place)])
    }

    /// Every state of a tenant's settings that a function may have read shortly before a time.
    fn settings_near(&self, tenant: &TenantId, at: Timestamp) -> Vec<CollectionsState> {
        let id = application::invoices::settings_stream(tenant).stream_id();
        let mut states = vec![CollectionsState::default()];
        for record in records::<CollectionsEvent>(self.state, &id) {
            let after = states.last().cloned().unwrap_or_default().evolve(&record);
            if record.meta.at < at - INVOCATION_MS {
                states.clear();
            }
            if record.meta.at <= at + 1_000 {
                states.push(after);
            }
        }
        states
    }

    /// I33: an invoice is what its facts say, whatever the order and the number of their arrivals.
    fn facts(&self) -> Result<(), String> {
        for invoice in &self.plan.invoices {
            let id = invoice.stream();
            let expected = expected(invoice);
            let found = fold(InvoiceState::default(), &self.invoices[&id]);
            if found.facts != expected.facts {
                return Err(format!("I33: {id} differs from its facts: {:#?} {:#?}", found.facts, expected.facts));
            }
        }
        Ok(())
    }

    /// I38: no invoice that was due before collections were switched on has a step, unless a person began it.
    fn beginnings(&self) -> Result<(), String> {
        for (id, records) in &self.invoices {
            let mut state = InvoiceState::default();
            let settings = application::invoices::settings_stream(&id.tenant).stream_id();
            let enabled: BTreeSet<String> = self::records::<CollectionsEvent>(self.state, &settings)
                .into_iter()
                .filter_map(|record| match record.event {
                    CollectionsEvent::CollectionsEnabled { from } => Some(from),
                    _ => None,
                })
                .collect();
            for record in records {
                match &record.event {
                    InvoiceEvent::CollectionBegun { from, cause: CollectionCause::OnTime } => {
                        let is_old = state.facts.due_on().is_none_or(|due| due < from.as_str());
                        if is_old || !enabled.contains(from) {
                            return Err(format!("I38: collection of {id} began, although it was due before"));
                        }
                    }
                    InvoiceEvent::ReminderStepTriggered { step, .. } if state.collection.is_none() => {
                        return Err(format!("I38: {step} of {id} was triggered before its collection began"));
                    }
                    _ => (),
                }
                state = state.evolve(record);
            }
        }
        Ok(())
    }

    /// I8, I32 and I35 for every message of a notice.
    fn messages(&mut self) -> Result<(), String> {
        let mut roots: BTreeMap<CommunicationId, Told<'_>> = BTreeMap::new();
        for (id, (state, _)) in &self.notices {
            let Some(notice) = &state.notice else { continue };
            let kept = notice.closed.as_ref().map(|closed| closed.kept.as_slice()).unwrap_or_default();
            roots.extend(notice.messages.iter().map(|message| (message.communication, Told { notice: id, kept })));
        }
        let mut claimed: BTreeMap<(String, Channel), CommunicationId> = BTreeMap::new();
        let mut figures = std::mem::take(&mut self.figures);
        let lines = |key: &CommunicationKey| self.state.history(&key.stream_id());
        let requests: BTreeMap<CommunicationId, CommunicationRequest> = self
            .state
            .communications()
            .map(|key| match events::decode(&lines(&key)[0]).expect("an event").event {
                CommunicationEvent::CommunicationRequested(request) => (key.id, *request),
                other => panic!("{} comes first", other.name()),
            })
            .collect();
        for key in self.state.communications() {
            let request = &requests[&key.id];
            let mut root = key.id;
            while let Some(before) = requests[&root].fallback_of {
                root = before;
            }
            let Some(told) = roots.get(&root) else {
                return Err(format!("I32: {} is of no notice", key.id));
            };
            figures.fallbacks += usize::from(root != key.id);
            let lines = lines(&key);
            let records: Vec<RecordedEvent> =
                lines.iter().map(|line| events::decode(line).expect("an event")).collect();
            for (version, record) in (1..).zip(&records) {
                let CommunicationEvent::DeliveryAttemptStarted { attempt, about, .. } = &record.event else { continue };
                figures.claims += 1;
                let place = self.appends[&key.stream_id()].iter().find(|(_, after)| version <= *after);
                let claim = Claim {
                    key: &key,
                    request,
                    told,
                    about: if about.is_empty() { &request.unless_settled } else { about },
                    attempt: AttemptId { communication: key.id, number: *attempt },
                    place: place.map_or(0, |(place, _)| *place),
                    at: record.meta.at,
                };
                let invoices = self.claim(&claim, &mut figures)?;
                for invoice in invoices {
                    let first =
                        claimed.entry((format!("{invoice:?} of {}", key.tenant), request.channel)).or_insert(key.id);
                    if *first != key.id {
                        return Err(format!("I8: {invoice:?} was told by {first} and by {}", key.id));
                    }
                }
            }
            let kept: Vec<&str> = told.kept.iter().map(|joined| joined.invoice.as_str()).collect();
            if request.kind != MessageType::CollectionNotice || request.unless_settled != kept {
                return Err(format!("I32: {} does not name the invoices of {}", key.id, told.notice));
            }
            let calls = self.state.calls.iter().filter(|call| call.attempt.communication == key.id);
            let sends: Vec<Sent> = calls.map(|call| Sent { at: call.at, taken: call.taken }).collect();
            let trace = CommunicationTrace { key: &key, lines: &lines, sends: &sends };
            tests::invariants::check(&trace, None, INVOCATION_MS)
                .map_err(|why| format!("{why}: {}\n{lines:#?}", key.id))?;
            let state = records.iter().fold(State::default(), |state, record| evolve(state, &record.event));
            let lifecycle = state.requested().map(|communication| communication.lifecycle.clone());
            figures.suppressed += usize::from(matches!(lifecycle, Ok(domain::communication::Lifecycle::Suppressed(_))));
        }
        self.figures = figures;
        Ok(())
    }

    /// I8 and I35 for one attempt. Returns the steps that it is for.
    fn claim<'b>(&self, claim: &Claim<'b>, figures: &mut Figures) -> Result<Vec<&'b NoticeInvoice>, String> {
        let Claim { key, request, told, about, place, at, .. } = claim;
        let tenant = &key.tenant;
        let kept = |id: &&str| told.kept.iter().find(|joined| joined.invoice == **id);
        let ids: Vec<&str> = match about.is_empty() {
            true => told.kept.iter().map(|joined| joined.invoice.as_str()).collect(),
            false => about.iter().map(String::as_str).collect(),
        };
        let debtor = self.debtor_at(request, tenant, *place);
        let settings = self.settings_near(tenant, *at);
        let fail = |name: &str, why: &str| {
            let debtor = (&debtor.hold, &debtor.time_zone);
            Err(format!("{name}: {why}: {} of {} at {at:?}, {debtor:?}, {settings:#?}", key.id, told.notice))
        };
        if !settings.iter().any(|settings| is_open(settings, &debtor, *at)) {
            return fail("I35", "claimed on a day or at a time without reminders");
        }
        let is_held = |hold: &Option<Hold>| {
            hold.as_ref().is_some_and(|hold| {
                let is_over = |settings: &CollectionsState| is_over(hold, settings, &debtor, *at);
                !settings.iter().any(is_over)
            })
        };
        if settings.iter().all(|settings| settings.enabled_from.is_none())
            || debtor.is_excluded
            || is_held(&debtor.hold)
        {
            return fail("I8", "claimed for a customer who is not reminded");
        }
        let states = ids.iter().map(|id| self.invoice_at(&StreamId::new(tenant, StreamKind::INVOICE, *id), *place));
        let states: Vec<InvoiceState> = states.collect();
        if let Some(state) = states.iter().find(|state| !state.is_collectible() || is_held(&state.hold)) {
            return fail("I8", &format!("claimed for an invoice that is not collected: {state:#?}"));
        }
        let text = self.state.calls.iter().find(|call| call.attempt == claim.attempt).map(|call| &call.text);
        if let Some(text) = text.map(|text| text.replace(',', "")) {
            let owed = |state: &InvoiceState| state.facts.amounts().map_or(0, |amounts| amounts.owed);
            let euros = |minor: i64| format!("€{}.{:02}", minor / 100, minor % 100);
            let sum = states.iter().map(owed).sum();
            let is_each_told = states.iter().all(|state| {
                let number = state.facts.terms().number.unwrap_or_default();
                text.contains(&number) && text.contains(&euros(owed(state)))
            });
            let is_sum = request.channel == Channel::Sms && request.unless_settled.len() > 1;
            if !(is_each_told || is_sum) || !text.contains(&euros(sum)) {
                return fail("I8", &format!("says other amounts than {states:#?}: {text}"));
            }
            figures.partly_paid += states.iter().filter(|state| state.facts.payments().count() > 0).count();
        }
        match ids.iter().map(kept).collect::<Option<Vec<_>>>() {
            Some(kept) => Ok(kept),
            None => fail("I32", "speaks of an invoice that is not in its notice"),
        }
    }

    /// I30, and I32 for every notice.
    fn notices(&mut self) -> Result<(), String> {
        let mut by_day: BTreeMap<String, usize> = BTreeMap::new();
        let mut figures = std::mem::take(&mut self.figures);
        for (id, (state, records)) in &self.notices {
            let Some(notice) = &state.notice else { continue };
            let closes = |record: &RecordedEvent<NoticeEvent>| matches!(record.event, NoticeEvent::NoticeClosed { .. });
            let joins = |record: &RecordedEvent<NoticeEvent>| matches!(record.event, NoticeEvent::NoticeJoined { .. });
            if records.iter().skip_while(|record| !closes(record)).any(joins) {
                return Err(format!("I31: a step joined {id} after it was closed"));
            }
            if !notice.is_done {
                return Err(format!("I31: {id} is not done: {notice:#?}"));
            }
            if notice.messages.is_empty() {
                continue;
            }
            let kept = notice.closed.as_ref().map(|closed| closed.kept.as_slice()).unwrap_or_default();
            figures.notices += 1;
            figures.several += usize::from(kept.len() > 1);
            let count = by_day.entry(format!("{} {:?} {:?} {}", id.tenant, notice.mode, notice.customer, notice.day));
            let count = count.or_default();
            *count += 1;
            let most = self.settings_ever(&id.tenant).iter().map(|settings| settings.settings().max_per_day).max();
            if usize::from(most.unwrap_or(1)) < *count {
                return Err(format!("I30: {count} notices to {:?} on {}", notice.customer, notice.day));
            }
            let told: Vec<CommunicationId> = notice.messages.iter().map(|message| message.communication).collect();
            for joined in kept {
                let key = StreamId::new(&id.tenant, StreamKind::INVOICE, &joined.invoice);
                let state = fold(InvoiceState::default(), &self.invoices[&key]);
                let step = state.steps.iter().find(|step| step.round == joined.round && step.step == joined.step);
                let is_issued = |outcome: &StepOutcome| {
                    matches!(outcome, StepOutcome::Issued { notice, communications }
                        if *notice == id.id && *communications == told)
                };
                if !step.is_some_and(|step| is_issued(&step.outcome)) {
                    return Err(format!("I32: {joined:?} is in the messages of {id}, but is {step:?}"));
                }
            }
        }
        self.figures = figures;
        Ok(())
    }

    fn settings_ever(&self, tenant: &TenantId) -> Vec<CollectionsState> {
        let id = application::invoices::settings_stream(tenant).stream_id();
        let mut state = CollectionsState::default();
        let mut states = vec![state.clone()];
        for record in records::<CollectionsEvent>(self.state, &id) {
            state = state.evolve(&record);
            states.push(state.clone());
        }
        states
    }

    /// I31, I32 and I35 for the steps of every invoice.
    fn steps(&mut self) -> Result<(), String> {
        let mut figures = std::mem::take(&mut self.figures);
        for (id, records) in &self.invoices {
            let state = fold(InvoiceState::default(), records);
            let fail = |name: &str, why: &str| Err(format!("{name}: {why}: {id}\n{records:#?}"));
            if state.triggered().is_some() {
                return fail("I31", "a triggered step did not end");
            }
            let wake = self.state.streams.get(id).and_then(|(Stream { wake, .. }, ..)| *wake);
            let is_overdue = wake.is_none_or(|wake| wake.0 < self.state.now - OVERDUE_MS);
            if state.collection.is_some() && state.is_collectible() && !state.is_held() && is_overdue {
                return fail("I31", "an invoice that is collected has no timer");
            }
            for step in &state.steps {
                match &step.outcome {
                    StepOutcome::Issued { notice, communications } => {
                        let notice = StreamId::new(&id.tenant, StreamKind::NOTICE, notice);
                        let told = self.notices.get(&notice).and_then(|(state, _)| state.notice.as_ref());
                        let kept = told.and_then(|notice| notice.closed.as_ref()).map(|closed| &closed.kept);
                        let is_kept = kept.is_some_and(|kept| kept.iter().any(|joined| joined.invoice == id.id));
                        let key = |id| CommunicationKey { tenant: notice.tenant.clone(), id };
                        let exists = |communication: &CommunicationId| {
                            self.state
                                .streams
                                .get(&key(*communication).stream_id())
                                .is_some_and(|found| found.0.version > 0)
                        };
                        if !is_kept || communications.is_empty() || !communications.iter().all(exists) {
                            return fail("I32", &format!("{} was issued without its messages", step.step));
                        }
                    }
                    StepOutcome::Skipped(reason) => *figures.skipped.entry(reason.as_str()).or_default() += 1,
                    StepOutcome::Triggered { .. } | StepOutcome::Postponed { .. } => (),
                }
            }
            for record in records {
                match &record.event {
                    InvoiceEvent::ReminderStepTriggered { day, step, .. } => {
                        let day = parse_day(day).expect("a day");
                        let settings = self.settings_near(&id.tenant, record.meta.at);
                        let is_allowed = |state: &CollectionsState| {
                            Calendar::new(&state.settings(), [None, None])
                                .and_then(|calendar| calendar.allowed_from(day))
                                == Some(day)
                        };
                        if !settings.iter().any(is_allowed) {
                            return fail("I35", &format!("{step} is planned for {day}, a day without reminders"));
                        }
                    }
                    InvoiceEvent::ReminderStepPostponed { .. } => figures.postponed += 1,
                    _ => (),
                }
            }
        }
        self.figures = figures;
        Ok(())
    }
}

/// One attempt, with the place of its claim in the order of all appends.
struct Claim<'a> {
    key: &'a CommunicationKey,
    request: &'a CommunicationRequest,
    told: &'a Told<'a>,
    about: &'a [String],
    attempt: AttemptId,
    place: usize,
    at: Timestamp,
}

/// What an invoice is if each of its facts arrives once and in order.
fn expected(invoice: &Invoice) -> InvoiceState {
    let meta = EventMetadata {
        at: Timestamp(0),
        command: String::new(),
        correlation: None,
        causation: None,
        actor: String::new(),
        traceparent: None,
    };
    let record = |event: &InvoiceEvent| RecordedEvent { version: 1, meta: meta.clone(), event: event.clone() };
    let records: Vec<_> = invoice.facts.iter().map(record).collect();
    fold(InvoiceState::default(), &records)
}

/// Whether a reminder can be claimed at a time, give or take an invocation.
fn is_open(state: &CollectionsState, debtor: &DebtorState, at: Timestamp) -> bool {
    let settings = state.settings();
    let Some(calendar) = Calendar::new(&settings, [debtor.time_zone.as_deref(), None]) else { return false };
    let is_open = |at: Timestamp| {
        let day = calendar.local(at)?.date();
        let is_allowed = calendar.allowed_from(day)? == day;
        Some(is_allowed && calendar.start_of(day)? <= at && at < calendar.end_of(day)?)
    };
    is_open(at) == Some(true) || is_open(at - INVOCATION_MS) == Some(true)
}

/// Whether a pause or a promise has ended at a time.
fn is_over(hold: &Hold, state: &CollectionsState, debtor: &DebtorState, at: Timestamp) -> bool {
    let settings = state.settings();
    let calendar = Calendar::new(&settings, [debtor.time_zone.as_deref(), None]);
    let today = calendar.and_then(|calendar| calendar.local(at)).map(|local| local.date());
    let through = hold.through().and_then(parse_day);
    today.zip(through).is_some_and(|(today, through)| through < today)
}
