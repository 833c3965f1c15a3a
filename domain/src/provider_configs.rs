//! A tenant's provider configurations. There is one stream for each of its own configurations, one for each of the
//! deployment's that it disabled, and one for the order of each channel.

use std::collections::{BTreeMap, BTreeSet};

use events::{Channel, ProviderConfigEvent, RateLimit, RecordedEvent, RoutingEvent, StreamKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};
use crate::tenant_limits::TenantLimits;

/// Maximum number of configurations of one tenant.
pub const MAX_PROVIDER_CONFIGS: usize = 100;

/// One of the tenant's own configurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantProviderConfig {
    pub id: String,
    pub provider: String,
    pub channel: Channel,
    pub name: String,
    pub settings: BTreeMap<String, String>,
    /// The current version of its credentials.
    pub secret: u32,
    /// The random part of the name of that version in the vault. Two writers of one version do not share a name.
    #[serde(default)]
    pub secret_id: Option<String>,
    pub rate: Option<RateLimit>,
    pub added_at: Timestamp,
    pub changed_at: Timestamp,
    pub changed_by: String,
}

/// The state of one configuration's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderConfigState {
    /// `None` for a configuration of the deployment, and after it is deleted.
    pub config: Option<TenantProviderConfig>,
    pub is_disabled: bool,
    /// The number of events since it was added. A change names the revision that it is based on.
    pub revision: u64,
}

/// A command to a provider configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Add {
        config: String,
        provider: String,
        channel: Channel,
        name: String,
        settings: BTreeMap<String, String>,
        /// The name of its first credentials.
        secret_id: String,
        rate: Option<RateLimit>,
        /// Whether the tenant's messages use it from the beginning.
        is_enabled: bool,
        /// The number of configurations that the tenant already has.
        others: usize,
    },
    /// Changes the configuration. Fields that are `None` do not change.
    Change {
        config: String,
        /// The revision that the change is based on. It is rejected if there is a newer one.
        expected: u64,
        name: Option<String>,
        settings: Option<BTreeMap<String, String>>,
        /// The name of the new credentials, which become the next version. `None` if the credentials do not change.
        secret_id: Option<String>,
        rate: Option<RateLimit>,
        is_enabled: Option<bool>,
    },
    Remove {
        config: String,
    },
    /// Sets whether the tenant's messages use the configuration. It can also be one of the deployment's.
    SetEnabled {
        config: String,
        is_enabled: bool,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such configuration")]
    Unknown,
    #[error("the tenant already has {MAX_PROVIDER_CONFIGS} configurations")]
    TooMany,
    #[error("a configuration with this id already exists")]
    Exists,
    #[error("the configuration has changed")]
    Changed,
}

impl Aggregate for ProviderConfigState {
    const KIND: StreamKind = StreamKind::PROVIDER_CONFIG;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    /// 2: with the revision and the name of the credentials.
    const SNAPSHOT_VERSION: u16 = 2;

    type Event = ProviderConfigEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<ProviderConfigEvent>, Rejection> {
        match command {
            Command::Add { .. } if self.config.is_some() => Err(Rejection::Exists),
            Command::Add { others, .. } if MAX_PROVIDER_CONFIGS <= others => Err(Rejection::TooMany),
            Command::Add { config, provider, channel, name, settings, secret_id, rate, is_enabled, .. } => {
                let (id, secret, secret_id) = (config.clone(), 1, Some(secret_id));
                let added = ProviderConfigEvent::ChannelAdded {
                    config,
                    provider,
                    channel,
                    name,
                    settings,
                    secret,
                    secret_id,
                    rate,
                };
                Ok(std::iter::once(added).chain(self.set_enabled(id, is_enabled)).collect())
            }
            Command::Change { config, expected, name, settings, secret_id, rate, is_enabled } => {
                let current = self.config.as_ref().ok_or(Rejection::Unknown)?;
                if expected != self.revision {
                    return Err(Rejection::Changed);
                }
                let name = name.filter(|name| *name != current.name);
                let settings = settings.filter(|settings| *settings != current.settings);
                let rate = rate.filter(|rate| Some(*rate) != current.rate);
                let secret = secret_id.is_some().then_some(current.secret + 1);
                let mut events = Vec::new();
                if name.is_some() || settings.is_some() || secret.is_some() || rate.is_some() {
                    let config = config.clone();
                    events.push(ProviderConfigEvent::ChannelChanged {
                        config,
                        name,
                        settings,
                        secret,
                        secret_id,
                        rate,
                    });
                }
                events.extend(is_enabled.and_then(|is_enabled| self.set_enabled(config, is_enabled)));
                Ok(events)
            }
            Command::Remove { config } if self.config.is_some() => {
                Ok(vec![ProviderConfigEvent::ChannelRemoved { config }])
            }
            Command::Remove { .. } => Err(Rejection::Unknown),
            Command::SetEnabled { config, is_enabled } => {
                Ok(self.set_enabled(config, is_enabled).into_iter().collect())
            }
        }
    }

    fn evolve(mut self, record: &RecordedEvent<ProviderConfigEvent>) -> Self {
        let (at, by) = (record.meta.at, &record.meta.actor);
        self.revision += 1;
        match record.event.clone() {
            ProviderConfigEvent::ChannelAdded {
                config: id,
                provider,
                channel,
                name,
                settings,
                secret,
                secret_id,
                rate,
            } => {
                self.config = Some(TenantProviderConfig {
                    id,
                    provider,
                    channel,
                    name,
                    settings,
                    secret,
                    secret_id,
                    rate,
                    added_at: at,
                    changed_at: at,
                    changed_by: by.clone(),
                });
            }
            ProviderConfigEvent::ChannelChanged { name, settings, secret, secret_id, rate, .. } => {
                if let Some(config) = &mut self.config {
                    config.name = name.unwrap_or_else(|| config.name.clone());
                    config.settings = settings.unwrap_or_else(|| config.settings.clone());
                    if let Some(secret) = secret {
                        (config.secret, config.secret_id) = (secret, secret_id);
                    }
                    config.rate = rate.or(config.rate);
                    (config.changed_at, config.changed_by) = (at, by.clone());
                }
            }
            ProviderConfigEvent::ChannelRemoved { .. } => self = ProviderConfigState::default(),
            ProviderConfigEvent::ChannelEnabled { .. } => self.is_disabled = false,
            ProviderConfigEvent::ChannelDisabled { .. } => self.is_disabled = true,
        }
        self
    }

    fn is_listed(&self) -> bool {
        self.config.is_some() || self.is_disabled
    }
}

impl ProviderConfigState {
    fn set_enabled(&self, config: String, is_enabled: bool) -> Option<ProviderConfigEvent> {
        match (is_enabled, self.is_disabled) {
            (true, true) => Some(ProviderConfigEvent::ChannelEnabled { config }),
            (false, false) => Some(ProviderConfigEvent::ChannelDisabled { config }),
            (true, false) | (false, true) => None,
        }
    }
}

/// The order in which the configurations of one channel are tried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routing {
    pub channel: Option<Channel>,
    /// Configurations that are not listed come last.
    pub order: Vec<String>,
}

/// A command to a channel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingCommand {
    /// Tries this configuration first.
    UseFirst {
        channel: Channel,
        config: String,
    },
    Order {
        channel: Channel,
        order: Vec<String>,
    },
}

impl Aggregate for Routing {
    const KIND: StreamKind = StreamKind::ROUTING;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = RoutingEvent;
    type Command = RoutingCommand;
    type Rejection = std::convert::Infallible;

    fn decide(&self, command: RoutingCommand) -> Result<Vec<RoutingEvent>, Self::Rejection> {
        let (channel, order) = match command {
            RoutingCommand::Order { channel, order } => (channel, order),
            RoutingCommand::UseFirst { channel, config } => {
                let others = self.order.iter().filter(|other| **other != config).cloned();
                (channel, std::iter::once(config.clone()).chain(others).collect())
            }
        };
        let is_unchanged = self.order == order;
        Ok(if is_unchanged { Vec::new() } else { vec![RoutingEvent::ChannelsOrdered { channel, order }] })
    }

    fn evolve(self, record: &RecordedEvent<RoutingEvent>) -> Self {
        match record.event.clone() {
            RoutingEvent::ChannelsOrdered { channel, order } => Routing { channel: Some(channel), order },
        }
    }

    fn is_listed(&self) -> bool {
        self.channel.is_some()
    }
}

/// All of a tenant's decisions about its provider configurations and limits, collected from their streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantProviderConfigs {
    pub configs: BTreeMap<String, TenantProviderConfig>,
    /// The configurations that its messages do not use, both its own and the deployment's.
    pub disabled: BTreeSet<String>,
    pub limits: TenantLimits,
    order: BTreeMap<Channel, Vec<String>>,
}

impl TenantProviderConfigs {
    /// Adds the state of the configuration `id`.
    pub fn add(&mut self, id: &str, state: ProviderConfigState) {
        if state.is_disabled {
            self.disabled.insert(id.to_owned());
        }
        self.configs.extend(state.config.map(|config| (id.to_owned(), config)));
    }

    /// Adds the order of one channel.
    pub fn add_routing(&mut self, routing: Routing) {
        self.order.extend(routing.channel.map(|channel| (channel, routing.order)));
    }

    /// The position of a configuration in the order of its channel. Configurations that are not ordered come last.
    pub fn position_of(&self, channel: Channel, config: &str) -> usize {
        let order = self.order.get(&channel);
        order.and_then(|order| order.iter().position(|name| name == config)).unwrap_or(usize::MAX)
    }

    /// The tenant's own configurations of a channel, in the order in which they are tried.
    pub fn for_channel(&self, channel: Channel) -> Vec<&TenantProviderConfig> {
        let mut configs: Vec<&TenantProviderConfig> =
            self.configs.values().filter(|config| config.channel == channel).collect();
        configs.sort_by_key(|config| (self.position_of(channel, &config.id), config.added_at));
        configs
    }
}

#[cfg(test)]
mod tests {
    use events::EventMetadata;

    use super::*;

    fn after<A: Aggregate>(state: A, command: A::Command) -> A {
        let meta = EventMetadata {
            at: Timestamp(1),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "ops".to_owned(),
            traceparent: None,
        };
        let events = state.decide(command).expect("decided");
        let record = |event| RecordedEvent { version: 1, meta: meta.clone(), event };
        events.into_iter().map(record).fold(state, |state, record| state.evolve(&record))
    }

    fn add(config: &str) -> Command {
        Command::Add {
            config: config.to_owned(),
            provider: "twilio".to_owned(),
            channel: Channel::Sms,
            name: config.to_owned(),
            settings: BTreeMap::new(),
            secret_id: "one".to_owned(),
            rate: None,
            is_enabled: true,
            others: 0,
        }
    }

    fn rename(expected: u64, name: &str, is_enabled: Option<bool>) -> Command {
        let (config, name) = ("a.1".to_owned(), Some(name.to_owned()));
        Command::Change { config, expected, name, settings: None, secret_id: None, rate: None, is_enabled }
    }

    #[test]
    fn unordered_configurations_follow_the_ordered_ones() {
        let ids = |order: &Routing| {
            let mut configs = TenantProviderConfigs::default();
            for id in ["a.1", "a.2", "a.3"] {
                configs.add(id, after(ProviderConfigState::default(), add(id)));
            }
            configs.add_routing(order.clone());
            assert_eq!(configs.for_channel(Channel::Email), [] as [&TenantProviderConfig; 0]);
            configs.for_channel(Channel::Sms).iter().map(|config| config.id.clone()).collect::<Vec<_>>()
        };
        let channel = Channel::Sms;
        assert_eq!(ids(&Routing::default()), ["a.1", "a.2", "a.3"]);
        let first = after(Routing::default(), RoutingCommand::UseFirst { channel, config: "a.3".to_owned() });
        assert_eq!(ids(&first), ["a.3", "a.1", "a.2"]);
        let ordered = after(first, RoutingCommand::Order { channel, order: vec!["a.2".to_owned()] });
        assert_eq!(ids(&ordered), ["a.2", "a.1", "a.3"]);
        assert_eq!(ordered.decide(RoutingCommand::Order { channel, order: vec!["a.2".to_owned()] }), Ok(Vec::new()));
    }

    #[test]
    fn a_change_without_effect_adds_no_event() {
        let state = after(ProviderConfigState::default(), add("a.1"));
        assert_eq!(state.decide(rename(1, "a.1", Some(true))), Ok(Vec::new()));
        let off = after(state, Command::SetEnabled { config: "a.1".to_owned(), is_enabled: false });
        assert!(off.is_disabled);
        assert_eq!(off.decide(rename(2, "a.1", Some(false))), Ok(Vec::new()));
    }

    #[test]
    fn one_command_can_change_and_disable_a_configuration() {
        let state = after(ProviderConfigState::default(), add("a.1"));
        let names: Vec<&str> =
            state.decide(rename(1, "b", Some(false))).expect("decided").iter().map(ProviderConfigEvent::name).collect();
        assert_eq!(names, ["ChannelChanged", "ChannelDisabled"]);
    }

    #[test]
    fn a_configuration_can_be_added_disabled() {
        let Command::Add { config, provider, channel, name, settings, secret_id, rate, others, .. } = add("a.1") else {
            panic!("a command to add");
        };
        let is_enabled = false;
        let add = Command::Add { config, provider, channel, name, settings, secret_id, rate, is_enabled, others };
        let state = after(ProviderConfigState::default(), add);
        assert!(state.config.is_some() && state.is_disabled);
    }

    #[test]
    fn a_change_based_on_an_old_revision_is_rejected() {
        let state = after(ProviderConfigState::default(), add("a.1"));
        let changed = after(state, rename(1, "b", None));
        assert_eq!(changed.revision, 2);
        assert_eq!(changed.decide(rename(1, "c", None)), Err(Rejection::Changed));
        assert!(changed.decide(rename(2, "c", None)).is_ok());
    }

    #[test]
    fn an_unknown_configuration_cannot_be_changed() {
        let none = ProviderConfigState::default();
        let state = after(none.clone(), add("a.1"));
        assert_eq!(state.decide(add("a.1")), Err(Rejection::Exists));
        assert_eq!(none.decide(Command::Remove { config: "a.2".to_owned() }), Err(Rejection::Unknown));
        assert_eq!(none.decide(rename(0, "x", None)), Err(Rejection::Unknown));
        assert_eq!(after(state, Command::Remove { config: "a.1".to_owned() }), none);
    }
}
