//! A tenant's settings of collections.

use std::collections::BTreeMap;

use events::{
    Channel, CollectionSettings, CollectionsEvent, FallbackCondition, LadderStep, Mode, NoticeGrouping, RecordedEvent,
    StepMode, StreamKind, Weekday,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};

/// The id of the stream: a tenant has one.
pub const STREAM: &str = "all";
const HOUR_MS: i64 = 3_600_000;

/// The settings of a tenant that has changed none: reminders 1, 7 and 30 days after the due day, at 09:00.
pub fn defaults() -> CollectionSettings {
    let step = |id: &str, after_days, channels: &[Channel]| LadderStep {
        id: id.to_owned(),
        after_days,
        channels: channels.to_vec(),
        mode: StepMode::Escalate,
        escalate_after_ms: 24 * HOUR_MS,
        unless: FallbackCondition::Read,
        template: None,
    };
    let both = [Channel::Email, Channel::Sms];
    CollectionSettings {
        time: "09:00".to_owned(),
        until: "18:00".to_owned(),
        time_zone: "UTC".to_owned(),
        ladder: vec![
            step("d1", 1, &both[..1]),
            step("d7", 7, &both),
            LadderStep { mode: StepMode::All, ..step("d30", 30, &both) },
        ],
        grouping: NoticeGrouping::Customer,
        gather_seconds: 120,
        max_per_day: 1,
        min_days_between: 0,
        days: Weekday::ALL.to_vec(),
        holidays: Vec::new(),
        late_days: 3,
        grace_after_first_seen_days: 1,
        minimum_minor: 1,
        attribution_days: 7,
    }
}

/// The state of the stream of settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CollectionsState {
    /// `None` while they are the [`defaults`].
    pub changed: Option<CollectionSettings>,
    pub revision: u32,
    /// The earliest due day that is taken up. `None` if collections are off, as they are at first.
    pub enabled_from: Option<String>,
    /// The backfill of each mode that may be confirmed, or was confirmed last.
    pub backfills: BTreeMap<Mode, String>,
}

impl CollectionsState {
    pub fn settings(&self) -> CollectionSettings {
        self.changed.clone().unwrap_or_else(defaults)
    }
}

/// A command to the settings. Values have already been validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Change {
        /// The revision that the change is based on.
        expected: Option<u32>,
        settings: Box<CollectionSettings>,
    },
    Enable {
        from: String,
    },
    Disable,
    /// Claims the right to confirm a backfill: a mode has one at a time.
    ClaimBackfill {
        mode: Mode,
        backfill: String,
        /// The one that has the claim, and is known to be over or not confirmed.
        over: Option<String>,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the settings have changed: the newest revision is {0}")]
    Changed(u32),
    #[error("the backfill {0} was first")]
    BackfillClaimed(String),
}

impl Aggregate for CollectionsState {
    const KIND: StreamKind = StreamKind::COLLECTIONS;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    const SNAPSHOT_VERSION: u16 = 2;

    type Event = CollectionsEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<CollectionsEvent>, Rejection> {
        match command {
            Command::Change { expected: Some(expected), .. } if expected != self.revision => {
                Err(Rejection::Changed(self.revision))
            }
            Command::Change { settings, .. } if self.settings() == *settings => Ok(Vec::new()),
            Command::Change { settings, .. } => {
                let (revision, settings) = (self.revision + 1, *settings);
                Ok(vec![CollectionsEvent::CollectionSettingsChanged { revision, settings }])
            }
            Command::Enable { .. } if self.enabled_from.is_some() => Ok(Vec::new()),
            Command::Enable { from } => Ok(vec![CollectionsEvent::CollectionsEnabled { from }]),
            Command::Disable if self.enabled_from.is_none() => Ok(Vec::new()),
            Command::Disable => Ok(vec![CollectionsEvent::CollectionsDisabled {}]),
            Command::ClaimBackfill { mode, backfill, over } => match self.backfills.get(&mode) {
                Some(claimed) if *claimed == backfill => Ok(Vec::new()),
                Some(claimed) if over.as_ref() != Some(claimed) => Err(Rejection::BackfillClaimed(claimed.clone())),
                Some(_) | None => Ok(vec![CollectionsEvent::BackfillClaimed { mode, backfill }]),
            },
        }
    }

    fn evolve(mut self, record: &RecordedEvent<CollectionsEvent>) -> Self {
        match record.event.clone() {
            CollectionsEvent::CollectionSettingsChanged { revision, settings } => {
                self.revision = revision;
                self.changed = Some(settings);
            }
            CollectionsEvent::CollectionsEnabled { from } => self.enabled_from = Some(from),
            CollectionsEvent::CollectionsDisabled {} => self.enabled_from = None,
            CollectionsEvent::BackfillClaimed { mode, backfill } => {
                self.backfills.insert(mode, backfill);
            }
        }
        self
    }

    fn is_optional(command: &Command) -> bool {
        matches!(command, Command::Change { .. } | Command::Enable { .. } | Command::ClaimBackfill { .. })
    }

    fn is_listed(&self) -> bool {
        self.enabled_from.is_some()
    }
}
