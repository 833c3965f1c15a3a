use serde::{Deserialize, Serialize};

/// No reminders for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// `None` means until they are resumed.
    Paused { until: Option<String> },
    /// The customer has promised to pay on this day.
    Promised { on: String },
}

impl Hold {
    /// The last day without reminders. `None` means until they are resumed.
    pub fn through(&self) -> Option<&str> {
        match self {
            Hold::Paused { until } => until.as_deref(),
            Hold::Promised { on } => Some(on),
        }
    }
}
