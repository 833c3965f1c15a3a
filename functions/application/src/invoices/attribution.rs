//! Which notice a payment followed, decided once when the payment is recorded.

use domain::communication_view::{self, CommunicationRow};
use domain::invoice::{Command, InvoiceState, StepOutcome};
use domain::ports::{CommunicationKey, StoreError};
use events::{CommunicationId, InvoiceEvent, TenantId, Timestamp};

use crate::app::App;
use crate::execute::history;

const DAY_MS: i64 = 86_400_000;

/// The ids of the payments among some facts.
pub(super) fn payments_of(facts: &[InvoiceEvent]) -> Vec<String> {
    let payment = |fact: &InvoiceEvent| match fact {
        InvoiceEvent::PaymentRecorded { payment, .. } => Some(payment.clone()),
        _ => None,
    };
    facts.iter().filter_map(payment).collect()
}

/// A notice that a provider accepted.
struct Notice {
    communication: CommunicationId,
    step: String,
    sent_at: Timestamp,
    cost_micros: Option<i64>,
}

/// Whether a payment may have followed a notice, and nobody has looked yet.
pub(super) fn is_open(state: &InvoiceState, payment: &str) -> bool {
    let has_notice = state.steps.iter().any(|record| matches!(record.outcome, StepOutcome::Issued { .. }));
    has_notice && !state.attributed.contains_key(payment)
}

/// Attributes a payment to the latest notice before it that a provider accepted, if that is at most so many days ago.
pub(super) async fn decide(
    app: &App,
    tenant: &TenantId,
    payment: String,
    state: &InvoiceState,
    days: u8,
) -> Result<Option<Command>, StoreError> {
    let found = state.facts.payments().find(|(id, _)| *id == payment);
    let Some(received_at) = found.map(|(_, found)| found.received_at) else { return Ok(None) };
    let Some(notice) = latest_notice(app, tenant, state, received_at).await? else { return Ok(None) };
    let after_ms = received_at.millis_since(notice.sent_at);
    Ok((after_ms <= i64::from(days) * DAY_MS).then_some(Command::Attribute {
        payment,
        communication: notice.communication,
        step: notice.step,
        after_ms,
        cost_micros: notice.cost_micros,
    }))
}

/// The notice that a provider accepted last before a time.
async fn latest_notice(
    app: &App,
    tenant: &TenantId,
    state: &InvoiceState,
    before: Timestamp,
) -> Result<Option<Notice>, StoreError> {
    let mut latest: Option<Notice> = None;
    for record in state.steps.iter().filter(|record| record.at <= before) {
        let StepOutcome::Issued { communications, .. } = &record.outcome else { continue };
        for id in communications {
            let Some(row) = row_of(app, tenant, *id).await? else { continue };
            let Some(sent_at) = row.sent_at.filter(|sent_at| *sent_at <= before) else { continue };
            if latest.as_ref().is_none_or(|latest| latest.sent_at <= sent_at) {
                let (step, cost_micros) = (record.step.clone(), row.cost_micros);
                latest = Some(Notice { communication: *id, step, sent_at, cost_micros });
            }
        }
    }
    Ok(latest)
}

async fn row_of(app: &App, tenant: &TenantId, id: CommunicationId) -> Result<Option<CommunicationRow>, StoreError> {
    let key = CommunicationKey { tenant: tenant.clone(), id };
    Ok(communication_view::project(id, &history(&*app.store, &key).await?))
}
