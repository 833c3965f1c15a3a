//! Code that the programs of all functions share: reading the environment, building the AWS adapters, and parsing the
//! events that Lambda delivers.

mod adapters;
mod batches;
mod client;

pub use adapters::{Adapters, Environment, provider_factory, variable};
pub use batches::{ProjectRequest, failures, images, is_of_dead_letters, messages};
pub use client::client_address;
