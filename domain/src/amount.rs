//! Amounts in the minor units of their currency, such as cents.

/// Why a text is not an amount of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("must be a decimal number such as 1500.50")]
    NotANumber,
    #[error("must not be negative")]
    Negative,
    /// The currency has fewer decimal places.
    #[error("must have at most {0} decimal places")]
    TooPrecise(usize),
    #[error("must have at most {MAX_DIGITS} digits before the decimal point")]
    TooLarge,
}

impl AmountError {
    /// A code for programs.
    pub fn code(self) -> &'static str {
        match self {
            AmountError::NotANumber => "not_an_amount",
            AmountError::Negative => "negative",
            AmountError::TooPrecise(_) => "too_precise",
            AmountError::TooLarge => "too_large",
        }
    }
}

/// Maximum number of digits before the decimal point.
const MAX_DIGITS: usize = 12;

/// Currencies of ISO 4217 that do not have two decimal places.
const NO_DECIMALS: [&str; 16] =
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"];
const THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Whether a text has the form of a currency code of ISO 4217.
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The number of decimal places of a currency.
pub fn decimal_places(currency: &str) -> usize {
    match currency {
        currency if NO_DECIMALS.contains(&currency) => 0,
        currency if THREE_DECIMALS.contains(&currency) => 3,
        _ => 2,
    }
}

/// Reads a decimal number exactly. Returns minor units.
///
/// # Errors
///
/// [`AmountError`]
pub fn parse(text: &str, currency: &str) -> Result<i64, AmountError> {
    let is_negative = text.starts_with('-');
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || text.starts_with("--") {
        return Err(AmountError::NotANumber);
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let places = decimal_places(currency);
    if MAX_DIGITS < whole.len() {
        return Err(AmountError::TooLarge);
    }
    if places < fraction.len() {
        return Err(AmountError::TooPrecise(places));
    }
    let minor = format!("0{whole}{fraction:0<places$}").parse().map_err(|_| AmountError::TooLarge)?;
    if is_negative && minor != 0 { Err(AmountError::Negative) } else { Ok(minor) }
}

/// The decimal number of an amount that is not negative, such as `1500.50`.
pub fn show(minor: i64, currency: &str) -> String {
    let places = decimal_places(currency);
    let digits = format!("{minor:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if places == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, currency, minor, shown) in [
            ("1500.50", "EUR", 150_050, "1500.50"),
            ("1500.5", "EUR", 150_050, "1500.50"),
            ("0", "EUR", 0, "0.00"),
            ("-0.00", "EUR", 0, "0.00"),
            ("0.07", "EUR", 7, "0.07"),
            ("007.10", "USD", 710, "7.10"),
            ("1200.0", "JPY", 1_200, "1200"),
            ("1.234", "KWD", 1_234, "1.234"),
            ("999999999999.99", "USD", 99_999_999_999_999, "999999999999.99"),
        ] {
            let parsed = parse(text, currency);
            assert_eq!((parsed, show(minor, currency)), (Ok(minor), shown.to_owned()), "{text} {currency}");
        }
    }

    #[test]
    fn what_is_not_an_amount_of_the_currency_says_why() {
        for (text, currency, error) in [
            ("12.345", "EUR", AmountError::TooPrecise(2)),
            ("0.30000000000000004", "EUR", AmountError::TooPrecise(2)),
            ("12.5", "JPY", AmountError::TooPrecise(0)),
            ("-5", "EUR", AmountError::Negative),
            ("1000000000000", "EUR", AmountError::TooLarge),
        ] {
            assert_eq!(parse(text, currency), Err(error), "{text} {currency}");
        }
        for text in ["", ".", "1.", ".5", "1e99", "NaN", "1,5", " 1", "+1", "--1", "٣"] {
            assert_eq!(parse(text, "EUR"), Err(AmountError::NotANumber), "{text}");
        }
    }
}
