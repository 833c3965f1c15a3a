//! The loops that replace SQS, the change stream of DynamoDB and the schedules of EventBridge.

use std::sync::Arc;
use std::time::Duration;

use application::StreamImage;
use application::hint::QueueMessage;
use dead_letter::DeadLetterHandler;
use deliver::DeliverHandler;
use domain::ports::ClockAndRng;
use events::Channel;
use infra::SystemClockAndRng;
use infra::embedded::{Database, DueRetry, MemoryWorkQueue, QueueConsumer, ReceivedHint, SqliteUnmatchedQueue};
use process::Process;
use project::ProjectHandler;
use schedule::SweepHandler;
use simulator::SimulationClock;
use tokio::sync::watch;
use webhook::WebhookHandler;

use crate::clock::{Clock, WALL_CLOCK};

/// How long one delivery may run, in milliseconds, like the function's timeout in `template.yaml`.
pub const INVOCATION_MS: i64 = 30_000;
/// Number of delivery workers for each channel.
pub const WORKERS_PER_CHANNEL: usize = 16;
const SWEEP_INTERVAL_MS: i64 = 60_000;
/// Maximum number of changes that are projected together.
const MAX_CHANGES: usize = 500;
/// How long the projection waits after a change, because changes of one communication come in bursts. They are then
/// projected in one write.
const SETTLE_TIME: Duration = Duration::from_millis(20);
/// The same while many streams change.
const BUSY_SETTLE_TIME: Duration = Duration::from_millis(100);
/// The number of changes from which on it is that.
const BUSY_CHANGES: usize = 20;

/// Does what SQS and Lambda do for one delivery worker: receives hints, delivers them, and acknowledges what succeeded.
/// Begins once the work of the earlier process is resumed, because until then an open attempt cannot be told from one of
/// this process.
pub async fn run_delivery_worker(
    channel: Channel,
    queue: Arc<MemoryWorkQueue>,
    deliver: DeliverHandler,
    clock: Arc<Clock>,
    mut resumed: watch::Receiver<bool>,
) {
    if resumed.wait_for(|resumed| *resumed).await.is_err() {
        return;
    }
    loop {
        let received = queue.receive(QueueConsumer::Delivery(channel)).await;
        let deadline = clock.now() + clock.scaled(INVOCATION_MS);
        let failed = deliver::handle_batch(&deliver, messages(&received), deadline).await;
        acknowledge(&queue, &received, &failed);
    }
}

/// Does the same for hints of processes, which make other streams act.
pub async fn run_process_worker(queue: Arc<MemoryWorkQueue>, process: Process) {
    loop {
        let received = queue.receive(QueueConsumer::Process).await;
        let failed = process.batch(messages(&received)).await;
        acknowledge(&queue, &received, &failed);
    }
}

fn messages(received: &[ReceivedHint]) -> Vec<QueueMessage> {
    received.iter().map(|received| QueueMessage { id: received.id.to_string(), body: received.hint.body() }).collect()
}

fn acknowledge(queue: &MemoryWorkQueue, received: &[ReceivedHint], failed: &[String]) {
    for received in received.iter().filter(|received| !failed.contains(&received.id.to_string())) {
        queue.acknowledge(received);
    }
}

/// Passes hints that failed too often to the dead-letter handler.
pub async fn run_dead_letters(queue: Arc<MemoryWorkQueue>, dead_letter: DeadLetterHandler) {
    loop {
        for hint in queue.receive_dead_letters().await {
            if let Err(error) = dead_letter.record(&hint.stream).await {
                tracing::error!(%error, "a dead letter was not recorded; the stream's timer sends a new hint");
            }
        }
    }
}

/// Does what the change stream of DynamoDB does: passes every change to the projection in order, and stores a cursor.
pub async fn run_projection(database: Database, project: ProjectHandler) {
    const CONSUMER: &str = "project";
    let mut cursor = database.cursor(CONSUMER).unwrap_or(0);
    loop {
        let changes = match database.changes(cursor, MAX_CHANGES) {
            Ok(changes) if changes.is_empty() => {
                let _ = tokio::time::timeout(Duration::from_secs(1), database.wait_for_change()).await;
                tokio::time::sleep(SETTLE_TIME).await;
                continue;
            }
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "the change feed cannot be read");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let next = changes.last().map_or(cursor, |change| change.cursor);
        let is_busy = (BUSY_CHANGES..MAX_CHANGES).contains(&changes.len());
        let images = changes.into_iter().map(|change| StreamImage { id: change.id, stream: change.stream }).collect();
        let projected = match project.project(images).await {
            Ok(()) => database.set_cursor(CONSUMER, next).await,
            Err(error) => Err(error),
        };
        match projected {
            Ok(()) => {
                cursor = next;
                if is_busy {
                    tokio::time::sleep(BUSY_SETTLE_TIME).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "changes were not projected; they are retried");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Retries delivery reports whose message was not known yet.
pub async fn run_unmatched(unmatched: Arc<SqliteUnmatchedQueue>, webhook: Arc<WebhookHandler>, clock: Arc<Clock>) {
    let interval = clock.to_wall_clock(1_000).max(Duration::from_millis(50));
    loop {
        tokio::time::sleep(interval).await;
        let due = unmatched.due_retries(clock.now()).unwrap_or_else(|error| {
            tracing::error!(%error, "the queue of unmatched reports cannot be read");
            Vec::new()
        });
        let message = |retry: &DueRetry| QueueMessage { id: retry.id.to_string(), body: retry.body.clone() };
        let failed = webhook::handle_batch(&webhook, due.iter().map(message).collect()).await;
        for retry in due.iter().filter(|retry| !failed.contains(&retry.id.to_string())) {
            if let Err(error) = unmatched.delete(retry.id).await {
                tracing::error!(%error, "a retry of unmatched reports was not deleted; it runs once more");
            }
        }
    }
}

/// Resumes the unfinished work of an earlier process. After that, the delivery workers may begin.
pub async fn resume(schedule: &SweepHandler, resumed: watch::Sender<bool>) {
    match schedule.resume().await {
        Ok(0) => (),
        Ok(streams) => tracing::info!(streams, "unfinished work was resumed"),
        Err(error) => tracing::error!(%error, "unfinished work was not resumed completely; its timers do that"),
    }
    resumed.send_replace(true);
}

/// Runs the sweep once a minute, by the process's clock, which first makes up for the time that the machine slept.
pub async fn run_sweeps(schedule: SweepHandler, clock: Arc<Clock>, queue: Arc<MemoryWorkQueue>) {
    let interval = clock.to_wall_clock(SWEEP_INTERVAL_MS).max(Duration::from_millis(100));
    loop {
        tokio::time::sleep(interval).await;
        let wall = SystemClockAndRng.now();
        if clock.follow(wall) {
            queue.wake_receivers();
        }
        if let Err(error) = schedule.limits.record_heartbeat(WALL_CLOCK, wall).await {
            tracing::error!(%error, "the time of the wall clock was not stored");
        }
        if let Err(error) = schedule.sweep().await {
            tracing::error!(%error, "a sweep failed; the next one continues");
        }
    }
}
