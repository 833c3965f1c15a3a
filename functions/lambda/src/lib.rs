//! Code that the programs of all functions share: the environment, the adapters for AWS, and the events that Lambda
//! delivers.

mod adapters;
mod batches;

pub use adapters::{Adapters, provider_factory, variable};
pub use batches::{failures, images, messages};
