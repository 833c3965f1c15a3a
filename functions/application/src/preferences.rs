//! Use cases of preferences.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::address::{self, AddressError};
use domain::ports::StoreError;
use domain::preferences::{Command, DEFAULTS, PreferenceChange, Preferences};
use events::{Channel, PreferenceEvent, RecordedEvent, Timestamp};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::consent::{self, change_addresses};
use crate::execute::ExecuteError;
use crate::links::preferences_token;
use crate::people::People;
use crate::statements::{self, StatementTexts};

/// What is wrong with a change of preferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreferenceFault {
    /// The preferred address of a channel is not an address of it.
    Address(Channel, AddressError),
    /// The defaults belong to no person: they have no addresses and no consent.
    NotForDefaults,
}

/// Preferred addresses by channel. `None` removes an address.
pub type PreferredAddresses = BTreeMap<Channel, Option<String>>;

/// Why a use case of preferences had no effect.
#[derive(Debug, thiserror::Error)]
pub enum PreferenceError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the deployment has no public address")]
    NoPublicUrl,
    /// The change has faults.
    #[error("the change is not valid: {0:?}")]
    Invalid(Vec<PreferenceFault>),
    #[error(transparent)]
    Execute(#[from] ExecuteError<domain::preferences::Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person's preferences, without the tenant's defaults, and their preferred addresses by the channels of the caller.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn get(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<(Preferences, BTreeMap<Channel, String>), PreferenceError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let tenant = &caller.principal.tenant;
    let preferences = consent::preferences_with_texts(&app.tenant_ports, tenant, person).await?;
    let mut addresses = consent::addresses(&app.tenant_ports, tenant, person).await?;
    addresses.retain(|channel, _| caller.may_use(*channel));
    Ok((preferences, addresses))
}

/// The same, with the tenant's defaults where the person has no preference of their own.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn effective(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<(Preferences, BTreeMap<Channel, String>), PreferenceError> {
    let (own, addresses) = get(app, caller, person).await?;
    let defaults = app.defaults.get(&app.tenant_ports, &caller.principal.tenant).await?;
    Ok((own.with_defaults(&defaults), addresses))
}

/// The address of the page on which a person changes their preferences, and until when it is valid.
///
/// # Errors
///
/// [`PreferenceError::NoPublicUrl`]
pub fn link(app: &App, caller: &Caller, person: &str, valid_ms: i64) -> Result<(String, Timestamp), PreferenceError> {
    caller.authorise(Permission::Consent, Reach::Everything)?;
    let public_url = &app.tenant_ports.public_url;
    if public_url.is_empty() {
        return Err(PreferenceError::NoPublicUrl);
    }
    let until = app.host.now() + valid_ms;
    let token = preferences_token(&app.link_keys, &caller.principal.tenant, person, until);
    Ok((format!("{public_url}/preferences/{token}"), until))
}

/// Checks a change of a person's preferences, or of the tenant's defaults if `person` is [`DEFAULTS`]. Nothing is
/// stored. Returns the normalised addresses.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn check(
    person: &str,
    change: &PreferenceChange,
    texts: &StatementTexts,
    addresses: &PreferredAddresses,
) -> Result<PreferredAddresses, Vec<PreferenceFault>> {
    let (mut normalised, mut faults) = (PreferredAddresses::new(), Vec::new());
    for (channel, given) in addresses {
        match given.as_ref().map(|text| address::normalise(*channel, text, None)).transpose() {
            Ok(address) => drop(normalised.insert(*channel, address)),
            Err(error) => faults.push(PreferenceFault::Address(*channel, error)),
        }
    }
    let PreferenceChange { opted_out, do_not_contact, .. } = change;
    let is_personal =
        !normalised.is_empty() || opted_out.is_some() || texts.opt_in_evidence.is_some() || do_not_contact.is_some();
    if person == DEFAULTS && is_personal {
        faults.push(PreferenceFault::NotForDefaults);
    }
    if faults.is_empty() { Ok(normalised) } else { Err(faults) }
}

/// Changes a person's preferences, or the tenant's defaults if `person` is [`DEFAULTS`].
///
/// # Errors
///
/// [`PreferenceError::Invalid`] as [`check`]: nothing was changed.
pub async fn change(
    app: &App,
    caller: &Caller,
    person: &str,
    change: PreferenceChange,
    texts: StatementTexts,
    addresses: &PreferredAddresses,
) -> Result<Preferences, PreferenceError> {
    caller.authorise(Permission::Consent, Reach::Everything)?;
    let addresses = check(person, &change, &texts, addresses).map_err(PreferenceError::Invalid)?;
    let tenant = &caller.principal.tenant;
    if change.expected.is_some() {
        // Before addresses and texts are stored. What another writer changes from here on is found by the decision.
        let current = consent::preferences(&app.tenant_ports, tenant, person).await?;
        current.check_revision(change.expected).map_err(ExecuteError::Rejected)?;
    }
    let people = People { tenant_ports: &app.tenant_ports, vault: &*app.vault, contact_key: &app.contact_key };
    // A reason is only stored with the decision that it explains.
    let texts = StatementTexts {
        opted_out_reason: texts.opted_out_reason.filter(|_| change.opted_out == Some(true)),
        do_not_contact_reason: texts.do_not_contact_reason.filter(|_| change.do_not_contact == Some(true)),
        ..texts
    };
    let change = statements::store(&app.tenant_ports, tenant, person, change, texts).await?;
    let change = PreferenceChange { addresses: addresses.keys().copied().collect(), ..change };
    let command = Command::Change(Box::new(change));
    // A restriction holds for the new addresses as soon as it is stored.
    people.link_new(tenant, person, &addresses, command.restricts()).await?;
    let changed = people.change(&caller.context(), tenant, person, command).await?;
    // Only now: a change that is refused leaves the addresses as they are.
    if !addresses.is_empty() {
        change_addresses(&app.tenant_ports, tenant, person, &addresses).await?;
        people.link_new(tenant, person, &addresses, false).await?;
    }
    app.defaults.invalidate(tenant);
    let mut preferences = changed.state;
    statements::load(&app.tenant_ports, tenant, person).await?.fill_in(&mut preferences);
    Ok(preferences)
}

/// The complete history of a person's preferences.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn history(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<Vec<RecordedEvent<PreferenceEvent>>, PreferenceError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let tenant = &caller.principal.tenant;
    let mut records = consent::history(&app.tenant_ports, tenant, person).await?;
    statements::load(&app.tenant_ports, tenant, person).await?.fill_in_history(&mut records);
    Ok(records)
}
