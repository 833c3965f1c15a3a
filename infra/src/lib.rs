//! The outside: one file per thing we talk to. Only a `main.rs` names this crate.

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
