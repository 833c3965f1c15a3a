//! Amounts in the format of a locale and currency.

use fixed_decimal::{Decimal, SignedRoundingMode, UnsignedRoundingMode};
use icu_decimal::DecimalFormatter;
use icu_experimental::dimension::currency::CurrencyType;
use icu_experimental::dimension::currency::formatter::CurrencyFormatter;
use icu_locale::Locale;

use crate::formatters::{self, Kept};

thread_local! {
    /// By currency and locale.
    static FORMATTERS: Kept<(String, String), CurrencyFormatter<DecimalFormatter>> = const { Kept::new(Vec::new()) };
}

/// Why an amount cannot be formatted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("`{0}` is not an amount")]
    Amount(String),
    #[error("`{0}` is not a currency code of three letters")]
    Currency(String),
    #[error("`{0}` is not a locale")]
    Locale(String),
}

/// An amount in minor units as a decimal number: 12100 and `EUR` become `121.00`.
pub fn decimal(minor: i64, currency: &str) -> String {
    let mut value = Decimal::from(minor);
    value.multiply_pow10(-minor_digits(currency));
    value.to_string()
}

/// Formats an amount: `1500.5`, `USD` and `en-US` become `$1,500.50`. An amount that is already formatted (`$1,500.50`)
/// is accepted too.
///
/// # Errors
///
/// [`MoneyError`] names the argument that is invalid.
pub fn format(amount: &str, currency: &str, locale: &str) -> Result<String, MoneyError> {
    let invalid_amount = || MoneyError::Amount(amount.chars().take(40).collect());
    let is_part = |c: &char| c.is_ascii_digit() || matches!(c, '.' | '-' | 'e' | 'E' | '+');
    let plain: String = amount.chars().filter(is_part).collect();
    let is_foreign = |c: char| !c.is_ascii_digit() && !" ,.+-eE$€£¥₹\u{a0}".contains(c);
    if plain.len() > 40 || amount.contains(is_foreign) {
        return Err(invalid_amount());
    }
    let mut value: Decimal = plain.parse().map_err(|_| invalid_amount())?;
    let half_up = SignedRoundingMode::Unsigned(UnsignedRoundingMode::HalfExpand);
    if value.absolute.magnitude_range().end() > &15 {
        return Err(invalid_amount());
    }
    value.round_with_mode(-6, half_up);
    let invalid_currency = || MoneyError::Currency(currency.chars().take(10).collect());
    let invalid_locale = || MoneyError::Locale(locale.chars().take(20).collect());
    let make = || {
        let code = CurrencyType::try_from_str(&currency.to_ascii_lowercase()).map_err(|_| invalid_currency())?;
        let preferences = locale.parse::<Locale>().map_err(|_| invalid_locale())?.into();
        let formatter = CurrencyFormatter::try_new_symbol(preferences, code, Default::default());
        Ok(((currency.to_owned(), locale.to_owned()), formatter.map_err(|_| invalid_currency())?))
    };
    let is = |key: &(String, String)| key.0 == currency && key.1 == locale;
    formatters::with(&FORMATTERS, is, make, |formatter| formatter.format_fixed_decimal(&value).to_string())
}

/// Formats an amount in minor units of the currency: `150050`, `USD` and `en-US` become `$1,500.50`.
///
/// # Errors
///
/// [`MoneyError`] names the argument that is invalid.
pub fn format_minor(amount: i64, currency: &str, locale: &str) -> Result<String, MoneyError> {
    format(&decimal(amount, currency), currency, locale)
}

/// The digits of a currency after the decimal separator, by ISO 4217.
pub fn minor_digits(currency: &str) -> i16 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_become_decimals() {
        for (minor, currency, expected) in [
            (12_100, "EUR", "121.00"),
            (5, "USD", "0.05"),
            (-5, "USD", "-0.05"),
            (980, "JPY", "980"),
            (1, "KWD", "0.001"),
        ] {
            assert_eq!(decimal(minor, currency), expected);
        }
    }

    #[test]
    fn amounts_follow_currency_and_locale() {
        for (amount, currency, locale, expected) in [
            ("1500000.5", "USD", "en-US", "$1,500,000.50"),
            ("1500000.5", "EUR", "de", "1.500.000,50\u{a0}€"),
            ("1500000.5", "INR", "en-IN", "₹15,00,000.50"),
            ("1500001", "JPY", "en-US", "¥1,500,001"),
            ("$1,500.00", "USD", "en-US", "$1,500.00"),
            ("-3", "USD", "en-US", "-$3.00"),
            ("0.005", "USD", "en-US", "$0.01"),
        ] {
            assert_eq!(format(amount, currency, locale).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn minor_units_have_the_digits_of_their_currency() {
        for (amount, currency, expected) in [
            (150_050, "USD", "$1,500.50"),
            (-5, "USD", "-$0.05"),
            (1500, "JPY", "¥1,500"),
            (1500, "KWD", "KWD\u{a0}1.500"),
        ] {
            assert_eq!(format_minor(amount, currency, "en-US").as_deref(), Ok(expected));
        }
        assert!(matches!(format_minor(i64::MAX, "USD", "en-US"), Err(MoneyError::Amount(_))));
    }

    #[test]
    fn errors_name_the_invalid_argument() {
        assert!(matches!(format("a lot", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("1e99999999", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("1", "dollars", "en"), Err(MoneyError::Currency(_))));
        assert!(matches!(format("1", "USD", "!"), Err(MoneyError::Locale(_))));
    }
}
