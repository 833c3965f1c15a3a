//! Amounts as people write them.

use fixed_decimal::{Decimal, SignedRoundingMode, UnsignedRoundingMode};
use icu::locale::Locale;
use icu_experimental::dimension::currency::CurrencyType;
use icu_experimental::dimension::currency::formatter::CurrencyFormatter;

/// Why an amount cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("`{0}` is not an amount")]
    Amount(String),
    #[error("`{0}` is not a currency code of three letters")]
    Currency(String),
    #[error("`{0}` is not a locale")]
    Locale(String),
}

/// `1500.5`, `USD`, `en-US` → `$1,500.50`. An amount that is written already (`$1,500.50`) is taken too.
///
/// # Errors
///
/// [`MoneyError`]: one of the three cannot be read.
pub fn format(amount: &str, currency: &str, locale: &str) -> Result<String, MoneyError> {
    let wrong_amount = || MoneyError::Amount(amount.chars().take(40).collect());
    let written = |c: &char| c.is_ascii_digit() || matches!(c, '.' | '-' | 'e' | 'E' | '+');
    let plain: String = amount.chars().filter(written).collect();
    let foreign = |c: char| !c.is_ascii_digit() && !" ,.+-eE$€£¥₹\u{a0}".contains(c);
    if plain.len() > 40 || amount.contains(foreign) {
        return Err(wrong_amount());
    }
    let mut value: Decimal = plain.parse().map_err(|_| wrong_amount())?;
    let half = SignedRoundingMode::Unsigned(UnsignedRoundingMode::HalfExpand);
    if value.absolute.magnitude_range().end() > &15 {
        return Err(wrong_amount());
    }
    value.round_with_mode(-6, half);
    let wrong_currency = || MoneyError::Currency(currency.chars().take(10).collect());
    let code = CurrencyType::try_from_str(&currency.to_ascii_lowercase()).map_err(|_| wrong_currency())?;
    let wrong_locale = || MoneyError::Locale(locale.chars().take(20).collect());
    let locale: Locale = locale.parse().map_err(|_| wrong_locale())?;
    let formatter =
        CurrencyFormatter::try_new_symbol(locale.into(), code, Default::default()).map_err(|_| wrong_currency())?;
    Ok(formatter.format_fixed_decimal(&value).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_not_money_is_said_so() {
        assert!(matches!(format("a lot", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("1e99999999", "USD", "en"), Err(MoneyError::Amount(_))));
        assert!(matches!(format("1", "dollars", "en"), Err(MoneyError::Currency(_))));
        assert!(matches!(format("1", "USD", "!"), Err(MoneyError::Locale(_))));
    }
}
