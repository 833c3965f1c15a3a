//! Loads everything that `compose` needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::data_subject;
use domain::ports::{Principal, StoreError};
use domain::provider_configs::TenantProviderConfigs;
use domain::templates::TemplateCatalogue;
use events::{Channel, Mode};
use futures_util::future::join;

use super::known::{Known, KnownRecipient};
use super::new_message::{ChannelChoice, NewMessage};
use super::routing::drafts;
use crate::app::App;
use crate::attachments::{UploadedFile, find_checked};
use crate::caller::Caller;
use crate::consent::addresses;

/// A tenant's provider configurations and templates, at most 15 seconds old.
#[derive(Debug, Clone)]
pub struct TenantConfig {
    pub channels: Arc<TenantProviderConfigs>,
    pub templates: Arc<TemplateCatalogue>,
}

impl TenantConfig {
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn load(app: &App, principal: &Principal) -> Result<TenantConfig, StoreError> {
        let channels = app.directory.channels(&app.tenant_ports, &principal.tenant);
        let templates = app.library.templates(&app.tenant_ports, &principal.tenant);
        let (channels, templates) = join(channels, templates).await;
        Ok(TenantConfig { channels: channels?, templates: templates? })
    }
}

/// Whether a provider is available for this channel. Test messages can always use a sandbox.
pub(super) fn can_serve(app: &App, principal: &Principal, configs: &TenantProviderConfigs, channel: Channel) -> bool {
    let is_own = !configs.for_channel(channel).is_empty();
    let is_deployments =
        || app.accounts.iter().any(|account| account.channel == channel && account.mode == principal.mode);
    is_own || is_deployments() || (principal.mode == Mode::Test && app.has_sandbox)
}

/// Loads everything that one message is composed with.
///
/// # Errors
///
/// [`StoreError`]
pub(super) async fn gather<'a>(
    app: &'a App,
    caller: &'a Caller,
    message: &'a NewMessage,
    config: &TenantConfig,
) -> Result<Known<'a>, StoreError> {
    let principal = &caller.principal;
    let can_serve = |channel: &Channel| can_serve(app, principal, &config.channels, *channel);
    let mut known = Known {
        now: app.host.now(),
        caller,
        configs: config.channels.clone(),
        templates: config.templates.clone(),
        sms_countries: app.sms_countries.as_deref(),
        locale: message.locale.as_deref(),
        available: Channel::ALL.iter().copied().filter(can_serve).collect(),
        files: uploaded_files(app, caller, message).await?,
        recipient: KnownRecipient::default(),
        contact_key: &app.contact_key,
        link_keys: &app.link_keys,
        public_url: &app.tenant_ports.public_url,
    };
    known.recipient = known_recipient(app, principal, message, &known).await?;
    Ok(known)
}

async fn uploaded_files(
    app: &App,
    caller: &Caller,
    message: &NewMessage,
) -> Result<BTreeMap<String, UploadedFile>, StoreError> {
    let mut files = BTreeMap::new();
    for id in message.attachments.iter().filter_map(|attachment| attachment.attachment_id.as_ref()) {
        if !files.contains_key(id)
            && let Some(file) = find_checked(app, caller, id).await?
        {
            files.insert(id.clone(), file);
        }
    }
    Ok(files)
}

/// Reads the preferences if they choose a channel, and the preferred addresses if an address is missing.
async fn known_recipient(
    app: &App,
    principal: &Principal,
    message: &NewMessage,
    known: &Known<'_>,
) -> Result<KnownRecipient, StoreError> {
    let (tenant_ports, tenant) = (&app.tenant_ports, &principal.tenant);
    let recipient = message.recipient();
    let choices = [message.channel].into_iter().chain(message.fallback.iter().map(|step| step.channel));
    let is_auto = choices.into_iter().any(|choice| choice == Some(ChannelChoice::Auto));
    let mut found = KnownRecipient::default();
    if is_auto {
        found.preferences = app.defaults.for_recipient(tenant_ports, tenant, &recipient).await?;
    }
    let needs_address = is_auto || drafts(message, known).iter().any(|draft| draft.to.is_none());
    if let Some(person) = data_subject::of_recipient(&recipient).filter(|_| needs_address) {
        found.addresses = addresses(tenant_ports, tenant, &person).await?;
    }
    Ok(found)
}
