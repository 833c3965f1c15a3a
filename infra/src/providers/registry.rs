//! The list of all providers, and the factory that connects a tenant's configuration to one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::provider::{InvalidSetting, Provider, ProviderConfig, ProviderFactory, ProviderKind};
use events::Mode;

use super::http::HttpClients;
use super::recorder::Recorder;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::sandbox::Sandbox;
use super::{
    africastalking, bulksms, custom, mailgun, mandrill, messagebird, messenger, sendgrid, ses, sns, telegram, twilio,
    vonage, whatsapp,
};

/// One row for each provider.
pub const REGISTRY: &[ProviderRegistration] = &[
    sendgrid::REGISTRATION,
    mailgun::REGISTRATION,
    mandrill::REGISTRATION,
    ses::REGISTRATION,
    twilio::REGISTRATION,
    vonage::REGISTRATION,
    sns::REGISTRATION,
    messagebird::REGISTRATION,
    africastalking::REGISTRATION,
    bulksms::REGISTRATION,
    whatsapp::REGISTRATION,
    messenger::REGISTRATION,
    telegram::REGISTRATION,
    custom::REGISTRATION,
];

/// Creates the provider of a configuration. In test mode it creates the simulator's client or a sandbox instead.
pub struct HttpProviderFactory {
    pub http: HttpClients,
    /// Addresses of simulators for test messages, by provider name. A sandbox answers for the other providers, so that
    /// no request leaves the process.
    pub simulators: BTreeMap<String, String>,
    /// Addresses that replace the providers' own, for live messages too, by provider name.
    pub bases: BTreeMap<String, String>,
}

impl ProviderFactory for HttpProviderFactory {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        REGISTRY.iter().map(|registration| registration.kind).collect()
    }

    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let registration = REGISTRY.iter().find(|registration| registration.kind.name == account.provider);
        let registration = registration
            .ok_or_else(|| invalid_setting("provider", format!("There is no provider {}.", account.provider)))?;
        let kind = registration.kind;
        if !kind.channels.contains(&account.channel) {
            let detail = format!("{} does not serve {}.", kind.title, account.channel.as_str());
            return Err(invalid_setting("channel", detail));
        }
        let base_override = match account.mode {
            Mode::Test => self.simulators.get(&account.provider).cloned(),
            Mode::Live => self.bases.get(&account.provider).cloned(),
        };
        let is_sandbox = account.mode == Mode::Test && base_override.is_none();
        // The provider is built for a sandbox too, so that test mode rejects the settings that live mode would reject.
        let provider = (registration.connect)(ConnectionSettings {
            config: account.clone(),
            settings: settings.clone(),
            callback_url: callback_url.to_owned(),
            http: self.http.clone(),
            base_override,
        })?;
        if is_sandbox {
            Ok(Arc::new(Sandbox { config: account, capabilities: provider.capabilities() }))
        } else {
            let secrets = kind.settings.iter().filter(|setting| setting.is_secret);
            let secrets = secrets.filter_map(|setting| settings.get(setting.name).cloned());
            // The address of a tenant's callbacks ends with a secret: /webhooks/{provider}/{config}/{secret}.
            let of_callback = callback_url.split_once("/webhooks/").and_then(|(_, path)| path.splitn(3, '/').nth(2));
            let secrets = secrets.chain(of_callback.map(str::to_owned));
            Ok(Arc::new(Recorder::new(provider, secrets)))
        }
    }
}
