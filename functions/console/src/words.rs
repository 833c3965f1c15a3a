//! The words that people see for the API's own names.

use serde_json::Value;

use crate::time::Clock;

/// A status: its tone, its icon and its word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusWord {
    pub tone: &'static str,
    pub icon: &'static str,
    pub word: String,
}

fn status_word(tone: &'static str, icon: &'static str, word: impl Into<String>) -> StatusWord {
    StatusWord { tone, icon, word: word.into() }
}

/// What is true of a communication now.
pub fn status(row: &Value) -> StatusWord {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    if row["complained"] == true {
        return status_word("bad", "s-bounced", "Marked as spam");
    }
    match (text("status"), text("lifecycle")) {
        ("scheduled", _) => status_word("wait", "s-scheduled", "Scheduled"),
        (_, "retry_wait") => status_word("warn", "s-retry", "Retrying"),
        (_, "in_doubt") => status_word("warn", "s-doubt", "Delivery uncertain"),
        ("queued", _) => status_word("wait", "s-queued", "Queued"),
        ("sending", _) => status_word("move", "s-sending", "Sending"),
        ("sent", _) => {
            let by = row["provider"].as_str().map_or_else(|| "provider".to_owned(), config);
            status_word("move", "s-sent", format!("Accepted by {by}"))
        }
        ("delivered", _) => status_word("good", "s-delivered", "Delivered"),
        ("opened", _) => status_word("good", "s-seen", "Opened"),
        ("read", _) => status_word("good", "s-seen", "Read"),
        ("clicked", _) => status_word("good", "s-clicked", "Clicked"),
        ("bounced", _) => status_word("bad", "s-bounced", "Bounced"),
        ("failed", "dead_lettered") => status_word("bad", "s-failed", "Dead letter"),
        ("failed", _) => status_word("bad", "s-failed", "Failed"),
        ("suppressed", _) => status_word("stop", "s-suppressed", "Suppressed"),
        ("cancelled", _) => status_word("stop", "s-cancelled", "Cancelled"),
        ("expired", _) => status_word("stop", "s-expired", "Expired"),
        (other, _) => status_word("wait", "s-queued", sentence_case(other)),
    }
}

/// A message that waits for the end of its recipient's quiet hours.
pub fn held() -> StatusWord {
    status_word("wait", "moon", "Held for quiet hours")
}

/// How far a message has come: accepted, sent to a provider, delivered, opened or read.
pub fn reach(row: &Value) -> [&'static str; 4] {
    let status = row["status"].as_str().unwrap_or_default();
    let is_sent = !row["sentAt"].is_null();
    match status {
        "opened" | "read" | "clicked" => ["y", "y", "y", "y"],
        "delivered" => ["y", "y", "y", ""],
        "sent" => ["y", "y", "", ""],
        "bounced" | "failed" if is_sent => ["y", "n", "", ""],
        "bounced" | "failed" | "suppressed" | "cancelled" | "expired" => ["n", "", "", ""],
        _ => ["y", "", "", ""],
    }
}

/// The rest of the picture beside a status, or nothing.
pub fn detail(row: &Value, clock: &Clock) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let reason = text("reason");
    let said = explain_reason(reason, row["provider"].as_str());
    match text("lifecycle") {
        "scheduled" => match clock.short(text("scheduledAt")) {
            Some(time) if text("status") == "scheduled" => format!("{}.", time.text),
            _ => String::new(),
        },
        "retry_wait" => {
            let next = u64::max(row["attempts"].as_u64().unwrap_or(0) + 1, 1);
            let at =
                clock.short(text("nextRetryAt")).map_or(String::new(), |at| format!("; attempt {next} at {}", at.text));
            format!("{said}{at}.")
        }
        _ if reason.is_empty() => String::new(),
        "cancelled" if reason == "cancelled:requested" && row["attempts"].as_u64().unwrap_or(0) == 0 => {
            "Before the first attempt.".to_owned()
        }
        _ => format!("{said}."),
    }
}

/// A reason of the API as a sentence without its full stop.
pub fn explain_reason(reason: &str, provider: Option<&str>) -> String {
    let by = provider.map_or_else(|| "the provider".to_owned(), config);
    capitalised(&reason_sentence(reason, provider, &by))
}

fn reason_sentence(reason: &str, provider: Option<&str>, by: &str) -> String {
    let (main, inner) = match reason.split_once(" (") {
        Some((main, inner)) => (main, Some(inner.trim_end_matches(')'))),
        None => (reason, None),
    };
    let (name, code) = main.split_once(':').unwrap_or((main, ""));
    let in_brackets = if code.is_empty() { String::new() } else { format!(" ({code})") };
    let because = inner.map_or(String::new(), |inner| format!(": {}", lower_first(&explain_reason(inner, provider))));
    match name {
        "transient" | "unavailable" => format!("{by} was unavailable{in_brackets}"),
        "throttled" => format!("{by} asked us to slow down{in_brackets}"),
        "permanent" if code.is_empty() => format!("Rejected permanently{because}"),
        "permanent" => format!("{by} rejected it permanently{in_brackets}"),
        "auth" => format!("{by} rejected our credentials{in_brackets}"),
        "in_doubt" if code.is_empty() => {
            format!("It is uncertain whether it was delivered, so it is not sent again{because}")
        }
        "in_doubt" => format!("No answer from {by}"),
        "bounced" => format!("The address does not take mail, reported by {by}{in_brackets}"),
        "undelivered" => format!("Not delivered, reported by {by}{in_brackets}"),
        "dropped" => format!("{by} accepted it and then dropped it{in_brackets}"),
        "retries_exhausted" => format!("All attempts failed{because}"),
        "expired" => format!("It expired before it could be sent{because}"),
        "poison" => "Its processing failed repeatedly".to_owned(),
        "unrenderable" => "It could not be rendered with its variables".to_owned(),
        "missing_file" => "A file of it is missing".to_owned(),
        "no_provider" => "No provider serves its channel".to_owned(),
        "cancelled" if !code.is_empty() => cancelled(code).to_owned(),
        "cancelled" => format!("Cancelled after an attempt with an unknown result{because}"),
        "suppressed" => suppressed(code).to_owned(),
        "" => format!("{by} refused it"),
        other => sentence_case(other),
    }
}

/// Why a message was cancelled of which nothing was sent.
fn cancelled(reason: &str) -> &'static str {
    match reason {
        "settled" => "Cancelled before it was sent, because what it is about has been settled",
        "erased" => "Cancelled before it was sent, because its content was erased",
        "fell_back" => "Cancelled before it was sent, because the next channel took over",
        _ => "Cancelled before it was sent",
    }
}

fn suppressed(reason: &str) -> &'static str {
    match reason {
        "opted_out" => "The recipient opted out",
        "channel_disabled" => "The recipient does not want this channel",
        "type_disabled" => "The recipient does not want messages of this type",
        "suppression_list" => "The address is on the suppression list",
        "do_not_contact" => "The recipient is not to be contacted",
        "erased" => "Its content was erased",
        "settled" => "What it is about has been settled",
        "collection_paused" => "The invoice is paused, disputed or promised",
        "spend_cap_reached" => "It would have passed the spend cap of the day",
        _ => "A rule forbids it",
    }
}

/// The name of an account: its provider's, if it is of the business itself, because its id says nothing to people.
pub fn account(id: &str, provider: &str) -> String {
    config(if id.contains('.') && !provider.is_empty() { provider } else { id })
}

/// The name of a provider configuration: `twilio-second` is Twilio Second.
pub fn config(id: &str) -> String {
    if id.contains('.') {
        return "Your own account".to_owned();
    }
    let words = id.split(['-', '_']).filter(|word| !word.is_empty());
    let named = |word: &str| match word {
        "sendgrid" => "SendGrid".to_owned(),
        "whatsapp" => "WhatsApp".to_owned(),
        abbreviation if abbreviation.len() <= 3 => abbreviation.to_uppercase(),
        word => sentence_case(word),
    };
    words.map(named).collect::<Vec<_>>().join(" ")
}

pub const CHANNELS: [(&str, &str); 5] = [
    ("email", "Email"),
    ("sms", "SMS"),
    ("whatsapp", "WhatsApp"),
    ("messenger", "Messenger"),
    ("telegram", "Telegram"),
];

pub fn channel(name: &str) -> &'static str {
    CHANNELS.iter().find(|(id, _)| *id == name).map_or("Any channel", |(_, word)| word)
}

pub fn channel_icon(name: &str) -> &'static str {
    CHANNELS.iter().find(|(id, _)| *id == name).map_or("messages", |(id, _)| id)
}

/// The name of a language, by its tag.
pub fn locale(tag: &str) -> String {
    match tag {
        "default" => "every language".to_owned(),
        "en" => "English".to_owned(),
        "es" => "Español".to_owned(),
        "fr" => "Français".to_owned(),
        "de" => "Deutsch".to_owned(),
        "nl" => "Nederlands".to_owned(),
        "pt" => "Português".to_owned(),
        "sw" => "Kiswahili".to_owned(),
        tag => tag.to_owned(),
    }
}

/// The statuses that lists are filtered by, with their words.
pub const STATUSES: [(&str, &str); 13] = [
    ("queued", "Queued"),
    ("scheduled", "Scheduled"),
    ("sending", "Sending"),
    ("sent", "Accepted by provider"),
    ("delivered", "Delivered"),
    ("opened", "Opened"),
    ("read", "Read"),
    ("clicked", "Clicked"),
    ("bounced", "Bounced"),
    ("failed", "Failed"),
    ("suppressed", "Suppressed"),
    ("cancelled", "Cancelled"),
    ("expired", "Expired"),
];

/// Where a message is on its way, with the words by which lists are filtered.
pub const LIFECYCLES: [(&str, &str); 10] = [
    ("queued", "Waiting for a worker"),
    ("scheduled", "Scheduled or held"),
    ("sending", "Sending"),
    ("retry_wait", "Retrying"),
    ("in_doubt", "Delivery uncertain"),
    ("sent", "Accepted by provider or further"),
    ("failed", "Failed"),
    ("dead_lettered", "Dead letter"),
    ("suppressed", "Suppressed"),
    ("cancelled", "Cancelled"),
];

/// The types of messages, with their words.
pub const TYPES: [(&str, &str); 9] = [
    ("invoice", "Invoice"),
    ("invoice_reminder", "Invoice reminder"),
    ("payment_confirmation", "Payment confirmation"),
    ("payment_link", "Payment link"),
    ("payment_reminder", "Payment reminder"),
    ("collection_notice", "Collection notice"),
    ("low_stock_alert", "Low stock alert"),
    ("user_invitation", "User invitation"),
    ("general_notification", "General notification"),
];

pub fn kind(name: &str) -> String {
    TYPES.iter().find(|(id, _)| *id == name).map_or_else(|| sentence_case(name), |(_, word)| (*word).to_owned())
}

/// Whether an account at a provider can be used now.
pub fn provider_state(is_enabled: bool, state: &str) -> StatusWord {
    match (is_enabled, state) {
        (false, _) => status_word("stop", "pause", "Disabled"),
        (true, "closed") => status_word("good", "s-delivered", "Healthy"),
        (true, "half_open") => status_word("warn", "s-retry", "Being tried again"),
        (true, _) => status_word("bad", "s-failed", "Paused"),
    }
}

/// Why an account is paused.
pub fn pause_cause(cause: &str) -> &'static str {
    match cause {
        "failing" => "Half of its last calls failed",
        "auth" => "The provider rejected our credentials",
        "balance" => "The account at the provider is empty",
        _ => "Its calls failed",
    }
}

/// The results of callbacks that lists are filtered by, with their words.
pub const CALLBACK_STATUSES: [(&str, &str); 5] = [
    ("processed", "Matched"),
    ("waiting", "Waiting for its message"),
    ("unmatched", "No message matches"),
    ("refused", "Rejected: not signed"),
    ("unreadable", "Cannot be read"),
];

/// What became of a provider's callback.
pub fn callback_status(name: &str) -> StatusWord {
    let word = CALLBACK_STATUSES.iter().find(|(id, _)| *id == name).map_or("Received", |(_, word)| word);
    match name {
        "processed" => status_word("good", "s-delivered", word),
        "waiting" => status_word("wait", "s-queued", word),
        "unmatched" => status_word("warn", "s-doubt", word),
        "refused" | "unreadable" => status_word("bad", "s-failed", word),
        _ => status_word("wait", "s-queued", word),
    }
}

/// A text of the API as the beginning of a sentence.
pub fn sentence(text: &str) -> String {
    capitalised(text)
}

/// Whom the messages of a key can reach.
pub const KEY_MODES: [(&str, &str); 3] =
    [("live", "Live: real people"), ("team", "Team: only the addresses below"), ("test", "Test: no real recipients")];

/// What a permission allows, as the end of "may".
pub fn permission(name: &str) -> &str {
    match name {
        "send" => "send, change and cancel messages",
        "view" => "see messages and their status",
        "operate" => "retry dead letters, resolve doubts, switch providers",
        "templates" => "change templates",
        "consent" => "change preferences and opt-outs",
        "automate" => "change schedules and automations",
        "integrate" => "send business events",
        "channels" => "configure providers",
        "stats" => "see statistics",
        "keys" => "create and revoke keys, change limits, read the audit log",
        "privacy" => "export and erase people’s data",
        other => other,
    }
}

/// Who acted: `key:billing` is API key “billing”.
pub fn actor(name: &str) -> String {
    match name.split_once(':') {
        Some(("key", key)) => format!("API key “{key}”"),
        Some(("user", user)) => user.to_owned(),
        Some(("webhook", provider)) => config(provider),
        Some(("pages", _)) => "the recipient, by an unsubscribe link".to_owned(),
        Some((kind, name)) => format!("{} {name}", sentence_case(kind)),
        None if name == "preference-page" => "the recipient on their preference page".to_owned(),
        None => "Tidings".to_owned(),
    }
}

/// Who can be a recipient, with their words.
pub const RECIPIENT_TYPES: [(&str, &str); 4] =
    [("customer", "Customer"), ("supplier", "Supplier"), ("user", "User"), ("contact", "Contact")];

pub fn recipient_type(name: &str) -> &'static str {
    RECIPIENT_TYPES.iter().find(|(id, _)| *id == name).map_or("Person", |(_, word)| word)
}

/// Why an address is on the suppression list, as a sentence without its full stop.
pub fn suppression_reason(reason: &str) -> String {
    let sentence = match reason {
        "bounced" => "It does not take mail, reported by the provider",
        "complained" => "The recipient marked a message as spam",
        "unsubscribed" => "The recipient unsubscribed",
        "stop_keyword" => "The recipient answered STOP",
        "provider_opt_out" => "The recipient opted out at the provider",
        "blocked" => "The recipient blocked the sender",
        "soft_bounces" => "Five messages in a row could not be delivered",
        "undelivered" => "The provider cannot deliver to it",
        "manual" => "Added by hand",
        written => return written.to_owned(),
    };
    sentence.to_owned()
}

/// `paymentLink` is `payment_link`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (place, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && 0 < place {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// An amount in millionths.
pub fn money(micros: i64, currency: &str) -> String {
    let digits = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = digits.trim_end_matches('0');
    let amount = &digits[..short.len().max(digits.len() - 4)];
    match currency {
        "EUR" => format!("€{amount}"),
        "USD" => format!("${amount}"),
        "GBP" => format!("£{amount}"),
        _ => format!("{amount} {currency}"),
    }
}

/// The name of an event: `PaymentRecorded` is Payment recorded.
pub fn event_name(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    capitalised(words.trim_start())
}

/// `low_stock` is Low stock.
pub fn sentence_case(name: &str) -> String {
    capitalised(&name.replace(['_', '-'], " "))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

pub fn lower_first(text: &str) -> String {
    // Names keep their capital letters.
    let is_name = text.split(' ').next().is_some_and(|word| word.chars().skip(1).any(char::is_uppercase));
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !is_name => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_says_who_says_so() {
        let word = |row: Value| {
            let StatusWord { tone, word, .. } = status(&row);
            format!("{tone} {word}")
        };
        assert_eq!(
            word(json!({ "status": "sent", "lifecycle": "sent", "provider": "twilio-second" })),
            "move Accepted by Twilio Second"
        );
        assert_eq!(word(json!({ "status": "failed", "lifecycle": "dead_lettered" })), "bad Dead letter");
        assert_eq!(word(json!({ "status": "queued", "lifecycle": "retry_wait" })), "warn Retrying");
        assert_eq!(word(json!({ "status": "delivered", "complained": true })), "bad Marked as spam");
    }

    #[test]
    fn reasons_are_sentences() {
        let explain = |reason| explain_reason(reason, Some("sendgrid"));
        assert_eq!(explain("unavailable:503"), "SendGrid was unavailable (503)");
        assert_eq!(explain("bounced:5.1.1"), "The address does not take mail, reported by SendGrid (5.1.1)");
        assert_eq!(
            explain("retries_exhausted (unavailable:503)"),
            "All attempts failed: SendGrid was unavailable (503)"
        );
        assert_eq!(explain("suppressed:opted_out"), "The recipient opted out");
        assert_eq!(explain("something_new"), "Something new");
        assert_eq!(explain("cancelled:requested"), "Cancelled before it was sent");
        assert_eq!(explain("cancelled"), "Cancelled after an attempt with an unknown result");
    }

    #[test]
    fn every_type_and_channel_of_the_api_has_a_word() {
        for name in events::MessageType::names() {
            assert!(TYPES.iter().any(|(id, _)| *id == name), "{name}");
        }
        for name in events::Channel::names() {
            assert!(CHANNELS.iter().any(|(id, _)| *id == name) || name == "auto", "{name}");
        }
        for name in events::SuppressReason::names() {
            assert_ne!(suppressed(name), "A rule forbids it", "{name}");
        }
    }

    #[test]
    fn every_permission_has_words() {
        for name in domain::access::Permission::ALL.map(domain::access::Permission::as_str) {
            assert!(permission(name).contains(' '), "{name}");
        }
    }

    #[test]
    fn small_amounts_keep_their_digits() {
        assert_eq!(
            [money(399, "USD"), money(1_190_000, "EUR"), money(7_500, "KES")],
            ["$0.000399", "€1.19", "0.0075 KES"]
        );
    }
}
