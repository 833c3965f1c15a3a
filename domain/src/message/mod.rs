//! A message: its content as the caller gave it, and as rendered for a channel.

mod content;
mod rendered;

pub use content::{AttachmentLink, Button, Location, MediaKind, MessageContent, ProviderTemplate};
pub use rendered::{MediaLink, RenderedMessage};
