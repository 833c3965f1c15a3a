//! What is known about one recipient: from their preferences, from events of other business systems, and from their
//! newest messages.

use domain::access::{Permission, Reach};
use domain::address;
use domain::communication_view::ListFilter;
use domain::data_subject;
use domain::ports::StoreError;
use events::{Channel, Recipient};
use futures_util::future::try_join_all;

use crate::app::App;
use crate::business_events::persons;
use crate::caller::{Caller, Forbidden};
use crate::consent;
use crate::messages::{self, MessageError};
use crate::suppressions::address_key;

/// Number of messages whose addresses are read: the newest.
const MESSAGES: usize = 50;
/// Maximum number of addresses. A person has few; a shared id can have many.
const MAX_ADDRESSES: usize = 20;

/// What an address of a person is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// It is preferred for its channel.
    Preferences,
    Events,
    Messages,
}

impl AddressSource {
    pub fn as_str(self) -> &'static str {
        match self {
            AddressSource::Preferences => "preferences",
            AddressSource::Events => "events",
            AddressSource::Messages => "messages",
        }
    }
}

/// An address of a person, normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    pub channel: Channel,
    pub contact: String,
    pub source: AddressSource,
    /// Why it is on the suppression list. `None` if it is not.
    pub suppressed_for: Option<String>,
}

/// What is known about one recipient. Nothing is known of one who was never sent to, or was erased.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonProfile {
    pub name: Option<String>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub roles: Vec<String>,
    /// Whether the other business system has removed the person.
    pub is_removed: bool,
    pub addresses: Vec<KnownAddress>,
}

/// Why a profile could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Messages(#[from] MessageError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is known about a recipient, with their addresses on the channels of the caller.
///
/// # Errors
///
/// [`ProfileError`]
pub async fn get(app: &App, caller: &Caller, recipient: &Recipient) -> Result<PersonProfile, ProfileError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let tenant = &caller.principal.tenant;
    let Some(key) = data_subject::of_recipient(recipient) else { return Ok(PersonProfile::default()) };
    let preferred = consent::addresses(&app.tenant_ports, tenant, &key).await?;
    let person = persons::find(app, tenant, caller.principal.mode, &key).await?;
    let filter = ListFilter {
        recipient_type: Some(recipient.kind),
        recipient_id: recipient.id.clone(),
        ..ListFilter::default()
    };
    let messages = messages::list(app, caller, &filter, None, MESSAGES).await?.rows;
    let mut known = KnownAddresses { caller, found: Vec::new() };
    for (channel, contact) in &preferred {
        known.add(*channel, contact, AddressSource::Preferences);
    }
    for channel in Channel::ALL {
        if let Some(contact) = person.address(*channel) {
            known.add(*channel, contact, AddressSource::Events);
        }
    }
    for (row, content) in &messages {
        if let Some(content) = content {
            known.add(row.channel, &content.recipient_contact, AddressSource::Messages);
        }
    }
    let mut addresses = known.found;
    let suppressions = addresses.iter().map(|known| {
        let key = address_key(app, tenant, known.channel, &known.contact);
        async move { app.store.suppression(&key).await }
    });
    let suppressions = try_join_all(suppressions).await?;
    for (known, reason) in addresses.iter_mut().zip(suppressions) {
        known.suppressed_for = reason;
    }
    let newest_name = messages.iter().find_map(|(_, content)| content.as_ref()?.recipient_name.clone());
    Ok(PersonProfile {
        name: person.name.or(newest_name),
        locale: person.locale,
        time_zone: person.time_zone,
        roles: person.roles,
        is_removed: person.is_removed,
        addresses,
    })
}

/// Addresses without repetitions, those that are known best first.
struct KnownAddresses<'a> {
    caller: &'a Caller,
    found: Vec<KnownAddress>,
}

impl KnownAddresses<'_> {
    fn add(&mut self, channel: Channel, contact: &str, source: AddressSource) {
        let Ok(contact) = address::normalise(channel, contact, None) else { return };
        let is_known = self.found.iter().any(|known| known.channel == channel && known.contact == contact);
        if !is_known && self.found.len() < MAX_ADDRESSES && self.caller.may_use(channel) {
            self.found.push(KnownAddress { channel, contact, source, suppressed_for: None });
        }
    }
}
