//! The faults of a recurrence.

/// One fault of a recurrence. All faults are reported at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path to the invalid field in the input, by its JSON names: `when/rrule`, `timeZone`, `exceptions/3`.
    pub field: String,
    /// The kind of fault, for programs.
    pub code: FaultCode,
    /// A description for people. If the fault is in a part of the rule (`BYDAY`, `minute`), it names the part.
    pub message: String,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// A required field or part is missing.
    Missing,
    /// The text cannot be parsed.
    Malformed,
    /// A number or a date is outside of its range.
    OutOfRange,
    /// The text is longer than allowed.
    TooLong,
    /// The list has more entries than allowed.
    TooMany,
    /// A part is given more than once.
    Repeated,
    /// The part is not in the standard.
    UnknownPart,
    /// The part or spelling is known elsewhere, but not supported here.
    Unsupported,
    /// A field or part cannot be combined with another one.
    NotTogether,
    /// `COUNT` and `UNTIL` are both given.
    BothEnds,
    /// The end is before the start.
    EndBeforeStart,
    /// The name is not in the IANA time zone database.
    UnknownTimeZone,
    /// Two occurrences would be less than 15 minutes apart, or an RRULE repeats more often than daily.
    TooOften,
    /// No date matches.
    Never,
}

impl FaultCode {
    /// The code in the API, such as `too_often`.
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

/// The beginning of a caller's text, short enough for a message.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 24;
    let shown: String = text.chars().filter(|char| !char.is_control()).take(SHOWN).collect();
    let cut = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("`{shown}{cut}`")
}
