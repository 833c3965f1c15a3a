//! Consent keywords: STOP, START and HELP in several languages.

use events::Channel;
use icu_normalizer::ComposingNormalizerBorrowed;

/// What a recipient asks for with a message that contains nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentKeyword {
    Stop,
    Start,
    Help,
}

impl ConsentKeyword {
    pub fn as_str(self) -> &'static str {
        match self {
            ConsentKeyword::Stop => "stop",
            ConsentKeyword::Start => "start",
            ConsentKeyword::Help => "help",
        }
    }
}

/// Keywords on every channel, in the languages of our templates and of our providers' markets.
const STOP: &[&str] =
    &["STOP", "STOPALL", "UNSUBSCRIBE", "OPTOUT", "ALTO", "BAJA", "PARAR", "ARRET", "ARRÊT", "STOPP", "ACHA"];
const START: &[&str] = &["START", "UNSTOP", "SUBSCRIBE", "OPTIN", "ALTA", "INICIAR"];
/// Keywords of SMS alone, which carriers require. In a chat they are ordinary answers.
const SMS_STOP: &[&str] = &["END", "QUIT", "CANCEL", "REVOKE"];
const SMS_START: &[&str] = &["YES"];
const HELP: &[&str] = &["HELP", "INFO", "AYUDA", "AIDE", "MSAADA"];
/// Maximum length of a keyword in characters.
const MAX_CHARACTERS: usize = 40;

/// Recognises a message that consists of one keyword. Case, punctuation, spaces and emoji do not matter, so "Stop!" is
/// a keyword, and "stop by at nine" is not.
pub fn parse_keyword(channel: Channel, text: &str) -> Option<ConsentKeyword> {
    if MAX_CHARACTERS < text.chars().count() {
        return None;
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(text.trim());
    // Telegram bots receive `/stop`. `opt out` and `opt-out` are the same keyword.
    let word: String = plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    let keywords = [(STOP, ConsentKeyword::Stop), (START, ConsentKeyword::Start), (HELP, ConsentKeyword::Help)];
    let of_sms = [(SMS_STOP, ConsentKeyword::Stop), (SMS_START, ConsentKeyword::Start)];
    let of_sms = of_sms.into_iter().filter(|_| channel == Channel::Sms);
    keywords.into_iter().chain(of_sms).find(|(words, _)| words.contains(&word.as_str())).map(|(_, keyword)| keyword)
}

/// The stored reason of an opt-out by keyword.
pub const KEYWORD_REASON: &str = "stop_keyword";

/// Whether START lifts a suppression with this reason. It lifts what the recipient decided, but not what a provider
/// found out, such as a bounce.
pub fn is_lifted_by_start(reason: &str) -> bool {
    matches!(reason, KEYWORD_REASON | "provider_opt_out" | "blocked" | "unsubscribed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_a_chat_are_no_keywords() {
        for chat in [Channel::Whatsapp, Channel::Messenger, Channel::Telegram] {
            for text in ["yes", "Cancel", "end", "quit", "revoke"] {
                assert_eq!(parse_keyword(chat, text), None, "{text}");
                assert!(parse_keyword(Channel::Sms, text).is_some(), "{text}");
            }
            assert_eq!(parse_keyword(chat, "Stop."), Some(ConsentKeyword::Stop));
            assert_eq!(parse_keyword(chat, "/start"), Some(ConsentKeyword::Start));
        }
    }

    #[test]
    fn keywords_are_recognised_by_their_letters() {
        for text in ["STOP", " stop ", "Stop!", "ＳＴＯＰ", "stop 🛑", "/stop", "opt-out", "Baja.", "arrêt"] {
            assert_eq!(parse_keyword(Channel::Sms, text), Some(ConsentKeyword::Stop), "{text}");
        }
        assert_eq!(parse_keyword(Channel::Sms, "Start"), Some(ConsentKeyword::Start));
        assert_eq!(parse_keyword(Channel::Sms, "yes"), Some(ConsentKeyword::Start));
        assert_eq!(parse_keyword(Channel::Sms, "AYUDA"), Some(ConsentKeyword::Help));
        for text in ["", "🛑", "stop by at nine", "don't stop", "s t o p p e d", &"stop ".repeat(20)] {
            assert_eq!(parse_keyword(Channel::Sms, text), None, "{text}");
        }
    }
}
