//! API keys over HTTP.

use application::Caller;
use application::api_keys::{self, KeyScope};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::access::permissions;
use domain::address;
use domain::api_key::ApiKey;
use events::{Channel, Mode, Role, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::{Shared, json, read_body};

fn present(key: &ApiKey, now: Timestamp) -> Value {
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
    if fields.is_null("channels") || !fields.has("channels") {
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

/// The mode of live keys that may send only to the addresses of a team.
const TEAM: &str = "team";
/// Maximum number of addresses of a team.
const MAX_TEAM: usize = 100;

/// The modes that a key can be created with.
pub(crate) fn modes() -> Vec<&'static str> {
    Mode::names().into_iter().chain([TEAM]).collect()
}

/// The normalised addresses of a team.
fn read_team(fields: &mut BodyReader, is_team: bool) -> Option<Vec<String>> {
    if !is_team {
        if fields.has("team") {
            fields.add_error("team", "not_a_team", "team is allowed only with the mode team.");
        }
        fields.discard("team");
        return None;
    }
    let given = fields.required("team", |fields| Some(fields.list("team", MAX_TEAM))).unwrap_or_default();
    let mut team = Vec::new();
    for (index, address) in given.iter().enumerate() {
        let normalised = |channel: &Channel| address::normalise(*channel, address.as_str()?, None).ok();
        match Channel::ALL.iter().find_map(normalised) {
            Some(address) => team.push(address),
            None => {
                let detail = "Each entry must be an email address, a phone number with its country code, or a chat id.";
                fields.add_error(&format!("team/{index}"), "not_an_address", detail);
            }
        }
    }
    Some(team)
}

/// Only this response contains the key itself.
pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let name = fields.required("name", |f| f.reference("name", 100));
    let role: Option<Role> = fields.required("role", |f| f.choice("role", &Role::names()));
    let mode = fields.one_of("mode", &modes());
    let scope = KeyScope {
        team: read_team(&mut fields, mode.as_deref() == Some(TEAM)),
        mode: mode.and_then(|mode| mode.parse().ok()),
        channels: read_channels(&mut fields),
        expires_at: fields.time("expiresAt"),
    };
    for fault in api_keys::check(&api.app, &caller, role, &scope) {
        fields.push(fault.into());
    }
    fields.finish()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(missing());
    };
    let (created, secret) = api_keys::create(&api.app, &caller, name, role, scope).await?;
    let mut shown = present(&created, api.app.host.now());
    shown["key"] = json!(secret);
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn list(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let (keys, now) = (api_keys::list(&api.app, &caller).await?, api.app.host.now());
    let shown: Vec<Value> = keys.iter().map(|key| present(key, now)).collect();
    Ok(json(StatusCode::OK, &json!({ "keys": shown })))
}

/// The key becomes invalid at once, except in processes that have used it within the last minute.
pub(crate) async fn revoke(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api_keys::revoke(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
