//! What every page has around it, and how a page becomes an answer.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::access::{self, Permission, Reach};
use domain::ports::Principal;
use events::Mode;

use crate::assets::{HTMX, ICON, SCRIPT, STYLES, TOKENS};

/// A theme that the reader chose. Without one, the system's applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub fn parse(text: &str) -> Option<Theme> {
        match text {
            "light" => Some(Theme::Light),
            "dark" => Some(Theme::Dark),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    pub fn other(self) -> Theme {
        match self {
            Theme::Light => Theme::Dark,
            Theme::Dark => Theme::Light,
        }
    }
}

/// The frame of a page.
#[derive(Debug, Clone)]
pub struct Shell {
    pub title: String,
    /// The page's entry in the navigation.
    pub section: &'static str,
    pub business: String,
    /// Who is signed in. The navigation has what they may see.
    pub principal: Principal,
    pub theme: Option<Theme>,
    /// Whether single keys are shortcuts.
    pub has_keys: bool,
    pub form_token: String,
    pub can_sign_out: bool,
    /// Without scripts, the page is loaded again after this time.
    pub refresh_s: Option<u32>,
    /// Whether providers are simulated.
    pub has_inbox: bool,
}

/// An entry of the navigation.
pub struct Link {
    pub name: &'static str,
    pub path: &'static str,
    pub icon: &'static str,
    pub section: &'static str,
    /// What its page needs of the API.
    needs: (Permission, Reach),
}

const fn link(
    section: &'static str,
    name: &'static str,
    path: &'static str,
    icon: &'static str,
    needs: (Permission, Reach),
) -> Link {
    Link { name, path, icon, section, needs }
}

const SEE_MESSAGES: (Permission, Reach) = (Permission::View, Reach::Scoped);
const SEE_TENANT: (Permission, Reach) = (Permission::View, Reach::Tenant);

/// The navigation: headings and their entries.
pub const NAVIGATION: &[(&str, &[Link])] = &[
    (
        "",
        &[
            link("overview", "Overview", "/", "overview", (Permission::Stats, Reach::Tenant)),
            link("messages", "Messages", "/messages", "messages", SEE_MESSAGES),
            link("queue", "Queue", "/queue", "queue", SEE_TENANT),
        ],
    ),
    (
        "Send",
        &[
            link("send", "Send a message", "/send", "compose", (Permission::Send, Reach::Scoped)),
            link("templates", "Templates", "/templates", "templates", SEE_MESSAGES),
            link("schedules", "Schedules", "/schedules", "s-scheduled", SEE_MESSAGES),
        ],
    ),
    (
        "Automatic",
        &[
            link("collections", "Collections", "/collections", "collections", (Permission::View, Reach::Everything)),
            link("events", "Business events", "/business-events", "import", SEE_TENANT),
        ],
    ),
    (
        "People",
        &[
            link("people", "People", "/people", "contacts", SEE_TENANT),
            link(
                "suppressions",
                "Suppression list",
                "/suppressions",
                "s-suppressed",
                (Permission::Consent, Reach::Tenant),
            ),
        ],
    ),
    (
        "Records",
        &[
            link("audit", "Audit trail", "/audit", "s-seen", (Permission::Keys, Reach::Everything)),
            link("streams", "Event explorer", "/streams", "clip", SEE_MESSAGES),
            link("reference", "API reference", "/reference", "guide", SEE_MESSAGES),
        ],
    ),
    (
        "Setup",
        &[
            link("providers", "Providers", "/settings/providers", "settings", (Permission::Channels, Reach::Tenant)),
            link("keys", "API keys", "/settings/keys", "lock", (Permission::Keys, Reach::Tenant)),
            link("limits", "Limits", "/settings/limits", "moon", SEE_TENANT),
            link("webhooks", "Callbacks", "/webhooks", "down", (Permission::Channels, Reach::Everything)),
            link("inbox", "Test inbox", "/inbox", "inbox", SEE_MESSAGES),
        ],
    ),
];

impl Shell {
    /// The headings and entries of what the reader may see.
    pub fn navigation(&self) -> Vec<(&'static str, Vec<&'static Link>)> {
        let shown = |link: &&Link| (link.section != "inbox" || self.has_inbox) && self.may(link.needs.0, link.needs.1);
        let groups =
            NAVIGATION.iter().map(|(heading, links)| (*heading, links.iter().filter(shown).collect::<Vec<_>>()));
        groups.filter(|(_, links)| !links.is_empty()).collect()
    }

    /// Whether the navigation has an entry.
    pub fn has(&self, section: &str) -> bool {
        self.navigation().iter().any(|(_, links)| links.iter().any(|link| link.section == section))
    }

    /// Whether the API would let the reader use an operation.
    pub fn may(&self, permission: Permission, reach: Reach) -> bool {
        access::check(&self.principal, permission, reach).is_ok()
    }

    pub fn is_live(&self) -> bool {
        self.principal.mode == Mode::Live
    }

    pub fn other_theme(&self) -> Theme {
        self.theme.map_or(Theme::Dark, Theme::other)
    }

    pub fn tokens(&self) -> &'static str {
        TOKENS.address()
    }

    pub fn styles(&self) -> &'static str {
        STYLES.address()
    }

    pub fn icon(&self) -> &'static str {
        ICON.address()
    }

    pub fn htmx(&self) -> &'static str {
        HTMX.address()
    }

    pub fn script(&self) -> &'static str {
        SCRIPT.address()
    }
}

/// A page that is made from a template.
pub trait Page: Template + Sized {
    fn respond(self) -> Response {
        self.respond_with(StatusCode::OK)
    }

    fn respond_with(self, status: StatusCode) -> Response {
        match self.render() {
            Ok(html) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
            Err(error) => {
                tracing::error!(%error, "a page cannot be rendered");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
