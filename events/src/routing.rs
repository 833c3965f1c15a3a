use serde::{Deserialize, Serialize};

use crate::{Channel, event_family};

/// In which order a tenant's provider configurations of one channel are tried. One stream for each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum RoutingEvent {
    /// v1. The configurations listed are tried first, in this order.
    ChannelsOrdered { channel: Channel, order: Vec<String> },
}

event_family!(RoutingEvent { ChannelsOrdered: 1 });
