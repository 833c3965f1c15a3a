//! Reminders that wait when their invoice is settled. Their claim would be refused anyway; they are cancelled so that
//! people see it at once.

use domain::aggregate::AggregateId;
use domain::communication::{Command, Lifecycle, Rejection};
use domain::invoice::{InvoiceState, StepOutcome};
use domain::ports::{CommunicationKey, StoreError};
use events::{CancelReason, CommunicationId, TenantId};

use crate::app::App;
use crate::execute::{self as streams, CommandContext, ExecuteError};

/// Cancels the reminders of a settled invoice that were not sent, and the channels that would follow those that were.
/// Best effort: a reminder that is not cancelled is not claimed.
pub(super) async fn cancel_reminders(app: &App, context: &CommandContext, tenant: &TenantId, state: &InvoiceState) {
    if !is_settled(state) {
        return;
    }
    let issued = state.steps.iter().map(|record| match &record.outcome {
        StepOutcome::Issued { communications, .. } => communications.as_slice(),
        StepOutcome::Triggered { .. } | StepOutcome::Skipped(_) | StepOutcome::Postponed { .. } => &[],
    });
    let issued: Vec<CommunicationId> = issued.flatten().copied().collect();
    for id in issued {
        if let Err(error) = cancel(app, context, tenant, id).await {
            tracing::warn!(%id, %error, "a reminder of a settled invoice was not cancelled");
        }
    }
}

fn is_settled(state: &InvoiceState) -> bool {
    state.facts.amounts().is_some_and(|amounts| amounts.owed == 0)
}

async fn cancel(
    app: &App,
    context: &CommandContext,
    tenant: &TenantId,
    id: CommunicationId,
) -> Result<(), ExecuteError<Rejection>> {
    let key = CommunicationKey { tenant: tenant.clone(), id };
    let executor = app.executor(context);
    let loaded = executor.load(&key).await?;
    let Ok(communication) = loaded.state.requested() else { return Ok(()) };
    let is_waiting = matches!(communication.lifecycle, Lifecycle::Pending | Lifecycle::RetryWait { .. })
        || communication.fallback_due_at().is_some();
    if !is_waiting || !are_settled(app, tenant, &communication.request.unless_settled).await? {
        return Ok(());
    }
    let command = Command::Cancel { by: "SYSTEM_collections".to_owned(), reason: CancelReason::Settled };
    match executor.execute_loaded(&key, loaded, command).await {
        Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether nothing is owed on any of the invoices that a message speaks of.
async fn are_settled(app: &App, tenant: &TenantId, invoices: &[String]) -> Result<bool, StoreError> {
    for invoice in invoices {
        if !is_settled(&streams::load(&*app.store, &AggregateId::<InvoiceState>::new(tenant, invoice)).await?.state) {
            return Ok(false);
        }
    }
    Ok(true)
}
