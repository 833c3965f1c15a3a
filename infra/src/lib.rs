//! Adapters: implementations of the domain's ports, with one file for each external system. Only the crates `lambda` and
//! `local` use this crate.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "embedded")]
pub mod embedded;
mod host;
#[cfg(feature = "providers")]
pub mod providers;
#[cfg(any(feature = "aws", feature = "embedded"))]
mod seal;

pub use host::SystemClockAndRng;
