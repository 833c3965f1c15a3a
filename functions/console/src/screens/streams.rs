//! The event explorer: what is stored of one thing, position by position?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::join_all;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::screens::person::paths::{page_of, preferences_path};
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::Time;
use crate::words::{self, RECIPIENT_TYPES};

/// A kind of stream whose events the API shows.
pub struct Kind {
    /// In the address of its pages.
    pub name: &'static str,
    pub word: &'static str,
    pub example: &'static str,
    /// Whether the API answers a part of a long stream, and goes on with `before`.
    has_pages: bool,
}

const fn kind(name: &'static str, word: &'static str, example: &'static str, has_pages: bool) -> Kind {
    Kind { name, word, example, has_pages }
}

const KINDS: [Kind; 5] = [
    kind("messages", "Message", "com_…", false),
    kind("people", "Preferences of a person", "customer/cus_7", false),
    kind("schedules", "Recurring schedule", "its id", true),
    kind("invoices", "Invoice", "its id or number", true),
    kind("business-events", "Business event", "its id", false),
];
/// How many events are listed beside the one that is shown.
const LISTED: usize = 100;

#[derive(Template)]
#[template(path = "streams.html")]
struct FindPage {
    shell: Shell,
    heading: &'static str,
    query: String,
    found: Vec<Found>,
}

impl Page for FindPage {}

/// A stream that was found by an id.
struct Found {
    kind: &'static str,
    path: String,
}

#[derive(Template)]
#[template(path = "stream.html")]
struct StreamPage {
    shell: Shell,
    kind: &'static str,
    id: String,
    heading: String,
    path: String,
    /// The page of what the events are about, if there is one.
    page: Option<String>,
    api_path: String,
    events: Vec<Position>,
    shown: Shown,
    earlier: Option<u64>,
    later: Option<u64>,
    /// The address of the events before those in the list.
    older: Option<String>,
    newest: bool,
}

impl Page for StreamPage {}

/// An event in the list.
struct Position {
    number: u64,
    name: String,
    time: Option<Time>,
    is_shown: bool,
}

/// The event that is shown.
struct Shown {
    number: u64,
    name: String,
    kind: String,
    time: Option<Time>,
    by: String,
    json: String,
}

/// Where the API has the events of a stream.
fn events_path(kind: &str, id: &str) -> Option<String> {
    match kind {
        "messages" => Some(format!("/api/communications/{}/events", segment(id))),
        "people" => {
            let (kind, id) = id.split_once('/')?;
            Some(format!("{}/history", preferences_path(kind, id)))
        }
        "schedules" => Some(format!("/api/schedules/{}/events", segment(id))),
        "invoices" => Some(format!("/api/invoices/{}/events", segment(id))),
        "business-events" => Some(format!("/api/business-events/{}/events", segment(id))),
        _ => None,
    }
}

fn stream_of(kind: &str, id: &str) -> String {
    let id: Vec<String> = id.splitn(if kind == "people" { 2 } else { 1 }, '/').map(segment).collect();
    format!("/streams/{kind}/{}", id.join("/"))
}

/// Finds streams by an id of any kind.
pub async fn find(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref()).get("q").to_owned();
    let found = if query.is_empty() { Vec::new() } else { found(&visit, &query).await };
    if let [only] = &found[..] {
        return Ok(Redirect::to(&only.path).into_response());
    }
    let heading = match (query.is_empty(), found.is_empty()) {
        (true, _) => "Event explorer",
        (false, true) => "Nothing has this id",
        (false, false) => "Several things have this id",
    };
    Ok(FindPage { shell: visit.shell(heading, "streams"), heading, query, found }.respond())
}

/// The streams with this id. A person is named with or without the type.
async fn found(visit: &Visit, query: &str) -> Vec<Found> {
    let mut candidates: Vec<(&Kind, String)> = KINDS.iter().map(|kind| (kind, query.to_owned())).collect();
    candidates.extend(RECIPIENT_TYPES.iter().map(|(of, _)| (&KINDS[1], format!("{of}/{query}"))));
    let look_up = candidates.into_iter().map(|(kind, id)| async move {
        let answer = visit.api.get(events_path(kind.name, &id)?).await.ok()?;
        let has_events = answer["events"].as_array().is_some_and(|events| !events.is_empty());
        has_events.then(|| Found { kind: kind.word, path: stream_of(kind.name, &id) })
    });
    join_all(look_up).await.into_iter().flatten().collect()
}

/// One stream, with one of its events.
pub async fn show(
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let unknown = || Refusal::not_found("There is no stream of this kind and id.");
    let of = KINDS.iter().find(|known| known.name == kind).ok_or_else(unknown)?;
    let api_path = events_path(&kind, &id).ok_or_else(unknown)?;
    let call = visit.api.call(Method::GET, api_path.as_str());
    let before = query.get("before");
    let call = if of.has_pages { call.query([("before", before)]) } else { call };
    let answer = call.send().await?.body;
    let all = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
    let end = match (of.has_pages, before.parse::<usize>()) {
        (false, Ok(before)) => all.len().min(before.saturating_sub(1)),
        _ => all.len(),
    };
    let listed = &all[end.saturating_sub(LISTED)..end];
    let newest = listed.last().ok_or_else(|| Refusal::not_found("Nothing has happened to this yet."))?;
    let number = |event: &Value| event["position"].as_u64().unwrap_or(0);
    let wanted = query.get("at").parse().unwrap_or(number(newest));
    let chosen = all.iter().find(|event| number(event) == wanted).unwrap_or(newest);
    let at = |event: &Value| event["at"].as_str().and_then(|at| visit.clock().precise(at));
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let name = |event: &Value| words::event_name(&text(event, "type"));
    let first = number(listed.first().unwrap_or(newest));
    let has_older = first > 1;
    let is_newest_page = before.is_empty();
    let total = if is_newest_page { number(newest) } else { 0 };
    let position = |event: &Value| Position {
        number: number(event),
        name: name(event),
        time: at(event),
        is_shown: number(event) == number(chosen),
    };
    let neighbour = |at: Option<u64>| at.filter(|at| all.iter().any(|event| number(event) == *at));
    let heading = match total {
        0 => format!("Events of {id}"),
        1 => format!("1 event of {id}"),
        total => format!("{total} events of {id}"),
    };
    let page = StreamPage {
        shell: visit.shell(&heading, "streams"),
        kind: of.word,
        heading,
        path: stream_of(&kind, &id),
        page: page(&kind, &id),
        api_path,
        events: listed.iter().rev().map(position).collect(),
        earlier: neighbour(number(chosen).checked_sub(1)),
        later: neighbour(number(chosen).checked_add(1)),
        shown: Shown {
            number: number(chosen),
            name: name(chosen),
            kind: text(chosen, "type"),
            time: at(chosen),
            by: words::actor(&text(chosen, "actor")),
            json: serde_json::to_string_pretty(chosen).unwrap_or_default(),
        },
        older: has_older.then(|| Fields::default().with(&[("before", &first.to_string())])),
        newest: is_newest_page,
        id,
    };
    Ok(page.respond())
}

/// The page of what a stream is about.
fn page(kind: &str, id: &str) -> Option<String> {
    match kind {
        "messages" => Some(format!("/messages/{}", segment(id))),
        "people" => id.split_once('/').map(|(kind, id)| page_of(kind, id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_an_address_here_and_in_the_api() {
        assert_eq!(stream_of("people", "customer/a b"), "/streams/people/customer/a%20b");
        assert_eq!(stream_of("invoices", "2026/7"), "/streams/invoices/2026%2F7");
        let history = "/api/communication-preferences/customer/a%20b/history";
        assert_eq!(events_path("people", "customer/a b").as_deref(), Some(history));
        assert_eq!(events_path("people", "customer"), None);
        assert_eq!(events_path("robots", "1"), None);
    }
}
