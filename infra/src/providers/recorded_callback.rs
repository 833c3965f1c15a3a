//! Verifies the signatures of recorded callbacks with the code that verifies real ones. The keys are recorded with each
//! callback.

use domain::provider::CallbackRequest;
use events::Timestamp;

use super::registry::REGISTRY;
use super::signatures::VerificationKeys;

/// A recorded callback with the scheme and the keys to verify it with.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// The scheme's name in files of recorded callbacks, such as `twilio-hmac-sha1`.
    pub scheme: String,
    pub request: CallbackRequest,
    pub secret: String,
    pub public_key: String,
    pub certificate: String,
    /// The time at which the callback's age is checked. `None` skips that check.
    pub now: Option<Timestamp>,
}

/// The result of verifying one recorded callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedResult {
    Valid,
    /// The reason why the callback would be refused.
    Invalid(&'static str),
    /// No provider has a scheme of this name.
    Unknown,
}

/// Verifies a recorded callback by the scheme that it names.
pub fn verify_recorded(recorded: &RecordedRequest) -> RecordedResult {
    let mut schemes = REGISTRY.iter().flat_map(|registration| registration.schemes);
    let Some((_, verify)) = schemes.find(|(name, _)| *name == recorded.scheme) else {
        return RecordedResult::Unknown;
    };
    let keys = VerificationKeys {
        secret: recorded.secret.clone(),
        public_key: recorded.public_key.clone(),
        certificate: recorded.certificate.clone(),
    };
    match verify(&recorded.request, &keys, recorded.now) {
        Ok(()) => RecordedResult::Valid,
        Err(reason) => RecordedResult::Invalid(reason),
    }
}
