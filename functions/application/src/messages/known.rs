//! The input of `compose` besides the message.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::preferences::Preferences;
use domain::provider_configs::TenantProviderConfigs;
use domain::templates::TemplateCatalogue;
use events::{Channel, Timestamp};

use crate::attachments::UploadedFile;
use crate::caller::Caller;
use crate::links::LinkKeys;

/// The recipient's data that routing uses.
#[derive(Debug, Clone, Default)]
pub struct KnownRecipient {
    /// The recipient's own preferences over the tenant's defaults.
    pub preferences: Preferences,
    /// The recipient's preferred addresses.
    pub addresses: BTreeMap<Channel, String>,
}

/// Everything that `compose` uses besides the message.
pub struct Known<'a> {
    pub now: Timestamp,
    pub caller: &'a Caller,
    pub configs: Arc<TenantProviderConfigs>,
    pub templates: Arc<TemplateCatalogue>,
    /// The message's own locale, which its templates are resolved with.
    pub locale: Option<&'a str>,
    /// The countries that the accounts of the deployment send SMS to. `None` means all.
    pub sms_countries: Option<&'a str>,
    /// Channels with an available provider.
    pub available: Vec<Channel>,
    /// The uploaded files that the message names, by their ids.
    pub files: BTreeMap<String, UploadedFile>,
    pub recipient: KnownRecipient,
    pub contact_key: &'a [u8],
    pub link_keys: &'a LinkKeys,
    pub public_url: &'a str,
}
