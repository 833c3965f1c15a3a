//! Errors of the message use cases as problems, and their faults at the fields of the body.

use application::messages::{AskProviderError, Fault, Field, MessageError};
use application::spend::{SpendCapReached, decimal};
use domain::explain;
use events::SuppressReason;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::json;

use crate::fields::{missing, show_time};
use crate::not_found;

pub(crate) fn problem(error: MessageError) -> Problem {
    match error {
        MessageError::Forbidden(forbidden) => forbidden.into(),
        MessageError::NotFound => not_found(),
        MessageError::Invalid(faults) => problem_of_faults(&faults, pointer),
        MessageError::Suppressed(reason) => suppressed(reason),
        MessageError::SpendCapReached(reached) => spend_cap_reached(reached),
        MessageError::Erased => Problem::new(ProblemKind::Conflict, "The content of this message has been erased."),
        MessageError::NoSubject => {
            Problem::new(ProblemKind::Invalid, "An email needs a subject, but this message has none.")
        }
        MessageError::Busy(busy) => busy.into(),
        MessageError::Execute(error) => error.into(),
        MessageError::Store(error) => error.into(),
    }
}

pub(crate) fn ask_problem(error: AskProviderError) -> Problem {
    match error {
        AskProviderError::Message(error) => problem(error),
        AskProviderError::NoProviderMessage => {
            let detail = "No provider has given this message an id, so none can be asked about it.";
            Problem::new(ProblemKind::Conflict, detail)
        }
        AskProviderError::Unsupported(config) => {
            let detail = format!("{config} cannot be asked for the status of a message. Its callbacks report it.");
            Problem::new(ProblemKind::Conflict, detail)
        }
        AskProviderError::Provider(error) => error.into(),
    }
}

/// `pointer` names the field of the body that a fault lies in. A field that cannot be read is not also missing.
pub(crate) fn problem_of_faults(faults: &[Fault], pointer: impl Fn(&Fault) -> String) -> Problem {
    let mut errors: Vec<FieldError> = Vec::new();
    for fault in faults {
        let error = FieldError { pointer: pointer(fault), code: fault.code, detail: fault.detail.clone() };
        let is_reported = |reported: &FieldError| {
            let rest = error.pointer.strip_prefix(&reported.pointer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if fault.code != "required" || !errors.iter().any(is_reported) {
            errors.push(error);
        }
    }
    if errors.is_empty() { missing() } else { Problem::invalid(errors) }
}

/// The JSON pointer of a fault in the body of a send, resend or change request.
pub(crate) fn pointer(fault: &Fault) -> String {
    let step = fault.step.map(|step| format!("/fallback/{step}")).unwrap_or_default();
    let field = match &fault.field {
        Field::Channel => "/channel",
        Field::Type => "/type",
        Field::To => "/recipientContact",
        Field::Subject => "/subject",
        Field::Content => "/content",
        Field::Template => "/templateId",
        Field::Variables => "/templateVariables",
        Field::RecipientName => "/recipientName",
        Field::Locale => "/locale",
        Field::EntityType => "/entityType",
        Field::ScheduledAt => "/scheduledAt",
        Field::ExpiresAt => "/expiresAt",
        Field::Location => "/location",
        Field::After => "/after",
        Field::Attachment(index) => return format!("{step}/attachments/{index}"),
        Field::AttachmentName(index) => return format!("{step}/attachments/{index}/filename"),
        Field::AttachmentUrl(index) => return format!("{step}/attachments/{index}/fileUrl"),
        Field::AttachmentId(index) => return format!("{step}/attachments/{index}/attachmentId"),
        Field::Button(index) => return format!("{step}/buttons/{index}"),
        Field::QuietHours(name) => return format!("{step}/quietHours/{name}"),
        Field::Input(pointer) => pointer,
    };
    format!("{step}{field}")
}

fn spend_cap_reached(reached: SpendCapReached) -> Problem {
    let SpendCapReached { currency, cap_micros, spent_micros, cost_micros, resets_at } = reached;
    let resets_at = show_time(resets_at);
    let [cap, spent, cost] = [cap_micros, spent_micros, cost_micros].map(decimal);
    let detail = format!(
        "Messages may cost {cap} {currency} a day. Today's have cost {spent}, and this one would cost {cost}. Nothing was \
         accepted. The cap is reset at {resets_at}; PATCH /api/limits changes it."
    );
    let spend = json!({
        "currency": currency,
        "capMicros": cap_micros,
        "spentMicros": spent_micros,
        "estimatedCostMicros": cost_micros,
        "resetsAt": resets_at,
    });
    Problem { member: Some(("spend", spend)), ..Problem::new(ProblemKind::SpendCapReached, detail) }
}

/// The code of the error at the address is the reason.
fn suppressed(reason: SuppressReason) -> Problem {
    let detail = match reason {
        SuppressReason::SuppressionList => {
            "This recipient bounced, complained or opted out. Nothing was accepted.".to_owned()
        }
        _ => {
            let text = explain::suppressed(reason);
            format!("The address is suppressed: {text} ({}). Nothing was accepted.", reason.as_str())
        }
    };
    let error = FieldError { pointer: "/recipientContact".to_owned(), code: reason.as_str(), detail: detail.clone() };
    Problem { errors: vec![error], ..Problem::new(ProblemKind::RecipientSuppressed, detail) }
}
