//! A person's preferences and consent, and the messages that they rule out.

use std::collections::BTreeMap;

use events::{Channel, MessageType, PreferenceEvent, QuietHours, RecordedEvent, StreamKind, SuppressReason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};
use crate::policy;

/// The id of the stream that holds a tenant's defaults.
pub const DEFAULTS: &str = "defaults";
/// The actor of the events that the preference page appends.
pub const PAGE_ACTOR: &str = "preference-page";
/// The channels of a type for which neither the person nor the tenant chose any.
pub const DEFAULT_CHANNELS: &[Channel] = &[Channel::Email];

/// An opt-in, an opt-out or a do-not-contact: when, by whom, and the reason or evidence given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
    /// The id of the reason in the vault, if it is personal.
    #[serde(default)]
    pub text_id: Option<String>,
}

/// The state of a person's stream, or of the stream of a tenant's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preferences {
    pub channels: BTreeMap<Channel, bool>,
    pub types: BTreeMap<MessageType, Vec<Channel>>,
    pub quiet_hours: Option<QuietHours>,
    pub opted_out: Option<Statement>,
    pub opted_in: Option<Statement>,
    pub do_not_contact: Option<Statement>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub updated_by: Option<String>,
    pub page_events: PageEvents,
    /// How many changes there have been.
    pub revision: u32,
}

/// Why a command to preferences is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The preference page saved too many changes today. It can still forbid messages.
    #[error("too many changes were saved today; try again tomorrow")]
    TooManySaves,
    /// The change is based on an older revision than this one.
    #[error("the newest revision is {0}")]
    Changed(u32),
}

/// The events that the preference page appended on one day, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageEvents {
    pub day: i64,
    pub count: u16,
}

/// A command to preferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Change(Box<PreferenceChange>),
    /// Records a person's choices on the preference page.
    Choose {
        wanted: BTreeMap<Channel, bool>,
        wants_nothing: bool,
        now: Timestamp,
        /// The tenant's defaults, which apply where the person has no preference.
        defaults: Box<Preferences>,
    },
}

/// A change by the tenant. Fields that are `None` or empty do not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreferenceChange {
    /// The revision that the change is based on. It is rejected if there is a newer one.
    pub expected: Option<u32>,
    pub channels: BTreeMap<Channel, bool>,
    /// Channels that are wanted or not as by default again.
    pub channels_reset: Vec<Channel>,
    pub types: BTreeMap<MessageType, Option<Vec<Channel>>>,
    pub quiet_hours: Option<QuietHours>,
    pub quiet_hours_lifted: bool,
    /// Channels whose preferred address was changed in the vault.
    pub addresses: Vec<Channel>,
    pub opted_out: Option<bool>,
    /// The ids of texts in the vault: why the person opted out, the evidence of an opt-in, why they must not be contacted.
    pub opted_out_text_id: Option<String>,
    pub opt_in_text_id: Option<String>,
    pub do_not_contact: Option<bool>,
    pub do_not_contact_text_id: Option<String>,
}

impl Command {
    /// Whether it may forbid messages that were allowed.
    pub fn restricts(&self) -> bool {
        match self {
            Command::Change(change) => {
                change.opted_out == Some(true)
                    || change.do_not_contact == Some(true)
                    || change.channels.values().any(|is_wanted| !is_wanted)
                    || !change.channels_reset.is_empty()
                    || change.types.values().any(Option::is_some)
            }
            Command::Choose { wanted, wants_nothing, .. } => {
                *wants_nothing || wanted.values().any(|is_wanted| !is_wanted)
            }
        }
    }
}

impl Aggregate for Preferences {
    const KIND: StreamKind = StreamKind::PREFERENCE;
    const ERASURE: Erasure = Erasure::VaultDocuments;

    type Event = PreferenceEvent;
    type Command = Command;
    type Rejection = Rejection;

    const SNAPSHOT_VERSION: u16 = 3;

    fn decide(&self, command: Command) -> Result<Vec<PreferenceEvent>, Rejection> {
        Ok(match command {
            Command::Change(change) => {
                self.check_revision(change.expected)?;
                self.change(*change)
            }
            Command::Choose { wanted, wants_nothing, now, defaults } => {
                let mut events = self.clone().with_defaults(&defaults).choose(&wanted, wants_nothing);
                let used = if self.page_events.day == day_of(now) { self.page_events.count } else { 0 };
                let is_over = policy::MAX_PAGE_EVENTS_PER_DAY < used.saturating_add(events.len() as u16);
                if is_over && events.iter().any(allows_more) {
                    // What restricts always has room.
                    events.retain(|event| !allows_more(event));
                    if events.is_empty() {
                        return Err(Rejection::TooManySaves);
                    }
                }
                events
            }
        })
    }

    fn evolve(mut self, record: &RecordedEvent<PreferenceEvent>) -> Self {
        let (at, by) = (record.meta.at, record.meta.actor.clone());
        let statement = |reason: &Option<String>, text_id: &Option<String>| {
            Some(Statement { at, by: by.clone(), reason: reason.clone(), text_id: text_id.clone() })
        };
        match &record.event {
            PreferenceEvent::PreferencesChanged {
                channels,
                channels_reset,
                types,
                quiet_hours,
                quiet_hours_lifted,
                ..
            } => {
                self.apply((channels, channels_reset), types, quiet_hours, *quiet_hours_lifted);
            }
            PreferenceEvent::OptedOut { reason, text_id } => self.opted_out = statement(reason, text_id),
            PreferenceEvent::OptedIn { evidence, text_id } => {
                self.opted_in = statement(evidence, text_id);
                self.opted_out = None;
            }
            PreferenceEvent::DoNotContactSet { reason, text_id } => self.do_not_contact = statement(reason, text_id),
            PreferenceEvent::DoNotContactLifted {} => self.do_not_contact = None,
        }
        if by == PAGE_ACTOR {
            let PageEvents { day, count } = self.page_events;
            let today = day_of(at);
            self.page_events = PageEvents { day: today, count: if day == today { count.saturating_add(1) } else { 1 } };
        }
        self.revision = self.revision.saturating_add(1);
        self.created_at = self.created_at.or(Some(at));
        (self.updated_at, self.updated_by) = (Some(at), Some(by));
        self
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.0.div_euclid(24 * 3_600_000)
}

/// Whether an event can allow messages that were forbidden.
fn allows_more(event: &PreferenceEvent) -> bool {
    match event {
        PreferenceEvent::PreferencesChanged { channels, .. } => channels.values().any(|is_wanted| *is_wanted),
        PreferenceEvent::OptedIn { .. } | PreferenceEvent::DoNotContactLifted {} => true,
        PreferenceEvent::OptedOut { .. } | PreferenceEvent::DoNotContactSet { .. } => false,
    }
}

impl Preferences {
    /// Whether a change that is based on a revision can still be made.
    ///
    /// # Errors
    ///
    /// [`Rejection::Changed`]
    pub fn check_revision(&self, expected: Option<u32>) -> Result<(), Rejection> {
        match expected {
            Some(expected) if expected != self.revision => Err(Rejection::Changed(self.revision)),
            _ => Ok(()),
        }
    }

    fn apply(
        &mut self,
        (channels, channels_reset): (&BTreeMap<Channel, bool>, &[Channel]),
        types: &BTreeMap<MessageType, Option<Vec<Channel>>>,
        quiet_hours: &Option<QuietHours>,
        quiet_hours_lifted: bool,
    ) {
        self.channels.extend(channels);
        self.channels.retain(|channel, _| !channels_reset.contains(channel));
        for (kind, channels) in types {
            match channels {
                Some(channels) => drop(self.types.insert(*kind, channels.clone())),
                None => drop(self.types.remove(kind)),
            }
        }
        let current = self.quiet_hours.take().filter(|_| !quiet_hours_lifted);
        self.quiet_hours = quiet_hours.clone().or(current);
    }

    fn change(&self, change: PreferenceChange) -> Vec<PreferenceEvent> {
        let PreferenceChange { channels, channels_reset, types, quiet_hours, quiet_hours_lifted, addresses, .. } =
            change;
        let mut changed = self.clone();
        changed.apply((&channels, &channels_reset), &types, &quiet_hours, quiet_hours_lifted);
        let mut events = Vec::new();
        if changed != *self || !addresses.is_empty() {
            events.push(PreferenceEvent::PreferencesChanged {
                channels,
                channels_reset,
                types,
                quiet_hours,
                quiet_hours_lifted,
                addresses,
            });
        }
        let opted_in = PreferenceEvent::OptedIn { evidence: None, text_id: change.opt_in_text_id.clone() };
        match change.opted_out {
            Some(true) if self.opted_out.is_none() => {
                events.push(PreferenceEvent::OptedOut { reason: None, text_id: change.opted_out_text_id });
            }
            Some(false) if self.opted_out.is_some() => events.push(opted_in),
            _ if change.opt_in_text_id.is_some() => events.push(opted_in),
            _ => (),
        }
        match change.do_not_contact {
            Some(true) if self.do_not_contact.is_none() => {
                events.push(PreferenceEvent::DoNotContactSet { reason: None, text_id: change.do_not_contact_text_id });
            }
            Some(false) if self.do_not_contact.is_some() => events.push(PreferenceEvent::DoNotContactLifted {}),
            _ => (),
        }
        events
    }

    /// A person's own preferences, with the tenant's defaults where the person has none.
    pub fn with_defaults(self, defaults: &Preferences) -> Preferences {
        let (mut channels, mut types) = (defaults.channels.clone(), defaults.types.clone());
        channels.extend(self.channels);
        types.extend(self.types);
        let quiet_hours = self.quiet_hours.or_else(|| defaults.quiet_hours.clone());
        Preferences { channels, types, quiet_hours, ..self }
    }

    /// The events for a person's choice of channels, or of no messages at all. `self` has their current preferences.
    fn choose(&self, wanted: &BTreeMap<Channel, bool>, wants_nothing: bool) -> Vec<PreferenceEvent> {
        let is_changed = |(channel, is_wanted): &(&Channel, &bool)| self.accepts_channel(**channel) != **is_wanted;
        let channels: BTreeMap<Channel, bool> =
            wanted.iter().filter(is_changed).map(|(channel, is_wanted)| (*channel, *is_wanted)).collect();
        let mut events = Vec::new();
        if !channels.is_empty() {
            events.push(PreferenceEvent::PreferencesChanged {
                channels,
                channels_reset: Vec::new(),
                types: BTreeMap::new(),
                quiet_hours: None,
                quiet_hours_lifted: false,
                addresses: Vec::new(),
            });
        }
        let page = || Some("preference page".to_owned());
        match (wants_nothing, self.opted_out.is_some()) {
            (true, false) => events.push(PreferenceEvent::OptedOut { reason: page(), text_id: None }),
            (false, true) => events.push(PreferenceEvent::OptedIn { evidence: page(), text_id: None }),
            _ => (),
        }
        events
    }

    /// Whether they forbid any message.
    pub fn restrict(&self) -> bool {
        self.do_not_contact.is_some()
            || self.opted_out.is_some()
            || self.channels.values().any(|is_wanted| !is_wanted)
            || !self.types.is_empty()
    }

    pub fn accepts_channel(&self, channel: Channel) -> bool {
        self.channels.get(&channel).copied().unwrap_or(true)
    }

    /// The reason why a message must not be sent. Returns `None` if it can be sent.
    pub fn refuses(&self, channel: Channel, kind: MessageType) -> Option<SuppressReason> {
        if self.do_not_contact.is_some() {
            return Some(SuppressReason::DoNotContact);
        }
        if self.opted_out.is_some() {
            return Some(SuppressReason::OptedOut);
        }
        if !self.accepts_channel(channel) {
            return Some(SuppressReason::ChannelDisabled);
        }
        let is_listed = self.types.get(&kind).is_none_or(|channels| channels.contains(&channel));
        if is_listed { None } else { Some(SuppressReason::TypeDisabled) }
    }

    /// The allowed channels of a type, the preferred one first.
    pub fn preferred_channels(&self, kind: MessageType) -> Vec<Channel> {
        let listed = self.types.get(&kind).map_or(DEFAULT_CHANNELS, Vec::as_slice);
        listed.iter().copied().filter(|channel| self.refuses(*channel, kind).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use events::EventMetadata;

    use super::*;

    fn after(events: &[PreferenceEvent]) -> Preferences {
        let meta = EventMetadata {
            at: Timestamp(1),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "key:ops".to_owned(),
            traceparent: None,
        };
        let record = |event: &PreferenceEvent| RecordedEvent { version: 1, meta: meta.clone(), event: event.clone() };
        events.iter().map(record).fold(Preferences::default(), |state, record| state.evolve(&record))
    }

    fn changed(channels: &[(Channel, bool)], types: &[(MessageType, Option<&[Channel]>)]) -> PreferenceEvent {
        let types = types.iter().map(|(kind, channels)| (*kind, channels.map(<[Channel]>::to_vec)));
        PreferenceEvent::PreferencesChanged {
            channels: channels.iter().copied().collect(),
            channels_reset: Vec::new(),
            types: types.collect(),
            quiet_hours: None,
            quiet_hours_lifted: false,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn the_page_takes_a_limited_number_of_changes_a_day_but_always_those_that_forbid() {
        let day = 24 * 3_600_000;
        let choose = |sms: bool, nothing: bool, at: i64| Command::Choose {
            wanted: BTreeMap::from([(Channel::Sms, sms)]),
            wants_nothing: nothing,
            now: Timestamp(at),
            defaults: Box::default(),
        };
        let save = |state: Preferences, at: i64, sms: bool| {
            let meta = EventMetadata {
                at: Timestamp(at),
                command: "c".to_owned(),
                correlation: None,
                causation: None,
                actor: PAGE_ACTOR.to_owned(),
                traceparent: None,
            };
            let events = state.decide(choose(sms, false, at)).expect("a decision");
            let record = |event| RecordedEvent { version: 1, meta: meta.clone(), event };
            events.into_iter().map(record).fold(state, |state, record| state.evolve(&record))
        };
        let max = i64::from(policy::MAX_PAGE_EVENTS_PER_DAY);
        let full = (0..max).fold(Preferences::default(), |state, n| save(state, n, n % 2 == 1));
        assert_eq!(full.page_events.count, policy::MAX_PAGE_EVENTS_PER_DAY);
        let full = save(full, max, false);
        assert_eq!(full.decide(choose(true, false, max + 1)), Err(Rejection::TooManySaves));
        assert_eq!(full.decide(choose(false, true, max + 1)).map(|events| events.len()), Ok(1), "an opt-out");
        let mixed = full.decide(choose(true, true, max + 1)).expect("what restricts has room");
        assert!(!mixed.is_empty() && !mixed.iter().any(allows_more), "an opt-out on a page opened before: {mixed:?}");
        assert_eq!(full.decide(choose(true, false, day)).map(|events| events.len()), Ok(1), "on the next day");
    }

    #[test]
    fn a_message_against_the_preferences_is_refused() {
        use Channel::{Email, Sms, Whatsapp};
        use MessageType::{Invoice, PaymentLink};
        let nothing = Preferences::default();
        assert_eq!(nothing.refuses(Sms, Invoice), None);
        assert_eq!(nothing.preferred_channels(Invoice), [Email]);
        let picky = after(&[changed(&[(Sms, false)], &[(Invoice, Some(&[Whatsapp, Sms, Email]))])]);
        assert_eq!(picky.refuses(Sms, PaymentLink), Some(SuppressReason::ChannelDisabled));
        assert_eq!(picky.refuses(Email, PaymentLink), None);
        assert_eq!(picky.preferred_channels(Invoice), [Whatsapp, Email]);
        let listed = after(&[changed(&[], &[(Invoice, Some(&[Email]))])]);
        assert_eq!(listed.refuses(Sms, Invoice), Some(SuppressReason::TypeDisabled));
        let lifted = after(&[changed(&[], &[(Invoice, Some(&[Email]))]), changed(&[(Sms, true)], &[(Invoice, None)])]);
        assert_eq!(lifted.refuses(Sms, Invoice), None);
    }

    #[test]
    fn only_changed_choices_become_events() {
        let nothing = Preferences::default();
        let all = |is_wanted| Channel::ALL.iter().map(|channel| (*channel, is_wanted)).collect::<BTreeMap<_, _>>();
        assert_eq!(nothing.choose(&all(true), false), []);
        let events = nothing.choose(&[(Channel::Sms, false), (Channel::Email, true)].into(), true);
        let picky = after(&events);
        assert_eq!(picky.channels, [(Channel::Sms, false)].into());
        assert!(picky.opted_out.is_some());
        assert_eq!(picky.choose(&[(Channel::Sms, false)].into(), true), []);
        let back = picky.choose(&[(Channel::Sms, true)].into(), false);
        assert_eq!(after(&[events, back].concat()).refuses(Channel::Sms, MessageType::Invoice), None);
    }

    #[test]
    fn an_opt_in_ends_an_opt_out_but_not_a_do_not_contact() {
        let out = PreferenceEvent::OptedOut { reason: None, text_id: None };
        let back = PreferenceEvent::OptedIn { evidence: Some("a form".to_owned()), text_id: None };
        let refuses = |events: &[PreferenceEvent]| after(events).refuses(Channel::Email, MessageType::Invoice);
        assert_eq!(refuses(std::slice::from_ref(&out)), Some(SuppressReason::OptedOut));
        assert_eq!(refuses(&[out, back.clone()]), None);
        let ban = PreferenceEvent::DoNotContactSet { reason: None, text_id: None };
        assert_eq!(refuses(&[ban.clone(), back]), Some(SuppressReason::DoNotContact));
        assert_eq!(refuses(&[ban, PreferenceEvent::DoNotContactLifted {}]), None);
    }

    #[test]
    fn a_change_that_is_based_on_an_older_revision_is_rejected() {
        let now =
            after(&[changed(&[(Channel::Sms, false)], &[]), PreferenceEvent::OptedOut { reason: None, text_id: None }]);
        let based_on = |expected| {
            let channels = BTreeMap::from([(Channel::Sms, true)]);
            Command::Change(Box::new(PreferenceChange { expected, channels, ..PreferenceChange::default() }))
        };
        assert_eq!(now.decide(based_on(Some(1))), Err(Rejection::Changed(2)));
        assert!(now.decide(based_on(Some(2))).is_ok_and(|events| events.len() == 1));
        assert!(now.decide(based_on(None)).is_ok_and(|events| events.len() == 1));
    }

    #[test]
    fn a_persons_own_preferences_override_the_defaults() {
        let defaults = after(&[changed(&[(Channel::Sms, false), (Channel::Whatsapp, false)], &[])]);
        let own = after(&[changed(&[(Channel::Sms, true)], &[])]).with_defaults(&defaults);
        assert!(
            own.accepts_channel(Channel::Sms)
                && !own.accepts_channel(Channel::Whatsapp)
                && own.accepts_channel(Channel::Email)
        );
    }
}
