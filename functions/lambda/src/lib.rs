//! What the programs of all functions share: the environment, the adapters for AWS, and the events that Lambda delivers.

mod adapters;
mod events;

pub use adapters::{Adapters, provider_factory, variable};
pub use events::{failures, images, messages};
