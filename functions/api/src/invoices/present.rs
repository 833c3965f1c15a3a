//! Invoices as JSON.

use application::Loaded;
use application::invoices::ExplainedInvoice;
use domain::aggregate::AggregateKey;
use domain::collect::{ExplainedStep, Explanation, Inputs};
use domain::invoice::{Facts, InvoiceRow, InvoiceState, LastStep, Payment, SendingRequest, StepOutcome, StepRecord};
use events::Timestamp;
use serde_json::{Map, Value, json};

use super::link::present_newest;
use crate::business_events::act;
use crate::collections::present_hold;
use crate::fields::show_time;

fn last_step(last: &LastStep) -> Value {
    json!({ "step": last.step, "outcome": last.outcome, "reason": last.reason, "at": show_time(last.at) })
}

/// One row. `today` is the day in the tenant's zone.
pub(super) fn row(row: &InvoiceRow, today: &str) -> Value {
    let disagreement =
        row.disagreement.map(|(payments, balance)| json!({ "byPaymentsMinor": payments, "byBalanceMinor": balance }));
    json!({
        "id": row.id,
        "namespace": row.namespace,
        "sourceId": row.source_id,
        "number": row.number,
        "kind": row.kind,
        "customerType": row.customer.as_ref().map(|customer| customer.kind),
        "customerId": row.customer.as_ref().and_then(|customer| customer.id.as_ref()),
        "status": row.stage,
        "sourceStatus": row.status,
        "currency": row.currency,
        "totalMinor": row.total,
        "owedMinor": row.owed,
        "disagreement": disagreement,
        "issuedOn": row.issued_on,
        "dueOn": row.due_on,
        "overdue": row.is_overdue(today),
        "lastStep": row.last_step.as_ref().map(last_step),
        "firstSeenAt": show_time(row.first_seen_at),
        "updatedAt": show_time(row.updated_at),
    })
}

fn payment((id, payment): (&str, &Payment), failed_at: Option<Timestamp>) -> Value {
    json!({
        "id": id,
        "amountMinor": payment.amount,
        "currency": payment.currency,
        "receivedAt": show_time(payment.received_at),
        "failedAt": failed_at.map(show_time),
    })
}

/// The payments that failed, recorded or not.
fn failed_payments(facts: &Facts) -> Value {
    facts.failed_payments().map(|(id, at)| json!({ "id": id, "failedAt": show_time(at) })).collect()
}

/// A request to send the invoice whose document had to be printed first.
fn sending(request: &SendingRequest) -> Value {
    let acts = request.acts.iter().flatten().map(act).collect::<Vec<_>>();
    json!({
        "id": request.id,
        "status": if request.acts.is_some() { "done" } else { "requested" },
        "channel": request.channel,
        "requestedAt": show_time(request.at),
        "requestedBy": request.by,
        "acts": acts,
    })
}

fn step(record: &StepRecord) -> Value {
    let (outcome, reason) = record.outcome.name_and_reason();
    let (notice, communications, until) = match &record.outcome {
        StepOutcome::Triggered { notice, .. } => (Some(notice), &[][..], None),
        StepOutcome::Issued { notice, communications } => (Some(notice), communications.as_slice(), None),
        StepOutcome::Postponed { until, .. } => (None, &[][..], Some(until)),
        StepOutcome::Skipped(_) => (None, &[][..], None),
    };
    json!({
        "round": record.round,
        "step": record.step,
        "outcome": outcome,
        "reason": reason,
        "until": until,
        "notice": notice,
        "communicationIds": communications,
        "at": show_time(record.at),
    })
}

fn named(inputs: &Inputs) -> Map<String, Value> {
    inputs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

fn next(explanation: &Explanation) -> Value {
    json!({
        "code": explanation.code,
        "text": explanation.summary,
        "inputs": named(&explanation.inputs),
        "at": explanation.next_at.map(show_time),
    })
}

/// One invoice, with what is decided and what happens next.
pub(super) fn invoice(ExplainedInvoice { found, explanation, link, today }: &ExplainedInvoice) -> Option<Value> {
    let mut shown = decided(&found.key.stream_id().id, &found.loaded, today)?;
    shown["paymentLink"] = present_newest(link.as_ref());
    shown["next"] = next(explanation);
    Some(shown)
}

/// One invoice in the export of its customer: the facts, the reminders and the messages.
pub(crate) fn exported(id: &str, loaded: &Loaded<InvoiceState>) -> Option<Value> {
    let mut shown = decided(id, loaded, "")?;
    // Only the day of the export would decide it.
    shown.as_object_mut()?.remove("overdue");
    Some(shown)
}

/// One invoice, with what is decided.
fn decided(id: &str, loaded: &Loaded<InvoiceState>, today: &str) -> Option<Value> {
    let (state, records) = (&loaded.state, &loaded.records);
    let updated_at = records.last().map(|record| record.meta.at).or(state.first_seen_at)?;
    let folded = InvoiceRow::new(id, loaded.version, state, updated_at)?;
    let mut shown = row(&folded, today);
    let facts = &state.facts;
    shown["payments"] = facts.payments().map(|(id, paid)| payment((id, paid), facts.failed_at(id))).collect();
    shown["failedPayments"] = failed_payments(facts);
    shown["hold"] = present_hold(state.hold.as_ref());
    shown["collection"] = json!(
        state
            .collection
            .as_ref()
            .map(|start| { json!({ "from": start.from, "cause": start.cause, "at": show_time(start.at) }) })
    );
    shown["collectionEnd"] = json!(state.collection_end.filter(|_| state.collection.is_none()));
    shown["round"] = json!(state.round);
    shown["steps"] = state.steps.iter().map(step).collect();
    shown["sendings"] = state.sendings.iter().map(sending).collect();
    shown["sent"] = json!(state.sent.map(|(id, how)| json!({ "communicationId": id, "how": how })));
    Some(shown)
}

fn explained(step: &ExplainedStep) -> Value {
    json!({
        "step": step.step,
        "afterDays": step.after_days,
        "due": step.due,
        "dueAt": step.due_at.map(show_time),
        "verdict": step.verdict,
        "code": step.code,
        "text": step.text,
        "inputs": named(&step.inputs),
        "communicationIds": step.communications,
        "decidedAt": step.decided_at.map(show_time),
    })
}

pub(super) fn explanation(ExplainedInvoice { found, explanation, link, .. }: &ExplainedInvoice) -> Value {
    json!({
        "id": found.key.stream_id().id,
        "summary": explanation.summary,
        "code": explanation.code,
        "inputs": named(&explanation.inputs),
        "nextAt": explanation.next_at.map(show_time),
        "steps": explanation.steps.iter().map(explained).collect::<Vec<_>>(),
        "failedPayments": failed_payments(&found.loaded.state.facts),
        "paymentLink": present_newest(link.as_ref()),
    })
}
