//! Why a message cannot be sent as it is.

/// Why a message has not all of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFault {
    /// It was deleted, or its address leads nowhere.
    Missing,
    /// It may be there later.
    NoResponse,
}

/// Why a message cannot be sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBuilt {
    /// With the kind of the error.
    Unrenderable(&'static str),
    File(FileFault),
}
