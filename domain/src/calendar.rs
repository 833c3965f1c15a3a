//! Dates in the format of a locale.

use icu_datetime::DateTimeFormatter;
use icu_datetime::fieldsets::enums::DateFieldSet;
use icu_datetime::fieldsets::{YMD, YMDE};
use icu_datetime::input::Date;
use icu_locale::Locale;

use crate::formatters::{self, Kept};

thread_local! {
    /// By style and locale.
    static FORMATTERS: Kept<(String, String), DateTimeFormatter<DateFieldSet>> = const { Kept::new(Vec::new()) };
}

/// Formats a date: `2025-10-20` becomes `Oct 20, 2025` or `20 oct 2025`. `style` is short, medium, long or full.
///
/// # Errors
///
/// A message that names the unknown style or locale.
pub fn format(day: jiff::civil::Date, style: &str, locale: &str) -> Result<String, String> {
    let date = Date::try_new_iso(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs());
    let date = date.map_err(|_| "the date is out of range".to_owned())?;
    let make = || {
        let parsed: Locale =
            locale.parse().map_err(|_| format!("`{}` is not a locale", locale.chars().take(20).collect::<String>()))?;
        let fields = match style {
            "short" => DateFieldSet::YMD(YMD::short()),
            "medium" => DateFieldSet::YMD(YMD::medium()),
            "long" => DateFieldSet::YMD(YMD::long()),
            "full" => DateFieldSet::YMDE(YMDE::long()),
            other => return Err(format!("`{other}` is not a date format: short, medium, long, full")),
        };
        let formatter = DateTimeFormatter::try_new(parsed.into(), fields);
        let formatter = formatter.map_err(|_| format!("`{locale}` is not a locale for dates"))?;
        Ok(((style.to_owned(), locale.to_owned()), formatter))
    };
    let is = |key: &(String, String)| key.0 == style && key.1 == locale;
    formatters::with(&FORMATTERS, is, make, |formatter| formatter.format(&date).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_style_and_locale() {
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
