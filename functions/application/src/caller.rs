//! Who calls a use case, and what they may do.

use std::fmt;

use domain::access::{Permission, key_allows_channel, role_allows};
use domain::communication_view::CommunicationRow;
use domain::ports::{Principal, ViewRow, ViewScope};
use events::{Channel, Role};

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
    #[error("this key may not send by {}", .0.as_str())]
    Channel(Channel),
    /// The caller's key is restricted to the addresses of a team.
    #[error("this key may only send to the addresses of its team")]
    Recipient,
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

    /// # Errors
    ///
    /// [`Forbidden`]: the caller's role does not have this permission.
    pub fn authorise(&self, permission: Permission) -> Result<(), Forbidden> {
        let role = self.principal.role;
        if role_allows(role, permission) { Ok(()) } else { Err(Forbidden::Role { role, permission }) }
    }

    /// Checks that the caller could send by this channel to the address with this hash, and so may change what does.
    /// `None` stands for a recipient who may have any address.
    ///
    /// # Errors
    ///
    /// [`Forbidden`]
    pub fn check_scope(&self, channel: Option<Channel>, contact_hash: Option<&str>) -> Result<(), Forbidden> {
        if let Some(channel) = channel.filter(|channel| !self.may_use(*channel)) {
            return Err(Forbidden::Channel(channel));
        }
        let is_in = |team: &Vec<String>| contact_hash.is_some_and(|hash| team.iter().any(|own| own == hash));
        if self.principal.team.as_ref().is_none_or(is_in) { Ok(()) } else { Err(Forbidden::Recipient) }
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
        assert_eq!(caller.authorise(Permission::View), Ok(()));
        let forbidden = caller.authorise(Permission::Send).expect_err("a viewer may not send");
        assert_eq!(forbidden.to_string(), "this key is of the role viewer, which does not have the permission send");
        assert_eq!((caller.actor().to_string(), caller.actor().name()), ("key:board".to_owned(), "board".to_owned()));
    }
}
