use serde_json::Value;

/// Lifts `data` to the newest version of its type, one version at a time. All types are still at version 1.
pub fn upcast(_kind: &str, _version: u16, data: Value) -> Value {
    data
}
