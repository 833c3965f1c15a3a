//! Addresses of recipients, parsed at acceptance into the form that providers expect.

use std::str::FromStr;

use email_address::{EmailAddress, Options};
use events::Channel;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, Region};

/// Why a text is not an address of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("is not an email address")]
    Email,
    #[error("is not a phone number with its country code, like +447700900001")]
    Phone,
    #[error("is not a page-scoped id of Messenger, which consists of digits")]
    Psid,
    #[error("is not a chat id, such as 123456789 or -1001234567890, nor a channel's @name")]
    Chat,
}

/// Normalises an address: an email address with a lower-case domain, a phone number in E.164, a page-scoped id of
/// Messenger or a chat of Telegram. `region` is the country (ISO 3166) of numbers without a country code.
///
/// # Errors
///
/// [`AddressError`] if the text is not an address of this channel.
pub fn normalise(channel: Channel, text: &str, region: Option<&str>) -> Result<String, AddressError> {
    match channel {
        Channel::Email => email(text),
        Channel::Sms => phone(text, region),
        Channel::Whatsapp => phone(text.trim().strip_prefix("whatsapp:").unwrap_or(text), region),
        Channel::Messenger => psid(text),
        Channel::Telegram => chat(text),
    }
}

/// The channels for which a text is an address in its normal form.
pub fn channels_of(address: &str) -> impl Iterator<Item = Channel> {
    let is_normal = move |channel: &Channel| normalise(*channel, address, None).is_ok_and(|normal| normal == address);
    Channel::ALL.iter().copied().filter(is_normal)
}

fn psid(text: &str) -> Result<String, AddressError> {
    let id = text.trim();
    let id = id.strip_prefix("messenger:").unwrap_or(id);
    let is_valid = (5..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
    if is_valid { Ok(id.to_owned()) } else { Err(AddressError::Psid) }
}

fn chat(text: &str) -> Result<String, AddressError> {
    let id = text.trim();
    let digits = id.strip_prefix('-').unwrap_or(id);
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let name = id.strip_prefix('@').unwrap_or_default();
    let is_name = (5..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_number || is_name { Ok(id.to_owned()) } else { Err(AddressError::Chat) }
}

/// Whether the region is a known country code.
pub fn is_region(region: &str) -> bool {
    country(region).is_some()
}

/// Whether a text lists countries, such as `KE,TZ`, or is `*` for all of them.
pub fn is_country_list(text: &str) -> bool {
    text.trim() == "*" || text.split(',').all(|name| is_region(name.trim()))
}

/// Whether a phone number in E.164 belongs to one of these countries: `KE,TZ`, or `*` for all. For a number outside
/// every country's plan (fictional or newly opened), the calling code decides.
pub fn is_in_countries(number: &str, countries: &str) -> bool {
    if countries.trim() == "*" {
        return true;
    }
    let Ok(number) = PhoneNumber::from_str(number) else { return false };
    let allowed = countries.split(',').filter_map(|name| country(name.trim()));
    let code = |region: Region| PHONE_NUMBER_UTIL.get_country_code_for_region(region);
    let is_in = |region: Region| match number.get_region_code() {
        Some(actual) => actual == region,
        None => code(region) == Some(number.country_code),
    };
    allowed.into_iter().any(is_in)
}

/// The country of a phone number in E.164, such as `KE`. Returns `None` if it belongs to no country's plan.
pub fn country_of(number: &str) -> Option<String> {
    Some(PhoneNumber::from_str(number).ok()?.get_region_code()?.to_string())
}

fn country(region: &str) -> Option<Region> {
    let has_numbers = |region: &Region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some();
    region.parse().ok().filter(has_numbers)
}

fn email(text: &str) -> Result<String, AddressError> {
    let options = Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };
    let address = EmailAddress::parse_with_options(text.trim(), options).map_err(|_| AddressError::Email)?;
    let domain = address.domain().to_ascii_lowercase();
    let letters = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    let top_is_number = domain.rsplit('.').next().is_some_and(|top| top.parse::<u64>().is_ok());
    if domain.chars().all(letters) && !top_is_number {
        Ok(format!("{}@{domain}", address.local_part()))
    } else {
        Err(AddressError::Email)
    }
}

/// Checks that the number is possible, not that it is in use, so fictional and newly opened ranges are accepted. Without a
/// plus and a region it must be in use: a national number would else be one of another country.
fn phone(text: &str, region: Option<&str>) -> Result<String, AddressError> {
    let has_letters = text.chars().any(char::is_alphabetic);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number = match region.filter(|_| !text.trim_start().starts_with('+')) {
        Some(region) => PhoneNumber::parse(text, country(region)).map_err(|_| AddressError::Phone)?,
        None => PhoneNumber::from_str(&format!("+{digits}")).map_err(|_| AddressError::Phone)?,
    };
    let says_its_country = region.is_some() || text.trim_start().starts_with('+');
    let e164 = number.to_string();
    // One national prefix is dropped, as in +44 (0)7700 900001. What begins with two has no normal form.
    let is_normal = e164 == text || PhoneNumber::from_str(&e164).is_ok_and(|again| again.to_string() == e164);
    let is_known = says_its_country || number.is_valid();
    if is_known && is_normal && !has_letters && text.len() <= 32 && number.is_possible_with_reason().is_ok() {
        Ok(e164)
    } else {
        Err(AddressError::Phone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_normalised() {
        let email = |text| normalise(Channel::Email, text, None);
        assert_eq!(email(" Ada@Example.COM "), Ok("Ada@example.com".to_owned()));
        for wrong in ["", "ada", "ada@", "@x.y", "a b@x.y", "a@exa_mple.com", "a@b", "a@example.1", "Ada <a@b.co>"] {
            assert_eq!(email(wrong), Err(AddressError::Email), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_one_of_every_channel_that_has_its_form() {
        let channels = |address| channels_of(address).collect::<Vec<_>>();
        assert_eq!(channels("+447700900001"), [Channel::Sms, Channel::Whatsapp]);
        assert_eq!(channels("ada@example.com"), [Channel::Email]);
        assert_eq!(channels("123456789"), [Channel::Messenger, Channel::Telegram]);
    }

    #[test]
    fn a_number_without_a_plus_is_not_taken_for_one_of_another_country() {
        let phone = |text, region| normalise(Channel::Sms, text, region).ok();
        for national in ["612 345 678", "5512345678", "07700 900001"] {
            assert_eq!(phone(national, None), None, "{national}");
        }
        assert_eq!(phone("612 345 678", Some("ES")).as_deref(), Some("+34612345678"));
        assert_eq!(phone("254711000000", None).as_deref(), Some("+254711000000"));
        assert_eq!(phone("+447700900001", None).as_deref(), Some("+447700900001"));
    }

    #[test]
    fn a_number_belongs_to_its_country() {
        for (number, countries, expected) in [
            ("+254711000000", "KE", true),
            ("+254711000000", "TZ, KE", true),
            ("+254711000000", "TZ", false),
            ("+254711000000", "*", true),
            ("+447700900001", "GB", true),
            ("+12025550123", "US", true),
            // Jamaica shares the calling code of the United States.
            ("+18762100000", "US", false),
            ("nonsense", "US", false),
        ] {
            assert_eq!(is_in_countries(number, countries), expected, "{number} {countries}");
        }
    }

    #[test]
    fn the_country_of_a_number_is_known() {
        let countries =
            ["+254711000000", "+12025550123", "+18762100000", "-1001234567890", "ada@example.com"].map(country_of);
        assert_eq!(countries.each_ref().map(Option::as_deref), [Some("KE"), Some("US"), Some("JM"), None, None]);
    }

    #[test]
    fn numbers_are_normalised_to_e164() {
        let phone = |text| normalise(Channel::Sms, text, None);
        assert_eq!(phone("+44 7700 900001"), Ok("+447700900001".to_owned()));
        assert_eq!(phone("1 (201) 555-0123"), Ok("+12015550123".to_owned()));
        assert_eq!(phone("+44 (0)7700 900001"), Ok("+447700900001".to_owned()));
        for wrong in
            ["", "+4\0\0\0900 900001", "+", "12", "+44 77", "call me", "+99912345678901234567", "+1-800-FLOWERS"]
        {
            assert_eq!(phone(wrong), Err(AddressError::Phone), "{wrong}");
        }
    }

    #[test]
    fn numbers_without_a_country_code_belong_to_the_default_region() {
        let kenyan = |text| normalise(Channel::Sms, text, Some("KE"));
        assert_eq!(kenyan("0711 000 000"), Ok("+254711000000".to_owned()));
        assert_eq!(kenyan("711000000"), Ok("+254711000000".to_owned()));
        assert_eq!(kenyan("+44 7700 900001"), Ok("+447700900001".to_owned()));
        assert_eq!(kenyan("12"), Err(AddressError::Phone));
        assert!(is_region("KE") && is_region("ke") && !is_region("ZZ9") && !is_region("QZ"));
    }

    #[test]
    fn each_channel_has_its_own_addresses() {
        let of = |channel, text| normalise(channel, text, None);
        assert_eq!(of(Channel::Whatsapp, "whatsapp:+447700900001"), Ok("+447700900001".to_owned()));
        assert_eq!(of(Channel::Messenger, "messenger:1234567890"), Ok("1234567890".to_owned()));
        assert_eq!(of(Channel::Messenger, "ada"), Err(AddressError::Psid));
        for chat in ["123456789", "-1001234567890", "@tidings_news"] {
            assert_eq!(of(Channel::Telegram, chat), Ok(chat.to_owned()));
        }
        for wrong in ["", "@ada", "12a", "--1"] {
            assert_eq!(of(Channel::Telegram, wrong), Err(AddressError::Chat), "{wrong}");
        }
    }
}
