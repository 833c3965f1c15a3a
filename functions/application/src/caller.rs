//! Who calls a use case, and what they may do.

use std::fmt;

use domain::access::{self, Denial, Permission, Reach, key_allows_channel};
use domain::communication_view::CommunicationRow;
use domain::ports::{Principal, ViewRow, ViewScope};
use events::{Channel, Role, Target};

use crate::CommandContext;

/// A verified principal, and the correlation ids of the request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub principal: Principal,
    /// What acts for the principal, such as `schedule:sch_1`. Events name it as their actor.
    pub on_behalf: Option<String>,
    pub correlation: Option<String>,
    pub traceparent: Option<String>,
}

/// Why a caller may not do what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The caller's role does not have the permission that a use case needs.
    #[error("this key is of the role {}, which does not have the permission {}", .role.as_str(), .permission.as_str())]
    Role { role: Role, permission: Permission },
    /// The caller's key is restricted to other channels.
    #[error("this key may not use the channel {}", .0.as_str())]
    Channel(Channel),
    /// The caller's key is for a team.
    #[error("a key for a team may only send to its team, and see what was sent to it")]
    Team,
    /// The caller's key is restricted to some channels.
    #[error("this key is restricted to some channels, and this concerns all of them")]
    Restricted,
    /// The caller's key may do less than the key to be revoked.
    #[error("this key may not revoke a key that may do more than itself")]
    MorePowerful,
}

/// Who did something. Events name their actor in full (`key:billing`); the fields `by` and `requested_by` inside them
/// hold the name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    full: String,
}

impl Actor {
    pub fn of(principal: &Principal) -> Actor {
        Actor { name: principal.actor.clone(), full: principal.actor_id() }
    }

    /// Without its kind: `billing`.
    pub fn name(&self) -> String {
        self.name.clone()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl Caller {
    pub fn new(principal: Principal) -> Caller {
        Caller { principal, on_behalf: None, correlation: None, traceparent: None }
    }

    pub fn actor(&self) -> Actor {
        let actor = Actor::of(&self.principal);
        Actor { full: self.on_behalf.clone().unwrap_or(actor.full), ..actor }
    }

    /// What the events of this caller's commands are recorded with.
    pub fn context(&self) -> CommandContext {
        CommandContext {
            actor: self.actor().to_string(),
            correlation: self.correlation.clone(),
            causation: None,
            traceparent: self.traceparent.clone(),
        }
    }

    /// The communications that this caller may see.
    pub fn scope(&self) -> ViewScope {
        ViewScope { view: CommunicationRow::VIEW, tenant: self.principal.tenant.clone(), mode: self.principal.mode }
    }

    /// Checks the caller's role, and whether a restricted key may do anything of this reach at all.
    ///
    /// # Errors
    ///
    /// [`Forbidden`]
    pub fn authorise(&self, permission: Permission, reach: Reach) -> Result<(), Forbidden> {
        access::check(&self.principal, permission, reach).map_err(|denial| match denial {
            Denial::Role => Forbidden::Role { role: self.principal.role, permission },
            Denial::Team => Forbidden::Team,
            Denial::Restricted => Forbidden::Restricted,
        })
    }

    /// Whether the caller's key has no restrictions but its role.
    pub fn is_unrestricted(&self) -> bool {
        self.principal.channels.is_none() && self.principal.team.is_none()
    }

    /// Whether the caller may send to all of these targets, and so may see and change what does. What goes to nobody
    /// known is within the scope of unrestricted callers only.
    pub fn includes(&self, targets: &[Target]) -> bool {
        let is_within =
            |target: &Target| self.may_use(target.channel) && self.principal.can_send_to(&target.contact_hash);
        self.is_unrestricted() || (!targets.is_empty() && targets.iter().all(is_within))
    }

    /// # Errors
    ///
    /// [`Forbidden::Channel`]: the caller's scope does not include this channel.
    pub fn check_channel(&self, channel: Channel) -> Result<(), Forbidden> {
        if self.may_use(channel) { Ok(()) } else { Err(Forbidden::Channel(channel)) }
    }

    /// Whether the caller's scope includes this channel.
    pub fn may_use(&self, channel: Channel) -> bool {
        key_allows_channel(self.principal.channels.as_deref(), channel)
    }
}

#[cfg(test)]
mod tests {
    use events::Mode;

    use super::*;

    #[test]
    fn a_role_is_asked_for_each_permission() {
        let tenant = "acme".parse().expect("a tenant");
        let principal = Principal { role: Role::Viewer, ..Principal::admin(tenant, "board", Mode::Live) };
        let caller = Caller::new(principal);
        assert_eq!(caller.authorise(Permission::View, Reach::Everything), Ok(()));
        let forbidden = caller.authorise(Permission::Send, Reach::Scoped).expect_err("a viewer may not send");
        assert_eq!(forbidden.to_string(), "this key is of the role viewer, which does not have the permission send");
        assert_eq!((caller.actor().to_string(), caller.actor().name()), ("key:board".to_owned(), "board".to_owned()));
    }
}
