//! Outcomes of an attempt that do not depend on the transport.

use domain::communication::Answer;
use domain::provider::Found;
use events::RefusalClass;

pub(super) fn refusal_outcome(class: RefusalClass, code: impl Into<String>, retry_after_ms: Option<i64>) -> Answer {
    Answer::Refused { class, code: code.into(), retry_after_ms }
}

/// What became of a first request, according to the answer to its repetition with the same idempotency key. The
/// provider answers the repetition as it answered the first request.
pub(super) fn query_by_idempotent_repeat(answer: Answer) -> Found {
    match answer {
        Answer::Accepted { provider_message_id, .. } => Found::Taken(provider_message_id),
        Answer::Refused { class: RefusalClass::Permanent, .. } => Found::NotTaken,
        Answer::Refused { .. } | Answer::InDoubt(_) => Found::NoAnswer,
    }
}
