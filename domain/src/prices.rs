//! What a message costs: the price lists of providers and tenants. Amounts are integers, in millionths of a currency.

use events::Channel;

use crate::address;

/// The setting of every provider configuration that holds its [`PriceList`].
pub const SETTING: &str = "prices";

/// An amount of money, in millionths of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    pub micros: i64,
    /// ISO 4217, such as `USD`.
    pub currency: String,
}

/// What an accepted message costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageCost {
    pub cost: Cost,
    /// Whether it comes from a price list and not from the provider.
    pub is_estimate: bool,
}

/// Maximum amount of one message, in millionths: a million.
const MAX_MICROS: i64 = 1_000_000_000_000;

/// The currency of [`LIST_PRICES`].
pub const LIST_CURRENCY: &str = "USD";
/// Prices where a configuration has no list of its own: provider, channel, country (`*` for any), millionths for
/// each message, or for each segment of an SMS.
///
/// The list prices of 2025 that the sources of this project quote: Twilio SMS $0.0075 in the United States, WhatsApp
/// $0.005 and $0.0042, Messenger $0.0025; SendGrid $19.95 for 50,000 emails.
const LIST_PRICES: [(&str, Channel, &str, i64); 4] = [
    ("twilio", Channel::Sms, "US", 7_500),
    ("twilio", Channel::Whatsapp, "*", 9_200),
    ("twilio", Channel::Messenger, "*", 2_500),
    ("sendgrid", Channel::Email, "*", 399),
];

/// The prices of one provider configuration, by country: `KES KE=0.80, UG=1.10, *=2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    currency: String,
    /// Prices by country. `*` is every other one.
    prices: Vec<(String, i64)>,
}

/// Why a text is no price list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceListError {
    #[error("{0:?} is not a currency code such as KES")]
    Currency(String),
    #[error("{0:?} is not a country and its price, such as KE=0.80")]
    Entry(String),
    #[error("{0:?} is not an ISO 3166 country code such as KE, or * for any other")]
    Country(String),
    #[error("{0:?} is not a price such as 0.80, with at most six decimals")]
    Price(String),
    #[error("{0} has two prices")]
    Repeated(String),
}

impl PriceList {
    /// # Errors
    ///
    /// [`PriceListError`]: the first fault.
    pub fn parse(text: &str) -> Result<PriceList, PriceListError> {
        let (currency, list) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if !is_currency(currency) {
            return Err(PriceListError::Currency(excerpt(currency)));
        }
        let mut prices: Vec<(String, i64)> = Vec::new();
        for entry in list.split(',') {
            let (country, price) = entry.split_once('=').ok_or_else(|| PriceListError::Entry(excerpt(entry)))?;
            let country = country.trim().to_ascii_uppercase();
            if country != "*" && !address::is_region(&country) {
                return Err(PriceListError::Country(excerpt(&country)));
            }
            let (micros, is_exact) = micros(price).ok_or_else(|| PriceListError::Price(excerpt(price)))?;
            if !is_exact {
                return Err(PriceListError::Price(excerpt(price)));
            }
            if prices.iter().any(|(known, _)| *known == country) {
                return Err(PriceListError::Repeated(country));
            }
            prices.push((country, micros));
        }
        Ok(PriceList { currency: currency.to_owned(), prices })
    }

    pub fn currency(&self) -> &str {
        &self.currency
    }

    fn price(&self, country: Option<&str>) -> Option<Cost> {
        let of = |name: &str| self.prices.iter().find(|(country, _)| country == name).map(|(_, micros)| *micros);
        let micros = country.and_then(of).or_else(|| of("*"))?;
        Some(Cost { micros, currency: self.currency.clone() })
    }
}

/// The beginning of a text that is at fault.
fn excerpt(text: &str) -> String {
    text.trim().chars().take(20).collect()
}

/// What a message to an address is expected to cost: by the price list of its configuration, or else by that of its
/// provider. Returns `None` if neither has a price, never zero. `segments` are those of an SMS.
pub fn estimate(
    prices: Option<&PriceList>,
    provider: &str,
    channel: Channel,
    to: &str,
    segments: Option<u16>,
) -> Option<Cost> {
    let country = matches!(channel, Channel::Sms | Channel::Whatsapp).then(|| address::country_of(to)).flatten();
    let unit = match prices {
        Some(list) => list.price(country.as_deref())?,
        None => {
            let matches = |entry: &&(&str, Channel, &str, i64)| {
                entry.0 == provider && entry.1 == channel && (entry.2 == "*" || Some(entry.2) == country.as_deref())
            };
            let micros = LIST_PRICES.iter().find(matches)?.3;
            Cost { micros, currency: LIST_CURRENCY.to_owned() }
        }
    };
    let units = if channel == Channel::Sms { i64::from(segments.unwrap_or(1)).max(1) } else { 1 };
    Some(Cost { micros: unit.micros.saturating_mul(units), ..unit })
}

/// A cost as providers write it, such as `0.0330` and `USD`. A negative amount is what the account was charged.
pub fn charged(amount: &str, currency: &str) -> Option<Cost> {
    let amount = amount.trim();
    let (micros, _) = micros(amount.strip_prefix('-').unwrap_or(amount))?;
    is_currency(currency).then(|| Cost { micros, currency: currency.to_owned() })
}

/// The sum of the parts of a message, if all are known and in one currency.
pub fn total(parts: impl IntoIterator<Item = Option<Cost>>) -> Option<Cost> {
    parts.into_iter().reduce(|sum, part| {
        let (sum, part) = (sum?, part?);
        let micros = sum.micros.checked_add(part.micros)?;
        (sum.currency == part.currency).then_some(Cost { micros, ..sum })
    })?
}

/// Whether a text has the form of an ISO 4217 code.
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// A decimal number in millionths, and whether it is exact. Further digits are cut off.
fn micros(text: &str) -> Option<(i64, bool)> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let padded = format!("{fraction:0<6}");
    let (fraction, rest) = padded.split_at(6);
    let fraction: i64 = fraction.parse().ok()?;
    let micros = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)?;
    (micros <= MAX_MICROS).then_some((micros, rest.bytes().all(|digit| digit == b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(micros: i64, currency: &str) -> Option<Cost> {
        Some(Cost { micros, currency: currency.to_owned() })
    }

    #[test]
    fn an_sms_is_priced_by_segment_and_country() {
        let (us, ke, ug, unknown) = ("+12025550123", "+254711000000", "+256772000000", "12");
        let of = |prices: Option<&str>, to, segments| {
            let prices = prices.map(|prices| PriceList::parse(prices).expect("a price list"));
            estimate(prices.as_ref(), "twilio", Channel::Sms, to, segments)
        };
        assert_eq!(of(None, us, Some(3)), cost(22_500, "USD"));
        assert_eq!(of(None, ke, Some(1)), None, "an unknown price is not zero");
        let own = Some("KES KE=0.80, ug=1.1, *=2");
        assert_eq!(of(own, ke, Some(2)), cost(1_600_000, "KES"));
        assert_eq!(of(own, ug, None), cost(1_100_000, "KES"));
        assert_eq!(of(own, unknown, Some(1)), cost(2_000_000, "KES"));
        assert_eq!(of(Some("KES KE=0.8"), us, Some(1)), None, "the configuration's list replaces the other");
        assert_eq!(estimate(None, "sendgrid", Channel::Email, "a@example.com", None), cost(399, "USD"));
    }

    #[test]
    fn what_is_no_price_list_is_refused_with_the_reason() {
        use PriceListError::{Country, Currency, Entry, Price, Repeated};
        let text = str::to_owned;
        for (wrong, error) in [
            ("", Currency(text(""))),
            ("KE=1", Currency(text("KE=1"))),
            ("kes KE=1", Currency(text("kes"))),
            ("KES", Entry(text(""))),
            ("KES --5", Entry(text("--5"))),
            ("KES KE=1,", Entry(text(""))),
            ("KES Mars=1", Country(text("MARS"))),
            ("KES QZ=1", Country(text("QZ"))),
            ("KES KE=", Price(text(""))),
            ("KES KE=--5", Price(text("--5"))),
            ("KES KE=-1", Price(text("-1"))),
            ("KES KE=1e9", Price(text("1e9"))),
            ("KES KE=0.0000001", Price(text("0.0000001"))),
            ("KES KE=1, ke=2", Repeated(text("KE"))),
            ("KES *=1, KE=1, *=1", Repeated(text("*"))),
        ] {
            assert_eq!(PriceList::parse(wrong), Err(error), "{wrong}");
        }
    }

    #[test]
    fn amounts_of_providers_are_read_without_rounding_errors() {
        assert_eq!(charged("0.03330000", "EUR"), cost(33_300, "EUR"));
        assert_eq!(charged("-0.00750", "USD"), cost(7_500, "USD"));
        assert_eq!(charged("0.1", "USD"), cost(100_000, "USD"));
        assert_eq!(charged("12", "KES"), cost(12_000_000, "KES"));
        for wrong in ["", ".", "1.", "a", "1.2.3", "--5", "99999999999999999999"] {
            assert_eq!(charged(wrong, "USD"), None, "{wrong}");
        }
        assert_eq!(charged("1", "dollars"), None);
    }

    #[test]
    fn a_total_needs_every_part_in_one_currency() {
        assert_eq!(total([cost(1, "EUR"), cost(2, "EUR")]), cost(3, "EUR"));
        assert_eq!(total([cost(1, "EUR"), None]), None);
        assert_eq!(total([cost(1, "EUR"), cost(1, "USD")]), None);
        assert_eq!(total([]), None);
    }
}
