//! The fallback: requests a new communication on the next channel.

use application::execute::history_of;
use application::process::{Perform, ProcessError};
use application::{CommandContext, CommandExecutor, Loaded, hint};
use async_trait::async_trait;
use domain::aggregate::Aggregate;
use domain::communication::{Command, RequestFallback, State};
use domain::ports::CommunicationKey;

use crate::DeliverHandler;

/// Carries out the fallback of one communication.
pub(crate) struct FallbackRun<'a> {
    pub deliver: &'a DeliverHandler,
    pub key: &'a CommunicationKey,
}

#[async_trait]
impl Perform<State> for FallbackRun<'_> {
    async fn perform(&self, loaded: &Loaded, effect: RequestFallback) -> Result<Option<Loaded>, ProcessError> {
        let FallbackRun { deliver, key } = self;
        let records = history_of(&*deliver.store, *key, loaded).await?;
        let request_meta = records.first().map(|record| &record.meta);
        let context = CommandContext {
            causation: Some(key.id.to_string()),
            correlation: request_meta.and_then(|meta| meta.correlation.clone()),
            traceparent: request_meta.and_then(|meta| meta.traceparent.clone()),
            ..CommandContext::function("deliver")
        };
        let executor = CommandExecutor { store: &*deliver.store, host: &*deliver.host, origin: &context };
        let next = CommunicationKey { id: effect.id, tenant: key.tenant.clone() };
        let after = executor.execute(&next, Command::Request(effect.request)).await?;
        hint::send(&*deliver.queue, &*deliver.host, &next, after.state.queue(), deliver.host.now()).await?;
        Ok(None)
    }
}
