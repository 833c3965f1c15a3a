//! A tenant's provider configurations: which there are, in which order they are tried, and which not at all.

use std::collections::{BTreeMap, BTreeSet};

use events::{Channel, ProviderConfigEvent, RateLimit, Timestamp};

/// Configurations of one tenant, at most.
pub const MAX_PROVIDER_CONFIGS: usize = 100;

/// One configuration of the tenant's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub id: String,
    pub provider: String,
    pub channel: Channel,
    pub name: String,
    pub settings: BTreeMap<String, String>,
    /// Which version of its credentials is in force.
    pub secret: u32,
    pub rate: Option<RateLimit>,
    pub added_at: Timestamp,
    pub changed_at: Timestamp,
    pub changed_by: String,
}

/// Everything a tenant decided, folded from its journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channels {
    pub configs: BTreeMap<String, Config>,
    pub disabled: BTreeSet<String>,
    order: BTreeMap<Channel, Vec<String>>,
    /// Counts every change: what was connected before is known by it.
    pub revision: u64,
}

/// What is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Add {
        config: String,
        provider: String,
        channel: Channel,
        name: String,
        settings: BTreeMap<String, String>,
        rate: Option<RateLimit>,
    },
    Change {
        config: String,
        name: Option<String>,
        settings: Option<BTreeMap<String, String>>,
        /// Whether credentials changed: they were sealed as this version.
        secret: Option<u32>,
        rate: Option<RateLimit>,
    },
    Remove {
        config: String,
    },
    Enable {
        config: String,
    },
    Disable {
        config: String,
    },
    /// The first to be tried, and used.
    Switch {
        config: String,
        channel: Channel,
    },
    Order {
        channel: Channel,
        order: Vec<String>,
    },
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such configuration")]
    Unknown,
    #[error("there are {MAX_PROVIDER_CONFIGS} configurations already")]
    TooMany,
    #[error("there is a configuration of that id")]
    Exists,
}

impl Channels {
    /// The place of a configuration among those of its channel; those not named come last and keep their order.
    pub fn place(&self, channel: Channel, config: &str) -> usize {
        let order = self.order.get(&channel);
        order.and_then(|order| order.iter().position(|name| name == config)).unwrap_or(usize::MAX)
    }

    /// Its own of a channel, in the order they are tried.
    pub fn own(&self, channel: Channel) -> Vec<&Config> {
        let mut own: Vec<&Config> = self.configs.values().filter(|config| config.channel == channel).collect();
        own.sort_by_key(|config| (self.place(channel, &config.id), config.added_at));
        own
    }

    /// What follows from a command; nothing where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Rejection`]
    pub fn decide(&self, command: Command) -> Result<Vec<ProviderConfigEvent>, Rejection> {
        let known = |config: &str| self.configs.get(config).ok_or(Rejection::Unknown);
        Ok(match command {
            Command::Add { config, .. } if self.configs.contains_key(&config) => return Err(Rejection::Exists),
            Command::Add { .. } if MAX_PROVIDER_CONFIGS <= self.configs.len() => return Err(Rejection::TooMany),
            Command::Add { config, provider, channel, name, settings, rate } => {
                vec![ProviderConfigEvent::ChannelAdded { config, provider, channel, name, settings, secret: 1, rate }]
            }
            Command::Change { config, name, settings, secret, rate } => {
                let now = known(&config)?;
                let name = name.filter(|name| *name != now.name);
                let settings = settings.filter(|settings| *settings != now.settings);
                let rate = rate.filter(|rate| Some(*rate) != now.rate);
                match name.is_none() && settings.is_none() && secret.is_none() && rate.is_none() {
                    true => Vec::new(),
                    false => vec![ProviderConfigEvent::ChannelChanged { config, name, settings, secret, rate }],
                }
            }
            Command::Remove { config } => {
                known(&config)?;
                vec![ProviderConfigEvent::ChannelRemoved { config }]
            }
            Command::Enable { config } => self.enable(config),
            Command::Disable { config } => match self.disabled.contains(&config) {
                true => Vec::new(),
                false => vec![ProviderConfigEvent::ChannelDisabled { config }],
            },
            Command::Switch { config, channel } => {
                let others = self.order.get(&channel).into_iter().flatten();
                let others = others.filter(|name| **name != config).cloned();
                let order = std::iter::once(config.clone()).chain(others).collect();
                let mut events = self.reorder(channel, order);
                events.extend(self.enable(config));
                events
            }
            Command::Order { channel, order } => self.reorder(channel, order),
        })
    }

    fn enable(&self, config: String) -> Vec<ProviderConfigEvent> {
        match self.disabled.contains(&config) {
            true => vec![ProviderConfigEvent::ChannelEnabled { config }],
            false => Vec::new(),
        }
    }

    fn reorder(&self, channel: Channel, order: Vec<String>) -> Vec<ProviderConfigEvent> {
        match self.order.get(&channel) == Some(&order) {
            true => Vec::new(),
            false => vec![ProviderConfigEvent::ChannelsOrdered { channel, order }],
        }
    }

    /// `by` and `at` are whoever decided it, and when.
    pub fn evolve(&mut self, event: &ProviderConfigEvent, by: &str, at: Timestamp) {
        self.revision += 1;
        match event.clone() {
            ProviderConfigEvent::ChannelAdded { config: id, provider, channel, name, settings, secret, rate } => {
                let (rate, changed_by) = (rate, by.to_owned());
                let config = Config {
                    id: id.clone(),
                    provider,
                    channel,
                    name,
                    settings,
                    secret,
                    rate,
                    added_at: at,
                    changed_at: at,
                    changed_by,
                };
                self.configs.insert(id, config);
            }
            ProviderConfigEvent::ChannelChanged { config, name, settings, secret, rate } => {
                let Some(known) = self.configs.get_mut(&config) else { return };
                known.name = name.unwrap_or_else(|| known.name.clone());
                known.settings = settings.unwrap_or_else(|| known.settings.clone());
                known.secret = secret.unwrap_or(known.secret);
                known.rate = rate.or(known.rate);
                (known.changed_at, known.changed_by) = (at, by.to_owned());
            }
            ProviderConfigEvent::ChannelRemoved { config } => {
                self.configs.remove(&config);
                self.disabled.remove(&config);
                self.order.values_mut().for_each(|order| order.retain(|name| *name != config));
            }
            ProviderConfigEvent::ChannelEnabled { config } => {
                self.disabled.remove(&config);
            }
            ProviderConfigEvent::ChannelDisabled { config } => {
                self.disabled.insert(config);
            }
            ProviderConfigEvent::ChannelsOrdered { channel, order } => {
                self.order.insert(channel, order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(channels: &Channels, command: Command) -> Channels {
        let mut after = channels.clone();
        let events = channels.decide(command).expect("decided");
        events.iter().for_each(|event| after.evolve(event, "ops", Timestamp(1)));
        after
    }

    fn add(config: &str) -> Command {
        Command::Add {
            config: config.to_owned(),
            provider: "twilio".to_owned(),
            channel: Channel::Sms,
            name: config.to_owned(),
            settings: BTreeMap::new(),
            rate: None,
        }
    }

    #[test]
    fn the_order_is_kept_and_what_is_not_named_follows() {
        let mut channels = Channels::default();
        for config in ["a.1", "a.2", "a.3"] {
            channels = after(&channels, add(config));
        }
        let ids = |channels: &Channels| channels.own(Channel::Sms).iter().map(|c| c.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&channels), ["a.1", "a.2", "a.3"]);
        channels = after(&channels, Command::Switch { config: "a.3".to_owned(), channel: Channel::Sms });
        assert_eq!(ids(&channels), ["a.3", "a.1", "a.2"]);
        channels = after(&channels, Command::Order { channel: Channel::Sms, order: vec!["a.2".to_owned()] });
        assert_eq!(ids(&channels), ["a.2", "a.1", "a.3"]);
        assert_eq!(channels.own(Channel::Email), [] as [&Config; 0]);
    }

    #[test]
    fn what_changes_nothing_is_no_event() {
        let channels = after(&Channels::default(), add("a.1"));
        let change = |name: &str| Command::Change {
            config: "a.1".to_owned(),
            name: Some(name.to_owned()),
            settings: None,
            secret: None,
            rate: None,
        };
        assert_eq!(channels.decide(change("a.1")), Ok(Vec::new()));
        assert_eq!(channels.decide(Command::Enable { config: "a.1".to_owned() }), Ok(Vec::new()));
        let off = after(&channels, Command::Disable { config: "a.1".to_owned() });
        assert!(off.disabled.contains("a.1"));
        assert_eq!(off.decide(Command::Disable { config: "a.1".to_owned() }), Ok(Vec::new()));
        let on = after(&off, Command::Switch { config: "a.1".to_owned(), channel: Channel::Sms });
        assert!(on.disabled.is_empty(), "switching to it uses it");
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let channels = after(&Channels::default(), add("a.1"));
        assert_eq!(channels.decide(add("a.1")), Err(Rejection::Exists));
        assert_eq!(channels.decide(Command::Remove { config: "a.2".to_owned() }), Err(Rejection::Unknown));
        let gone = after(&channels, Command::Remove { config: "a.1".to_owned() });
        assert!(gone.configs.is_empty());
    }
}
