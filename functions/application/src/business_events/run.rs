//! Handles one business event: carries out what its type asks for, and records the outcome.

use async_trait::async_trait;
use domain::aggregate::AggregateId;
use domain::business_event::{BusinessEventState, Command, HandleEvent};
use events::{ParkReason, StreamId, TenantId};
use futures_util::future::BoxFuture;

use super::stored;
use crate::app::App;
use crate::execute::{CommandContext, CommandExecutor, Loaded};
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

#[async_trait]
impl Perform<BusinessEventState> for EventRun<'_> {
    async fn perform(
        &self,
        _: &Loaded<BusinessEventState>,
        HandleEvent { event }: HandleEvent,
    ) -> Result<Option<Loaded<BusinessEventState>>, ProcessError> {
        let documents = &*self.app.tenant_ports.documents;
        let content = &event.received.classification.content;
        let command = match stored::get(documents, self.tenant, content, self.app.host.now()).await? {
            Some(_) => Command::Ignore,
            None => Command::Park { reason: ParkReason::Erased, faults: Vec::new() },
        };
        Ok(Some(self.executor.execute(self.key, command).await?))
    }
}
