//! Handles one business event: carries out what its type asks for, and records the outcome.

use async_trait::async_trait;
use domain::aggregate::{AggregateId, AggregateKey};
use domain::business_event::{BusinessEvent, BusinessEventState, Command, HandleEvent, Interpretation};
use domain::ports::QueueId;
use events::{ActOutcome, ParkReason, StreamId, TenantId, Timestamp};
use futures_util::future::BoxFuture;

use super::handling::{Handling, UNKNOWN_INVOICE};
use super::{report_parked, stored, understand};
use crate::app::App;
use crate::execute::{CommandContext, CommandExecutor, Loaded};
use crate::hint;
use crate::process::{self, Perform, ProcessError};

/// Handles one event, if it waits to be handled.
pub fn run<'a>(app: &'a App, id: &'a StreamId) -> BoxFuture<'a, Result<(), ProcessError>> {
    Box::pin(async move {
        let context = CommandContext::function("process");
        let executor = app.executor(&context);
        let key = AggregateId::<BusinessEventState>::new(&id.tenant, &id.id);
        process::run(&executor, &key, &EventRun { app, executor, key: &key, tenant: &id.tenant }).await
    })
}

struct EventRun<'a> {
    app: &'a App,
    executor: CommandExecutor<'a>,
    key: &'a AggregateId<BusinessEventState>,
    tenant: &'a TenantId,
}

/// A handler that fails in the same way each time is tried eight times in a day.
fn failed(event: &BusinessEvent, now: Timestamp) -> Command {
    let (reason, acts) = (ParkReason::HandlerFailed, event.acts.clone());
    match event.next_try(now) {
        Some(until) => Command::Defer { acts, until, reason: reason.as_str().to_owned() },
        None => Command::Park { reason, faults: Vec::new() },
    }
}

/// Whether the event came before the invoice that it is about.
fn lacks_invoice(acts: &[ActOutcome]) -> bool {
    acts.iter().any(|act| act.skipped.as_deref() == Some(UNKNOWN_INVOICE))
}

impl EventRun<'_> {
    /// The outcome of one try. `None` if another function must handle it.
    async fn outcome(&self, event: &BusinessEvent) -> Result<Option<Command>, ProcessError> {
        let (documents, now) = (&*self.app.tenant_ports.documents, self.app.host.now());
        let content = &event.received.classification.content;
        let Some(stored) = stored::get(documents, self.tenant, content, now).await? else {
            return Ok(Some(Command::Park { reason: ParkReason::Erased, faults: Vec::new() }));
        };
        let understood = understand(self.app, self.tenant, &event.received.source, &stored).await?;
        let park = |reason, faults| Ok(Some(Command::Park { reason, faults }));
        let namespace = understood.namespace.unwrap_or_else(|| event.received.source.clone());
        let data = match understood.interpreted.meaning {
            Interpretation::Known(data) => data,
            Interpretation::Unknown => return Ok(Some(Command::Ignore)),
            Interpretation::NewerVersion => return park(ParkReason::UnknownVersion, Vec::new()),
            Interpretation::Invalid(faults) => return park(ParkReason::Invalid, faults),
        };
        let stream = self.key.stream_id();
        let handling = Handling { app: self.app, tenant: self.tenant, id: &stream.id, event, namespace };
        match handling.perform(*data).await {
            Ok(None) => Ok(None),
            Ok(Some(acts)) if lacks_invoice(&acts) => Ok(Some(match event.next_try(now) {
                Some(until) => Command::Defer { acts, until, reason: UNKNOWN_INVOICE.to_owned() },
                None => Command::Park { reason: ParkReason::UnknownInvoice, faults: Vec::new() },
            })),
            Ok(Some(acts)) => Ok(Some(Command::Handle(acts))),
            Err(error) if error.is_permanent() => {
                tracing::error!(event = stream.id, %error, "a business event could not be handled");
                Ok(Some(failed(event, now)))
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Perform<BusinessEventState> for EventRun<'_> {
    async fn perform(
        &self,
        _: &Loaded<BusinessEventState>,
        HandleEvent { event }: HandleEvent,
    ) -> Result<Option<Loaded<BusinessEventState>>, ProcessError> {
        let Some(command) = self.outcome(&event).await? else {
            hint::try_send(&*self.app.queue, &*self.app.host, self.key, QueueId::Process, self.app.host.now()).await;
            return Ok(None);
        };
        let handled = self.executor.execute(self.key, command).await?;
        report_parked(&self.key.stream_id(), &handled);
        Ok(Some(handled))
    }
}
