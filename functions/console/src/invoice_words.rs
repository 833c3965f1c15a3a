//! The words that people see for invoices and their reminders.

use crate::words::{StatusWord, sentence_case};

fn word(tone: &'static str, icon: &'static str, word: impl Into<String>) -> StatusWord {
    StatusWord { tone, icon, word: word.into() }
}

/// Where an invoice stands.
pub fn stage_word(stage: &str) -> StatusWord {
    match stage {
        "open" => word("wait", "s-scheduled", "Open"),
        "collecting" => word("move", "s-sending", "Reminders under way"),
        "paused" => word("stop", "pause", "Paused"),
        "promised" => word("wait", "s-scheduled", "Promised"),
        "ladder_over" => word("warn", "warn", "All reminders sent, not paid"),
        "disputed" => word("stop", "s-suppressed", "Disputed"),
        "settled" => word("good", "s-delivered", "Paid"),
        "voided" => word("stop", "s-cancelled", "Void"),
        "written_off" => word("stop", "s-cancelled", "Written off"),
        "not_collectible" => word("stop", "s-suppressed", "Not collected"),
        "unissued" => word("wait", "s-queued", "Not issued yet"),
        other => word("stop", "s-suppressed", sentence_case(other)),
    }
}

/// What became of a reminder.
pub fn outcome_word(outcome: &str, reason: Option<&str>) -> StatusWord {
    match (outcome, reason) {
        ("issued" | "sent", _) => word("good", "s-sent", "Sent"),
        ("triggered", _) => word("move", "s-sending", "Leaves soon"),
        ("skipped", Some("settled")) => word("stop", "s-cancelled", "Not needed: paid"),
        ("skipped", reason) => word("stop", "s-suppressed", skipped(reason.unwrap_or_default())),
        ("postponed", _) => word("wait", "moon", "Postponed"),
        ("waits", _) => word("wait", "s-scheduled", "Waits"),
        ("not_sent", _) => word("stop", "s-suppressed", "Not sent"),
        (other, _) => word("stop", "s-suppressed", sentence_case(other)),
    }
}

fn skipped(reason: &str) -> String {
    let why = match reason {
        "superseded" => "a later one was due",
        "known_too_late" => "the invoice was not known yet",
        "too_late" => "it was too late for it",
        "not_collectible" => "paused, disputed or void",
        "no_contact" => "no address",
        "opted_out" => "opted out",
        "refused" => "the message was refused",
        "" => return "Skipped".to_owned(),
        other => return format!("Skipped: {}", other.replace('_', " ")),
    };
    format!("Skipped: {why}")
}

/// `d7` is After 7 days.
pub fn step_name(id: &str) -> String {
    match id.strip_prefix('d').and_then(|days| days.parse::<u32>().ok()) {
        Some(1) => "After 1 day".to_owned(),
        Some(days) => format!("After {days} days"),
        None => sentence_case(id),
    }
}

/// An amount in minor units, as English writes it.
pub fn owed(minor: i64, currency: &str) -> Option<String> {
    domain::money::format_minor(minor, currency, "en").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_are_named_by_their_days() {
        assert_eq!(["d1", "d30", "final_call"].map(step_name), ["After 1 day", "After 30 days", "Final call"]);
        assert_eq!(outcome_word("skipped", Some("no_contact")).word, "Skipped: no address");
        assert_eq!(owed(1_240_000, "EUR").as_deref(), Some("€12,400.00"));
    }
}
