//! Which address a message goes to, and whether the caller may send there.

use domain::address;
use domain::provider_configs::TenantProviderConfigs;
use events::Channel;

use super::new_message::{Faults, Field};
use crate::caller::Caller;
use crate::hash::contact_hash;

/// A setting of every channel with phone numbers: the country of numbers without a country code.
pub const DEFAULT_REGION: &str = "defaultRegion";
/// The countries that SMS may go to: `KE,TZ`, or `*` for all. The default is the default region alone.
pub const ALLOWED_COUNTRIES: &str = "allowedCountries";

/// An address in its normal form, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub text: String,
    pub hash: String,
}

/// A setting that holds for all of the tenant's phone numbers.
fn phone_number_setting<'a>(configs: &'a TenantProviderConfigs, setting: &str) -> Option<&'a str> {
    let values = configs.configs.values().filter_map(|config| config.settings.get(setting));
    values.map(String::as_str).find(|value| !value.is_empty())
}

/// The normal form of an address that this tenant's messages may go to. `shared_countries` are those that the accounts of
/// the deployment send SMS to.
pub(super) fn normalise(
    channel: Channel,
    text: &str,
    configs: &TenantProviderConfigs,
    shared_countries: Option<&str>,
    faults: &mut Faults,
) -> Option<String> {
    let region = phone_number_setting(configs, DEFAULT_REGION);
    let normal = match address::normalise(channel, text, region) {
        Ok(normal) => normal,
        Err(error) => {
            faults.add(Field::To, "not_an_address", format!("recipientContact {error}."));
            return None;
        }
    };
    // A stolen key could earn money with SMS to premium numbers of other countries.
    let countries = phone_number_setting(configs, ALLOWED_COUNTRIES).or(region);
    if channel == Channel::Sms && countries.is_some_and(|countries| !address::is_in_countries(&normal, countries)) {
        let detail = "SMS to this country is not allowed. The setting allowedCountries lists the allowed ones.";
        faults.add(Field::To, "country_not_allowed", detail);
        return None;
    }
    let is_shared = channel == Channel::Sms && configs.for_channel(channel).is_empty();
    if is_shared && shared_countries.is_some_and(|countries| !address::is_in_countries(&normal, countries)) {
        let detail = "The accounts that tenants share send no SMS to this country: SMS_COUNTRIES does not list it. POST \
                      /api/channels adds an account of your own.";
        faults.add(Field::To, "country_not_allowed", detail);
        return None;
    }
    Some(normal)
}

/// The hash of a normal address, if the caller's team includes it.
pub(super) fn check_team(text: String, caller: &Caller, contact_key: &[u8], faults: &mut Faults) -> Option<Address> {
    let hash = contact_hash(contact_key, &caller.principal.tenant, &text);
    if !caller.principal.can_send_to(&hash) {
        faults.add(Field::To, "not_on_team", "This key may only send to the addresses of its team.");
        return None;
    }
    Some(Address { text, hash })
}

/// Checks that the caller may use a channel, and that a provider is available for it.
pub(super) fn check_channel(channel: Channel, caller: &Caller, is_available: bool, faults: &mut Faults) {
    let name = channel.as_str();
    if !caller.may_use(channel) {
        faults.add(Field::Channel, "channel_not_allowed", format!("This key may not send by {name}."));
    }
    if !is_available {
        let detail = format!("No provider is configured for {name}. POST /api/channels adds one.");
        faults.add(Field::Channel, "channel_unavailable", detail);
    }
}
