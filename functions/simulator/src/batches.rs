//! Sends several reports of one account in one callback.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::context::SimulationContext;
use crate::message::RegisteredConfig;
use crate::provider::ProviderSimulation;

/// How long reports are collected for one callback.
const BATCH_WINDOW: Duration = Duration::from_millis(30);
/// Maximum number of reports in one callback.
const MAX_BATCH: usize = 200;

/// A report that waits for the next batch of its account.
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
            let (same_account, others): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|other| other.account == account);
            batch = others;
            let reports = same_account.into_iter().map(|batched| batched.report).collect();
            context.post(provider.batch(&context, &account, reports)).await;
        }
    }
}
