//! Events of other business systems: each is stored once, handled once, and ends handled, unhandled, parked or
//! discarded.

mod aggregate;
#[cfg(test)]
mod tests;
mod view;

pub use aggregate::{
    BusinessEvent, BusinessEventState, Command, EventStatus, HandleEvent, MAX_TRIES, Received, Rejection,
};
pub use view::{BusinessEventRow, Skipped};
