//! Addresses: parsed once, at the edge, into the form that providers take.

use std::str::FromStr;

use email_address::{EmailAddress, Options};
use events::Channel;
use rlibphonenumber::PhoneNumber;

/// Why an address cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    #[error("is not an email address")]
    Email,
    #[error("is not a phone number with its country code, like +447700900001")]
    Phone,
    #[error("has no such channel yet")]
    Channel,
}

/// An email address with a lower-case domain, or a phone number in E.164.
///
/// # Errors
///
/// [`ContactError`]: not an address of this channel.
pub fn normalise(channel: Channel, text: &str) -> Result<String, ContactError> {
    match channel {
        Channel::Email => email(text),
        Channel::Sms => phone(text),
        Channel::Whatsapp | Channel::Messenger | Channel::Telegram => Err(ContactError::Channel),
    }
}

fn email(text: &str) -> Result<String, ContactError> {
    let options = Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };
    let address = EmailAddress::parse_with_options(text.trim(), options).map_err(|_| ContactError::Email)?;
    let domain = address.domain().to_ascii_lowercase();
    let letters = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    let top_is_number = domain.rsplit('.').next().is_some_and(|top| top.parse::<u64>().is_ok());
    match domain.chars().all(letters) && !top_is_number {
        true => Ok(format!("{}@{domain}", address.local_part())),
        false => Err(ContactError::Email),
    }
}

/// Checked for being possible, not for being in use: fictional and newly opened ranges are possible.
fn phone(text: &str) -> Result<String, ContactError> {
    let has_letters = text.chars().any(char::is_alphabetic);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number = PhoneNumber::from_str(&format!("+{digits}")).map_err(|_| ContactError::Phone)?;
    match !has_letters && text.len() <= 32 && number.is_possible_with_reason().is_ok() {
        true => Ok(number.to_string()),
        false => Err(ContactError::Phone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_brought_to_one_form() {
        let email = |text| normalise(Channel::Email, text);
        assert_eq!(email(" Ada@Example.COM "), Ok("Ada@example.com".to_owned()));
        for wrong in ["", "ada", "ada@", "@x.y", "a b@x.y", "a@exa_mple.com", "a@b", "a@example.1", "Ada <a@b.co>"] {
            assert_eq!(email(wrong), Err(ContactError::Email), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_e164() {
        let phone = |text| normalise(Channel::Sms, text);
        assert_eq!(phone("+44 7700 900001"), Ok("+447700900001".to_owned()));
        assert_eq!(phone("1 (201) 555-0123"), Ok("+12015550123".to_owned()));
        for wrong in ["", "+", "12", "+44 77", "call me", "+99912345678901234567", "+1-800-FLOWERS"] {
            assert_eq!(phone(wrong), Err(ContactError::Phone), "{wrong}");
        }
    }
}
