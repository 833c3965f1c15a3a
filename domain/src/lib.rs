//! The decisions: pure functions over the facts, and the signatures of what the outside must do.

pub mod access;
pub mod calendar;
pub mod channels;
pub mod communication;
pub mod consent;
pub mod contact;
pub mod explain;
pub mod gate;
pub mod history;
pub mod money;
pub mod policy;
pub mod ports;
pub mod preferences;
pub mod provider;
pub mod quiet;
pub mod render;
pub mod sms;
pub mod stats;
pub mod status;
pub mod templates;
