use serde_json::Value;

/// Lifts `data` one version at a time until it is the newest. Every type is still at version 1.
pub fn upcast(_kind: &str, _version: u16, data: Value) -> Value {
    data
}
