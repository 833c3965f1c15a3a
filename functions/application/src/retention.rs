//! How long personal data is kept.

use events::RetentionClass;

/// How long personal data is kept, in milliseconds, by class.
#[derive(Debug, Clone, Copy)]
pub struct RetentionPeriods {
    pub short_ms: i64,
    pub standard_ms: i64,
    pub long_ms: i64,
}

impl RetentionPeriods {
    const DAY_MS: i64 = 24 * 3_600_000;

    pub fn days(short: i64, standard: i64, long: i64) -> RetentionPeriods {
        let ms = |days: i64| days * RetentionPeriods::DAY_MS;
        RetentionPeriods { short_ms: ms(short), standard_ms: ms(standard), long_ms: ms(long) }
    }

    /// The retention period of a class. `None` means the standard class.
    pub fn of(self, class: Option<RetentionClass>) -> i64 {
        match class.unwrap_or(RetentionClass::Standard) {
            RetentionClass::Short => self.short_ms,
            RetentionClass::Standard => self.standard_ms,
            RetentionClass::Long => self.long_ms,
        }
    }
}
