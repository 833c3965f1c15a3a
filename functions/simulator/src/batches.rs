//! Reports that travel together in one callback.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::context::SimulationContext;
use crate::message::RegisteredConfig;
use crate::provider::ProviderSimulation;

/// Reports that come within this time of each other travel in one callback.
const BATCH_WINDOW: Duration = Duration::from_millis(30);
/// The most reports that one callback carries.
const MAX_BATCH: usize = 200;

/// A report that waits to travel with others.
pub struct BatchedReport {
    pub provider: &'static dyn ProviderSimulation,
    pub account: Arc<RegisteredConfig>,
    pub report: Value,
}

/// Sends batched reports, one callback for each account, until the sender is dropped.
pub async fn run_batches(context: Arc<SimulationContext>, mut reports: UnboundedReceiver<BatchedReport>) {
    let mut batch = Vec::new();
    while reports.recv_many(&mut batch, MAX_BATCH).await > 0 {
        tokio::time::sleep(BATCH_WINDOW).await;
        while batch.len() < MAX_BATCH
            && let Ok(report) = reports.try_recv()
        {
            batch.push(report);
        }
        while let Some(BatchedReport { provider, account, .. }) = batch.first() {
            let (provider, account) = (*provider, account.clone());
            let (of_account, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|other| other.account == account);
            batch = others;
            let reports = of_account.into_iter().map(|batched| batched.report).collect();
            context.post(provider.batch(&context, &account, reports)).await;
        }
    }
}
