//! A message as a provider receives it.

use serde::Serialize;

use super::content::{AttachmentLink, Button, Location, MediaKind, ProviderTemplate};
use crate::sms::Segments;

/// A message as a provider receives it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenderedMessage {
    /// Only for email.
    pub subject: Option<String>,
    pub text: String,
    /// The HTML of an email. For Telegram, the text with its markup, if it has any.
    pub html: Option<String>,
    /// Only for SMS.
    pub segments: Option<Segments>,
    pub media: Vec<MediaLink>,
    pub location: Option<Location>,
    pub buttons: Vec<Button>,
    pub template: Option<ProviderTemplate>,
}

/// A file that is shown as a link, or that the provider fetches from its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MediaLink {
    pub name: String,
    pub url: String,
    pub kind: MediaKind,
}

impl From<&AttachmentLink> for MediaLink {
    fn from(stored: &AttachmentLink) -> MediaLink {
        let kind = stored.kind.unwrap_or_else(|| MediaKind::of(&stored.filename));
        MediaLink { name: stored.filename.clone(), url: stored.file_url.clone(), kind }
    }
}
