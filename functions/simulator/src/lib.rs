//! The provider simulator: every provider's API on loopback. It checks credentials and requests as the provider does,
//! decides by the recipient what happens to a message, and calls back with the provider's real signatures.
//!
//! In: HTTP requests in a provider's own format. Out: its answers, its callbacks, and an [`Inbox`] of what it received.
//! Callers register the configurations that exist ([`Simulator::register`]) and may inject faults
//! ([`Simulator::inject`]).
//!
//! Provider files (`providers/`) implement `ProviderSimulation` and import the toolkit: [`Simulator`], the context, the
//! message, requests, responses, callbacks and signing. `registry` is the one list of providers and alone imports their
//! files.
//!
//! May touch: the network, on loopback. Never: the adapters, the handlers or any store.
#![allow(clippy::result_large_err, reason = "a refusal is a complete HTTP response")]

mod batches;
mod callback;
mod clock;
mod context;
mod examples;
mod faults;
mod inbox;
mod lock;
mod message;
mod provider;
mod providers;
mod recipients;
mod registry;
mod requests;
mod responses;
mod server;
mod signing;
mod simulator;
mod subscriptions;

pub use clock::SimulationClock;
pub use examples::{TWILIO_FROM, deployment, examples};
pub use faults::{Fault, FaultKind};
pub use inbox::{Inbox, InboxEntry};
pub use message::RegisteredConfig;
pub use simulator::Simulator;
