//! Builds delivery reports, and names the kinds of incoming media, for the callbacks of all providers.

use domain::communication::DeliveryReport;
use domain::provider::{MessageRef, ParsedCallback, ProviderReport};
use events::{ReportedStatus, Timestamp};

/// Returns the code to store with a status that is not in the provider's table: the first 40 characters of its name, so
/// that no long text is stored.
pub(super) fn unknown_code(status: &str) -> Option<String> {
    Some(status.chars().take(40).collect())
}

/// Builds a report of one message. Leaves out codes and event ids that are longer than we store.
pub(super) fn delivery_report(
    message: MessageRef,
    (fact, code): (ReportedStatus, Option<String>),
    event_id: Option<String>,
    at: Timestamp,
) -> ProviderReport {
    let code = code.filter(|code| code.len() <= 40);
    let event_id = event_id.filter(|id| id.len() <= 100);
    ProviderReport { message, report: DeliveryReport { attempt: None, fact, event_id, at, code } }
}

/// Builds a report of one message and, if `opted_out`, a second one that says so.
pub(super) fn report_with_consent(
    message: MessageRef,
    status: (ReportedStatus, Option<String>),
    event_id: Option<String>,
    at: Timestamp,
    opted_out: bool,
) -> Vec<ProviderReport> {
    let mut reports = vec![delivery_report(message.clone(), status, event_id, at)];
    if opted_out {
        reports.push(delivery_report(message, (ReportedStatus::Unsubscribed, None), None, at));
    }
    reports
}

pub(super) fn reports_only(reports: Vec<ProviderReport>) -> ParsedCallback {
    ParsedCallback { delivery_reports: reports, ..ParsedCallback::default() }
}

/// Returns the kind of an incoming message with media of this type.
pub(super) fn media_kind(mime: &str) -> &'static str {
    match mime.split('/').next() {
        Some("image") => "image",
        Some("video") => "video",
        Some("audio") => "audio",
        _ => "file",
    }
}
