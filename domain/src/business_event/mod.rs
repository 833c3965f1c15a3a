//! Events of other business systems: each is stored once, handled once, and ends handled, unhandled, parked or
//! discarded.

mod acts;
mod aggregate;
mod bills;
mod data;
mod document;
mod envelope;
mod mapping;
mod person;
mod plan;
mod read;
mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod view;

pub use acts::{Act, InvoiceFacts, Known, KnownPerson, PersonAct, SendAct};
pub use aggregate::{
    BusinessEvent, BusinessEventState, Command, EventStatus, HandleEvent, MAX_TRIES, Received, Rejection,
};
pub use bills::invoice as invoice_messages;
pub use bills::{LINK_CHANNELS, link_channel, link_variables, send_link};
pub use data::{
    Document, EventData, InvitationData, InvoiceChange, InvoiceData, InvoiceLine, LinkRequest, LowStockData,
    PaymentData, StatedBalance, StockItem, WantedChannels,
};
pub use document::{DocumentAct, InvoiceFile, NO_DOCUMENT};
pub use envelope::{BusEnvelope, DEFAULT_SOURCE, Envelope, is_reserved, parse, parse_binary, parse_bus};
pub use mapping::{Interpretation, Interpreted, built_in, interpret};
pub use person::{Contact, Person};
pub use plan::{AUTOMATIONS, STOCK_QUIET_MS, STOCK_ROLE, confirm, plan};
pub use read::read;
pub use schema::duration_ms;
pub use settings::{AutomationState, ChangeAutomation, Changed, MappingState, SetMapping, mapping_faults};
pub use types::{EVENT_TYPES, EventType};
pub use view::{BusinessEventFilter, BusinessEventRow, PARKED, Skipped};
