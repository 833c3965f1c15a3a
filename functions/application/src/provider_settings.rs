//! The settings of a provider configuration, as a caller gives them and after they were checked.

use std::collections::BTreeMap;

use domain::address::{is_country_list, is_region};
use domain::prices::{self, PriceList, PriceListError};
use domain::provider::ProviderKind;

use crate::messages::{ALLOWED_COUNTRIES, DEFAULT_REGION};

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingFault {
    /// The provider has no such setting.
    Unknown { kind: &'static ProviderKind, name: String },
    /// The value is not text, or is too long.
    NotText { name: String },
    /// The default region is not a country.
    NotRegion,
    /// The allowed countries are not countries.
    NotCountries,
    /// The prices are no price list.
    NotPrices(PriceListError),
}

/// Settings that a provider has, with the credentials apart from the others. Only [`CheckedSettings::set`] adds one.
#[derive(Debug, Clone)]
pub struct CheckedSettings {
    kind: &'static ProviderKind,
    pub(crate) plain: BTreeMap<String, String>,
    pub(crate) secret: BTreeMap<String, String>,
}

impl CheckedSettings {
    /// No settings of this kind of provider.
    pub fn new(kind: &'static ProviderKind) -> CheckedSettings {
        CheckedSettings { kind, plain: BTreeMap::new(), secret: BTreeMap::new() }
    }

    pub fn kind(&self) -> &'static ProviderKind {
        self.kind
    }

    /// Sets one. `None` is a value that is not text. In a change, an empty value removes the setting.
    ///
    /// # Errors
    ///
    /// [`SettingFault`]: it was not set.
    pub fn set(&mut self, name: &str, value: Option<String>) -> Result<(), SettingFault> {
        let known = self.kind.settings.iter().find(|setting| setting.name == name);
        if known.is_none() && ![DEFAULT_REGION, ALLOWED_COUNTRIES, prices::SETTING].contains(&name) {
            return Err(SettingFault::Unknown { kind: self.kind, name: name.to_owned() });
        }
        let value = value.ok_or_else(|| SettingFault::NotText { name: name.to_owned() })?;
        let is_removed = value.is_empty();
        if name == DEFAULT_REGION && !is_removed && !is_region(&value) {
            return Err(SettingFault::NotRegion);
        }
        if name == ALLOWED_COUNTRIES && !is_removed && !is_country_list(&value) {
            return Err(SettingFault::NotCountries);
        }
        if name == prices::SETTING && !is_removed {
            PriceList::parse(&value).map_err(SettingFault::NotPrices)?;
        }
        let is_secret = known.is_some_and(|setting| setting.is_secret);
        if is_secret { &mut self.secret } else { &mut self.plain }.insert(name.to_owned(), value);
        Ok(())
    }
}

/// A field of the API of a single SMS provider. Each provider has a setting of its own for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SmsField {
    ApiKey,
    ApiSecret,
    ApiUrl,
    SenderId,
}

impl SmsField {
    pub const ALL: [SmsField; 4] = [SmsField::ApiKey, SmsField::ApiSecret, SmsField::ApiUrl, SmsField::SenderId];

    pub fn as_str(self) -> &'static str {
        match self {
            SmsField::ApiKey => "apiKey",
            SmsField::ApiSecret => "apiSecret",
            SmsField::ApiUrl => "apiUrl",
            SmsField::SenderId => "senderId",
        }
    }
}

/// What is wrong with the fields of an SMS provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmsProviderFault {
    /// The provider has no such field.
    Unknown(SmsField),
    /// A new provider needs this field.
    Required(SmsField),
}
