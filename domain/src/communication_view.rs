//! The view of communications: one row each, projected from the stream, for lists and details.

mod row;

use std::collections::BTreeMap;

use events::{
    Channel, CommunicationEvent, CommunicationId, CommunicationRequest, MessageType, Mode, RecipientType,
    RecordedEvent, ReportedStatus, StreamId, Target, Timestamp,
};
use serde::Serialize;

use crate::communication::{Communication, FallbackState, Lifecycle, State, evolve};
use crate::data_subject;
use crate::ports::{CommunicationKey, RowIndex, RowRange, ViewRow, time_prefix};
use crate::projection::Projection;
use crate::stats::{Counters, bucket};
use crate::status::status;

pub use row::CommunicationRow;

/// Everywhere that a communication may go, with its fallback steps.
pub fn targets(request: &CommunicationRequest) -> Vec<Target> {
    let steps = request.fallback.iter().flat_map(|fallback| &fallback.steps);
    let steps = steps.map(|step| Target { channel: step.channel, contact_hash: step.contact_hash.clone() });
    let first = Target { channel: request.channel, contact_hash: request.contact_hash.clone() };
    [first].into_iter().chain(steps).collect()
}

impl Projection for State {
    type Row = CommunicationRow;

    fn project(id: &StreamId, records: &[RecordedEvent]) -> Option<(Mode, CommunicationRow)> {
        let key = CommunicationKey::from_stream(id)?;
        let CommunicationEvent::CommunicationRequested(request) = &records.first()?.event else { return None };
        Some((request.mode, project(key.id, records)?))
    }
}

/// The value of the index of dead letters, which is the same for all of them.
const DEAD_LETTER: &str = "dead";

/// The value of [`RowIndex::Due`] for messages that wait for a time.
const AHEAD: &str = "ahead";

/// The messages that become due in a time, ordered by it.
pub fn due_between(from: Timestamp, before: Timestamp) -> RowRange {
    RowRange { index: Some((RowIndex::Due, AHEAD.to_owned())), from: time_prefix(from), before: time_prefix(before) }
}

/// The time in the key of a row of [`due_between`].
pub fn due_of(due_key: &str) -> Option<Timestamp> {
    Some(Timestamp(due_key.split_once('#')?.0.parse().ok()?))
}

impl ViewRow for CommunicationRow {
    const VIEW: &'static str = "com";

    fn key(&self) -> String {
        format!("{}#{}", time_prefix(self.created_at), self.id)
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        let dead_letter = self.dead_letter_outcome.as_ref().map(|_| DEAD_LETTER.to_owned());
        [
            (RowIndex::Recipient, self.recipient_id.as_ref().map(|id| recipient_index_key(self.recipient_type, id))),
            (RowIndex::Entity, entity_index_key(&self.entity_type, &self.entity_id)),
            (RowIndex::DeadLetters, dead_letter),
            (RowIndex::ProviderMessage, self.provider_message_id.clone()),
            (RowIndex::Due, self.due().map(|_| AHEAD.to_owned())),
        ]
        .into_iter()
        .filter_map(|(index, value)| Some((index, value?)))
        .collect()
    }

    /// When it is sent, if that lies ahead. A message that is sent at once is never in this index, so it costs nothing.
    fn due(&self) -> Option<String> {
        let at = match self.lifecycle.as_str() {
            "scheduled" => self.scheduled_at,
            "retry_wait" => self.next_retry_at,
            _ => None,
        };
        at.map(time_prefix)
    }

    fn counters(&self) -> Counters {
        contribution(self)
    }
}

/// The contribution of `row` to the counters. Projecting a row again adds only the difference, so replays change
/// nothing.
fn contribution(row: &CommunicationRow) -> Counters {
    let mut counters = Counters::new();
    let mut add = |name: String, amount: i64| *counters.entry(name).or_insert(0) += amount;
    add("total".to_owned(), 1);
    add(format!("channel.{}", row.channel.as_str()), 1);
    add(format!("type.{}", row.kind.as_str()), 1);
    add(format!("status.{}", row.status), 1);
    add(format!("lifecycle.{}", row.lifecycle), 1);
    row.provider.iter().for_each(|provider| add(format!("provider.{provider}"), 1));
    row.template_id.iter().for_each(|template| add(format!("template.{template}"), 1));
    if let Some(sent_at) = row.sent_at {
        let due = row.scheduled_at.unwrap_or(row.created_at).max(row.created_at);
        let elapsed_ms = sent_at.millis_since(due).max(0);
        add("sent".to_owned(), 1);
        add("accept_to_sent_ms".to_owned(), elapsed_ms);
        add(format!("accept_to_sent.{}", bucket(elapsed_ms)), 1);
        if let Some(delivered_at) = row.delivered_at {
            let elapsed_ms = delivered_at.millis_since(sent_at).max(0);
            add("sent_to_delivered".to_owned(), 1);
            add("sent_to_delivered_ms".to_owned(), elapsed_ms);
            add(format!("sent_to_delivered.{}", bucket(elapsed_ms)), 1);
        }
    }
    if let (Some(micros), Some(currency)) = (row.cost_micros, &row.currency) {
        add(format!("cost.total.{currency}"), micros);
        add(format!("cost.channel.{}.{currency}", row.channel.as_str()), micros);
        add(format!("cost.type.{}.{currency}", row.kind.as_str()), micros);
        row.provider.iter().for_each(|provider| add(format!("cost.provider.{provider}.{currency}"), micros));
        if row.cost_is_estimate {
            add(format!("cost.estimated.{currency}"), micros);
        }
    }
    if let Some(reason) = row.reason.as_deref().filter(|_| row.failed_at.is_some()).map(counted_reason) {
        add(format!("reason.total.{reason}"), 1);
        add(format!("reason.channel.{}.{reason}", row.channel.as_str()), 1);
        row.provider.iter().for_each(|provider| add(format!("reason.provider.{provider}.{reason}"), 1));
    }
    let mut flag = |name: &str, is: bool| {
        if is {
            add(name.to_owned(), 1);
        }
    };
    flag("delivered", row.delivered_at.is_some());
    flag("opened", row.opened_at.is_some());
    flag("clicked", row.clicked_at.is_some());
    flag("complained", row.complained);
    flag("unsubscribed", row.unsubscribed);
    flag("late_evidence", row.late_evidence);
    let retries = i64::from(row.attempts.saturating_sub(1));
    flag("retried", retries > 0);
    if retries > 0 {
        add("retries".to_owned(), retries);
    }
    counters
}

/// The key of the index by recipient. Recipients of different types can have the same id.
fn recipient_index_key(kind: RecipientType, id: &str) -> String {
    format!("{}#{id}", kind.as_str())
}

/// The key of the index by entity. Returns `None` unless both parts are known.
fn entity_index_key(kind: &Option<String>, id: &Option<String>) -> Option<String> {
    kind.as_ref().zip(id.as_ref()).map(|(kind, id)| format!("{kind}#{id}"))
}

/// Which communications to list. `None` means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ListFilter {
    pub channel: Option<Channel>,
    /// One of these. Empty means any.
    pub statuses: Vec<String>,
    pub kind: Option<MessageType>,
    pub recipient_type: Option<RecipientType>,
    pub recipient_id: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub provider: Option<String>,
    pub provider_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// The reason, or a part of it: see [`has_reason`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only dead letters, which can be retried.
    pub dead_letters_only: bool,
    /// The reason why it became a dead letter.
    pub dead_letter_reason: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl ListFilter {
    /// The rows that have to be examined. No row is in two of the ranges.
    pub fn ranges(&self) -> Vec<RowRange> {
        let of_type = |kind: &RecipientType, id: &str| (RowIndex::Recipient, recipient_index_key(*kind, id));
        let entity = entity_index_key(&self.entity_type, &self.entity_id);
        let indexes: Vec<(RowIndex, String)> = match (&self.recipient_id, &self.recipient_type, entity) {
            _ if self.dead_letters_only => vec![(RowIndex::DeadLetters, DEAD_LETTER.to_owned())],
            _ if self.provider_message_id.is_some() => {
                self.provider_message_id.iter().map(|id| (RowIndex::ProviderMessage, id.clone())).collect()
            }
            (Some(id), Some(kind), _) => vec![of_type(kind, id)],
            (Some(id), None, _) => RecipientType::ALL.iter().map(|kind| of_type(kind, id)).collect(),
            (None, _, Some(entity)) => vec![(RowIndex::Entity, entity)],
            (None, _, None) => Vec::new(),
        };
        let range = |index| RowRange {
            index,
            from: self.from.map_or_else(|| "0".to_owned(), time_prefix),
            // Keys consist of digits, `#`, lower-case letters and `_`, so `~` sorts after all of them.
            before: self.to.map_or_else(|| "~".to_owned(), time_prefix),
        };
        if indexes.is_empty() {
            return vec![range(None)];
        }
        indexes.into_iter().map(|index| range(Some(index))).collect()
    }

    pub fn matches(&self, row: &CommunicationRow) -> bool {
        let maybe = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        self.channel.is_none_or(|channel| channel == row.channel)
            && self.kind.is_none_or(|kind| kind == row.kind)
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.recipient_type.is_none_or(|kind| kind == row.recipient_type)
            && maybe(&self.recipient_id, &row.recipient_id)
            && maybe(&self.entity_type, &row.entity_type)
            && maybe(&self.entity_id, &row.entity_id)
            && maybe(&self.provider, &row.provider)
            && maybe(&self.provider_message_id, &row.provider_message_id)
            && maybe(&self.template_id, &row.template_id)
            && self.lifecycle.as_ref().is_none_or(|lifecycle| *lifecycle == row.lifecycle)
            && self.reason.as_ref().is_none_or(|wanted| has_reason(row.reason.as_deref().unwrap_or_default(), wanted))
            && (!self.dead_letters_only || row.dead_letter_outcome.is_some())
            && maybe(&self.dead_letter_reason, &row.dead_letter_outcome)
            && self.from.is_none_or(|from| from <= row.created_at)
            && self.to.is_none_or(|to| row.created_at < to)
    }
}

/// Whether a reason such as `retries_exhausted (unavailable:503)` is the wanted one. That may be the whole, either of its
/// parts, or the class of a part: `retries_exhausted`, `unavailable:503` and `unavailable` are all wanted here.
fn has_reason(reason: &str, wanted: &str) -> bool {
    let (outer, inner) = reason.split_once(" (").unwrap_or((reason, ""));
    let inner = inner.trim_end_matches(')');
    let class = |part: &str| part.split_once(':').is_some_and(|(class, _)| class == wanted);
    !wanted.is_empty() && (wanted == reason || [outer, inner].into_iter().any(|part| part == wanted || class(part)))
}

/// Projects a whole stream into its row. Returns `None` if the stream does not begin with a request.
pub fn project(id: CommunicationId, records: &[RecordedEvent]) -> Option<CommunicationRow> {
    let state = records.iter().fold(State::default(), |state, r| evolve(state, &r.event));
    let State::Requested(communication) = state else { return None };
    let first = records.first()?;
    let mut row = state_row(id, &communication);
    row.position = records.len() as u64;
    row.created_at = first.meta.at;
    row.updated_at = records.last()?.meta.at;
    for record in records {
        apply_event(&mut row, record);
    }
    Some(row)
}

fn state_row(id: CommunicationId, c: &Communication) -> CommunicationRow {
    let request = &c.request;
    let at = |status| c.evidence.get(&status).map(|evidence| evidence.at);
    let opened_at = [at(ReportedStatus::Opened), at(ReportedStatus::Read)].into_iter().flatten().min();
    let name = |name: &str| name.to_owned();
    CommunicationRow {
        id,
        position: 0,
        channel: request.channel,
        targets: targets(request),
        kind: request.kind,
        status: name(status(c).as_str()),
        lifecycle: name(match c.due_at {
            Some(_) if c.lifecycle.as_str() == "queued" => "scheduled",
            _ => c.lifecycle.as_str(),
        }),
        priority: request.priority,
        source: request.source,
        mode: request.mode,
        recipient_type: request.recipient.kind,
        recipient_id: request.recipient.id.clone(),
        entity_type: request.entity.as_ref().map(|entity| entity.kind.clone()),
        entity_id: request.entity.as_ref().and_then(|entity| entity.id.clone()),
        template_id: request.template.as_ref().map(|template| template.id.clone()),
        resend_of: request.resend_of,
        fallback_of: request.fallback_of,
        fell_back_to: match c.fallback_state {
            FallbackState::Requested(next) => Some(next),
            FallbackState::NotTriggered | FallbackState::Triggered(_) | FallbackState::Abandoned(_) => None,
        },
        created_by: request.requested_by.clone(),
        subject: data_subject::of_request(request),
        content: c.content_id.clone(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        scheduled_at: c.due_at,
        expires_at: c.expires_at,
        next_retry_at: match c.lifecycle {
            Lifecycle::RetryWait { until } => until.at(),
            _ => None,
        },
        sent_at: None,
        // An opened message was delivered, whether or not a provider reported that.
        delivered_at: at(ReportedStatus::Delivered).or(opened_at).or(at(ReportedStatus::Clicked)),
        opened_at,
        clicked_at: at(ReportedStatus::Clicked),
        failed_at: [at(ReportedStatus::Undelivered), at(ReportedStatus::Bounced), at(ReportedStatus::Dropped)]
            .into_iter()
            .flatten()
            .min(),
        provider: c.provider.clone(),
        provider_message_id: c.provider_message_id.clone(),
        attempts: c.attempts,
        max_attempts: Some(request.max_attempts),
        dead_letter_outcome: dead_letter_outcome(c).map(name),
        reason: None,
        segments: None,
        cost_micros: None,
        currency: None,
        cost_is_estimate: false,
        maybe_sent: c.maybe_sent,
        late_evidence: c.late_evidence,
        complained: c.evidence.contains_key(&ReportedStatus::Complained),
        unsubscribed: c.evidence.contains_key(&ReportedStatus::Unsubscribed),
    }
}

fn dead_letter_outcome(c: &Communication) -> Option<&'static str> {
    match c.lifecycle {
        Lifecycle::DeadLettered(reason) => Some(reason.as_str()),
        Lifecycle::Failed(reason) if c.is_dead_letter() => Some(reason.as_str()),
        _ => None,
    }
}

/// Adds the cost of an attempt. The cost of a second one in another currency replaces the first.
fn add_cost(row: &mut CommunicationRow, micros: i64, currency: &str, is_estimate: bool) {
    let earlier = row.cost_micros.filter(|_| row.currency.as_deref() == Some(currency));
    row.cost_is_estimate = is_estimate || (earlier.is_some() && row.cost_is_estimate);
    row.cost_micros = Some(earlier.unwrap_or(0).saturating_add(micros));
    row.currency = Some(currency.to_owned());
}

/// The reason of a failure as statistics count it: its class, and its code if that is a number. Other codes are left
/// out, because there may be any number of them.
pub fn counted_reason(reason: &str) -> String {
    let main = reason.split(' ').next().unwrap_or_default();
    // A dead letter has the reason of its last attempt in brackets.
    let main = reason.split_once('(').map_or(main, |(_, last)| last.trim_end_matches(')'));
    let (class, code) = main.split_once(':').unwrap_or((main, ""));
    let is_number = (1..=6).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
    if is_number { format!("{class}:{code}") } else { class.to_owned() }
}

/// Adds data that the state does not contain: the times of our own events, and reasons.
fn apply_event(row: &mut CommunicationRow, record: &RecordedEvent) {
    let at = record.meta.at;
    match &record.event {
        CommunicationEvent::DeliveryAttemptAccepted { segments, cost_micros, currency, cost_is_estimate, .. } => {
            if let (Some(micros), Some(currency)) = (cost_micros, currency) {
                add_cost(row, *micros, currency, *cost_is_estimate);
            }
            row.sent_at.get_or_insert(at);
            row.segments = *segments;
            row.reason = None;
        }
        CommunicationEvent::DeliveryAttemptResolved { outcome: events::Resolution::Accepted, .. } => {
            row.sent_at.get_or_insert(at);
            row.reason = None;
        }
        CommunicationEvent::DeliveryAttemptRefused { class, code, .. } => {
            row.reason = Some(format!("{}:{code}", class.as_str()));
        }
        CommunicationEvent::DeliveryAttemptInDoubt { cause, .. } => {
            row.reason = Some(format!("in_doubt:{}", cause.as_str()));
        }
        CommunicationEvent::DeliveryReported { fact, code, .. } => match fact {
            ReportedStatus::Undelivered | ReportedStatus::Bounced | ReportedStatus::Dropped => {
                row.reason = Some(match code.as_deref().filter(|code| !code.is_empty()) {
                    Some(code) => format!("{}:{code}", fact.as_str()),
                    None => fact.as_str().to_owned(),
                });
            }
            _ => (),
        },
        CommunicationEvent::CommunicationSuppressed { reason } => {
            row.reason = Some(format!("suppressed:{}", reason.as_str()));
        }
        CommunicationEvent::CommunicationFailed { reason, .. } => {
            row.failed_at.get_or_insert(at);
            let detail = row.reason.take().map_or(String::new(), |why| format!(" ({why})"));
            row.reason = Some(format!("{}{detail}", reason.as_str()));
        }
        CommunicationEvent::CommunicationDeadLettered { reason, .. } => {
            row.failed_at.get_or_insert(at);
            let detail = row.reason.take().map_or(String::new(), |why| format!(" ({why})"));
            row.reason = Some(format!("{}{detail}", reason.as_str()));
        }
        CommunicationEvent::CommunicationCancelled { reason, .. } => {
            row.reason = Some(format!("cancelled:{}", reason.as_str()));
        }
        CommunicationEvent::RetryRequested { .. } => {
            row.failed_at = None;
            row.reason = None;
        }
        CommunicationEvent::CommunicationRequested(_)
        | CommunicationEvent::CommunicationRescheduled { .. }
        | CommunicationEvent::CommunicationContentChanged { .. }
        | CommunicationEvent::CommunicationDeferred { .. }
        | CommunicationEvent::DeliveryAttemptStarted { .. }
        | CommunicationEvent::DeliveryAttemptResolved { .. }
        | CommunicationEvent::CancellationRequested { .. }
        | CommunicationEvent::CommunicationErased { .. }
        | CommunicationEvent::FallbackTriggered { .. }
        | CommunicationEvent::FallbackRequested { .. }
        | CommunicationEvent::FallbackAbandoned { .. } => (),
    }
}

#[cfg(test)]
mod tests;
