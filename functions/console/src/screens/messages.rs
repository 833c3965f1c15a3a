//! Messages: what happened to the one I am looking for?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::screens::person::paths::page_of;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName, Reach};
use crate::time::{self, Clock, Time};
use crate::words::{self, CHANNELS, LIFECYCLES, RECIPIENT_TYPES, STATUSES, StatusWord, TYPES};

/// The filters, as the address and the API name them, with what a chip says before the value.
const FILTERS: [(&str, &str); 13] = [
    ("channel", ""),
    ("status", ""),
    ("type", ""),
    ("lifecycle", ""),
    ("reason", ""),
    ("template", "template "),
    ("provider", "via "),
    ("recipientType", ""),
    ("recipientId", "recipient "),
    ("entityType", "about "),
    ("entityId", ""),
    ("from", "from "),
    ("to", "to "),
];
/// The longest text of a chip, in characters.
const MAX_CHIP: usize = 36;
/// How many messages a page shows.
const PAGE_SIZE: &str = "20";

#[derive(Template)]
#[template(path = "messages.html")]
struct MessagesPage {
    shell: Shell,
    count: String,
    rows: Vec<MessageRow>,
    filters: Fields,
    chips: Vec<Chip>,
    /// The address of the next page.
    older: Option<String>,
    is_first: bool,
    done: String,
    /// The page of the person whom the list is filtered by.
    person: Option<String>,
}

impl Page for MessagesPage {}

/// One filter that can be removed.
struct Chip {
    label: String,
    without: String,
}

/// A message in a list.
pub struct MessageRow {
    pub id: String,
    pub status: StatusWord,
    pub detail: String,
    pub reach: Reach,
    pub name: String,
    pub contact: String,
    pub subject: String,
    pub kind: String,
    pub channel: ChannelName,
    pub accepted: Option<Time>,
}

impl MessageRow {
    pub fn of(row: &Value, clock: &Clock) -> MessageRow {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let (name, contact) = (text("recipientName"), text("recipientContact"));
        let (name, contact) = if name.is_empty() { (contact, text("recipientId")) } else { (name, contact) };
        let kind = words::kind(&text("type"));
        MessageRow {
            id: text("id"),
            status: words::status(row),
            detail: words::detail(row, clock),
            reach: Reach(words::reach(row)),
            name: if name.is_empty() { "Erased".to_owned() } else { name },
            contact,
            subject: Some(text("subject")).filter(|subject| !subject.is_empty()).unwrap_or_else(|| kind.clone()),
            kind,
            channel: ChannelName(text("channel")),
            accepted: clock.short(&text("createdAt")),
        }
    }
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Fields::of_query(query.as_deref());
    if filters.has("q") {
        return Ok(found_by(filters.get("q")));
    }
    let parameters = FILTERS.iter().map(|(name, _)| (*name, filters.get(name)));
    let parameters = parameters.chain([("cursor", filters.get("cursor")), ("size", PAGE_SIZE)]);
    let found = visit.api.call(Method::GET, "/api/communications").query(parameters).send().await?.body;
    let clock = visit.clock();
    let rows = found["results"].as_array().into_iter().flatten().map(|row| MessageRow::of(row, &clock)).collect();
    let count = time::number(found["count"].as_u64().unwrap_or(0));
    let about = if found["countIsEstimate"] == true { "About " } else { "" };
    let page = MessagesPage {
        shell: visit.shell("Messages", "messages"),
        count: format!("{about}{count}"),
        rows,
        chips: chips(&filters),
        older: found["nextCursor"].as_str().map(|cursor| filters.with(&[("cursor", cursor)])),
        is_first: !filters.has("cursor"),
        done: done(&filters),
        person: person_path(&filters),
        filters,
    };
    Ok(page.respond())
}

/// What the form before did.
fn done(query: &Fields) -> String {
    match (query.get("cancelled"), query.get("skipped")) {
        ("", _) => String::new(),
        (cancelled, "" | "0") => format!("{cancelled} cancelled."),
        (cancelled, skipped) => format!("{cancelled} cancelled; {skipped} skipped, because they changed meanwhile."),
    }
}

fn person_path(filters: &Fields) -> Option<String> {
    let id = Some(filters.get("recipientId")).filter(|id| !id.is_empty())?;
    Some(match filters.has("recipientType") {
        true => page_of(filters.get("recipientType"), id),
        false => format!("/people{}", Fields::default().with(&[("q", id)])),
    })
}

/// Where the search leads: to the message with this id, or to the person with this reference.
fn found_by(text: &str) -> Response {
    let path = if text.starts_with("com_") { "/messages/" } else { "/people?q=" };
    Redirect::to(&format!("{path}{}", segment(text))).into_response()
}

fn chips(filters: &Fields) -> Vec<Chip> {
    let given = FILTERS.iter().filter(|(name, _)| filters.has(name));
    let chip = |(name, before): &(&'static str, &str)| {
        let value = filters.get(name);
        let word =
            |table: &[(&str, &str)]| table.iter().find(|(id, _)| *id == value).map(|(_, word)| (*word).to_owned());
        let word = match *name {
            "lifecycle" => word(&LIFECYCLES),
            "reason" => Some(words::explain_reason(value, None)),
            "provider" => Some(words::config(value)),
            _ => {
                word(&CHANNELS).or_else(|| word(&STATUSES)).or_else(|| word(&TYPES)).or_else(|| word(&RECIPIENT_TYPES))
            }
        };
        let label = format!("{before}{}", word.unwrap_or_else(|| value.to_owned()));
        // A chip is one line, also on a narrow screen.
        let is_long = MAX_CHIP < label.chars().count();
        let label = if is_long { label.chars().take(MAX_CHIP - 1).chain(['…']).collect() } else { label };
        Chip { label, without: filters.with(&[(name, ""), ("cursor", ""), ("cancelled", ""), ("skipped", "")]) }
    };
    given.map(chip).collect()
}
