//! The domain: decisions as pure functions of events, and the ports to the outside.

pub mod access;
pub mod address;
pub mod calendar;
pub mod circuit_breaker;
pub mod communication;
pub mod communication_view;
pub mod consent;
pub mod explain;

pub mod message;
pub mod money;
pub mod policy;
pub mod ports;
pub mod preferences;
pub mod provider;
pub mod provider_configs;
pub mod quiet_hours;
pub mod rate_limiter;
pub mod render;
pub mod schedule;
pub mod sms;
pub mod stats;
pub mod status;
pub mod templates;
pub mod throttle;
