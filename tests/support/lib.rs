//! Shared by the test suites: a running `local`, a harness for functions without HTTP, and an emulated DynamoDB.

pub mod contracts;
pub mod dynamo;
pub mod fuzz;
pub mod harness;
pub mod invariants;
pub mod module_graph;
pub mod openapi_contract;
pub mod rng;
pub mod server;
