//! The preferences page. Anyone with the link can act for the recipient until the link expires.

use std::collections::BTreeMap;

use application::CommandContext;
use application::consent::preferences;
use application::people::People;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use domain::preferences::{Command, DEFAULTS, PAGE_ACTOR, Preferences};
use events::{Channel, TenantId};
use problem::{Problem, ProblemKind};

use crate::page::page;
use crate::{PagesHandler, Shared};

/// The texts of the page in one language.
struct PageText {
    lang: &'static str,
    title: &'static str,
    ways: &'static str,
    nothing: &'static str,
    save: &'static str,
    saved: &'static str,
}

const ENGLISH: PageText = PageText {
    lang: "en",
    title: "How we may write to you",
    ways: "You may write to me by",
    nothing: "Do not write to me at all",
    save: "Save",
    saved: "Saved.",
};
const SPANISH: PageText = PageText {
    lang: "es",
    title: "Cómo podemos escribirle",
    ways: "Pueden escribirme por",
    nothing: "No quiero recibir ningún mensaje",
    save: "Guardar",
    saved: "Guardado.",
};

fn channel_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "Email",
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
        Channel::Messenger => "Messenger",
        Channel::Telegram => "Telegram",
    }
}

/// Shows the recipient's preferences.
pub(crate) async fn show(State(pages): Shared, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let (tenant, recipient) = pages.verify_preferences_link(&uri)?;
    let defaults = preferences(&pages.tenant_ports, &tenant, DEFAULTS).await?;
    let current = preferences(&pages.tenant_ports, &tenant, &recipient).await?;
    Ok(render_form(page_text(&headers), &current.with_defaults(&defaults), false))
}

/// Saves the submitted form. A browser sends only the boxes that are ticked.
pub(crate) async fn save(State(pages): Shared, headers: HeaderMap, uri: Uri, body: Bytes) -> Result<Response, Problem> {
    let (tenant, recipient) = pages.verify_preferences_link(&uri)?;
    let ticked: Vec<String> = form_urlencoded::parse(&body).map(|(name, _)| name.into_owned()).collect();
    let is_ticked = |name: &str| ticked.iter().any(|ticked| ticked == name);
    let wanted: BTreeMap<Channel, bool> =
        Channel::ALL.iter().map(|channel| (*channel, is_ticked(channel.as_str()))).collect();
    let defaults = preferences(&pages.tenant_ports, &tenant, DEFAULTS).await?;
    let command = Command::Choose {
        wanted,
        wants_nothing: is_ticked("nothing"),
        now: pages.host.now(),
        defaults: Box::new(defaults.clone()),
    };
    let context = CommandContext::function(PAGE_ACTOR);
    let people = People { tenant_ports: &pages.tenant_ports, vault: &*pages.vault, contact_key: &pages.contact_key };
    let updated = people.change(&context, &tenant, &recipient, command).await?;
    Ok(render_form(page_text(&headers), &updated.state.with_defaults(&defaults), true))
}

impl PagesHandler {
    /// Returns the tenant and the recipient that a link was issued for.
    fn verify_preferences_link(&self, uri: &Uri) -> Result<(TenantId, String), Problem> {
        let token = uri.path().strip_prefix("/preferences/").unwrap_or_default();
        let detail = "This link is incomplete or has expired. Request a new one.";
        application::links::verify_preferences_token(&self.link_keys, token, self.host.now())
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, detail))
    }
}

/// Returns the texts in the browser's first language.
fn page_text(headers: &HeaderMap) -> &'static PageText {
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if language.is_some_and(|language| language.starts_with("es")) { &SPANISH } else { &ENGLISH }
}

fn render_form(text: &PageText, preferences: &Preferences, is_saved: bool) -> Response {
    let PageText { lang, title, ways, nothing, save, saved } = text;
    let checkbox = |name: &str, label: &str, is_ticked: bool| {
        let checked = if is_ticked { " checked" } else { "" };
        format!("<label><input type=\"checkbox\" name=\"{name}\"{checked}> {label}</label>\n")
    };
    let channels: String = Channel::ALL
        .iter()
        .map(|channel| checkbox(channel.as_str(), channel_name(*channel), preferences.accepts_channel(*channel)))
        .collect();
    let status = if is_saved { format!("<p role=\"status\">{saved}</p>\n") } else { String::new() };
    let nothing = checkbox("nothing", nothing, preferences.opted_out.is_some());
    let content = format!(
        "{status}<form method=\"post\">\n<fieldset>\n<legend>{ways}</legend>\n{channels}</fieldset>\n{nothing}\
         <p><button>{save}</button></p>\n</form>"
    );
    page(lang, title, &content)
}
