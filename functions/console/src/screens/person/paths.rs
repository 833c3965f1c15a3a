//! Where a person is found.

use crate::api_client::segment;

/// Where the API has a person's preferences.
pub fn preferences_path(kind: &str, id: &str) -> String {
    format!("/api/communication-preferences/{}/{}", segment(kind), segment(id))
}

/// The page of a person.
pub fn page_of(kind: &str, id: &str) -> String {
    format!("/people/{}/{}", segment(kind), segment(id))
}
