use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::lock::lock;

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum FaultKind {
    /// Hangs without accepting the message.
    #[serde(rename = "timeout")]
    Timeout,
    /// Closes the connection without a response and without accepting the message.
    #[serde(rename = "reset")]
    Reset,
    /// Accepts the message, then hangs.
    #[serde(rename = "accept_then_timeout")]
    AcceptThenTimeout,
    /// Accepts the message, then hangs, and never sends a callback.
    #[serde(rename = "accept_then_silence")]
    AcceptThenSilence,
    #[serde(rename = "402")]
    Status402,
    #[serde(rename = "429")]
    Status429,
    #[serde(rename = "500")]
    Status500,
    #[serde(rename = "503")]
    Status503,
    #[serde(rename = "400")]
    Status400,
    #[serde(rename = "401")]
    Status401,
}

impl FaultKind {
    /// All kinds of faults.
    pub const ALL: [FaultKind; 10] = [
        FaultKind::Status503,
        FaultKind::Status500,
        FaultKind::Status429,
        FaultKind::Timeout,
        FaultKind::Reset,
        FaultKind::AcceptThenTimeout,
        FaultKind::AcceptThenSilence,
        FaultKind::Status400,
        FaultKind::Status401,
        FaultKind::Status402,
    ];
}

/// A fault to inject: the next `count` requests to a provider configuration fail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The id of the provider configuration.
    pub provider: String,
    pub kind: FaultKind,
    #[serde(default = "default_count")]
    pub count: u32,
}

fn default_count() -> u32 {
    1
}

/// Faults that were injected and are not used up.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        lock(&self.0).push(fault);
    }

    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// The faults that are not used up, in the order of injection.
    pub fn active(&self) -> Vec<Fault> {
        lock(&self.0).iter().filter(|fault| fault.count > 0).cloned().collect()
    }

    /// Uses up one fault of this configuration, in the order of injection.
    pub fn take(&self, provider: &str) -> Option<FaultKind> {
        let mut faults = lock(&self.0);
        faults.retain(|fault| fault.count > 0);
        let fault = faults.iter_mut().find(|fault| fault.provider == provider)?;
        fault.count -= 1;
        Some(fault.kind)
    }
}
