//! Writes the ids of tenant and attempt into requests to a provider, and reads them from its callbacks.

use domain::provider::{CallbackRequest, OutboundMessage};
use events::{AttemptId, TenantId};

/// Adds the ids to a callback address: `?tenant=…&attempt=…`.
pub(super) fn append_attempt_ids(url: &str, outbound: &OutboundMessage) -> String {
    format!("{url}?tenant={}&attempt={}", outbound.tenant, outbound.attempt)
}

/// Tenant and attempt as one text, for providers that echo a single reference: `acme/att_…_1`.
pub(super) fn encode_attempt_ref(outbound: &OutboundMessage) -> String {
    format!("{}/{}", outbound.tenant, outbound.attempt)
}

pub(super) fn parse_attempt_ref(text: &str) -> Option<(TenantId, AttemptId)> {
    let (tenant, attempt) = text.split_once('/')?;
    Some((tenant.parse().ok()?, attempt.parse().ok()?))
}

/// Reads the ids that [`append_attempt_ids`] added to the address of a callback.
pub(super) fn attempt_ids_from_query(request: &CallbackRequest) -> Option<(TenantId, AttemptId)> {
    let query = request.query().as_bytes();
    Some((form_field(query, "tenant")?.parse().ok()?, form_field(query, "attempt")?.parse().ok()?))
}

/// Returns the first value of a field in a form or a query.
pub(super) fn form_field(form: &[u8], name: &str) -> Option<String> {
    let pair = form_urlencoded::parse(form).find(|(key, _)| key == name);
    pair.map(|(_, value)| value.into_owned())
}
