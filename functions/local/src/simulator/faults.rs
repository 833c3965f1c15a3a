use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Hangs, and has not taken the message.
    #[serde(rename = "timeout")]
    Timeout,
    /// Closes the connection without an answer; has not taken the message.
    #[serde(rename = "reset")]
    Reset,
    /// Takes the message, then hangs.
    #[serde(rename = "accept_then_timeout")]
    AcceptThenTimeout,
    /// Takes the message, then hangs, and never calls back.
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

/// The next `count` requests to a provider configuration go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub provider: String,
    pub kind: Kind,
    #[serde(default = "once")]
    pub count: u32,
}

fn once() -> u32 {
    1
}

#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Uses up one, in the order injected.
    pub fn take(&self, provider: &str) -> Option<Kind> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.retain(|fault| fault.count > 0);
        let fault = faults.iter_mut().find(|fault| fault.provider == provider)?;
        fault.count -= 1;
        Some(fault.kind)
    }
}
