//! The provider simulator: every provider's API on loopback. It checks credentials and requests as the provider does,
//! decides by the recipient's address what happens to a message, and signs its callbacks as the provider does.
//!
//! In: HTTP requests in a provider's own format. Out: its responses, its callbacks, and an [`Inbox`] of accepted
//! messages. Callers register the configurations that exist ([`Simulator::register`]) and may inject faults
//! ([`Simulator::inject`]).
//!
//! Provider files (`providers/`) implement `ProviderSimulation` and import the toolkit: [`Simulator`], the context, the
//! message, requests, responses, callbacks and signing. `registry` lists all providers. No other module
//! imports their files.
//!
//! May touch: the network, on loopback. Never: the adapters, the handlers or any store.
#![allow(clippy::result_large_err, reason = "a refusal is a complete HTTP response")]

mod acts;
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
mod received;
mod recipients;
mod registry;
mod requests;
mod responses;
mod server;
mod signing;
mod simulator;
mod subscriptions;

pub use acts::{Act, ActError};
pub use clock::SimulationClock;
pub use examples::{TWILIO_FROM, deployment, examples};
pub use faults::{Fault, FaultKind};
pub use inbox::{Inbox, InboxEntry, Reply, SentCallback};
pub use message::RegisteredConfig;
pub use simulator::Simulator;
