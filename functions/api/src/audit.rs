//! Who decided what about the tenant's account: its keys, channels, templates and defaults, read from their journals.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{JournalKey, Journals, Principal, StoreError};
use events::{ChannelEvent, KeyEvent, PreferenceEvent, Recorded, Stored, TemplateEvent, Timestamp};
use serde_json::{Value, json};
use shell::consent::DEFAULTS;
use shell::journal;
use shell::problem::Problem;

use crate::read::Query;
use crate::{Shared, json, show};

/// Acts shown, at most: the newest.
const MOST: usize = 500;
const SUBJECTS: [&str; 4] = ["keys", "channels", "templates", "defaults"];

/// Everything that one journal says, with its times.
async fn acts<E: Stored>(
    journals: &dyn Journals,
    key: JournalKey,
    subject: &str,
) -> Result<Vec<(Timestamp, Value)>, StoreError> {
    let records: Vec<Recorded<E>> = journal::read(journals, &key).await?;
    let shown = records.iter().enumerate().map(|(place, record)| {
        let mut shown = show::decision(place + 1, record);
        shown["subject"] = json!(subject);
        // What keys and addresses are found by is of no use to anybody.
        if let Some(data) = shown["data"].as_object_mut() {
            ["hash", "team"].iter().for_each(|name| drop(data.remove(*name)));
        }
        (record.meta.at, shown)
    });
    Ok(shown.collect())
}

/// The newest first.
pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let asked = query.choice("subject", &SUBJECTS);
    let (from, to) = (query.time("from", false), query.time("to", true));
    query.finish()?;
    let (journals, tenant) = (&*api.own.journals, &caller.tenant);
    let mut all = Vec::new();
    for subject in SUBJECTS.into_iter().filter(|subject| asked.as_deref().is_none_or(|asked| asked == *subject)) {
        all.extend(match subject {
            "keys" => acts::<KeyEvent>(journals, JournalKey::keys(tenant), subject).await?,
            "channels" => acts::<ChannelEvent>(journals, JournalKey::channels(tenant), subject).await?,
            "templates" => acts::<TemplateEvent>(journals, JournalKey::templates(tenant), subject).await?,
            _ => acts::<PreferenceEvent>(journals, JournalKey::preferences(tenant, DEFAULTS), subject).await?,
        });
    }
    all.retain(|(at, _)| from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at < to));
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let is_all = all.len() <= MOST;
    let shown: Vec<Value> = all.into_iter().take(MOST).map(|(_, act)| act).collect();
    Ok(json(StatusCode::OK, &json!({ "acts": shown, "isComplete": is_all })))
}
