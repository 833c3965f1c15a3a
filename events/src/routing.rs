use serde::{Deserialize, Serialize};

use crate::{Channel, event_family};

/// The order in which a tenant's provider configurations of one channel are tried. Each channel has its own stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum RoutingEvent {
    /// v1. The configurations listed are tried first, in this order.
    ChannelsOrdered { channel: Channel, order: Vec<String> },
}

event_family!(RoutingEvent { ChannelsOrdered: 1 });
