//! Words by which people say whether they want to be written to.

use icu::normalizer::ComposingNormalizerBorrowed;

/// What a message says as a whole, if it says only that.
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

/// English as the carriers define it, then the languages of our templates and of the markets of our providers.
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
/// Longer texts are not keywords.
const MAX_CHARACTERS: usize = 40;

/// The whole message, compared without case, punctuation, spaces and pictures: "Stop!" counts, "stop by at nine" does not.
pub fn parse_keyword(text: &str) -> Option<ConsentKeyword> {
    if MAX_CHARACTERS < text.chars().count() {
        return None;
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(text.trim());
    // `/stop` is how a Telegram bot is told; `opt out` and `opt-out` are one word.
    let word: String = plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    let is_in = |words: &[&str]| words.contains(&word.as_str());
    match () {
        () if is_in(STOP) => Some(ConsentKeyword::Stop),
        () if is_in(START) => Some(ConsentKeyword::Start),
        () if is_in(HELP) => Some(ConsentKeyword::Help),
        () => None,
    }
}

/// The reason kept for an opt-out by word.
pub const KEYWORD_REASON: &str = "stop_keyword";

/// A START takes back what the person said, not what a provider found out.
pub fn is_lifted_by_start(reason: &str) -> bool {
    matches!(reason, KEYWORD_REASON | "provider_opt_out" | "blocked" | "unsubscribed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_by_their_letters_alone() {
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
