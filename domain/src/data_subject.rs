//! The names of data subjects. Personal data, preferences and erasure are found by these names, so nothing else may build
//! them.

use events::{CommunicationRequest, Recipient};

const ADDRESS: &str = "contact:";

/// The name of a recipient with an id, such as `customer:7`. Returns `None` for a recipient without an id.
pub fn of_recipient(recipient: &Recipient) -> Option<String> {
    recipient.id.as_ref().map(|id| format!("{}:{id}", recipient.kind.as_str()))
}

/// The name of the owner of an address, from the hash of the address.
pub fn of_address(contact_hash: &str) -> String {
    format!("{ADDRESS}{contact_hash}")
}

/// The recipient of a communication: by id, or else by address.
pub fn of_request(request: &CommunicationRequest) -> String {
    of_recipient(&request.recipient).unwrap_or_else(|| of_address(&request.contact_hash))
}
