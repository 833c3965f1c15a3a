//! Use cases of the suppression list.

use domain::access::{Permission, Reach};
use domain::address::{self, AddressError};
use domain::ports::{AddressKey, StoreError};
use events::{Channel, TenantId};

use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::hash::contact_hash;
use crate::suppression::{SuppressionEntry, SuppressionRegister, WRITTEN_REASON, reason_code};

/// Number of entries that are read together.
const PAGE: usize = 100;
/// Maximum number of entries of one export. The last page is exported in full.
const MAX_EXPORTED: usize = 10_000;
/// Maximum length of a reason, in bytes.
const MAX_REASON: usize = 100;

/// Why a use case of the suppression list had no effect.
#[derive(Debug, thiserror::Error)]
pub enum SuppressionError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("{0}")]
    Address(AddressError),
    #[error("the address is not on the suppression list")]
    NotListed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Entries, in the descending order of channels and hashes.
#[derive(Debug, Clone)]
pub struct SuppressionPage {
    pub entries: Vec<SuppressionEntry>,
    /// Where the next page begins. `None` means that this is the last page.
    pub next: Option<String>,
}

/// One row of an import, not yet checked.
#[derive(Debug, Clone)]
pub struct ImportRow {
    /// Its line in the file. The header is line 1.
    pub line: usize,
    pub channel: String,
    pub contact: String,
    pub reason: Option<String>,
}

/// Why a row of an import was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("is no channel")]
    UnknownChannel,
    #[error("{0}")]
    Address(AddressError),
    #[error("cannot be added: {0}")]
    Forbidden(Forbidden),
}

/// The result of an import.
#[derive(Debug, Clone, Default)]
pub struct ImportResult {
    pub added: usize,
    /// The lines that were not added.
    pub refused: Vec<(usize, RowError)>,
}

fn register(app: &App) -> SuppressionRegister<'_> {
    SuppressionRegister { store: &*app.store, documents: &*app.tenant_ports.documents }
}

/// The key of a normalised address.
pub fn address_key(app: &App, tenant: &TenantId, channel: Channel, address: &str) -> AddressKey {
    let contact_hash = contact_hash(&app.contact_key, tenant, address);
    AddressKey { tenant: tenant.clone(), channel, contact_hash }
}

/// One page of the list, before the entry that `before` names. `channel` selects entries within the page.
///
/// # Errors
///
/// [`SuppressionError`]
pub async fn list(
    app: &App,
    caller: &Caller,
    channel: Option<Channel>,
    before: Option<&str>,
    size: usize,
) -> Result<SuppressionPage, SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    let page = register(app).page(&caller.principal.tenant, before, size, app.host.now()).await?;
    let next = page.last().filter(|_| page.len() == size).map(|(name, _)| name.clone());
    let entries = page.into_iter().map(|(_, entry)| entry);
    let is_selected = |entry: &SuppressionEntry| {
        channel.is_none_or(|channel| channel == entry.channel) && caller.may_use(entry.channel)
    };
    let entries = entries.filter(is_selected).collect();
    Ok(SuppressionPage { entries, next })
}

/// The entries of one address, by channel. An erased entry shows no address here either.
///
/// # Errors
///
/// [`SuppressionError::Address`]: it is no address of the channel, or of any channel.
pub async fn find(
    app: &App,
    caller: &Caller,
    channel: Option<Channel>,
    contact: &str,
) -> Result<SuppressionPage, SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    let channels = Channel::ALL.iter().copied().filter(|of| channel.is_none_or(|channel| channel == *of));
    let (mut entries, mut is_address, mut fault) = (Vec::new(), false, None);
    for channel in channels {
        match address::normalise(channel, contact, None) {
            Ok(address) => {
                is_address = true;
                if caller.may_use(channel) {
                    let key = address_key(app, &caller.principal.tenant, channel, &address);
                    entries.extend(register(app).find(&key, app.host.now()).await?);
                }
            }
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    match fault {
        Some(error) if !is_address => Err(SuppressionError::Address(error)),
        _ => Ok(SuppressionPage { entries, next: None }),
    }
}

/// Adds an address. Adding it again replaces its reason.
///
/// # Errors
///
/// [`SuppressionError`]
pub async fn add(
    app: &App,
    caller: &Caller,
    channel: Channel,
    contact: &str,
    reason: Option<String>,
) -> Result<SuppressionEntry, SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    caller.check_channel(channel)?;
    let address = address::normalise(channel, contact, None).map_err(SuppressionError::Address)?;
    let key = address_key(app, &caller.principal.tenant, channel, &address);
    let reason = reason.unwrap_or_else(|| WRITTEN_REASON.to_owned());
    let contact_hash = key.contact_hash.clone();
    let code = reason_code(&reason).to_owned();
    actions::record(app, caller, &Action::SuppressionAdded { channel, contact_hash, reason: code }).await?;
    Ok(store(app, caller, &key, address, reason).await?)
}

async fn store(
    app: &App,
    caller: &Caller,
    key: &AddressKey,
    address: String,
    reason: String,
) -> Result<SuppressionEntry, StoreError> {
    let entry = SuppressionEntry {
        channel: key.channel,
        contact: Some(address),
        reason,
        at: app.host.now(),
        by: caller.principal.actor_id(),
        communication: None,
    };
    register(app).add(key, &entry).await?;
    Ok(entry)
}

/// Removes an address, so that it can be sent to again.
///
/// # Errors
///
/// [`SuppressionError::NotListed`]
pub async fn remove(app: &App, caller: &Caller, channel: Channel, contact: &str) -> Result<(), SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    caller.check_channel(channel)?;
    let address = address::normalise(channel, contact, None).map_err(SuppressionError::Address)?;
    let key = address_key(app, &caller.principal.tenant, channel, &address);
    if app.store.suppression(&key).await?.is_none() {
        return Err(SuppressionError::NotListed);
    }
    let contact_hash = key.contact_hash.clone();
    actions::record(app, caller, &Action::SuppressionRemoved { channel, contact_hash }).await?;
    Ok(register(app).remove(&key).await?)
}

/// Adds the rows of a file of so many bytes. A row that is not valid is refused and does not hold up the others.
///
/// # Errors
///
/// [`SuppressionError`]
pub async fn import(
    app: &App,
    caller: &Caller,
    bytes: usize,
    rows: Vec<ImportRow>,
) -> Result<ImportResult, SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    actions::record(app, caller, &Action::SuppressionsImported { bytes }).await?;
    let mut result = ImportResult::default();
    for ImportRow { line, channel, contact, reason } in rows {
        match normalise(caller, &channel, &contact) {
            Ok((channel, address)) => {
                let key = address_key(app, &caller.principal.tenant, channel, &address);
                let reason = reason.filter(|reason| is_reason(reason)).unwrap_or_else(|| WRITTEN_REASON.to_owned());
                store(app, caller, &key, address, reason).await?;
                result.added += 1;
            }
            Err(error) => result.refused.push((line, error)),
        }
    }
    Ok(result)
}

fn normalise(caller: &Caller, channel: &str, contact: &str) -> Result<(Channel, String), RowError> {
    let channel: Channel = channel.parse().map_err(|()| RowError::UnknownChannel)?;
    caller.check_channel(channel).map_err(RowError::Forbidden)?;
    let address = address::normalise(channel, contact, None).map_err(RowError::Address)?;
    Ok((channel, address))
}

fn is_reason(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_REASON && !text.chars().any(char::is_control)
}

/// The entries whose address is known, in the order of the list.
///
/// # Errors
///
/// [`SuppressionError`]
pub async fn export(app: &App, caller: &Caller) -> Result<Vec<SuppressionEntry>, SuppressionError> {
    caller.authorise(Permission::Consent, Reach::Tenant)?;
    actions::record(app, caller, &Action::SuppressionsExported {}).await?;
    let (mut entries, mut before) = (Vec::new(), None::<String>);
    loop {
        let page = register(app).page(&caller.principal.tenant, before.as_deref(), PAGE, app.host.now()).await?;
        before = page.last().map(|(name, _)| name.clone());
        let is_last = page.len() < PAGE;
        entries.extend(
            page.into_iter()
                .map(|(_, entry)| entry)
                .filter(|entry| entry.contact.is_some() && caller.may_use(entry.channel)),
        );
        if is_last || MAX_EXPORTED <= entries.len() {
            return Ok(entries);
        }
    }
}

/// Deletes an erased person's address from the list. The address is still not sent to.
///
/// # Errors
///
/// [`StoreError`]
pub async fn erase_address(app: &App, key: &AddressKey) -> Result<(), StoreError> {
    register(app).erase_address(key, app.host.now()).await
}
