//! A message that a person sent to the tenant. It is recorded once, however often the provider reports it.

use std::convert::Infallible;

use events::{InboundMessageEvent, RecordedEvent, StreamKind};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};

/// The state of an inbound message's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InboundMessageState {
    pub is_received: bool,
}

impl Aggregate for InboundMessageState {
    const KIND: StreamKind = StreamKind::INBOUND_MESSAGE;
    const ERASURE: Erasure = Erasure::VaultDocuments;

    type Event = InboundMessageEvent;
    /// The message as it was received.
    type Command = InboundMessageEvent;
    type Rejection = Infallible;

    fn decide(&self, received: InboundMessageEvent) -> Result<Vec<InboundMessageEvent>, Infallible> {
        Ok(if self.is_received { Vec::new() } else { vec![received] })
    }

    fn evolve(self, record: &RecordedEvent<InboundMessageEvent>) -> Self {
        match record.event {
            InboundMessageEvent::MessageReceived { .. } => InboundMessageState { is_received: true },
        }
    }
}
