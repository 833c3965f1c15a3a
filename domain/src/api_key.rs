//! An API key. It is created, returned once, and revoked.

use events::{ApiKeyEvent, Channel, Mode, RecordedEvent, Role, StreamKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};

/// Maximum number of keys of one tenant that are not revoked.
pub const MAX_KEYS: usize = 100;

/// A key that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: String,
    /// The hash of the key. Requests look the key up by it.
    pub hash: String,
    pub name: String,
    pub mode: Mode,
    pub role: Role,
    /// The only channels that it may send by. `None` means all.
    pub channels: Option<Vec<Channel>>,
    pub expires_at: Option<Timestamp>,
    /// The hashes of the only addresses that it may send to. `None` means all.
    pub team: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// The state of a key's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApiKeyState {
    /// `None` before it is created and after it is revoked.
    pub key: Option<ApiKey>,
}

/// A command to an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create {
        id: String,
        hash: String,
        name: String,
        mode: Mode,
        role: Role,
        channels: Option<Vec<Channel>>,
        expires_at: Option<Timestamp>,
        team: Option<Vec<String>>,
        /// The number of keys that the tenant already has.
        others: usize,
    },
    Revoke,
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the tenant already has {MAX_KEYS} keys")]
    TooMany,
}

impl Aggregate for ApiKeyState {
    const KIND: StreamKind = StreamKind::API_KEY;
    const ERASURE: Erasure = Erasure::NoPersonalData;

    type Event = ApiKeyEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<ApiKeyEvent>, Rejection> {
        match command {
            Command::Create { .. } if self.key.is_some() => Ok(Vec::new()),
            Command::Create { others, .. } if MAX_KEYS <= others => Err(Rejection::TooMany),
            Command::Create { id: key, hash, name, mode, role, channels, expires_at, team, .. } => {
                Ok(vec![ApiKeyEvent::KeyCreated { key, hash, name, mode, role, channels, expires_at, team }])
            }
            Command::Revoke => {
                let revoked = self.key.as_ref().map(|key| ApiKeyEvent::KeyRevoked { key: key.id.clone() });
                Ok(revoked.into_iter().collect())
            }
        }
    }

    fn evolve(self, record: &RecordedEvent<ApiKeyEvent>) -> Self {
        match record.event.clone() {
            ApiKeyEvent::KeyCreated { key: id, hash, name, mode, role, channels, expires_at, team } => {
                let (created_at, created_by) = (record.meta.at, record.meta.actor.clone());
                let key = ApiKey { id, hash, name, mode, role, channels, expires_at, team, created_at, created_by };
                ApiKeyState { key: Some(key) }
            }
            ApiKeyEvent::KeyRevoked { .. } => ApiKeyState { key: None },
        }
    }

    fn is_listed(&self) -> bool {
        self.key.is_some()
    }
}

#[cfg(test)]
mod tests {
    use events::EventMetadata;

    use super::*;
    use crate::aggregate::{decode_snapshot, encode_snapshot};

    fn create(others: usize) -> Command {
        Command::Create {
            id: "key_1".to_owned(),
            hash: "hash".to_owned(),
            name: "billing".to_owned(),
            mode: Mode::Live,
            role: Role::Sender,
            channels: None,
            expires_at: None,
            team: None,
            others,
        }
    }

    fn after(state: ApiKeyState, command: Command) -> ApiKeyState {
        let meta = EventMetadata {
            at: Timestamp(1),
            command: "c".to_owned(),
            correlation: None,
            causation: None,
            actor: "ops".to_owned(),
            traceparent: None,
        };
        let record = |event| RecordedEvent { version: 1, meta: meta.clone(), event };
        let events = state.decide(command).expect("decided");
        events.into_iter().map(record).fold(state, |state, record| state.evolve(&record))
    }

    #[test]
    fn a_key_is_created_once_and_revoked_once() {
        let none = ApiKeyState::default();
        let key = after(none.clone(), create(MAX_KEYS - 1));
        assert_eq!(key.key.as_ref().map(|key| key.created_by.as_str()), Some("ops"));
        assert_eq!(key.decide(create(0)), Ok(Vec::new()), "a repeated creation changes nothing");
        assert!(key.is_listed() && !none.is_listed());
        let revoked = after(key, Command::Revoke);
        assert_eq!(revoked, none);
        assert_eq!(revoked.decide(Command::Revoke), Ok(Vec::new()));
    }

    #[test]
    fn a_snapshot_restores_the_state_and_one_of_another_version_is_ignored() {
        let key = after(ApiKeyState::default(), create(0));
        let snapshot = encode_snapshot(&key).expect("a snapshot");
        assert_eq!(decode_snapshot::<ApiKeyState>(&snapshot), Some(key));
        let newer = snapshot.replace("\"version\":1", "\"version\":2");
        assert_ne!(newer, snapshot);
        assert_eq!(decode_snapshot::<ApiKeyState>(&newer), None);
    }

    #[test]
    fn a_tenant_has_at_most_a_hundred_keys() {
        assert_eq!(ApiKeyState::default().decide(create(MAX_KEYS)), Err(Rejection::TooMany));
    }
}
