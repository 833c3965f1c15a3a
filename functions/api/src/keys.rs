//! The tenant's API keys: made, shown once, revoked. What is kept opens nothing.

use std::collections::BTreeMap;

use application::hash::contact_hash;
use application::journal;
use application::problem::{Kind, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::access::permissions;
use domain::address;
use domain::ports::{JournalKey, Principal};
use events::{ApiKeyEvent, Channel, Mode, RecordedEvent, Role, Timestamp};
use serde_json::{Value, json};

use crate::fields::{Fields, missing, show_time};
use crate::{Api, Shared, json, read_body};

/// Keys of one tenant that are not revoked, at most.
const MAX_KEYS: usize = 100;

struct ApiKey {
    hash: String,
    name: String,
    mode: Mode,
    role: Role,
    channels: Option<Vec<Channel>>,
    expires_at: Option<Timestamp>,
    team: Option<Vec<String>>,
    at: Timestamp,
    by: String,
}

/// Those that are not revoked, by their ids.
fn fold(records: &[RecordedEvent<ApiKeyEvent>]) -> BTreeMap<String, ApiKey> {
    let mut keys = BTreeMap::new();
    for RecordedEvent { meta, event, .. } in records {
        match event {
            ApiKeyEvent::KeyCreated { key, hash, name, mode, role, channels, expires_at, team } => {
                let made = ApiKey {
                    hash: hash.clone(),
                    name: name.clone(),
                    mode: *mode,
                    role: *role,
                    channels: channels.clone(),
                    expires_at: *expires_at,
                    team: team.clone(),
                    at: meta.at,
                    by: meta.actor.clone(),
                };
                keys.insert(key.clone(), made);
            }
            ApiKeyEvent::KeyRevoked { key } => drop(keys.remove(key)),
        }
    }
    keys
}

fn show(id: &str, key: &ApiKey, now: Timestamp) -> Value {
    let permissions = permissions(key.role).iter().map(|permission| permission.as_str());
    json!({
        "id": id,
        "name": key.name,
        "mode": if key.team.is_some() { TEAM } else { key.mode.as_str() },
        "teamSize": key.team.as_ref().map(Vec::len),
        "role": key.role,
        "permissions": permissions.collect::<Vec<_>>(),
        "channels": key.channels,
        "expiresAt": key.expires_at.map(show_time),
        "isExpired": key.expires_at.is_some_and(|until| until <= now),
        "createdAt": show_time(key.at),
        "createdBy": key.by,
    })
}

impl Api {
    async fn active_keys(&self, caller: &Principal) -> Result<BTreeMap<String, ApiKey>, Problem> {
        Ok(fold(&journal::read(&*self.own.journals, &JournalKey::keys(&caller.tenant)).await?))
    }

    async fn decide_keys(
        &self,
        caller: &Principal,
        decide: impl Fn(&BTreeMap<String, ApiKey>) -> Result<Vec<ApiKeyEvent>, &'static str>,
    ) -> Result<(), Problem> {
        let ports = (&*self.own.journals, &*self.host);
        let actor = caller.actor_id();
        let decide = |records: &[RecordedEvent<ApiKeyEvent>]| decide(&fold(records));
        journal::execute(ports, &JournalKey::keys(&caller.tenant), &actor, decide).await?;
        Ok(())
    }
}

fn read_channels(fields: &mut Fields) -> Option<Vec<Channel>> {
    if !fields.has("channels") {
        return None;
    }
    let given = fields.list("channels", Channel::ALL.len());
    let read: Option<Vec<Channel>> = given.iter().map(|channel| channel.as_str()?.parse().ok()).collect();
    if read.is_none() {
        let detail = format!("channels is a list of {}.", Channel::names().join(", "));
        fields.wrong("channels", "not_channels", detail);
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
fn read_team(api: &Api, caller: &Principal, fields: &mut Fields, is_team: bool) -> Option<Vec<String>> {
    if !is_team {
        if fields.has("team") {
            fields.wrong("team", "not_a_team", "team is for keys of the mode team.");
        }
        fields.discard("team");
        return None;
    }
    let given = fields.required("team", |fields| Some(fields.list("team", MAX_TEAM))).unwrap_or_default();
    let mut team = Vec::new();
    for (place, address) in given.iter().enumerate() {
        let of = |channel: &Channel| address::normalise(*channel, address.as_str()?, None).ok();
        match Channel::ALL.iter().find_map(of) {
            Some(address) => team.push(contact_hash(&api.contact_key, &caller.tenant, &address)),
            None => {
                let detail = "An email address, a phone number with its country code, or the id of a chat.";
                fields.wrong(&format!("team/{place}"), "not_an_address", detail);
            }
        }
    }
    Some(team)
}

/// The key itself is in this answer and nowhere else.
pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let name = fields.required("name", |f| f.reference("name", 100));
    let role: Option<Role> = fields.required("role", |f| f.choice("role", &Role::names()));
    let given = fields.one_of("mode", &modes());
    let is_team = given.as_deref() == Some(TEAM);
    let mode = match given.as_deref() {
        Some(TEAM) => Mode::Live,
        Some(mode) => mode.parse().unwrap_or(caller.mode),
        None => caller.mode,
    };
    let team = read_team(&api, &caller, &mut fields, is_team);
    if is_team && role.is_some_and(|role| role != Role::Sender) {
        fields.wrong("role", "not_a_sender", "A key for a team is of the role sender: the others may more than write.");
    }
    if mode == Mode::Live && caller.mode == Mode::Test {
        fields.wrong("mode", "not_allowed", "A test key makes test keys.");
    }
    let channels = read_channels(&mut fields);
    let expires_at = fields.time("expiresAt");
    if expires_at.is_some_and(|until| until <= api.host.now()) {
        fields.wrong("expiresAt", "in_the_past", "expiresAt must lie in the future.");
    }
    fields.finish()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(missing());
    };
    let id = format!("key_{:010x}", api.host.random() & 0xff_ffff_ffff);
    let key = format!("td_{}_{:032x}", if is_team { TEAM } else { mode.as_str() }, api.host.random());
    let hash = application::hash::key_hash(&key);
    let created = ApiKeyEvent::KeyCreated {
        key: id.clone(),
        hash: hash.clone(),
        name: name.clone(),
        mode,
        role,
        channels: channels.clone(),
        expires_at,
        team: team.clone(),
    };
    let decide = |keys: &BTreeMap<String, ApiKey>| match keys.len() < MAX_KEYS {
        true => Ok(vec![created.clone()]),
        false => Err("there are 100 keys already"),
    };
    api.decide_keys(&caller, decide).await?;
    // A crash before this leaves a key in the list that nobody was shown.
    let tenant = caller.tenant.clone();
    let principal = Principal { tenant, actor: name, mode, role, channels, expires_at, team, is_user: false };
    api.keys.put(&hash, &principal).await?;
    let made = api.active_keys(&caller).await?;
    let made = made.get(&id).ok_or_else(|| Problem::new(Kind::Unavailable, "Look, then try again."))?;
    let mut shown = show(&id, made, api.host.now());
    shown["key"] = json!(key);
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn list(State(api): Shared, Extension(caller): Extension<Principal>) -> Result<Response, Problem> {
    let (keys, now) = (api.active_keys(&caller).await?, api.host.now());
    let shown: Vec<Value> = keys.iter().map(|(id, key)| show(id, key, now)).collect();
    Ok(json(StatusCode::OK, &json!({ "keys": shown })))
}

/// It opens nothing from now on; where it was used a moment ago, within a minute.
pub(crate) async fn revoke(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let keys = api.active_keys(&caller).await?;
    let key = keys.get(&id).ok_or_else(|| Problem::new(Kind::NotFound, "There is no such key."))?;
    // First what it opens: a crash between leaves a key in the list that opens nothing.
    api.keys.remove(&key.hash).await?;
    api.principals.invalidate(&key.hash);
    let revoked = ApiKeyEvent::KeyRevoked { key: id.clone() };
    let decide =
        |keys: &BTreeMap<String, ApiKey>| Ok(if keys.contains_key(&id) { vec![revoked.clone()] } else { Vec::new() });
    api.decide_keys(&caller, decide).await?;
    Ok(StatusCode::NO_CONTENT)
}
