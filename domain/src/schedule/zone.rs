//! Civil times in a time zone. The zone is applied last: a rule knows nothing of it.

use std::fmt;
use std::sync::Arc;

use events::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// An occurrence's name: the civil time that the rule gives, and the zone's IANA name.
///
/// It stays the same when the zone's rules change, although its instant moves. Written
/// `2027-03-28T02:30[Europe/Berlin]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nominal {
    /// The civil time, to the minute. The zone may skip it or have it twice.
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
    /// Clocks skip the nominal time. The instant is later by as much as they skip: 02:30 becomes 03:30.
    Gap,
    /// Clocks show the nominal time twice. The instant is the first of the two.
    Twice,
}

impl Moved {
    /// The word as an API answers it: `gap` or `twice`.
    pub fn as_str(self) -> &'static str {
        match self {
            Moved::Gap => "gap",
            Moved::Twice => "twice",
        }
    }
}

/// A zone by its IANA name, with the name in the spelling of the database.
///
/// Offsets (`+02:00`) and abbreviations of summer time (`CEST`) are no zones.
pub(super) fn find(name: &str) -> Option<(TimeZone, Arc<str>)> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
    let spelled = zone.iana_name().map(Arc::from)?;
    Some((zone, spelled))
}

/// The instant of a civil time, the offset from UTC that clocks have then, and whether they skip or repeat the time.
///
/// `None` outside of the calendar only.
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
