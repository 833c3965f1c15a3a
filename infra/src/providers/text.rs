//! Message texts within a provider's limits.

use domain::provider::OutboundMessage;

pub(super) fn truncated_text(outbound: &OutboundMessage, max_characters: usize) -> String {
    domain::sms::truncate(&outbound.message.text, max_characters)
}

/// The text for a channel without media, locations and buttons. Their addresses follow the text, one on each line.
pub(super) fn text_with_links(outbound: &OutboundMessage, max_characters: usize) -> String {
    let message = &outbound.message;
    let mut lines: Vec<String> = Vec::new();
    if !message.text.is_empty() {
        lines.push(message.text.clone());
    }
    lines.extend(message.media.iter().map(|link| format!("{}: {}", link.name, link.url)));
    lines.extend(message.location.iter().map(|location| location.url()));
    lines.extend(message.buttons.iter().filter_map(|button| {
        let url = button.url.as_ref()?;
        Some(format!("{}: {url}", button.text))
    }));
    domain::sms::truncate(&lines.join("\n"), max_characters)
}
