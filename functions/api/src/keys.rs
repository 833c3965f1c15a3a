//! The tenant's API keys: created, listed and revoked.

use application::Caller;
use application::api_keys::{self, NewApiKey};
use application::hash::contact_hash;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::access::permissions;
use domain::address;
use domain::api_key::ApiKey;
use domain::ports::Principal;
use events::{Channel, Mode, Role, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::{Api, Shared, json, read_body};

fn show(key: &ApiKey, now: Timestamp) -> Value {
    let permissions = permissions(key.role).iter().map(|permission| permission.as_str());
    json!({
        "id": key.id,
        "name": key.name,
        "mode": if key.team.is_some() { TEAM } else { key.mode.as_str() },
        "teamSize": key.team.as_ref().map(Vec::len),
        "role": key.role,
        "permissions": permissions.collect::<Vec<_>>(),
        "channels": key.channels,
        "expiresAt": key.expires_at.map(show_time),
        "isExpired": key.expires_at.is_some_and(|until| until <= now),
        "createdAt": show_time(key.created_at),
        "createdBy": key.created_by,
    })
}

fn read_channels(fields: &mut BodyReader) -> Option<Vec<Channel>> {
    if !fields.has("channels") {
        return None;
    }
    let given = fields.list("channels", Channel::ALL.len());
    let read: Option<Vec<Channel>> = given.iter().map(|channel| channel.as_str()?.parse().ok()).collect();
    if read.is_none() {
        let detail = format!("channels must be a list of: {}.", Channel::names().join(", "));
        fields.add_error("channels", "not_channels", detail);
    }
    read
}

/// Live, but for these addresses alone: for trying things out on yourselves.
const TEAM: &str = "team";
/// Addresses of one team, at most.
const MAX_TEAM: usize = 100;

/// What a key may be for.
pub(crate) fn modes() -> Vec<&'static str> {
    Mode::names().into_iter().chain([TEAM]).collect()
}

/// The hashes of a team's addresses: who they are is in nobody's way.
fn read_team(api: &Api, caller: &Principal, fields: &mut BodyReader, is_team: bool) -> Option<Vec<String>> {
    if !is_team {
        if fields.has("team") {
            fields.add_error("team", "not_a_team", "team is allowed only with the mode team.");
        }
        fields.discard("team");
        return None;
    }
    let given = fields.required("team", |fields| Some(fields.list("team", MAX_TEAM))).unwrap_or_default();
    let mut team = Vec::new();
    for (place, address) in given.iter().enumerate() {
        let of = |channel: &Channel| address::normalise(*channel, address.as_str()?, None).ok();
        match Channel::ALL.iter().find_map(of) {
            Some(address) => team.push(contact_hash(&api.app.contact_key, &caller.tenant, &address)),
            None => {
                let detail = "Each entry must be an email address, a phone number with its country code, or a chat id.";
                fields.add_error(&format!("team/{place}"), "not_an_address", detail);
            }
        }
    }
    Some(team)
}

/// The key itself is in this answer and nowhere else.
pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let name = fields.required("name", |f| f.reference("name", 100));
    let role: Option<Role> = fields.required("role", |f| f.choice("role", &Role::names()));
    let given = fields.one_of("mode", &modes());
    let is_team = given.as_deref() == Some(TEAM);
    let mode = match given.as_deref() {
        Some(TEAM) => Mode::Live,
        Some(mode) => mode.parse().unwrap_or(caller.principal.mode),
        None => caller.principal.mode,
    };
    let team = read_team(&api, &caller.principal, &mut fields, is_team);
    if is_team && role.is_some_and(|role| role != Role::Sender) {
        fields.add_error(
            "role",
            "not_a_sender",
            "A team key must have the role sender, because the other roles can do more than send.",
        );
    }
    if mode == Mode::Live && caller.principal.mode == Mode::Test {
        fields.add_error("mode", "not_allowed", "A test key can only create test keys.");
    }
    let channels = read_channels(&mut fields);
    let expires_at = fields.time("expiresAt");
    if expires_at.is_some_and(|until| until <= api.app.host.now()) {
        fields.add_error("expiresAt", "in_the_past", "expiresAt must be in the future.");
    }
    fields.finish()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(missing());
    };
    let label = if is_team { TEAM } else { mode.as_str() };
    let new = NewApiKey { name, mode, role, channels, expires_at, team, label };
    let (created, secret) = api_keys::create(&api.app, &caller, new).await?;
    let mut shown = show(&created, api.app.host.now());
    shown["key"] = json!(secret);
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn list(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let (keys, now) = (api_keys::list(&api.app, &caller).await?, api.app.host.now());
    let shown: Vec<Value> = keys.iter().map(|key| show(key, now)).collect();
    Ok(json(StatusCode::OK, &json!({ "keys": shown })))
}

/// The key is invalid at once, and within a minute in processes that used it a moment ago.
pub(crate) async fn revoke(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api_keys::revoke(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
