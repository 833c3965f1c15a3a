//! Who may do what: one table of roles and permissions.

use events::{Channel, Role};

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Accept, resend, change and cancel messages.
    Send,
    /// See messages and what became of them.
    View,
    /// Settle doubts, retry, redrive, switch providers.
    Operate,
    /// Make and change templates.
    Templates,
    /// Change how people want to be written to.
    Consent,
    /// Configure providers.
    Channels,
    Stats,
    /// Make and revoke keys.
    Keys,
    /// See and erase everything about a person.
    Privacy,
}

impl Permission {
    pub const ALL: [Permission; 9] = [
        Permission::Send,
        Permission::View,
        Permission::Operate,
        Permission::Templates,
        Permission::Consent,
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
            Permission::Channels => "channels",
            Permission::Stats => "stats",
            Permission::Keys => "keys",
            Permission::Privacy => "privacy",
        }
    }
}

/// What a role may do. The whole table.
pub fn permissions(role: Role) -> &'static [Permission] {
    use Permission::{Consent, Operate, Send, Stats, Templates, View};
    match role {
        Role::Admin => &Permission::ALL,
        Role::Operator => &[View, Operate, Stats],
        Role::Sender => &[Send, View, Consent],
        Role::Editor => &[View, Templates],
        Role::Viewer => &[View, Stats],
    }
}

pub fn role_allows(role: Role, permission: Permission) -> bool {
    permissions(role).contains(&permission)
}

/// Whether a key that is bound to some channels may use this one.
pub fn key_allows_channel(channels: Option<&[Channel]>, channel: Channel) -> bool {
    channels.is_none_or(|channels| channels.contains(&channel))
}
