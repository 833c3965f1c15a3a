//! Judges recorded callbacks: the same code as at the door, with the keys given beside each.

use domain::provider::CallbackRequest;
use events::Timestamp;

use super::REGISTRY;
use super::signatures::Keys;

/// A request, and what it is said to be signed with.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// As in files of recorded callbacks: `twilio-hmac-sha1`.
    pub scheme: String,
    pub request: CallbackRequest,
    pub secret: String,
    pub public_key: String,
    pub certificate: String,
    /// When time windows are judged; none leaves them out.
    pub now: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedResult {
    Valid,
    Invalid(&'static str),
    /// No provider has such a scheme.
    Unknown,
}

pub fn judge(claim: &RecordedRequest) -> RecordedResult {
    let schemes = REGISTRY.iter().flat_map(|entry| entry.schemes);
    let Some((_, scheme)) = schemes.into_iter().find(|(name, _)| *name == claim.scheme) else {
        return RecordedResult::Unknown;
    };
    let keys = Keys {
        secret: claim.secret.clone(),
        public_key: claim.public_key.clone(),
        certificate: claim.certificate.clone(),
    };
    match scheme(&claim.request, &keys, claim.now) {
        Ok(()) => RecordedResult::Valid,
        Err(why) => RecordedResult::Invalid(why),
    }
}
