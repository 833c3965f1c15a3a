//! A message of the inbox, with what is needed to report on it later.

use crate::message::Message;
use crate::provider::ProviderSimulation;

#[derive(Clone)]
pub struct Received {
    pub provider: &'static dyn ProviderSimulation,
    pub message: Message,
}
