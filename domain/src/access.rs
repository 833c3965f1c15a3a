//! Access control: the permissions of each role.

use events::{Channel, Role};

use crate::ports::Principal;

/// A permission that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Accept, resend, change and cancel messages.
    Send,
    /// See messages and their status.
    View,
    /// Resolve doubts, retry, redrive, switch providers.
    Operate,
    /// Create and change templates.
    Templates,
    /// Change preferences and consents.
    Consent,
    /// Create and change recurring schedules, automations and event mappings.
    Automate,
    /// Send the events of other business systems.
    Integrate,
    /// Configure providers.
    Channels,
    Stats,
    /// Create and revoke API keys.
    Keys,
    /// Export and erase the data of a data subject.
    Privacy,
}

impl Permission {
    pub const ALL: [Permission; 11] = [
        Permission::Send,
        Permission::View,
        Permission::Operate,
        Permission::Templates,
        Permission::Consent,
        Permission::Automate,
        Permission::Integrate,
        Permission::Channels,
        Permission::Stats,
        Permission::Keys,
        Permission::Privacy,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Send => "send",
            Permission::View => "view",
            Permission::Operate => "operate",
            Permission::Templates => "templates",
            Permission::Consent => "consent",
            Permission::Automate => "automate",
            Permission::Integrate => "integrate",
            Permission::Channels => "channels",
            Permission::Stats => "stats",
            Permission::Keys => "keys",
            Permission::Privacy => "privacy",
        }
    }
}

/// What an operation reaches, which decides whether a restricted key may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Messages, and what is checked like them, each with its channel and address. Every key, within its scope.
    Scoped,
    /// What belongs to the tenant and is addressed to nobody. No key for a team; other keys for their channels.
    Tenant,
    /// All channels and addresses at once. Only keys without restrictions.
    Everything,
}

/// The permissions that a key for a team can have. It has no rights over the consent of the people it writes to.
pub const TEAM_PERMISSIONS: [Permission; 2] = [Permission::Send, Permission::View];

/// The permissions of a role.
pub fn permissions(role: Role) -> &'static [Permission] {
    use Permission::{Automate, Consent, Operate, Send, Stats, Templates, View};
    match role {
        Role::Admin => &Permission::ALL,
        Role::Operator => &[View, Operate, Stats],
        Role::Sender => &[Send, View, Consent],
        Role::Editor => &[View, Templates, Automate],
        Role::Viewer => &[View, Stats],
    }
}

/// Whether every permission of a role is also one of another role.
pub fn role_includes(role: Role, other: Role) -> bool {
    permissions(other).iter().all(|permission| role_allows(role, *permission))
}

pub fn role_allows(role: Role, permission: Permission) -> bool {
    permissions(role).contains(&permission)
}

/// Why a caller may not use an operation at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Their role does not have the permission.
    Role,
    /// Their key is for a team.
    Team,
    /// Their key is restricted to some channels, and the operation concerns all.
    Restricted,
}

/// Checks the role of a caller, and whether a restricted key may do anything of this reach at all.
///
/// # Errors
///
/// [`Denial`]
pub fn check(principal: &Principal, permission: Permission, reach: Reach) -> Result<(), Denial> {
    if !role_allows(principal.role, permission) {
        return Err(Denial::Role);
    }
    if principal.team.is_some() && (reach != Reach::Scoped || !TEAM_PERMISSIONS.contains(&permission)) {
        return Err(Denial::Team);
    }
    if principal.channels.is_some() && reach == Reach::Everything { Err(Denial::Restricted) } else { Ok(()) }
}

/// Whether all channels of a key are also channels of another. `None` means all channels.
pub fn channels_include(channels: Option<&[Channel]>, others: Option<&[Channel]>) -> bool {
    match (channels, others) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(channels), Some(others)) => others.iter().all(|channel| channels.contains(channel)),
    }
}

/// Whether a key can use a channel. `None` means that the key is not restricted to certain channels.
pub fn key_allows_channel(channels: Option<&[Channel]>, channel: Channel) -> bool {
    channels.is_none_or(|channels| channels.contains(&channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_exactly_the_permissions_that_the_documentation_lists() {
        let names = |role| permissions(role).iter().map(|permission| permission.as_str()).collect::<Vec<_>>();
        assert_eq!(names(Role::Admin), Permission::ALL.map(Permission::as_str));
        assert_eq!(names(Role::Operator), ["view", "operate", "stats"]);
        assert_eq!(names(Role::Sender), ["send", "view", "consent"]);
        assert_eq!(names(Role::Editor), ["view", "templates", "automate"]);
        assert_eq!(names(Role::Viewer), ["view", "stats"]);
        assert!(role_allows(Role::Viewer, Permission::View) && !role_allows(Role::Viewer, Permission::Send));
    }

    #[test]
    fn a_key_without_a_list_of_channels_can_use_all() {
        assert!(key_allows_channel(None, Channel::Sms));
        assert!(key_allows_channel(Some(&[Channel::Sms]), Channel::Sms));
        assert!(!key_allows_channel(Some(&[Channel::Sms]), Channel::Email));
    }
}
