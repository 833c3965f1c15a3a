//! What a message costs: the price lists of providers and tenants. Amounts are integers, in millionths of a currency.

use events::Channel;

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
/// Maximum number of countries in a price list.
const MAX_COUNTRIES: usize = 300;

/// Prices in US dollars where a tenant has no list of its own: provider, channel, country (`*` for any), millionths for
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

impl PriceList {
    pub fn parse(text: &str) -> Option<PriceList> {
        let (currency, list) = text.trim().split_once(' ')?;
        let prices: Option<Vec<_>> = list
            .split(',')
            .take(MAX_COUNTRIES + 1)
            .map(|entry| {
                let (country, price) = entry.split_once('=')?;
                let country = country.trim();
                let is_country = country == "*" || crate::address::is_region(country);
                Some((country.to_ascii_uppercase(), micros(price)?)).filter(|_| is_country)
            })
            .collect();
        let prices = prices.filter(|prices| prices.len() <= MAX_COUNTRIES)?;
        is_currency(currency).then(|| PriceList { currency: currency.to_owned(), prices })
    }

    fn price(&self, country: Option<&str>) -> Option<Cost> {
        let of = |name: &str| self.prices.iter().find(|(country, _)| country == name).map(|(_, micros)| *micros);
        let micros = country.and_then(of).or_else(|| of("*"))?;
        Some(Cost { micros, currency: self.currency.clone() })
    }
}

/// What a message is expected to cost: by the tenant's price list, or else by the provider's. Returns `None` if neither
/// has a price, never zero. `segments` are those of an SMS.
pub fn estimate(
    tenant_prices: Option<&str>,
    provider: &str,
    channel: Channel,
    country: Option<&str>,
    segments: Option<u16>,
) -> Option<Cost> {
    let unit = match tenant_prices.and_then(PriceList::parse) {
        Some(list) => list.price(country)?,
        None => {
            let matches = |entry: &&(&str, Channel, &str, i64)| {
                entry.0 == provider && entry.1 == channel && (entry.2 == "*" || Some(entry.2) == country)
            };
            let micros = LIST_PRICES.iter().find(matches)?.3;
            Cost { micros, currency: "USD".to_owned() }
        }
    };
    let units = if channel == Channel::Sms { i64::from(segments.unwrap_or(1)).max(1) } else { 1 };
    Some(Cost { micros: unit.micros.saturating_mul(units), ..unit })
}

/// A cost as providers write it, such as `0.0330` and `USD`. A negative amount is what the account was charged.
pub fn charged(amount: &str, currency: &str) -> Option<Cost> {
    let micros = micros(amount.trim().trim_start_matches('-'))?;
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

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// A decimal number in millionths. Further digits are cut off.
fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    let micros = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)?;
    (micros <= MAX_MICROS).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(micros: i64, currency: &str) -> Option<Cost> {
        Some(Cost { micros, currency: currency.to_owned() })
    }

    #[test]
    fn an_sms_is_priced_by_segment_and_country() {
        let of = |prices, country, segments| estimate(prices, "twilio", Channel::Sms, country, segments);
        assert_eq!(of(None, Some("US"), Some(3)), cost(22_500, "USD"));
        assert_eq!(of(None, Some("KE"), Some(1)), None, "an unknown price is not zero");
        let own = Some("KES KE=0.80, ug=1.1, *=2");
        assert_eq!(of(own, Some("KE"), Some(2)), cost(1_600_000, "KES"));
        assert_eq!(of(own, Some("UG"), None), cost(1_100_000, "KES"));
        assert_eq!(of(own, None, Some(1)), cost(2_000_000, "KES"));
        assert_eq!(of(Some("KES KE=0.8"), Some("US"), Some(1)), None, "the tenant's list replaces the other");
        assert_eq!(estimate(None, "sendgrid", Channel::Email, None, None), cost(399, "USD"));
    }

    #[test]
    fn what_is_no_price_list_is_not_read_as_one() {
        for wrong in ["", "KES", "KE=1", "kes KE=1", "KES Mars=1", "KES KE=", "KES KE=-1", "KES KE=1e9", "KES KE=1,"] {
            assert_eq!(PriceList::parse(wrong), None, "{wrong}");
        }
        let long = format!("USD {}", vec!["US=1"; 301].join(","));
        assert_eq!(PriceList::parse(&long), None);
    }

    #[test]
    fn amounts_of_providers_are_read_without_rounding_errors() {
        assert_eq!(charged("0.03330000", "EUR"), cost(33_300, "EUR"));
        assert_eq!(charged("-0.00750", "USD"), cost(7_500, "USD"));
        assert_eq!(charged("0.1", "USD"), cost(100_000, "USD"));
        assert_eq!(charged("12", "KES"), cost(12_000_000, "KES"));
        for wrong in ["", ".", "1.", "a", "1.2.3", "99999999999999999999"] {
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
