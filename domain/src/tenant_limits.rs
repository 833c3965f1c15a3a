//! The limits that a tenant sets for itself, in one stream: how fast it may send, and what its messages may cost in a day.

use std::collections::BTreeMap;

use events::{RateLimit, RecordedEvent, StreamKind, TenantLimitsEvent, Timestamp};
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
    /// The number of changes. A change can name the revision that it is based on.
    pub revision: u32,
    pub changed_at: Option<Timestamp>,
    pub changed_by: Option<String>,
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
    type Command = Change;
    type Rejection = Rejection;

    fn decide(&self, change: Change) -> Result<Vec<TenantLimitsEvent>, Rejection> {
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

    fn evolve(self, record: &RecordedEvent<TenantLimitsEvent>) -> Self {
        match record.event.clone() {
            TenantLimitsEvent::LimitsChanged { rate, daily_spend_caps } => TenantLimits {
                rate,
                daily_spend_caps,
                revision: self.revision + 1,
                changed_at: Some(record.meta.at),
                changed_by: Some(record.meta.actor.clone()),
            },
        }
    }

    fn is_listed(&self) -> bool {
        self.revision > 0
    }
}

impl TenantLimits {
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

    fn cap(currency: &str, cap: Option<i64>) -> Change {
        Change { daily_spend_caps: BTreeMap::from([(currency.to_owned(), cap)]), ..Change::default() }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let limits = given(&[changed(Some(RATE), &[("KES", 5)])]);
        assert_eq!(limits.decide(cap("USD", Some(7))), Ok(vec![changed(Some(RATE), &[("KES", 5), ("USD", 7)])]));
        assert_eq!(limits.decide(cap("KES", None)), Ok(vec![changed(Some(RATE), &[])]));
        let no_rate = Change { rate: Some(None), ..Change::default() };
        assert_eq!(limits.decide(no_rate), Ok(vec![changed(None, &[("KES", 5)])]));
        assert_eq!(limits.decide(cap("KES", Some(5))), Ok(vec![]), "already so");
        assert_eq!((limits.revision, limits.changed_by.as_deref()), (1, Some("key:ops")));
    }

    #[test]
    fn a_change_of_an_older_revision_is_rejected() {
        let limits = given(&[changed(Some(RATE), &[]), changed(None, &[])]);
        let based_on = |expected| Change { expected: Some(expected), ..cap("USD", Some(1)) };
        assert_eq!(limits.decide(based_on(1)), Err(Rejection::Changed(2)));
        assert!(limits.decide(based_on(2)).is_ok());
    }

    #[test]
    fn the_number_of_caps_is_bounded() {
        let names: Vec<String> = (0..=MAX_CAPS).map(|n| format!("A{n:02}")).collect();
        let caps = names.iter().map(|name| (name.clone(), Some(1))).collect();
        let change = Change { daily_spend_caps: caps, ..Change::default() };
        assert_eq!(TenantLimits::default().decide(change), Err(Rejection::TooManyCaps));
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
