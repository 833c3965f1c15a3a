//! What every page has around it, and how a page becomes an answer.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
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
    pub mode: Mode,
    pub theme: Option<Theme>,
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
}

const fn link(section: &'static str, name: &'static str, path: &'static str, icon: &'static str) -> Link {
    Link { name, path, icon, section }
}

/// The navigation: headings and their entries.
pub const NAVIGATION: &[(&str, &[Link])] = &[
    (
        "",
        &[
            link("overview", "Overview", "/", "overview"),
            link("messages", "Messages", "/messages", "messages"),
            link("queue", "Queue", "/queue", "queue"),
        ],
    ),
    (
        "Send",
        &[
            link("send", "Send a message", "/send", "compose"),
            link("templates", "Templates", "/templates", "templates"),
            link("schedules", "Schedules", "/schedules", "s-scheduled"),
        ],
    ),
    (
        "Automatic",
        &[
            link("collections", "Collections", "/collections", "collections"),
            link("events", "Business events", "/business-events", "import"),
        ],
    ),
    (
        "People",
        &[
            link("people", "People", "/people", "contacts"),
            link("suppressions", "Suppression list", "/suppressions", "s-suppressed"),
        ],
    ),
    (
        "Records",
        &[
            link("audit", "Audit trail", "/audit", "s-seen"),
            link("streams", "Event explorer", "/streams", "clip"),
            link("reference", "API reference", "/reference", "guide"),
        ],
    ),
    (
        "Setup",
        &[
            link("providers", "Providers", "/settings/providers", "settings"),
            link("keys", "API keys", "/settings/keys", "lock"),
            link("limits", "Limits", "/settings/limits", "moon"),
            link("webhooks", "Callbacks", "/webhooks", "down"),
            link("inbox", "Test inbox", "/inbox", "inbox"),
        ],
    ),
];

impl Shell {
    pub fn navigation(&self) -> &'static [(&'static str, &'static [Link])] {
        NAVIGATION
    }

    pub fn is_live(&self) -> bool {
        self.mode == Mode::Live
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
