//! Business events: what did other systems tell us, and was it understood?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::history::{Entry, entries};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::Time;
use crate::words::{self, StatusWord};

const SIZE: &str = "50";
/// The filters, as the address and the API name them.
const FILTERS: [&str; 5] = ["status", "type", "mentions", "source", "eventId"];

#[derive(Template)]
#[template(path = "business-events.html")]
struct EventsPage {
    shell: Shell,
    heading: String,
    filters: Fields,
    is_filtered: bool,
    types: Vec<String>,
    rows: Vec<Row>,
    older: Option<String>,
    is_first: bool,
}

impl Page for EventsPage {}

const STATUSES: [(&str, &str); 5] = [
    ("parked", "Parked"),
    ("received", "Received"),
    ("handled", "Handled"),
    ("unhandled", "Nothing to do"),
    ("discarded", "Discarded"),
];

struct Row {
    id: String,
    kind: String,
    source: String,
    about: String,
    status: StatusWord,
    why: String,
    effects: String,
    at: Option<Time>,
}

#[derive(Template)]
#[template(path = "business-event.html")]
struct EventPage {
    shell: Shell,
    id: String,
    heading: String,
    lede: String,
    status: StatusWord,
    acts: Vec<Act>,
    faults: Vec<(String, String)>,
    history: Vec<Entry>,
    facts: Vec<(&'static str, String)>,
    data: Option<String>,
    /// Whether a person has to decide about it.
    is_waiting: bool,
}

impl Page for EventPage {}

/// Something that followed from the event, or that did not.
struct Act {
    name: String,
    channel: String,
    link: Option<String>,
    result: String,
    tone: &'static str,
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Fields::of_query(query.as_deref());
    let parameters = FILTERS.iter().map(|name| (*name, filters.get(name)));
    let paging = [("size", SIZE), ("cursor", filters.get("cursor"))];
    let call = visit.api.call(Method::GET, "/api/business-events").query(parameters.chain(paging));
    let (found, types) = try_join(call.send(), visit.api.get("/api/event-types")).await?;
    let found = found.body;
    let rows: Vec<Row> = found["results"].as_array().into_iter().flatten().map(|row| row_of(&visit, row)).collect();
    let count = if found["hasMore"] == true { format!("The newest {}", rows.len()) } else { rows.len().to_string() };
    let heading = match (filters.get("status"), rows.len()) {
        ("parked", 0) => "No event waits for a decision".to_owned(),
        ("parked", 1) => "1 event waits for a decision".to_owned(),
        ("parked", _) => format!("{count} events wait for a decision"),
        (_, 1) => "1 business event".to_owned(),
        _ => format!("{count} business events"),
    };
    let page = EventsPage {
        shell: visit.shell(&heading, "events"),
        heading,
        is_filtered: FILTERS.iter().any(|name| filters.has(name)),
        types: types["types"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|kind| kind["type"].as_str().map(str::to_owned))
            .collect(),
        rows,
        older: found["nextCursor"].as_str().map(|cursor| filters.with(&[("cursor", cursor)])),
        is_first: !filters.has("cursor"),
        filters,
    };
    Ok(page.respond())
}

fn status_of(event: &Value) -> StatusWord {
    let (tone, icon, word) = match event["status"].as_str().unwrap_or_default() {
        "received" => ("move", "s-queued", "Received"),
        "handled" => ("good", "s-delivered", "Handled"),
        "unhandled" => ("stop", "s-suppressed", "Nothing to do"),
        "parked" => ("warn", "warn", "Parked"),
        "discarded" => ("stop", "s-cancelled", "Discarded"),
        _ => ("stop", "s-doubt", "Unknown"),
    };
    StatusWord { tone, icon, word: word.to_owned() }
}

/// Why an event waits for a person.
fn park_reason(reason: &str) -> &'static str {
    match reason {
        "" => "",
        "invalid" => "Its data does not match the schema",
        "unknown_version" => "The version of its type is newer than this software",
        "id_reused" => "An earlier event has the same ID and other content",
        "too_old" => "It happened more than 400 days ago",
        "in_future" => "Its time is more than a day in the future",
        "unknown_invoice" => "The invoice that it is about did not become known",
        "handler_failed" => "Handling it failed repeatedly",
        "erased" => "Its data was erased before it was handled",
        "unknown_source" | "tenant_unknown" => "Nobody may speak for this business",
        _ => "It was not understood",
    }
}

fn row_of(visit: &Visit, row: &Value) -> Row {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let mentions = row["mentions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let about: Vec<&str> = mentions.chain(row["subject"].as_str()).collect();
    let skipped = row["skipped"].as_array().map_or(0, Vec::len);
    let effects = match (row["done"].as_u64().unwrap_or(0), skipped) {
        (0, 0) => String::new(),
        (done, 0) => format!("{done} done"),
        (done, skipped) => format!("{done} done, {skipped} skipped"),
    };
    Row {
        id: text("id"),
        kind: text("type"),
        source: format!("{} {}", text("source"), text("eventId")),
        about: about.join(", "),
        status: status_of(row),
        why: park_reason(&text("reason")).to_owned(),
        effects,
        at: row["receivedAt"].as_str().and_then(|at| visit.clock().short(at)),
    }
}

pub async fn show(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let path = format!("/api/business-events/{}", segment(&id));
    let raw = if query.is("raw", "true") { "true" } else { "" };
    let event = visit.api.call(Method::GET, path.clone()).query([("raw", raw)]);
    let (event, history) = try_join(event.send(), visit.api.get(format!("{path}/events"))).await?;
    let event = event.body;
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let acts: Vec<Act> = event["acts"].as_array().into_iter().flatten().map(act_of).collect();
    let why = park_reason(&text("reason"));
    let heading = match &*text("status") {
        "parked" => why.to_owned(),
        "handled" => format!("{}: {}", text("type"), effects_of(&acts)),
        _ => format!("{}: {}", text("type"), status_of(&event).word.to_lowercase()),
    };
    let clock = visit.clock();
    let received = clock.short(&text("receivedAt")).map_or(String::new(), |at| at.text);
    let page = EventPage {
        shell: visit.shell(&heading, "events"),
        lede: format!("{} from {}, received {received}.", text("type"), text("source")),
        heading,
        status: status_of(&event),
        acts,
        faults: faults_of(&event),
        history: entries(&history, &clock),
        facts: facts(&event),
        data: event.get("data").filter(|data| !data.is_null()).and_then(|data| serde_json::to_string_pretty(data).ok()),
        is_waiting: event["status"] == "parked",
        id: text("id"),
    };
    Ok(page.respond())
}

fn effects_of(acts: &[Act]) -> String {
    let skipped = acts.iter().filter(|act| act.tone == "stop").count();
    match (acts.len() - skipped, skipped) {
        (0, 0) => "nothing followed".to_owned(),
        (done, 0) => format!("{done} done"),
        (done, skipped) => format!("{done} done, {skipped} skipped"),
    }
}

fn act_of(act: &Value) -> Act {
    let text = |name: &str| act[name].as_str().unwrap_or_default();
    let link = match act["ref"].as_str() {
        Some(id) if id.starts_with("com_") => Some(format!("/messages/{}", segment(id))),
        Some(id) if id.starts_with("inv_") => Some(format!("/invoices/{}", segment(id))),
        _ => None,
    };
    let (result, tone) = match (act["skipped"].as_str(), act["note"].as_str()) {
        (Some(reason), _) => (format!("Skipped: {}", reason.replace('_', " ")), "stop"),
        (None, Some(note)) => (format!("Done. Note: {}", note.replace('_', " ")), "good"),
        (None, None) => ("Done".to_owned(), "good"),
    };
    let channel = act["channel"].as_str().map_or("", words::channel).to_owned();
    Act { name: words::sentence_case(text("act")), channel, link, result, tone }
}

fn faults_of(event: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let faults = event["faults"].as_array().into_iter().flatten();
    faults.map(|fault| (text(&fault["pointer"]), text(&fault["detail"]))).collect()
}

fn facts(event: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let facts = [
        ("Source", text("source")),
        ("ID there", text("eventId")),
        ("Type", text("type")),
        ("About", text("subject")),
        ("Came by", words::sentence_case(&text("via"))),
        ("Tries", event["tries"].to_string()),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty() && value != "null").collect()
}

/// Has the event handled again, or puts it aside.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(form): Form) -> Result<Response, Refusal> {
    let body = match &*act {
        "replay" => json!({}),
        "discard" if form.has("reason") => json!({ "reason": form.get("reason") }),
        "discard" => json!({}),
        _ => return Err(Refusal::not_found("A business event has no such action.")),
    };
    visit.api.post(format!("/api/business-events/{}/{act}", segment(&id)), body).await?;
    Ok(Redirect::to(&format!("/business-events/{}", segment(&id))).into_response())
}
