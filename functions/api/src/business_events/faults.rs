//! What is wrong with an event, at its fields.

use events::DataFault;
use problem::FieldError;

/// The codes of what can be wrong with an event.
const CODES: [&str; 28] = [
    "required",
    "wrong_type",
    "empty",
    "too_long",
    "too_many",
    "too_small",
    "too_large",
    "too_precise",
    "negative",
    "not_an_amount",
    "not_one_of",
    "not_a_currency",
    "not_a_date",
    "not_a_time",
    "not_a_time_zone",
    "not_a_locale",
    "not_a_duration",
    "not_a_url",
    "not_a_value",
    "not_json",
    "control_characters",
    "over_amount",
    "spaces",
    "reserved",
    "unknown_field",
    "unreadable",
    "invalid",
    "not_supported",
];

pub(super) fn field_errors(faults: &[DataFault]) -> Vec<FieldError> {
    let known = |code: &str| CODES.iter().find(|known| **known == code).copied().unwrap_or("invalid");
    let error = |fault: &DataFault| {
        let name = fault.pointer.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("The event");
        let detail = format!("{name} {}", fault.detail);
        FieldError { pointer: fault.pointer.clone(), code: known(&fault.code), detail }
    };
    faults.iter().map(error).collect()
}
