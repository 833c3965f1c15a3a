//! Outcomes of an attempt that do not depend on the transport.

use domain::communication::AttemptOutcome;
use domain::provider::QueryResult;
use events::RefusalClass;

/// Maximum number of characters of a provider's code that are stored.
const MAX_CODE: usize = 40;

pub(super) fn refusal_outcome(
    class: RefusalClass,
    code: impl Into<String>,
    retry_after_ms: Option<i64>,
) -> AttemptOutcome {
    let code = code.into().chars().take(MAX_CODE).collect();
    AttemptOutcome::Refused { class, code, retry_after_ms }
}

/// Whether a provider accepted a request, derived from its answer to a repetition with the same idempotency key. The
/// provider answers a repetition as it answered the first request.
pub(super) fn query_by_idempotent_repeat(answer: AttemptOutcome) -> QueryResult {
    match answer {
        AttemptOutcome::Accepted { provider_message_id, .. } => QueryResult::Accepted(provider_message_id),
        AttemptOutcome::Refused { class: RefusalClass::Permanent, .. } => QueryResult::NotAccepted,
        AttemptOutcome::Refused { .. } | AttemptOutcome::InDoubt(_) => QueryResult::NoResponse,
    }
}
