//! The content of a message as the caller gave it. It is personal data, so it is stored only in the vault.

use serde::{Deserialize, Serialize};

/// The content of one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageContent {
    pub recipient_contact: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The subject as rendered at acceptance. Lists show it.
    #[serde(rename = "shownSubject", default, skip_serializing_if = "Option::is_none")]
    pub rendered_subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// A template that the provider stores and has approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_template: Option<ProviderTemplate>,
    /// The caller's own data about the message, an object. It is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

/// A file of the message, with its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentLink {
    pub filename: String,
    pub file_url: String,
    /// How to present the file. `None` means that the ending of its name decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// The id of the uploaded file. `None` if the file is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
}

/// How a file is presented to the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    File,
}

impl MediaKind {
    pub const NAMES: [&str; 4] = ["image", "video", "audio", "file"];

    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::File => "file",
        }
    }

    /// Decides by the ending of the name.
    pub fn of(name: &str) -> MediaKind {
        let ending = name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
        match ending.as_str() {
            "jpg" | "jpeg" | "png" | "gif" | "webp" => MediaKind::Image,
            "mp4" | "3gp" | "mov" => MediaKind::Video,
            "mp3" | "ogg" | "oga" | "opus" | "m4a" | "aac" | "amr" | "wav" => MediaKind::Audio,
            _ => MediaKind::File,
        }
    }
}

impl std::str::FromStr for MediaKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [MediaKind::Image, MediaKind::Video, MediaKind::Audio, MediaKind::File]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// A location on a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    pub latitude: f64,
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Location {
    /// A link to a map, for channels that have none of their own.
    pub fn url(&self) -> String {
        format!("https://maps.google.com/?q={},{}", self.latitude, self.longitude)
    }
}

/// A button. It opens an address, or sends its data back to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A template that the provider stores, such as an approved WhatsApp template or Twilio content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderTemplate {
    /// The template's name, or its `HX…` id at Twilio.
    pub name: String,
    pub language: String,
    /// The values of `{{1}}`, `{{2}}`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents as the first version stored them. They are never edited, because a vault may still hold such ones.
    const FIRST: [&str; 2] = [
        r#"{"recipientContact":"ada@example.com"}"#,
        r#"{"recipientContact":"+447700900001","recipientName":"Ada","subject":"S","shownSubject":"S","content":"C",
            "variables":{"a":[1,null]},"attachments":[{"filename":"a.pdf","fileUrl":"https://example.com/a.pdf"}],
            "location":{"latitude":1.5,"longitude":2.5,"name":"N","address":"A"},
            "buttons":[{"text":"B","url":"https://example.com"},{"text":"C","data":"d"}],
            "providerTemplate":{"name":"hello","language":"en","variables":["1"]}}"#,
    ];

    #[test]
    fn content_that_an_earlier_version_stored_can_be_read_and_keeps_every_field() {
        for stored in FIRST {
            let content: MessageContent = serde_json::from_str(stored).expect("it can be read");
            let written = serde_json::to_value(&content).expect("it can be written");
            let expected: serde_json::Value = serde_json::from_str(stored).expect("JSON");
            for (name, value) in expected.as_object().expect("an object") {
                assert_eq!(&written[name], value, "{name}");
            }
        }
    }

    #[test]
    fn a_field_of_a_newer_version_is_ignored() {
        let newer = r#"{"recipientContact":"ada@example.com","invented":{"later":true}}"#;
        assert!(serde_json::from_str::<MessageContent>(newer).is_ok());
    }
}
