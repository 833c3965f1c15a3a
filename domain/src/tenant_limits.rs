//! The limits that a tenant sets for itself, in one stream: how fast it may send, what its messages may cost in a day, and
//! the channels that it has paused.

use std::collections::BTreeMap;

use events::{Channel, RateLimit, RecordedEvent, StreamKind, TenantLimitsEvent, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};

/// The id of the only stream of each tenant.
pub const LIMITS: &str = "limits";
/// Maximum number of currencies that have a cap.
pub const MAX_CAPS: usize = 20;

/// The state of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TenantLimits {
    /// How fast the tenant may send. The deployment can have a lower limit.
    pub rate: Option<RateLimit>,
    /// The most that the messages of one day (UTC) may cost, by currency, in millionths.
    pub daily_spend_caps: BTreeMap<String, i64>,
    /// The channels by which nothing is sent.
    #[serde(default)]
    pub pauses: BTreeMap<Channel, Pause>,
    /// The number of changes of rate and caps. A change can name the revision that it is based on.
    pub revision: u32,
    pub changed_at: Option<Timestamp>,
    pub changed_by: Option<String>,
}

/// Why a channel is paused, since when and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: Timestamp,
    pub by: String,
    pub reason: String,
}

/// A command to the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Change(Change),
    /// A channel that is paused already keeps its first reason.
    Pause {
        channel: Channel,
        reason: String,
    },
    Resume {
        channel: Channel,
    },
}

/// A change of the limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The revision that the change is based on. It is rejected if there is a newer one.
    pub expected: Option<u32>,
    /// `None` does not change the rate, `Some(None)` removes it.
    pub rate: Option<Option<RateLimit>>,
    /// The caps that change, by currency. `None` removes one.
    pub daily_spend_caps: BTreeMap<String, Option<i64>>,
}

/// Why a change is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the newest revision is {0}")]
    Changed(u32),
    #[error("at most {MAX_CAPS} currencies can have a cap")]
    TooManyCaps,
}

impl Aggregate for TenantLimits {
    const KIND: StreamKind = StreamKind::TENANT_LIMITS;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = TenantLimitsEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<TenantLimitsEvent>, Rejection> {
        match command {
            Command::Change(change) => self.change(change),
            Command::Pause { channel, .. } if self.pauses.contains_key(&channel) => Ok(Vec::new()),
            Command::Pause { channel, reason } => Ok(vec![TenantLimitsEvent::SendingPaused { channel, reason }]),
            Command::Resume { channel } if self.pauses.contains_key(&channel) => {
                Ok(vec![TenantLimitsEvent::SendingResumed { channel }])
            }
            Command::Resume { .. } => Ok(Vec::new()),
        }
    }

    fn evolve(mut self, record: &RecordedEvent<TenantLimitsEvent>) -> Self {
        let (since, by) = (record.meta.at, record.meta.actor.clone());
        match record.event.clone() {
            TenantLimitsEvent::LimitsChanged { rate, daily_spend_caps } => TenantLimits {
                rate,
                daily_spend_caps,
                pauses: self.pauses,
                revision: self.revision + 1,
                changed_at: Some(since),
                changed_by: Some(by),
            },
            TenantLimitsEvent::SendingPaused { channel, reason } => {
                self.pauses.insert(channel, Pause { since, by, reason });
                self
            }
            TenantLimitsEvent::SendingResumed { channel } => {
                self.pauses.remove(&channel);
                self
            }
        }
    }

    fn is_listed(&self) -> bool {
        self.revision > 0 || !self.pauses.is_empty()
    }
}

impl TenantLimits {
    fn change(&self, change: Change) -> Result<Vec<TenantLimitsEvent>, Rejection> {
        if change.expected.is_some_and(|expected| expected != self.revision) {
            return Err(Rejection::Changed(self.revision));
        }
        let rate = change.rate.unwrap_or(self.rate);
        let mut caps = self.daily_spend_caps.clone();
        for (currency, cap) in change.daily_spend_caps {
            match cap {
                Some(cap) => caps.insert(currency, cap),
                None => caps.remove(&currency),
            };
        }
        if MAX_CAPS < caps.len() {
            return Err(Rejection::TooManyCaps);
        }
        if (rate, &caps) == (self.rate, &self.daily_spend_caps) {
            return Ok(Vec::new());
        }
        Ok(vec![TenantLimitsEvent::LimitsChanged { rate, daily_spend_caps: caps }])
    }

    /// The rate that applies to the tenant, if the deployment limits every tenant to `deployment`: the lower of both.
    pub fn rate_within(&self, deployment: Option<RateLimit>) -> Option<RateLimit> {
        match (self.rate, deployment) {
            (Some(own), Some(deployment)) => Some(RateLimit {
                burst: own.burst.min(deployment.burst),
                per_second: own.per_second.min(deployment.per_second),
            }),
            (own, deployment) => own.or(deployment),
        }
    }
}

#[cfg(test)]
mod tests {
    use events::EventMetadata;

    use super::*;

    const RATE: RateLimit = RateLimit { burst: 10, per_second: 5 };

    fn changed(rate: Option<RateLimit>, caps: &[(&str, i64)]) -> TenantLimitsEvent {
        let daily_spend_caps = caps.iter().map(|(currency, cap)| ((*currency).to_owned(), *cap)).collect();
        TenantLimitsEvent::LimitsChanged { rate, daily_spend_caps }
    }

    fn given(events: &[TenantLimitsEvent]) -> TenantLimits {
        let meta = EventMetadata {
            at: Timestamp(7),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "key:ops".to_owned(),
            traceparent: None,
        };
        let record = |event: &TenantLimitsEvent| RecordedEvent { version: 1, meta: meta.clone(), event: event.clone() };
        events.iter().map(record).fold(TenantLimits::default(), |state, record| state.evolve(&record))
    }

    fn caps(currency: &str, cap: Option<i64>) -> Change {
        Change { daily_spend_caps: BTreeMap::from([(currency.to_owned(), cap)]), ..Change::default() }
    }

    fn cap(currency: &str, cap: Option<i64>) -> Command {
        Command::Change(caps(currency, cap))
    }

    #[test]
    fn a_channel_is_paused_and_resumed_once() {
        let pause = |reason: &str| Command::Pause { channel: Channel::Sms, reason: reason.to_owned() };
        let resume = Command::Resume { channel: Channel::Sms };
        let none = TenantLimits::default();
        assert_eq!(none.decide(resume.clone()), Ok(vec![]), "it is not paused");
        let paused = none.decide(pause("wrong texts")).expect("an event");
        let limits = given(&paused);
        let expected = Pause { since: Timestamp(7), by: "key:ops".to_owned(), reason: "wrong texts".to_owned() };
        assert_eq!(limits.pauses, BTreeMap::from([(Channel::Sms, expected)]));
        assert_eq!((limits.revision, limits.is_listed()), (0, true), "rate and caps have not changed");
        assert_eq!(limits.decide(pause("another reason")), Ok(vec![]), "the first reason stays");
        let other = Command::Pause { channel: Channel::Email, reason: "r".to_owned() };
        assert_eq!(limits.decide(other).map(|events| events.len()), Ok(1));
        let resumed = limits.decide(resume).expect("an event");
        let both = [paused, resumed].concat();
        assert_eq!((given(&both).pauses.len(), given(&both).is_listed()), (0, false));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let limits = given(&[changed(Some(RATE), &[("KES", 5)])]);
        assert_eq!(limits.decide(cap("USD", Some(7))), Ok(vec![changed(Some(RATE), &[("KES", 5), ("USD", 7)])]));
        assert_eq!(limits.decide(cap("KES", None)), Ok(vec![changed(Some(RATE), &[])]));
        let no_rate = Command::Change(Change { rate: Some(None), ..Change::default() });
        assert_eq!(limits.decide(no_rate), Ok(vec![changed(None, &[("KES", 5)])]));
        assert_eq!(limits.decide(cap("KES", Some(5))), Ok(vec![]), "already so");
        assert_eq!((limits.revision, limits.changed_by.as_deref()), (1, Some("key:ops")));
    }

    #[test]
    fn a_change_of_an_older_revision_is_rejected() {
        let limits = given(&[changed(Some(RATE), &[]), changed(None, &[])]);
        let based_on = |expected| Command::Change(Change { expected: Some(expected), ..caps("USD", Some(1)) });
        assert_eq!(limits.decide(based_on(1)), Err(Rejection::Changed(2)));
        assert!(limits.decide(based_on(2)).is_ok());
    }

    #[test]
    fn the_number_of_caps_is_bounded() {
        let names: Vec<String> = (0..=MAX_CAPS).map(|n| format!("A{n:02}")).collect();
        let caps = names.iter().map(|name| (name.clone(), Some(1))).collect();
        let change = Change { daily_spend_caps: caps, ..Change::default() };
        assert_eq!(TenantLimits::default().decide(Command::Change(change)), Err(Rejection::TooManyCaps));
    }

    #[test]
    fn the_lower_rate_applies() {
        let of = |own, deployment| TenantLimits { rate: own, ..TenantLimits::default() }.rate_within(deployment);
        let deployment = RateLimit { burst: 100, per_second: 2 };
        assert_eq!(of(Some(RATE), Some(deployment)), Some(RateLimit { burst: 10, per_second: 2 }));
        assert_eq!((of(Some(RATE), None), of(None, Some(deployment))), (Some(RATE), Some(deployment)));
        assert_eq!(of(None, None), None);
    }
}
