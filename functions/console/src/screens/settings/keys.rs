//! API keys: which programs can act for this business, and what may each one do?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::permissions;
use events::Role;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::api_client::segment;
use crate::faults::FormFaults;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{Clock, Time};
use crate::words::{self, CHANNELS};

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    shell: Shell,
    heading: String,
    done: &'static str,
    faults: FormFaults,
    /// A key that was just created: its name and its secret.
    created: Option<(String, String)>,
    keys: Vec<KeyRow>,
    roles: Vec<RoleRow>,
    given: Fields,
    /// Whether the reader is a person, whose keys the API lets expire.
    is_person: bool,
}

impl Page for KeysPage {}

struct KeyRow {
    id: String,
    name: String,
    role: String,
    scope: String,
    channels: Vec<ChannelName>,
    created: Option<Time>,
    by: String,
    expires: Option<Time>,
    is_expired: bool,
}

/// A role and what it may do.
struct RoleRow {
    id: &'static str,
    name: String,
    may: String,
}

impl KeysPage {
    fn has_channel(&self, id: &str) -> bool {
        self.given.under("channel.").any(|(name, _)| name == id)
    }
}

async fn page(visit: &Visit, given: Fields, faults: FormFaults) -> Result<KeysPage, Refusal> {
    let found = visit.api.get("/api/keys").await?;
    let clock = visit.clock();
    let keys: Vec<KeyRow> = found["keys"].as_array().into_iter().flatten().map(|key| row(key, &clock)).collect();
    let heading = match keys.len() {
        0 => "No API keys yet".to_owned(),
        1 => "1 API key".to_owned(),
        count => format!("{count} API keys"),
    };
    let mut shell = visit.shell("API keys", "keys");
    if !faults.is_empty() {
        shell.title = format!("Error: {}", shell.title);
    }
    let roles = Role::ALL.iter().map(|role| {
        let may: Vec<&str> =
            permissions(*role).iter().map(|permission| words::permission(permission.as_str())).collect();
        RoleRow { id: role.as_str(), name: words::sentence_case(role.as_str()), may: may.join(", ") }
    });
    Ok(KeysPage {
        shell,
        heading,
        done: "",
        faults,
        created: None,
        keys,
        roles: roles.collect(),
        given,
        is_person: visit.api.principal.is_user,
    })
}

fn row(key: &Value, clock: &Clock) -> KeyRow {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    let scope = match (text("mode"), key["teamSize"].as_u64()) {
        ("live", _) => "reaches real people".to_owned(),
        ("team", Some(1)) => "1 address of the team only".to_owned(),
        ("team", Some(size)) => format!("{size} addresses of the team only"),
        _ => "test: no real recipients".to_owned(),
    };
    let channels = key["channels"].as_array().into_iter().flatten().filter_map(Value::as_str);
    KeyRow {
        id: segment(text("id")),
        name: text("name").to_owned(),
        role: words::sentence_case(text("role")),
        scope,
        channels: channels.map(|channel| ChannelName(channel.to_owned())).collect(),
        created: clock.short(text("createdAt")),
        by: words::actor(text("createdBy")),
        expires: clock.day(text("expiresAt")),
        is_expired: key["isExpired"] == true,
    }
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let mut page = page(&visit, Fields::default(), FormFaults::default()).await?;
    if query.is("done", "revoked") {
        page.done = "Key revoked. Programs that used it in the last minute may go on for up to a minute.";
    }
    Ok(page.respond())
}

/// The end of a day in the reader's zone, as the API takes it. What is no day is left to the API to refuse.
fn end_of(day: &str, zone: &TimeZone) -> String {
    let end = day.parse::<Date>().ok().and_then(|day| day.at(23, 59, 59, 0).to_zoned(zone.clone()).ok());
    end.map_or_else(|| day.to_owned(), |end| end.timestamp().to_string())
}

fn body_of(form: &Fields, zone: &TimeZone) -> Value {
    let mut body = Map::new();
    for name in ["name", "role", "mode"] {
        if form.has(name) {
            body.insert(name.to_owned(), json!(form.get(name)));
        }
    }
    let channels: Vec<&str> = form.under("channel.").map(|(name, _)| name).collect();
    if !channels.is_empty() {
        body.insert("channels".to_owned(), json!(channels));
    }
    if form.has("expires") {
        body.insert("expiresAt".to_owned(), json!(end_of(form.get("expires"), zone)));
    }
    if form.has("team") {
        let team = form.get("team").split([',', '\n']).map(str::trim).filter(|address| !address.is_empty());
        body.insert("team".to_owned(), json!(team.collect::<Vec<_>>()));
    }
    Value::Object(body)
}

/// Creates a key. Only this page shows its secret, so it is not a redirect.
pub async fn create(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    match visit.api.post("/api/keys", body_of(&form, &visit.zone)).await {
        Ok(created) => {
            let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
            let mut page = page(&visit, Fields::default(), FormFaults::default()).await?;
            page.created = Some((text("name"), text("key")));
            Ok(page.respond())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let faults = FormFaults::of(&refusal, "f-name");
            Ok(page(&visit, form, faults).await?.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

pub async fn revoke(visit: Visit, Path(id): Path<String>, Form(_): Form) -> Result<Response, Refusal> {
    visit.api.call(Method::DELETE, format!("/api/keys/{}", segment(&id))).send().await?;
    Ok(Redirect::to("/settings/keys?done=revoked").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lasts_until_the_end_of_its_day() {
        let zone = TimeZone::get("Europe/Amsterdam").expect("a zone");
        let form = Fields::of_query(Some("name=CI&role=sender&channel.sms=on&expires=2027-01-31&team=a@b.c%0A%2B44"));
        let expected = json!({
            "name": "CI", "role": "sender", "channels": ["sms"], "expiresAt": "2027-01-31T22:59:59Z",
            "team": ["a@b.c", "+44"],
        });
        assert_eq!(body_of(&form, &zone), expected);
        assert_eq!(end_of("soon", &zone), "soon");
    }
}
