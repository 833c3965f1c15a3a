//! What the suites share: a running `local`, a bench of doors without HTTP, and emulated DynamoDB.

pub mod bench;
pub mod chance;
pub mod contracts;
pub mod described;
pub mod dynamo;
pub mod fuzz;
pub mod invariants;
pub mod world;
