//! Consent keywords: STOP, START and HELP in several languages.

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

/// The carriers' English keywords, then the languages of our templates and of our providers' markets.
const STOP: &[&str] = &[
    "STOP",
    "STOPALL",
    "UNSUBSCRIBE",
    "END",
    "QUIT",
    "CANCEL",
    "OPTOUT",
    "REVOKE",
    "ALTO",
    "BAJA",
    "PARAR",
    "ARRET",
    "ARRÊT",
    "STOPP",
    "ACHA",
];
const START: &[&str] = &["START", "UNSTOP", "YES", "SUBSCRIBE", "OPTIN", "ALTA", "INICIAR"];
const HELP: &[&str] = &["HELP", "INFO", "AYUDA", "AIDE", "MSAADA"];
/// Maximum length of a keyword in characters.
const MAX_CHARACTERS: usize = 40;

/// Recognises a message that consists of one keyword. Case, punctuation, spaces and emoji do not matter, so "Stop!" is
/// a keyword, and "stop by at nine" is not.
pub fn parse_keyword(text: &str) -> Option<ConsentKeyword> {
    if MAX_CHARACTERS < text.chars().count() {
        return None;
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(text.trim());
    // Telegram bots receive `/stop`. `opt out` and `opt-out` are the same keyword.
    let word: String = plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    let keywords = [(STOP, ConsentKeyword::Stop), (START, ConsentKeyword::Start), (HELP, ConsentKeyword::Help)];
    keywords.into_iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, keyword)| keyword)
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
    fn keywords_are_recognised_by_their_letters() {
        for text in ["STOP", " stop ", "Stop!", "ＳＴＯＰ", "stop 🛑", "/stop", "opt-out", "Baja.", "arrêt"] {
            assert_eq!(parse_keyword(text), Some(ConsentKeyword::Stop), "{text}");
        }
        assert_eq!(parse_keyword("Start"), Some(ConsentKeyword::Start));
        assert_eq!(parse_keyword("yes"), Some(ConsentKeyword::Start));
        assert_eq!(parse_keyword("AYUDA"), Some(ConsentKeyword::Help));
        for text in ["", "🛑", "stop by at nine", "don't stop", "s t o p p e d", &"stop ".repeat(20)] {
            assert_eq!(parse_keyword(text), None, "{text}");
        }
    }
}
