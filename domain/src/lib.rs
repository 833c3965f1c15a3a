//! The decisions: pure functions over the facts, and the signatures of what the outside must do.

pub mod access;
pub mod address;
pub mod calendar;
pub mod communication;
pub mod communication_view;
pub mod consent;
pub mod explain;
pub mod gate;
pub mod money;
pub mod policy;
pub mod ports;
pub mod preferences;
pub mod provider;
pub mod provider_configs;
pub mod quiet_hours;
pub mod render;
pub mod schedule;
pub mod sms;
pub mod stats;
pub mod status;
pub mod templates;
