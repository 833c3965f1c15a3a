//! The message of an act.

use domain::business_event::SendAct;
use events::Source;

use super::documents::FoundDocument;
use crate::messages::{ChannelChoice, IdempotencyKey, NewContent, NewMessage};

/// A message as an act describes it. The same key with another fingerprint is refused.
pub(super) fn message_of(
    send: &SendAct,
    FoundDocument { file, note, .. }: FoundDocument,
    source: Source,
    (key, fingerprint): (IdempotencyKey, String),
) -> NewMessage {
    NewMessage {
        channel: Some(ChannelChoice::Fixed(send.channel)),
        kind: Some(send.kind),
        to: Some(send.to.clone()),
        recipient_type: Some(send.recipient_type),
        recipient_id: send.recipient_id.clone(),
        recipient_name: send.recipient_name.clone(),
        content: NewContent {
            template: Some(send.template.clone()),
            variables: Some(send.variables.clone()),
            ..NewContent::default()
        },
        locale: send.locale.clone(),
        attachments: file.into_iter().collect(),
        entity: send.entity.clone(),
        unless_settled: send.unless_settled.clone(),
        source: Some(source),
        without_document: note,
        idempotency_key: Some(key),
        fingerprint,
        ..NewMessage::default()
    }
}
