//! Authentication: API keys, and the signing keys of identity providers.

use async_trait::async_trait;
use events::{Channel, Mode, Role, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// A caller, identified by a verified credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    pub tenant: TenantId,
    pub actor: String,
    pub mode: Mode,
    /// Keys that were stored without a role are administrators.
    #[serde(default = "admin")]
    pub role: Role,
    /// The only channels that the caller may send by. `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The hashes of the only addresses that the caller may send to. `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Vec<String>>,
    /// Whether the caller is a person who signed in rather than an API key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_user: bool,
}

fn admin() -> Role {
    Role::Admin
}

impl Principal {
    /// An administrator without any limits.
    pub fn admin(tenant: TenantId, actor: impl Into<String>, mode: Mode) -> Principal {
        Principal {
            tenant,
            actor: actor.into(),
            mode,
            role: Role::Admin,
            channels: None,
            expires_at: None,
            team: None,
            is_user: false,
        }
    }

    /// The actor in events, such as `key:billing` or `user:8f3a`.
    pub fn actor_id(&self) -> String {
        format!("{}:{}", if self.is_user { "user" } else { "key" }, self.actor)
    }

    pub fn can_send_to(&self, contact_hash: &str) -> bool {
        self.team.as_ref().is_none_or(|team| team.iter().any(|hash| hash == contact_hash))
    }
}

/// API keys, by the hash of the key.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
    async fn find(&self, key_hash: &str) -> Result<Option<Principal>, StoreError>;
    async fn put(&self, key_hash: &str, principal: &Principal) -> Result<(), StoreError>;
    async fn remove(&self, key_hash: &str) -> Result<(), StoreError>;
}

/// The public keys of an identity provider.
#[async_trait]
pub trait JwksSource: Send + Sync {
    /// Fetches the JSON Web Key Set.
    async fn fetch(&self) -> Result<String, StoreError>;
}
