//! What is wrong with a recurrence.

/// One thing that is wrong with a recurrence. All faults are reported at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path to the field at fault inside the input, in its JSON names: `when/rrule`, `timeZone`, `exceptions/3`.
    pub field: String,
    /// What kind of fault it is, for programs.
    pub code: FaultCode,
    /// What is wrong, for people. Names the part of the rule (`BYDAY`, `minute`) where the fault is in one.
    pub message: String,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// A field or a part that is needed is not there.
    Missing,
    /// The text cannot be read as what it should be.
    Malformed,
    /// A number or a date is outside of what is allowed.
    OutOfRange,
    /// The text is longer than allowed.
    TooLong,
    /// The list has more entries than allowed.
    TooMany,
    /// A part is given more than once.
    Repeated,
    /// A part that no standard names.
    UnknownPart,
    /// A part or a spelling that others know and that is not supported here.
    Unsupported,
    /// A field or a part that has no meaning beside another one.
    NotTogether,
    /// `COUNT` and `UNTIL` are both given.
    BothEnds,
    /// The end is before the start.
    EndBeforeStart,
    /// The name is not one of the IANA time zone database.
    UnknownTimeZone,
    /// Two occurrences would be less than 15 minutes apart, or an RRULE repeats more often than daily.
    TooOften,
    /// No date fits.
    Never,
}

impl FaultCode {
    /// The code as an API answers it: `too_often`, `both_ends`.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultCode::Missing => "missing",
            FaultCode::Malformed => "malformed",
            FaultCode::OutOfRange => "out_of_range",
            FaultCode::TooLong => "too_long",
            FaultCode::TooMany => "too_many",
            FaultCode::Repeated => "repeated",
            FaultCode::UnknownPart => "unknown_part",
            FaultCode::Unsupported => "unsupported",
            FaultCode::NotTogether => "not_together",
            FaultCode::BothEnds => "both_ends",
            FaultCode::EndBeforeStart => "end_before_start",
            FaultCode::UnknownTimeZone => "unknown_time_zone",
            FaultCode::TooOften => "too_often",
            FaultCode::Never => "never",
        }
    }
}

/// Collects the faults of one input.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, field: impl Into<String>, code: FaultCode, message: impl Into<String>) {
        self.0.push(Fault { field: field.into(), code, message: message.into() });
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// The start of a text from outside, short enough to be repeated in a message.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 24;
    let shown: String = text.chars().filter(|char| !char.is_control()).take(SHOWN).collect();
    let cut = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{shown}{cut}`")
}
