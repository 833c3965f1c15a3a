//! Who changed what in the tenant's account: its keys, channels, templates and defaults, read from their streams, and its
//! suppression list and its data subjects, recorded here.

use application::actions::COLLECTION;
use application::execute::history_of_stream;
use application::suppressions::address_key;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::address;
use domain::aggregate::Aggregate;
use domain::api_key::ApiKeyState;
use domain::ports::{EventStore, Listed, Principal, StoreError, Stream};
use domain::preferences::{DEFAULTS, Preferences};
use domain::provider_configs::{ProviderConfigState, Routing};
use domain::schedule::ScheduleState;
use domain::templates::TemplateState;
use events::{Channel, StreamId, TenantId, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::query::QueryParams;
use crate::{Api, Shared, json, present};

/// Acts shown, at most: the newest.
const MAX_ACTIONS: usize = 500;
const STREAMED_SUBJECTS: [&str; 5] = ["keys", "channels", "templates", "schedules", "defaults"];
/// Subjects that have no stream.
const UNSTREAMED_SUBJECTS: [&str; 2] = ["suppressions", "subjects"];
/// Notes read together.
const PAGE: usize = 100;

/// Everything that can be asked for.
pub(crate) fn subjects() -> Vec<&'static str> {
    STREAMED_SUBJECTS.into_iter().chain(UNSTREAMED_SUBJECTS).collect()
}

impl Api {
    /// The newest recorded actions, in order of time.
    async fn recorded_actions(
        &self,
        caller: &Principal,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        is_asked: impl Fn(&Value) -> bool,
    ) -> Result<Vec<(Timestamp, Value)>, Problem> {
        let mut found = Vec::new();
        let mut before = to.map(|to| format!("{:013}", to.0));
        loop {
            let documents = &*self.app.tenant_ports.documents;
            let page = documents
                .list_documents(&caller.tenant, COLLECTION, before.as_deref(), PAGE, self.app.host.now())
                .await?;
            let is_last = page.len() < PAGE;
            before = page.last().map(|(name, _)| name.clone());
            for (name, body) in page {
                let at = Timestamp(name.split('#').next().and_then(|at| at.parse().ok()).unwrap_or(0));
                if found.len() > MAX_ACTIONS || from.is_some_and(|from| at < from) {
                    return Ok(found);
                }
                let act: Value = serde_json::from_str(&body).unwrap_or_default();
                if is_asked(&act) {
                    found.push((at, act));
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }
}

/// Every event of one stream, with its time.
async fn stream_actions<A: Aggregate>(
    store: &dyn EventStore,
    id: &StreamId,
    stream: &Stream,
    subject: &str,
) -> Result<Vec<(Timestamp, Value)>, StoreError> {
    let records = history_of_stream::<A::Event>(store, id, stream).await?;
    let shown = records.iter().enumerate().map(|(index, record)| {
        let mut shown = present::decision(index + 1, record);
        shown["subject"] = json!(subject);
        // Hashes that keys and addresses are looked up by are of no use to a reader.
        if let Some(data) = shown["data"].as_object_mut() {
            ["hash", "team"].iter().for_each(|name| drop(data.remove(*name)));
            data.get_mut("author").and_then(Value::as_object_mut).and_then(|author| author.remove("team"));
        }
        (record.meta.at, shown)
    });
    Ok(shown.collect())
}

/// The events of all streams of one kind that the tenant has ever had.
async fn actions_of_kind<A: Aggregate>(
    store: &dyn EventStore,
    tenant: &TenantId,
    subject: &str,
) -> Result<Vec<(Timestamp, Value)>, StoreError> {
    let mut actions = Vec::new();
    for (id, stream) in store.list(tenant, &[A::KIND], Listed::Ever).await? {
        actions.extend(stream_actions::<A>(store, &id, &stream, subject).await?);
    }
    Ok(actions)
}

async fn streamed_actions(
    store: &dyn EventStore,
    tenant: &TenantId,
    subject: &str,
) -> Result<Vec<(Timestamp, Value)>, StoreError> {
    match subject {
        "keys" => actions_of_kind::<ApiKeyState>(store, tenant, subject).await,
        "schedules" => actions_of_kind::<ScheduleState>(store, tenant, subject).await,
        "templates" => actions_of_kind::<TemplateState>(store, tenant, subject).await,
        "channels" => {
            let mut actions = actions_of_kind::<ProviderConfigState>(store, tenant, subject).await?;
            actions.extend(actions_of_kind::<Routing>(store, tenant, subject).await?);
            Ok(actions)
        }
        _ => {
            let id = StreamId::new(tenant, Preferences::KIND, DEFAULTS);
            let stream = store.read(&id).await?;
            stream_actions::<Preferences>(store, &id, &stream, subject).await
        }
    }
}

/// What an address may be kept as, whichever channel it is of.
fn possible_address_hashes(api: &Api, caller: &Principal, given: &str) -> Vec<String> {
    let of = |channel: &Channel| address::normalise(*channel, given, None).ok();
    let hash = |channel: &Channel| {
        let address = of(channel)?;
        Some(address_key(&api.app, &caller.tenant, *channel, &address).contact_hash)
    };
    Channel::ALL.iter().filter_map(hash).collect()
}

/// The newest first.
pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let asked = query.choice("subject", &subjects());
    let (from, to) = (query.time("from", false), query.time("to", true));
    let contact = query.text("contact").map(|given| possible_address_hashes(&api, &caller, &given));
    query.finish()?;
    let mut all = Vec::new();
    let is_asked = |subject: &str| asked.as_deref().is_none_or(|asked| asked == subject);
    let of_contact = |act: &Value| {
        let hash = act["data"]["contactHash"].as_str().unwrap_or_default();
        contact.as_ref().is_none_or(|hashes| hashes.iter().any(|known| known == hash))
    };
    let is_noted = |act: &Value| is_asked(act["subject"].as_str().unwrap_or_default()) && of_contact(act);
    all.extend(api.recorded_actions(&caller, (from, to), is_noted).await?);
    for subject in STREAMED_SUBJECTS.into_iter().filter(|subject| is_asked(subject) && contact.is_none()) {
        all.extend(streamed_actions(&*api.app.store, &caller.tenant, subject).await?);
    }
    all.retain(|(at, _)| from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at < to));
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let is_all = all.len() <= MAX_ACTIONS;
    let shown: Vec<Value> = all.into_iter().take(MAX_ACTIONS).map(|(_, act)| act).collect();
    Ok(json(StatusCode::OK, &json!({ "acts": shown, "isComplete": is_all })))
}
