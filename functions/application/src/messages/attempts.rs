//! The attempts of a message, with what was said to the providers where one failed.

use domain::exchange::RecordedExchange;
use domain::ports::CommunicationKey;
use events::{CommunicationEvent, CommunicationId, RecordedEvent, Timestamp};

use super::MessageError;
use super::read::history;
use crate::app::App;
use crate::caller::Caller;
use crate::exchanges;

/// One attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: u16,
    pub config: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// `open`, `accepted`, `refused` or `in_doubt`, as it was recorded when the attempt ended.
    pub outcome: &'static str,
    /// The class of a refusal, or the cause of a doubt.
    pub reason: Option<String>,
    /// The provider's own code, or the HTTP status.
    pub code: Option<String>,
    /// `None` if the attempt was accepted, is older than 30 days, or was erased.
    pub exchange: Option<RecordedExchange>,
}

/// The attempts of a message, the first one first.
///
/// # Errors
///
/// As [`history`].
pub async fn attempts(
    app: &App,
    caller: &Caller,
    id: CommunicationId,
) -> Result<(CommunicationKey, Vec<Attempt>), MessageError> {
    let (key, _, records) = history(app, caller, id).await?;
    let mut attempts = of_records(&records);
    let failed = attempts.iter_mut().filter(|attempt| matches!(attempt.outcome, "refused" | "in_doubt"));
    let failed: Vec<&mut Attempt> = failed.collect();
    let numbers: Vec<u16> = failed.iter().map(|attempt| attempt.number).collect();
    let found = exchanges::load(&*app.tenant_ports.documents, &key, numbers, app.host.now()).await?;
    for (attempt, exchange) in failed.into_iter().zip(found) {
        attempt.exchange = exchange;
    }
    Ok((key, attempts))
}

fn of_records(records: &[RecordedEvent]) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    for record in records {
        let at = record.meta.at;
        let mut end = |number: u16, outcome, reason: Option<String>, code: Option<String>| {
            if let Some(attempt) = attempts.iter_mut().rev().find(|attempt| attempt.number == number) {
                (attempt.outcome, attempt.reason, attempt.code) = (outcome, reason, code);
                attempt.ended_at = Some(at);
            }
        };
        match &record.event {
            CommunicationEvent::DeliveryAttemptAccepted { attempt, .. } => end(*attempt, "accepted", None, None),
            CommunicationEvent::DeliveryAttemptRefused { attempt, class, code, .. } => {
                end(*attempt, "refused", Some(class.as_str().to_owned()), Some(code.clone()));
            }
            CommunicationEvent::DeliveryAttemptInDoubt { attempt, cause, .. } => {
                end(*attempt, "in_doubt", Some(cause.as_str().to_owned()), None);
            }
            CommunicationEvent::DeliveryAttemptStarted { attempt, config, .. } => attempts.push(Attempt {
                number: *attempt,
                config: config.clone(),
                started_at: at,
                ended_at: None,
                outcome: "open",
                reason: None,
                code: None,
                exchange: None,
            }),
            _ => (),
        }
    }
    attempts
}
