//! The proof, in one binary: contracts of the ports, doors on a bench, whole walks over HTTP, and the house's own rules.

mod access;
mod attachments;
mod channels;
mod contracts;
mod deliveries;
mod fallback;
mod gates;
mod http;
mod mocks;
mod openapi;
mod operations;
mod preferences;
mod privacy;
mod properties;
mod providers;
mod rooms;
mod suppressions;
mod template;
mod templates;
mod tokens;
mod vectors;
mod walks;
mod webhooks;
