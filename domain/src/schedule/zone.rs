//! Civil times in a time zone. The zone is applied last, so rules do not depend on it.

use std::fmt;
use std::sync::Arc;

use events::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The nominal time of an occurrence: the civil time of the rule, and the zone's IANA name.
///
/// It stays the same when the zone's rules change, although its instant changes. It is written as
/// `2027-03-28T02:30[Europe/Berlin]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nominal {
    /// The civil time, to the minute. The zone may skip or repeat it.
    pub time: DateTime,
    /// IANA name, in the spelling of the database.
    pub zone: Arc<str>,
}

impl fmt::Display for Nominal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}[{}]", self.time.strftime("%Y-%m-%dT%H:%M"), self.zone)
    }
}

/// Why a nominal time has no instant, or more than one, in its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moved {
    /// Clocks skip the nominal time. The instant is later by the skipped time, so 02:30 becomes 03:30.
    Gap,
    /// Clocks show the nominal time twice. The instant is the first of the two.
    Twice,
}

impl Moved {
    /// The name in the API: `gap` or `twice`.
    pub fn as_str(self) -> &'static str {
        match self {
            Moved::Gap => "gap",
            Moved::Twice => "twice",
        }
    }
}

/// Finds a zone by its IANA name. Also returns the name in the spelling of the database.
///
/// Offsets (`+02:00`) and abbreviations (`CEST`) are not zones.
pub fn find(name: &str) -> Option<(TimeZone, Arc<str>)> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
    let spelled = zone.iana_name().map(Arc::from)?;
    Some((zone, spelled))
}

/// Returns the instant of a civil time, the zone's offset from UTC then, and whether clocks skip or repeat the time.
///
/// Returns `None` only outside of the calendar.
pub(super) fn resolve(time: DateTime, zone: &TimeZone) -> Option<(Timestamp, Offset, Option<Moved>)> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    let moved = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some(Moved::Gap),
        AmbiguousOffset::Fold { .. } => Some(Moved::Twice),
    };
    let instant = ambiguous.compatible().ok()?;
    Some((Timestamp(instant.as_millisecond()), zone.to_offset(instant), moved))
}
