//! The page where people say how they want to be written to. Whoever holds the link speaks for them, until its time is over.

use std::collections::BTreeMap;

use application::consent::{preferences, preferences_stream};
use application::problem::{Kind, Problem};
use application::{CommandContext, CommandExecutor};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use domain::preferences::{Command, DEFAULTS, Preferences};
use events::{Channel, TenantId};

use crate::page::page;
use crate::{Shared, Webhook};

/// Who decided, as the history says.
const ACTOR: &str = "preference-page";

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

fn name(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "Email",
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
        Channel::Messenger => "Messenger",
        Channel::Telegram => "Telegram",
    }
}

/// The page as it stands.
pub(crate) async fn show(State(webhook): Shared, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let (tenant, person) = webhook.person(&uri)?;
    let defaults = preferences(&webhook.tenant_ports, &tenant, DEFAULTS).await?;
    let theirs = preferences(&webhook.tenant_ports, &tenant, &person).await?;
    Ok(form(words(&headers), &theirs.with_defaults(&defaults), false))
}

/// What the button does. A box that is not ticked is not in the form.
pub(crate) async fn save(
    State(webhook): Shared,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Problem> {
    let (tenant, person) = webhook.person(&uri)?;
    let ticked: Vec<String> = form_urlencoded::parse(&body).map(|(name, _)| name.into_owned()).collect();
    let is_ticked = |name: &str| ticked.iter().any(|ticked| ticked == name);
    let wanted: BTreeMap<Channel, bool> =
        Channel::ALL.iter().map(|channel| (*channel, is_ticked(channel.as_str()))).collect();
    let defaults = preferences(&webhook.tenant_ports, &tenant, DEFAULTS).await?;
    let command = Command::Choose { wanted, wants_nothing: is_ticked("nothing"), defaults: Box::new(defaults.clone()) };
    let origin = CommandContext::function(ACTOR);
    let executor = CommandExecutor { store: &*webhook.store, host: &*webhook.host, origin: &origin };
    let chosen = executor.execute(&preferences_stream(&tenant, &person), command).await?;
    Ok(form(words(&headers), &chosen.state.with_defaults(&defaults), true))
}

impl Webhook {
    fn person(&self, uri: &Uri) -> Result<(TenantId, String), Problem> {
        let token = uri.path().strip_prefix("/preferences/").unwrap_or_default();
        let detail = "This link is not complete, or its time is over. Ask for a new one.";
        application::hash::preferences_of(&self.contact_key, token, self.host.now())
            .ok_or_else(|| Problem::new(Kind::NotFound, detail))
    }
}

/// By the browser's first language.
fn words(headers: &HeaderMap) -> &'static PageText {
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if language.is_some_and(|language| language.starts_with("es")) { &SPANISH } else { &ENGLISH }
}

fn form(words: &PageText, preferences: &Preferences, is_saved: bool) -> Response {
    let PageText { lang, title, ways, nothing, save, saved } = words;
    let tick = |name: &str, label: &str, is_ticked: bool| {
        let checked = if is_ticked { " checked" } else { "" };
        format!("<label><input type=\"checkbox\" name=\"{name}\"{checked}> {label}</label>\n")
    };
    let boxes: String = Channel::ALL
        .iter()
        .map(|channel| tick(channel.as_str(), name(*channel), preferences.accepts_channel(*channel)))
        .collect();
    let status = if is_saved { format!("<p role=\"status\">{saved}</p>\n") } else { String::new() };
    let nothing = tick("nothing", nothing, preferences.opted_out.is_some());
    let content = format!(
        "{status}<form method=\"post\">\n<fieldset>\n<legend>{ways}</legend>\n{boxes}</fieldset>\n{nothing}\
         <p><button>{save}</button></p>\n</form>"
    );
    page(lang, title, &content)
}
