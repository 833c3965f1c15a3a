//! Documents of the vault: what cannot be encoded is not stored, and concurrent changes are all kept.

use std::collections::BTreeMap;

use application::document;
use application::hash::{body_hash, hash_of};
use domain::ports::StoreError;
use serde_json::json;

#[test]
fn what_has_no_json_form_is_neither_stored_nor_hashed() {
    let unencodable = BTreeMap::from([((1, 2), "a JSON key is a text")]);
    assert!(matches!(document::encode(&unencodable), Err(StoreError::Unreadable(_))));
    assert!(matches!(hash_of(&unencodable), Err(StoreError::Unreadable(_))));
    assert_eq!(hash_of(&("a", 1)).expect("a hash"), body_hash(&json!(["a", 1])));
}
