//! Where a template is found.

use crate::api_client::segment;

/// The address of a template in the API.
pub fn path_of(id: &str) -> String {
    format!("/api/communication-templates/{}", segment(id))
}

/// The address of a template in the console.
pub fn page_of(id: &str) -> String {
    format!("/templates/{}", segment(id))
}
