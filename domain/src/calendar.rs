//! Days as people write them.

use icu::calendar::Date;
use icu::datetime::fieldsets::{YMD, YMDE};
use icu::datetime::{DateTimeFormatter, DateTimeFormatterLoadError};
use icu::locale::Locale;

/// `2025-10-20` → `Oct 20, 2025`, `20 oct 2025`: short, medium, long or full, as the locale has it.
///
/// # Errors
///
/// The style or the locale is not known, in words.
pub fn format(day: jiff::civil::Date, style: &str, locale: &str) -> Result<String, String> {
    let known: Locale =
        locale.parse().map_err(|_| format!("`{}` is not a locale", locale.chars().take(20).collect::<String>()))?;
    let date = Date::try_new_iso(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs());
    let date = date.map_err(|_| "a date before the calendar".to_owned())?;
    let prefs = known.into();
    let plain = |fields: YMD| {
        Ok::<_, DateTimeFormatterLoadError>(DateTimeFormatter::try_new(prefs, fields)?.format(&date).to_string())
    };
    let written = match style {
        "short" => plain(YMD::short()),
        "medium" => plain(YMD::medium()),
        "long" => plain(YMD::long()),
        "full" => DateTimeFormatter::try_new(prefs, YMDE::long()).map(|formatter| formatter.format(&date).to_string()),
        other => return Err(format!("`{other}` is not a date format: short, medium, long, full")),
    };
    written.map_err(|_| format!("`{locale}` is not a locale that dates are written in"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_as_its_reader_writes_it() {
        let day = jiff::civil::date(2025, 10, 20);
        for (style, locale, expected) in [
            ("short", "en-US", "10/20/25"),
            ("medium", "en-US", "Oct 20, 2025"),
            ("long", "en-US", "October 20, 2025"),
            ("full", "en-US", "Monday, October 20, 2025"),
            ("long", "es", "20 de octubre de 2025"),
            ("medium", "en-GB", "20 Oct 2025"),
        ] {
            assert_eq!(format(day, style, locale).as_deref(), Ok(expected), "{style} {locale}");
        }
        assert!(format(day, "tiny", "en").is_err() && format(day, "long", "not a locale").is_err());
    }
}
