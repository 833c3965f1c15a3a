//! Carries out the requests of people to send an invoice whose document must be printed first.

use domain::invoice::{Command, SendingRequest, printed_upload};
use events::{ActOutcome, MessageType, StreamId};
use futures_util::future::BoxFuture;

use super::handling::skipped;
use super::send_invoice::{SendInvoiceError, carry_out};
use crate::app::App;
use crate::attachments;
use crate::execute::{self, CommandContext};
use crate::invoices::{self, FoundInvoice, InvoiceError};
use crate::process::ProcessError;

/// A request that could not be carried out for so long ends, in milliseconds.
const MAX_WAIT_MS: i64 = 24 * 3_600_000;

/// Carries out the requests of an invoice that wait.
pub fn run_sendings<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let key = invoices::stream(&id.tenant, &id.id);
        let mut loaded = execute::load(&*app.store, &key).await?;
        loop {
            let Some(waiting) = loaded.state.sendings.waiting().next().cloned() else { return Ok(()) };
            let Some(reference) = loaded.state.reference.clone() else { return Ok(()) };
            let found = FoundInvoice { key: key.clone(), reference, loaded };
            let is_last = MAX_WAIT_MS < app.host.now().millis_since(waiting.at);
            let acts = ended(carry_out(app, &found, &waiting).await, &waiting, is_last)?;
            if acts.iter().all(|act| act.reference.is_none()) {
                // An earlier try may have printed it.
                attachments::erase(app, &id.tenant, &printed_upload(&id.tenant, &waiting.id)).await?;
            }
            let end = Command::EndSending { request: waiting.id.clone(), acts };
            loaded = invoices::execute(app, &context, &key, end).await?;
        }
    })
}

/// What became of a request.
///
/// # Errors
///
/// [`ProcessError`]: it is tried again.
fn ended(
    result: Result<Vec<ActOutcome>, SendInvoiceError>,
    waiting: &SendingRequest,
    is_last: bool,
) -> Result<Vec<ActOutcome>, ProcessError> {
    let none = |reason: &str| vec![skipped(MessageType::Invoice.as_str(), None, waiting.channel, reason.to_owned())];
    let error = match result {
        Ok(acts) => return Ok(acts),
        Err(SendInvoiceError::Refused(reason)) => return Ok(none(&reason)),
        Err(SendInvoiceError::Process(error)) => error,
        Err(SendInvoiceError::Invoice(InvoiceError::Store(error))) => error.into(),
        Err(SendInvoiceError::Invoice(InvoiceError::Execute(error))) => error.into(),
        Err(SendInvoiceError::Invoice(_) | SendInvoiceError::KeyReused) => return Ok(none("refused")),
    };
    if error.is_permanent() || is_last {
        tracing::error!(request = waiting.id, %error, "an invoice that a person asked for was not sent");
        return Ok(none("handler_failed"));
    }
    Err(error)
}
